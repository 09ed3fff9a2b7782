"""A node of a cluster for tests: the whole kubelet on a real runtime, and the API server seen as admin.

It works with the API server's double and with a real one (see ``tests/apiserver/cluster.py``).
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.apiserver.client import MERGE, Refusal
from tests.apiserver.cluster import Cluster, DoubleCluster
from tests.apiserver.kubeconfig import write
from tests.apiserver.node_identity import node_credentials
from tests.apiserver.requests import Request
from tests.apiserver.resources import Object
from tests.apiserver.server import ApiServer
from tests.integration.node import Node, running_node

from pykubelet.explain.story import tell

#: Seconds that a wait may last unless the test says otherwise.
PATIENCE = 25.0
#: Keeps a real scheduler from giving the node pods of others.
TAINT = {"key": "pykubelet.test", "effect": "NoSchedule"}


class Joined:
    """A node and its cluster. Pods are in the cluster's namespace and bound to the node."""

    def __init__(self, cluster: Cluster, node: Node) -> None:
        self.cluster = cluster
        self.node = node
        self.name = node.name
        self.node_path = f"/api/v1/nodes/{node.name}"
        self.lease_path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node.name}"

    # --- pods -----------------------------------------------------------------

    async def create(self, manifest: Object, **metadata: Any) -> Object:
        """Create a pod on the node; as the server has it."""
        spec = {"nodeName": self.name, **manifest["spec"]}
        made = {**manifest, "metadata": {**manifest["metadata"], **metadata}, "spec": spec}
        return await self.cluster.create(self.cluster.path("pods"), made)

    async def pod(self, name: str, namespace: str = "") -> Object | None:
        """The pod as the server has it; None if it has none."""
        try:
            return await self.cluster.get(self._path(name, namespace))
        except Refusal as refusal:
            if refusal.code != 404:
                raise
            return None

    async def patch(self, name: str, body: Object) -> Object:
        return await self.cluster.patch(self._path(name), body, MERGE)

    async def delete(self, name: str, grace: int | None = None, namespace: str = "") -> None:
        await self.cluster.delete(self._path(name, namespace), grace=grace)

    def _path(self, name: str, namespace: str = "") -> str:
        return f"/api/v1/namespaces/{namespace or self.cluster.namespace}/pods/{name}"

    async def until(
        self, name: str, holds: Callable[[Object], Any], *, namespace: str = "", seconds: float = PATIENCE
    ) -> Object:
        """The pod as soon as it is there and *holds*; says how it is if it does not in time."""
        ends = time.monotonic() + seconds
        while True:
            found = await self.pod(name, namespace)
            if found is not None and holds(found):
                return found
            assert time.monotonic() < ends, f"{name}: {found}\n{self.story(name)}"
            await asyncio.sleep(0.05)

    async def ready(self, *names: str) -> list[Object]:
        """The pods, as soon as each is ready."""
        return [await self.until(name, is_ready) for name in names]

    async def gone(self, *names: str, uid: str = "", seconds: float = PATIENCE) -> None:
        """Wait until the server has no such pods (or none of *uid*)."""
        ends = time.monotonic() + seconds
        for name in names:
            while (found := await self.pod(name)) is not None and uid in {"", found["metadata"]["uid"]}:
                assert time.monotonic() < ends, f"{name}: {found}\n{self.story(name)}"
                await asyncio.sleep(0.05)

    async def empty(self) -> None:
        """Delete all pods of the test from the server; the node does the rest."""
        pods = await self.cluster.list("/api/v1/pods", fieldSelector=f"spec.nodeName={self.name}")
        for found in pods["items"]:
            meta = found["metadata"]
            if "kubernetes.io/config.mirror" not in meta.get("annotations", {}):
                await self._forget(meta["name"], meta["namespace"])

    async def _forget(self, name: str, namespace: str) -> None:
        try:
            await self.delete(name, 0, namespace)
        except Refusal as refusal:
            assert refusal.code == 404, refusal

    # --- other objects --------------------------------------------------------

    async def put(self, plural: str, name: str, **fields: Any) -> None:
        """Make a config map or secret what *fields* say, new or not."""
        body = {"metadata": {"name": name}, **fields}
        try:
            await self.cluster.update(self.cluster.path(plural, name), body)
        except Refusal as refusal:
            assert refusal.code == 404, refusal
            await self.cluster.create(self.cluster.path(plural), body)

    async def node_object(self) -> Object:
        return await self.cluster.get(self.node_path)

    # --- what is seen on the node ---------------------------------------------

    async def exec(self, pod: Object, script: str, container: str = "app") -> str:
        """What the shell in the pod's container says to *script*, which must not fail."""
        done = await self.node.cri.exec_sync(container_id(pod, container), ["sh", "-c", script], 10)
        assert done.exit_code == 0, (done.exit_code, done.stdout, done.stderr)
        return done.stdout.decode().rstrip("\n")

    async def says(self, pod: Object, script: str, expected: str, seconds: float = PATIENCE) -> None:
        """Wait until the shell in the pod's container answers *expected*."""
        ends = time.monotonic() + seconds
        while (said := await self.exec(pod, script)) != expected:
            assert time.monotonic() < ends, (
                f"{said!r}, not {expected!r}\n{self.story(pod['metadata']['name'])}"
            )
            await asyncio.sleep(0.05)

    async def containers(self) -> set[str]:
        """IDs of all containers that the runtime has."""
        return {one.id for one in await self.node.cri.list_containers()}

    def story(self, name: str) -> str:
        """What the node decided about the pod."""
        if self.node.kubelet is None:
            return ""
        entries = self.node.kubelet.ground.journal.of_name(self.cluster.namespace, name)
        return "\n".join(tell(entries))

    # --- the double only ------------------------------------------------------

    @property
    def server(self) -> ApiServer:
        """The double; the test is skipped on a real API server."""
        if not isinstance(self.cluster, DoubleCluster):
            pytest.skip("needs the double")
        return self.cluster.server

    def requests(self, verb: str = "") -> list[Request]:
        """What the node asked of the double since its log was cleared last."""
        return [r for r in self.server.requests.find(verb=verb) if not r.user_agent.startswith("apiserver")]

    def writes(self) -> list[Request]:
        """What the node changed, without its own rest: lease and node status."""
        own = {f"{self.node_path}/status", self.lease_path}
        return [r for r in self.requests("create update patch delete") if r.path not in own]


