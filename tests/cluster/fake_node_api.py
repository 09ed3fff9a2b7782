"""The door ``Api`` over a Node and its lease in memory, for tests in virtual time."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from tests.apiserver.patch import StrategicMerge

from pykubelet.api.codec import convert, to_builtins
from pykubelet.cluster.errors import ClusterError, Refused, Unreachable
from pykubelet.cluster.paths import leases, nodes

NODE = nodes("n")
LEASE = leases("kube-node-lease", "n")


class FakeNodeApi:
    """Objects by path; every request takes *delay* seconds and is written down."""

    def __init__(self, delay: float = 0.01) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        #: (seconds, verb, path, body) of every request.
        self.requests: list[tuple[float, str, str, Any]] = []
        #: What a request fails with.
        self.fails: Callable[[str, str], ClusterError | None] = lambda verb, path: None
        #: Whether a request gets no answer: it ends with its client's patience, in seconds.
        self.hangs: Callable[[str, str], bool] = lambda verb, path: False
        self.patience = 10.0
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

    def made(self, verb: str) -> list[tuple[float, str, str, Any]]:
        """The requests of *verb*."""
        return [request for request in self.requests if request[1] == verb]

    async def _request(self, verb: str, path: str, body: Any) -> None:
        self.requests.append((asyncio.get_running_loop().time(), verb, path, body))
        if self.hangs(verb, path):
            await asyncio.sleep(self.patience)
            raise Unreachable(f"{verb} {path}: no answer")
        await asyncio.sleep(self.delay)
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

    async def patch(
        self, path: str, body: Any, kind: Any, *, content_type: str = "", timeout: float | None = None
    ) -> Any:
        await self._request("patch", path, body)
        path = path.removesuffix("/status")
        new = StrategicMerge("Node").apply(self._found(path), body)
        new["metadata"] = {**new["metadata"], "resourceVersion": str(next(self._versions))}
        self.objects[path] = new
        return self.seen(path, kind)

    async def update(self, path: str, body: Any, kind: Any, *, timeout: float | None = None) -> Any:
        await self._request("update", path, body)
        if body.metadata.resourceVersion != self._found(path)["metadata"]["resourceVersion"]:
            raise Refused(409, "Conflict", "the object has been modified")
        self.put(path, body)
        return self.seen(path, kind)

    async def delete(self, path: str, *, grace: int | None = None, uid: str = "") -> None:
        raise NotImplementedError

    async def list(self, path: str, kind: Any, *, query: Any = None) -> Any:
        raise NotImplementedError

    def watch(self, path: str, kind: Any, *, query: Any = None) -> Any:
        raise NotImplementedError


def away(verb: str, path: str) -> ClusterError | None:
    """As if nobody listened."""
    return Unreachable("connection refused")
