"""An ``Api`` that only lists and watches: objects by hand, streams that end when told."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from pykubelet.cluster.door import Change, Query
from pykubelet.cluster.errors import ClusterError, Refused


class ListWatchApi:
    """One collection of objects. Counts requests and fails as it is told."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.events: list[Change[Any]] = []
        self.version = 10
        self.oldest = 0
        self.watch_lists = True
        #: Each of these fails one request, in order; ``down`` fails all.
        self.failures: list[ClusterError] = []
        self.down: ClusterError | None = None
        self.asked: list[tuple[str, dict[str, str]]] = []
        #: Keys of objects that cannot be decoded.
        self.unreadable: set[str] = set()
        self._moved = asyncio.Condition()
        self._cut = 0
        self._cut_error: ClusterError | None = None

    # --- what happens on the server -------------------------------------------

    async def put(self, obj: Any) -> Any:
        self.version += 1
        meta = msgspec.structs.replace(obj.metadata, resourceVersion=str(self.version))
        obj = msgspec.structs.replace(obj, metadata=meta)
        key = meta.uid or f"{meta.namespace}/{meta.name}"
        kind = "MODIFIED" if key in self.objects else "ADDED"
        self.objects[key] = obj
        await self._tell(Change(kind, obj, str(self.version)))
        return obj

    async def remove(self, key: str) -> None:
        self.version += 1
        await self._tell(Change("DELETED", self.objects.pop(key), str(self.version)))

    async def bookmark(self, kind: Any) -> None:
        await self._tell(Change("BOOKMARK", kind(), str(self.version)))

    async def cut(self, error: ClusterError | None = None) -> None:
        """End every stream, with *error* if one is given."""
        self._cut += 1
        self._cut_error = error
        async with self._moved:
            self._moved.notify_all()

    def forget_history(self) -> None:
        self.oldest = self.version
        self.events.clear()

    async def _tell(self, change: Change[Any]) -> None:
        self.events.append(change)
        async with self._moved:
            self._moved.notify_all()

    # --- the door -------------------------------------------------------------

    def _fail(self) -> None:
        if self.down is not None:
            raise self.down
        if self.failures:
            raise self.failures.pop(0)

    def _read(self, key: str, obj: Any, last_known: Any) -> Any:
        return last_known(obj) if key in self.unreadable else obj

    async def get(self, path: str, kind: Any) -> Any:
        """The only object of that name, as ``PATH/NAME`` ends."""
        self.asked.append(("get", {}))
        self._fail()
        name = path.rpartition("/")[2]
        found = next((obj for obj in self.objects.values() if obj.metadata.name == name), None)
        if found is None:
            raise Refused(404, "NotFound", f"{name} not found")
        return found

    async def list(self, path: str, kind: Any, *, query: Query | None = None, last_known: Any = None) -> Any:
        self.asked.append(("list", dict(query or {})))
        self._fail()
        read = [self._read(key, obj, last_known) for key, obj in self.objects.items()]
        return [obj for obj in read if obj is not None], str(self.version)

    async def watch(
        self, path: str, kind: Any, *, query: Query | None = None, last_known: Any = None
    ) -> AsyncGenerator[Change[Any], None]:
        asked = dict(query or {})
        initial = "sendInitialEvents" in asked
        self.asked.append(("watch-list" if initial else "watch", asked))
        self._fail()
        cut = self._cut
        if initial:
            if not self.watch_lists:
                raise Refused(422, "Invalid", "sendInitialEvents is forbidden")
            version = self.version
            for key, obj in list(self.objects.items()):
                read = self._read(key, obj, last_known)
                if read is not None:
                    yield Change("ADDED", read, obj.metadata.resourceVersion)
            yield Change("BOOKMARK", kind(), str(version), initial_events_end=True)
        else:
            version = int(asked["resourceVersion"])
            if version < self.oldest:
                raise Refused(410, "Expired", "too old resource version")
        while True:
            for event in [e for e in self.events if int(e.resource_version) > version]:
                version = int(event.resource_version)
                yield event
            async with self._moved:
                if self._cut == cut and not any(int(e.resource_version) > version for e in self.events):
                    await self._moved.wait()
            if self._cut != cut:
                if self._cut_error is not None:
                    raise self._cut_error
                return

    def count(self, what: str) -> int:
        return sum(1 for kind, _ in self.asked if kind == what)
