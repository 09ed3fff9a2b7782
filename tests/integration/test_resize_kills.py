"""The daemon killed with SIGKILL in the middle of a resize; the next one ends it."""

import asyncio
import time

import pytest
from tests.apiserver import ApiServer, resources
from tests.criproxy.proxy import CUT, HANG, CriProxy
from tests.integration.joined import condition, container_id, container_status
from tests.integration.killed_node import KilledNode, container, pod

from pykubelet.linux.cgroup_discovery import discover

NODE = "node"
MIB = 1 << 20
#: Seconds in which a daemon reaches the moment, and in which all is as it should be again.
REACH, CONVERGE = 20.0, 40.0
#: The calls in the middle of which the daemon is killed, what happens to them, and which one of its kind.
MOMENTS = (
    ("UpdateContainerResources", HANG, 1),
    ("UpdateContainerResources", CUT, 1),
    ("UpdateContainerResources", HANG, 2),
    ("CreateContainer", HANG, 1),
)


def amounts(size):
    """Resources of a size: the first differs from the second in all, up and down."""
    both = {"cpu": f"{100 * size}m", "memory": f"{32 * size}Mi"}
    return {"requests": both, "limits": both}


class Scene:
    def __init__(self, server, node, proxy, client) -> None:
        self.server, self.node, self.proxy, self.client = server, node, proxy, client

    def pod(self):
        return self.server.pod("default", "web")

    async def until(self, holds, seconds):
        ends = time.monotonic() + seconds
        while not holds():
            assert self.node.alive, self.node.last_words()
            assert time.monotonic() < ends, f"{self.pod()}\n{self.node.last_words()}"
            await asyncio.sleep(0.02)

    def settled(self):
        """Whether the pod is shown as resized and ready."""
        found = self.pod()
        return (
            found["status"].get("observedGeneration", 0) >= found["metadata"]["generation"]
            and condition(found, "Ready").get("status") == "True"
            and not condition(found, "PodResizePending")
            and not condition(found, "PodResizeInProgress")
        )

    async def resize(self, size):
        both = [{"name": name, "resources": amounts(size)} for name in ("app", "again")]
        path = "/api/v1/namespaces/default/pods/web/resize"
        await self.client.patch(path, {"spec": {"containers": both}})

    async def killed_in(self, method, fault, number):
        """Kill the daemon in the middle of its *number*-th call of *method* from now on."""
        seen = 0

        def now(_: bytes) -> bool:
            nonlocal seen
            seen += 1
            return seen == number

        rule = self.proxy.add(method, fault)
        rule.when = now
        await self.until(lambda: rule.hits, REACH)
        self.node.kill()
        await asyncio.to_thread(self.node.reap)
        self.proxy.clear()

    def in_force(self, name=""):
        """Quota, shares and memory as the kernel has them."""
        uid = self.pod()["metadata"]["uid"]
        path = f"{self.node.cgroup_root}/kubepods/pod{uid}"
        limits = discover().limits(f"{path}/{container_id(self.pod(), name)}" if name else path)
        return limits.cpu_quota, limits.cpu_shares, limits.memory


@pytest.mark.timeout(240)
async def test_killed_in_the_middle_of_a_resize(containerd, cgroup_parent, no_leaks, short_dir):
    endpoint = f"unix://{short_dir}/cri.sock"
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    manifest = pod(
        "web",
        container("app", resources=amounts(1)),
        container("again", resources=amounts(1), resizePolicy=policy),
    )
    async with (
        ApiServer() as server,
        CriProxy(endpoint, containerd.endpoint) as proxy,
        server.client() as client,
    ):
        kubeconfig = server.write_kubeconfig(short_dir / "kubeconfig", f"system:node:{NODE}", "system:nodes")
        quiet = {"enableServer": False, "healthzPort": 0}
        node = KilledNode(short_dir, endpoint, cgroup_parent, kubeconfig=kubeconfig, **quiet)
        scene = Scene(server, node, proxy, client)
        spec = {**manifest["spec"], "nodeName": NODE}
        server.create(resources.PODS, {"metadata": manifest["metadata"], "spec": spec}, "default")
        try:
            node.start()
            await scene.until(lambda: scene.pod()["status"].get("conditions") and scene.settled(), CONVERGE)
            before, restarts = scene.pod(), 0
            for number, moment in enumerate(MOMENTS):
                size = 2 - number % 2
                await asyncio.gather(scene.killed_in(*moment), scene.resize(size))
                node.start()
                await scene.until(scene.settled, CONVERGE)
                kernels = await asyncio.to_thread(lambda: [scene.in_force(n) for n in ("", "app", "again")])
                one = (10_000 * size, 102 if size == 1 else 204, 32 * MIB * size)
                assert kernels == [(20_000 * size, 204 if size == 1 else 409, 64 * MIB * size), one, one], (
                    moment
                )
                found = scene.pod()
                for name in ("app", "again"):
                    status = container_status(found, name)
                    assert status["resources"] == amounts(size), moment
                    assert status["allocatedResources"] == amounts(size)["requests"], moment
                assert container_id(found) == container_id(before), moment
                # An instance that was made but not started counts too.
                counted = container_status(found, "again")["restartCount"]
                assert restarts + 1 <= counted <= restarts + 1 + (moment[0] == "CreateContainer"), moment
                restarts = counted
            server.delete(resources.PODS, "default", "web", 1)
            await scene.until(lambda: scene.pod() is None, CONVERGE)
            assert await asyncio.to_thread(node.stop) == 0
        finally:
            await asyncio.to_thread(node.clean_up)
