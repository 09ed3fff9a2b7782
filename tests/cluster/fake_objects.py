"""Config maps and secrets behind the door ``Api``, in memory, with watches by name."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

from msgspec.structs import replace

from pykubelet.api.objects import ConfigMap, Secret
from pykubelet.cluster.door import Change, Query
from pykubelet.cluster.errors import ClusterError, Refused

T = TypeVar("T")

_RESOURCES = {ConfigMap: "configmaps", Secret: "secrets"}


def not_found(name: str) -> Refused:
    return Refused(404, "NotFound", f'"{name}" not found')


def forbidden(name: str) -> Refused:
    return Refused(403, "Forbidden", f'configmaps "{name}" is forbidden: no relationship found')


class FakeObjects:
    """Only what the stores ask for: get, list and watch of one object."""

    def __init__(self) -> None:
        self.version = 100
        self.kept: dict[tuple[str, str], ConfigMap | Secret] = {}
        self.watches: dict[tuple[str, str], list[asyncio.Queue[Change[Any] | ClusterError | None]]] = {}
        #: What was asked, as ``verb path-of-object``.
        self.asked: Counter[str] = Counter()
        self.queries: list[Query] = []
        #: Raised by every request while it is set.
        self.broken: ClusterError | None = None
        #: Seconds that a list takes.
        self.slow = 0.0

    # --- what tests do --------------------------------------------------------

    def put(self, made: ConfigMap | Secret) -> None:
        key = self._key(made)
        self.version += 1
        made = replace(made, metadata=replace(made.metadata, resourceVersion=str(self.version)))
        kind = "MODIFIED" if key in self.kept else "ADDED"
        self.kept[key] = made
        self.tell(key, Change(kind, made, str(self.version)))  # type: ignore[arg-type]

    def remove(self, made: ConfigMap | Secret) -> None:
        self.version += 1
        self.tell(self._key(made), Change("DELETED", self.kept.pop(self._key(made)), str(self.version)))

    def tell(self, key: tuple[str, str], what: Change[Any] | ClusterError | None) -> None:
        """Send an event to the object's watches, make them fail, or (None) end them."""
        for queue in self.watches.get(key, ()):
            queue.put_nowait(what)

    def watching(self, resource: str, name: str) -> int:
        return len(self.watches.get((f"ns/{resource}", name), ()))

    @staticmethod
    def _key(made: ConfigMap | Secret) -> tuple[str, str]:
        return f"{made.metadata.namespace}/{_RESOURCES[type(made)]}", made.metadata.name

    @staticmethod
    def _collection(path: str) -> str:
        parts = path.split("/")
        return f"{parts[4]}/{parts[5]}"

    # --- the door -------------------------------------------------------------

    async def get(
        self, path: str, kind: type[T], *, query: Query | None = None, timeout: float | None = None
    ) -> T:
        collection, name = self._collection(path), path.split("/")[6]
        self.asked[f"get {collection}/{name}"] += 1
        self.queries.append(dict(query or {}))
        if self.broken is not None:
            raise self.broken
        found = self.kept.get((collection, name))
        if found is None:
            raise not_found(name)
        return found  # type: ignore[return-value]

    async def list(
        self, path: str, kind: type[T], *, query: Query | None = None, last_known: Any = None
    ) -> tuple[list[T], str]:
        name = (query or {})["fieldSelector"].removeprefix("metadata.name=")
        collection = self._collection(path)
        self.asked[f"list {collection}/{name}"] += 1
        await asyncio.sleep(self.slow)
        if self.broken is not None:
            raise self.broken
        found = self.kept.get((collection, name))
        return ([found] if found is not None else []), str(self.version)  # type: ignore[list-item]

    async def watch(
        self, path: str, kind: type[T], *, query: Query | None = None, last_known: Any = None
    ) -> AsyncGenerator[Change[T], None]:
        asked = dict(query or {})
        self.queries.append(asked)
        key = self._collection(path), asked["fieldSelector"].removeprefix("metadata.name=")
        self.asked[f"watch {key[0]}/{key[1]}"] += 1
        if self.broken is not None:
            raise self.broken
        queue: asyncio.Queue[Change[T] | ClusterError | None] = asyncio.Queue()
        found = self.kept.get(key)
        if found is not None and int(found.metadata.resourceVersion) > int(asked["resourceVersion"]):
            queue.put_nowait(Change("MODIFIED", found, found.metadata.resourceVersion))  # type: ignore[arg-type]
        self.watches.setdefault(key, []).append(queue)
        try:
            while True:
                change = await queue.get()
                if change is None:
                    return
                if isinstance(change, ClusterError):
                    raise change
                yield change
        finally:
            self.watches[key].remove(queue)

    async def create(self, path: str, body: Any, kind: type[T], *, timeout: float | None = None) -> T:
        raise NotImplementedError

    async def update(self, path: str, body: Any, kind: type[T], *, timeout: float | None = None) -> T:
        raise NotImplementedError

    async def patch(
        self,
        path: str,
        body: Any,
        kind: type[T],
        *,
        content_type: str = "",
        timeout: float | None = None,
    ) -> T:
        raise NotImplementedError

    async def delete(self, path: str, *, grace: int | None = None, uid: str = "") -> None:
        raise NotImplementedError