@asynccontextmanager
async def joined_node(
    cluster: Cluster, base: Path, containerd: Any, *, own_credentials: bool = False, **config: Any
) -> AsyncIterator[Joined]:
    """A node of *cluster* that is Ready there; at the end nothing of its pods may be left.

    It comes with the admin's credentials, which show all requests to be well formed, or with
    *own_credentials*, which show them to be allowed; only a real API server gives those.
    """
    name = f"it-{secrets.token_hex(4)}"
    kubeconfig = base / "kubeconfig"
    if own_credentials:
        write(kubeconfig, await node_credentials(cluster, name))
    else:
        cluster.write_kubeconfig(kubeconfig)
    wanted = {"registerWithTaints": [TAINT], **config}
    async with running_node(base, containerd, name, kubeconfig=str(kubeconfig), **wanted) as node:
        joined = Joined(cluster, node)
        cluster.later(joined.node_path)
        cluster.later(joined.lease_path)
        await cluster.until(joined.node_path, is_ready)
        yield joined
        await joined.empty()


# --- reading objects ----------------------------------------------------------


def condition(obj: Object, kind: str) -> Object:
    """A condition of a pod or node; empty when there is none."""
    conditions = obj.get("status", {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == kind), {})


def is_ready(obj: Object) -> bool:
    return condition(obj, "Ready").get("status") == "True"


def phase(pod: Object) -> str:
    return pod.get("status", {}).get("phase", "")


def container_status(pod: Object, container: str = "app") -> Object:
    """The container's status; empty while it has none."""
    status = pod.get("status", {})
    every = [*(status.get("containerStatuses") or []), *(status.get("initContainerStatuses") or [])]
    return next((c for c in every if c["name"] == container), {})


def state(pod: Object, kind: str, container: str = "app") -> Object:
    """The container's state if it is *kind* (waiting, running, terminated); else empty."""
    return container_status(pod, container).get("state", {}).get(kind) or {}


def container_id(pod: Object, container: str = "app") -> str:
    """The ID as the runtime knows it."""
    return container_status(pod, container)["containerID"].partition("://")[2]
