"""The door ``Api`` over a Node and its lease in memory, for tests in virtual time."""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.cluster.objects_api import ObjectsApi

from pykubelet.cluster.errors import ClusterError, Refused, Unreachable
from pykubelet.cluster.paths import leases, nodes

NODE = nodes("n")
LEASE = leases("kube-node-lease", "n")


class FakeNodeApi(ObjectsApi):
    """A Node and its lease, by path."""

    kind = "Node"

    def __init__(self, delay: float = 0.01) -> None:
        super().__init__(delay)
        #: Whether a request gets no answer: it ends with its client's patience, in seconds.
        self.hangs: Callable[[str, str], bool] = lambda verb, path: False
        self.patience = 10.0

    def made(self, verb: str) -> list[tuple[float, str, str, Any]]:
        """The requests of *verb*."""
        return [request for request in self.requests if request[1] == verb]

    async def _under_way(self, verb: str, path: str, body: Any) -> None:
        if self.hangs(verb, path):
            await asyncio.sleep(self.patience)
            raise Unreachable(f"{verb} {path}: no answer")
        await super()._under_way(verb, path, body)

    async def update(self, path: str, body: Any, kind: Any, *, timeout: float | None = None) -> Any:
        await self._request("update", path, body)
        if body.metadata.resourceVersion != self._found(path)["metadata"]["resourceVersion"]:
            raise Refused(409, "Conflict", "the object has been modified")
        self.put(path, body)
        return self.seen(path, kind)


def away(verb: str, path: str) -> ClusterError | None:
    """As if nobody listened."""
    return Unreachable("connection refused")
