"""Config maps and secrets asked for when they are needed: each time, or again after some time.

For clusters where a watch for each object is too much: they trade freshness for quiet.
(pkg/kubelet/util/manager, cache_based_manager.go.)
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic

from pykubelet.base.clock import Clock

from .door import Api, Query
from .errors import ClusterError, Refused
from .object_kinds import ObjectKind, T, not_registered
from .paths import core

#: Seconds that an object is believed to stay as it is, if the node does not tell otherwise.
DEFAULT_TTL: Final = 60.0

_TTL_ANNOTATION: Final = "node.alpha.kubernetes.io/ttl"


def object_ttl(annotations: Mapping[str, str]) -> float | None:
    """The seconds that the node's annotation asks for, which controllers set by the cluster's size."""
    value = annotations.get(_TTL_ANNOTATION, "")
    return float(value) if re.fullmatch(r"[+-]?[0-9]{1,9}", value) else None


class GetStore(Generic[T]):
    """Implements ``ObjectStore``: keeps nothing, each question is a request."""

    def __init__(self, api: Api, kind: ObjectKind[T]) -> None:
        self._api = api
        self._kind = kind

    async def start(self) -> None:
        """See ``ObjectStore``."""

    async def stop(self) -> None:
        """See ``ObjectStore``."""

    def add(self, namespace: str, name: str, user: str, *, mounted: bool) -> None:
        """See ``ObjectStore``."""

    def drop(self, namespace: str, name: str, user: str) -> None:
        """See ``ObjectStore``."""

    async def get(self, namespace: str, name: str) -> T | None:
        """See ``ObjectStore``."""
        try:
            return await fetch(self._api, self._kind, namespace, name)
        except ClusterError as error:
            raise LookupError(str(error)) from error


@dataclass(slots=True, eq=False)
class _Item(Generic[T]):
    users: set[str] = field(default_factory=set)
    found: T | None = None
    #: When it was asked for, in monotonic seconds; None: ask.
    asked_at: float | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class CacheStore(Generic[T]):
    """Implements ``ObjectStore``: asks again when what is kept is too old."""

    def __init__(
        self,
        api: Api,
        clock: Clock,
        kind: ObjectKind[T],
        *,
        ttl: Callable[[], float | None],
    ) -> None:
        """*ttl*: seconds that the node asks for, None when it does not."""
        self._api = api
        self._clock = clock
        self._kind = kind
        self._ttl = ttl
        self._items: dict[tuple[str, str], _Item[T]] = {}

    async def start(self) -> None:
        """See ``ObjectStore``."""

    async def stop(self) -> None:
        """See ``ObjectStore``."""
        self._items.clear()

    def add(self, namespace: str, name: str, user: str, *, mounted: bool) -> None:
        """See ``ObjectStore``."""
        item = self._items.setdefault((namespace, name), _Item())
        if user not in item.users:
            # A new pod must see what was written before it was made.
            item.asked_at = None
        item.users.add(user)

    def drop(self, namespace: str, name: str, user: str) -> None:
        """See ``ObjectStore``."""
        item = self._items.get((namespace, name))
        if item is None:
            return
        item.users.discard(user)
        if not item.users:
            del self._items[namespace, name]

    async def get(self, namespace: str, name: str) -> T | None:
        """See ``ObjectStore``."""
        item = self._items.get((namespace, name))
        if item is None:
            raise not_registered(namespace, name)
        async with item.lock:
            if not self._fresh(item):
                await self._renew(item, namespace, name)
            return item.found

    def _fresh(self, item: _Item[T]) -> bool:
        # An object that was missing is asked for each time: a pod waits for it.
        if item.found is None or item.asked_at is None:
            return False
        told = self._ttl()
        return self._clock.monotonic() < item.asked_at + (DEFAULT_TTL if told is None else told)

    async def _renew(self, item: _Item[T], namespace: str, name: str) -> None:
        # A mere look whether it is still the same may be answered from the server's cache.
        query = {"resourceVersion": "0"} if item.found is not None and item.asked_at is not None else None
        asked_at = self._clock.monotonic()
        try:
            found = await fetch(self._api, self._kind, namespace, name, query)
        except ClusterError as error:
            if item.found is None:
                raise LookupError(str(error)) from error
            return
        if found is not None and item.found is not None and _version(found) < _version(item.found):
            return
        item.found, item.asked_at = found, asked_at


async def fetch(
    api: Api, kind: ObjectKind[T], namespace: str, name: str, query: Query | None = None
) -> T | None:
    """The object; None when there is none.

    :raises ClusterError: the server did not tell.
    """
    try:
        return await api.get(core(kind.resource, namespace, name), kind.type, query=query)
    except Refused as error:
        if error.not_found:
            return None
        raise


def _version(found: T) -> int:
    version = found.metadata.resourceVersion
    return int(version) if version.isascii() and version.isdigit() else 0
