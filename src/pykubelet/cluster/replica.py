"""What the API server has of some objects, as far as this node was told, and what to ask for next.

Pure: lists and changes come in, differences come out. ``Reflector`` does the asking.
"""

import enum
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from .door import Change
from .errors import ClusterError, Refused

T = TypeVar("T")


def key_of(obj: Any) -> str:
    """What tells an object from all others: its UID, or ``NAMESPACE/NAME`` where it has none."""
    meta = obj.metadata
    return meta.uid or f"{meta.namespace}/{meta.name}"


class Replica(Generic[T]):
    """The objects by key, and the resourceVersion that they are of."""

    def __init__(self, key: Callable[[T], str] = key_of) -> None:
        self._key = key
        self._items: dict[str, T] = {}
        self._view: Mapping[str, T] | None = None
        self.resource_version = ""

    @property
    def items(self) -> Mapping[str, T]:
        """All objects, as a picture that later changes do not touch; taken anew only after a change."""
        if self._view is None:
            self._view = MappingProxyType(self._items.copy())
        return self._view

    def get(self, key: str) -> T | None:
        """The object of *key*."""
        return self._items.get(key)

    def apply(self, change: Change[T]) -> Change[T] | None:
        """Take an event of a watch; the difference that it makes, None for none."""
        self.resource_version = change.resource_version or self.resource_version
        if change.kind == "BOOKMARK":
            return None
        key = self._key(change.object)
        known = key in self._items
        if change.kind == "DELETED":
            if not known:
                return None
            del self._items[key]
            self._view = None
            return change
        if known and _version(self._items[key]) == change.resource_version != "":
            return None
        self._items[key] = change.object
        self._view = None
        return Change("MODIFIED" if known else "ADDED", change.object, change.resource_version)

    def replace(self, items: Iterable[T], resource_version: str) -> list[Change[T]]:
        """Take a complete list; what became different since, deletions first."""
        fresh = {self._key(item): item for item in items}
        differences = [
            Change("DELETED", gone, _version(gone)) for key, gone in self._items.items() if key not in fresh
        ]
        for key, item in fresh.items():
            version = _version(item)
            known = self._items.get(key)
            if known is None:
                differences.append(Change("ADDED", item, version))
            elif not version or _version(known) != version:
                differences.append(Change("MODIFIED", item, version))
        self._items = fresh
        self._view = None
        self.resource_version = resource_version
        return differences


def _version(obj: Any) -> str:
    version: str = obj.metadata.resourceVersion
    return version


class Ask(enum.Enum):
    """How the server is asked."""

    LIST = "list"
    #: A watch that begins with all there is.
    WATCH_LIST = "watch-list"
    WATCH = "watch"


class Course:
    """Which request comes next; decided by how the last ones ended."""

    def __init__(self, *, watch_list: bool = True) -> None:
        """*watch_list*: whether to try a watch-list before a list."""
        self._watch_list = watch_list
        self._complete = False
        self._moved = False
        self._unavailable = False

    @property
    def complete(self) -> bool:
        """Whether a watch can go on from where the replica is."""
        return self._complete

    def ask(self, resource_version: str) -> tuple[Ask, str]:
        """The next request and the resourceVersion that it names, the replica being at *resource_version*.

        A list never goes back behind what was seen, unless the server no longer knows that version.
        """
        if self._complete:
            return Ask.WATCH, resource_version
        if self._watch_list:
            return Ask.WATCH_LIST, "" if self._unavailable else resource_version
        return Ask.LIST, "" if self._unavailable else resource_version or "0"

    def listed(self) -> None:
        """The replica has everything as of its resourceVersion."""
        self._complete = True
        self._moved = False
        self._unavailable = False

    def moved(self) -> None:
        """A watch brought something since the last list."""
        self._moved = True

    def no_watch_list(self) -> None:
        """The server does not do watch-lists; it is not asked for one again."""
        self._watch_list = False

    def failed(self, asked: Ask, error: ClusterError) -> bool:
        """A request failed; whether the next may follow at once, which it never may twice in a row."""
        if not isinstance(error, Refused) or error.code in {401, 403, 429}:
            return False
        lost = error.expired or error.version_too_large
        if asked is Ask.WATCH:
            # The server says that it cannot go on from there; its own troubles pass.
            self._complete = not lost and error.passing
            return lost and self._moved
        if lost:
            at_once = not self._unavailable
            self._unavailable = True
            # Even one that names no version is told so: it is listed instead.
            self._watch_list = self._watch_list and (at_once or asked is Ask.LIST)
            return at_once
        if asked is Ask.WATCH_LIST and error.code not in {502, 503, 504}:
            # Also 500: that is what a server answers whose storage cannot do it.
            self._watch_list = False
            return True
        return False
