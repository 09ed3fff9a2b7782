"""Objects, their versions and their history: what etcd and the watch cache are to a real server.

Every object is kept with its bytes, written once and sent to every watcher. Nothing kept
here is ever mutated: who wants to change an object takes a copy.
"""

import asyncio
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass

import msgspec
from tests.apiserver import errors
from tests.apiserver.resources import Object, Resource

Key = tuple[str, str]

#: The version that the history begins with: what is older was compacted.
FIRST = 1000


def copy(obj: Object) -> Object:
    """A deep copy."""
    copied: Object = msgspec.json.decode(msgspec.json.encode(obj))
    return copied


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of an object."""

    obj: Object
    raw: bytes
    version: int

    @property
    def key(self) -> Key:
        metadata = self.obj["metadata"]
        return metadata.get("namespace", ""), metadata["name"]

    def at(self, version: int) -> "Stored":
        """The same content under another version, as the last word about a gone object."""
        obj = {**self.obj, "metadata": {**self.obj["metadata"], "resourceVersion": str(version)}}
        return Stored(obj, msgspec.json.encode(obj), version)


@dataclass(frozen=True, slots=True)
class Change:
    """One write: what was before it and what is since; None stands for nothing."""

    version: int
    before: Stored | None
    after: Stored | None


class Store:
    """All objects under one counter of versions."""

    def __init__(self, window: int) -> None:
        #: Changes kept of each resource; older ones are compacted.
        self._window = window
        self.version = FIRST
        self._objects: dict[Resource, dict[Key, Stored]] = defaultdict(dict)
        self._history: dict[Resource, list[Change]] = defaultdict(list)
        #: The version below which a resource's history is gone.
        self._compacted: dict[Resource, int] = defaultdict(lambda: FIRST)
        self._written: dict[Resource, asyncio.Event] = defaultdict(asyncio.Event)

    def get(self, resource: Resource, namespace: str, name: str) -> Stored | None:
        return self._objects[resource].get((namespace, name))

    def all(self, resource: Resource) -> list[Stored]:
        """Every object of *resource*, in the order of their keys."""
        objects = self._objects[resource]
        return [objects[key] for key in sorted(objects)]

    def put(self, resource: Resource, obj: Object) -> Stored:
        """Keep *obj* (owned by the store from now on) under a new version; nothing if nothing changed."""
        metadata = obj["metadata"]
        key = metadata.get("namespace", ""), metadata["name"]
        before = self._objects[resource].get(key)
        if before is not None:
            metadata["resourceVersion"] = before.obj["metadata"]["resourceVersion"]
            if obj == before.obj:
                return before
        self.version += 1
        metadata["resourceVersion"] = str(self.version)
        after = Stored(obj, msgspec.json.encode(obj), self.version)
        self._objects[resource][key] = after
        self._record(resource, Change(self.version, before, after))
        return after

    def remove(self, resource: Resource, key: Key) -> Stored:
        """Drop the object; answers its last state, under the version of its end."""
        before = self._objects[resource].pop(key)
        self.version += 1
        self._record(resource, Change(self.version, before, None))
        return before.at(self.version)

    def _record(self, resource: Resource, change: Change) -> None:
        history = self._history[resource]
        history.append(change)
        if len(history) > self._window:
            self._forget(resource, len(history) - self._window)
        self._written[resource].set()
        self._written[resource] = asyncio.Event()

    def _forget(self, resource: Resource, count: int) -> None:
        history = self._history[resource]
        if count > 0:
            self._compacted[resource] = history[count - 1].version
            del history[:count]

    def compact(self) -> None:
        """Forget the whole history: who watches from an earlier version than now is told 410."""
        for resource in {*self._history, *self._objects}:
            self._history[resource].clear()
            self._compacted[resource] = self.version

    def written(self, resource: Resource) -> asyncio.Event:
        """Set by the next write of *resource*; take it before you read."""
        return self._written[resource]

    def since(self, resource: Resource, version: int) -> list[Change]:
        """The changes after *version*.

        :raises ApiError: 410, they are not all kept any more.
        """
        oldest = self._compacted[resource]
        if version < oldest:
            raise errors.expired(f"too old resource version: {version} ({oldest})")
        history = self._history[resource]
        return history[bisect_right(history, version, key=lambda change: change.version) :]

    def at(self, resource: Resource, version: int) -> list[Stored]:
        """Every object of *resource* as it was at *version*, in the order of their keys.

        :raises ApiError: 410, the history does not reach back so far.
        """
        objects = dict(self._objects[resource])
        for change in reversed(self.since(resource, version)):
            if change.before is not None:
                objects[change.before.key] = change.before
            elif change.after is not None:
                objects.pop(change.after.key, None)
        return [objects[key] for key in sorted(objects)]
