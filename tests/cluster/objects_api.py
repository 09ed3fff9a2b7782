"""The door ``Api`` over objects of one kind in memory, for tests in virtual time."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from tests.apiserver.patch import StrategicMerge

from pykubelet.api.codec import convert, to_builtins
from pykubelet.cluster.errors import ClusterError, Refused


class ObjectsApi:
    """Objects by path; every request takes *delay* seconds and is written down."""

    #: What patches are merged as.
    kind = ""

    def __init__(self, delay: float = 0.01) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        #: (seconds, verb, path, body) of every request made.
        self.requests: list[tuple[float, str, str, Any]] = []
        #: What a request fails with, asked before it is done.
        self.fails: Callable[[str, str], ClusterError | None] = lambda verb, path: None
        self.delay = delay
        self._versions = itertools.count(100)

    def put(self, path: str, obj: Any) -> None:
        """Make or replace an object as somebody else would."""
        tree = to_builtins(obj, whole_seconds=True)
        tree["metadata"]["resourceVersion"] = str(next(self._versions))
        self.objects[path] = tree

    def seen(self, path: str, kind: Any) -> Any:
        """The object as a watch brings it; None if there is none."""
        return convert(self.objects[path], kind) if path in self.objects else None

    async def _under_way(self, verb: str, path: str, body: Any) -> None:
        """What a request takes."""
        await asyncio.sleep(self.delay)

    async def _request(self, verb: str, path: str, body: Any) -> None:
        self.requests.append((asyncio.get_running_loop().time(), verb, path, body))
        await self._under_way(verb, path, body)
        error = self.fails(verb, path)
        if error is not None:
            raise error

    def _found(self, path: str) -> dict[str, Any]:
        if path not in self.objects:
            raise Refused(404, "NotFound", f"{path} not found")
        return self.objects[path]

    async def get(self, path: str, kind: Any, *, query: Any = None, timeout: float | None = None) -> Any:
        await self._request("get", path, None)
        return convert(self._found(path), kind)

    async def create(self, path: str, body: Any, kind: Any, *, timeout: float | None = None) -> Any:
        await self._request("create", path, body)
        full = f"{path}/{body.metadata.name}"
        if full in self.objects:
            raise Refused(409, "AlreadyExists", f"{full} already exists")
        self.put(full, body)
        self.objects[full]["metadata"]["uid"] = f"made-{next(self._versions)}"
        return self.seen(full, kind)

    def _check_patch(self, old: dict[str, Any], body: Any) -> None:
        """Raise what a real server has against it."""

    async def patch(
        self, path: str, body: Any, kind: Any, *, content_type: str = "", timeout: float | None = None
    ) -> Any:
        await self._request("patch", path, body)
        path = path.removesuffix("/status")
        old = self._found(path)
        self._check_patch(old, body)
        new = StrategicMerge(self.kind).apply(old, body)
        new["metadata"] = {**new["metadata"], "resourceVersion": str(next(self._versions))}
        self.objects[path] = new
        return self.seen(path, kind)

    async def update(self, path: str, body: Any, kind: Any, *, timeout: float | None = None) -> Any:
        raise NotImplementedError

    async def delete(self, path: str, *, grace: int | None = None, uid: str = "") -> None:
        raise NotImplementedError

    async def list(self, path: str, kind: Any, *, query: Any = None) -> Any:
        raise NotImplementedError

    def watch(self, path: str, kind: Any, *, query: Any = None) -> Any:
        raise NotImplementedError
