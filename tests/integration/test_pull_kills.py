"""The daemon killed with SIGKILL in the middle of pulls: what the next one makes of them."""

import asyncio
import json
import time

import pytest
from tests.integration.killed_node import KilledNode, container, pod
from tests.integration.registry import running_registry, slow_way
from tests.listing import contents, listed

from pykubelet.base.clock import SystemClock
from pykubelet.cri.client import CriClient
from pykubelet.cri.types import ContainerState

#: Seconds in which the daemon reaches the moment, and in which all is as it should be again.
REACH, CONVERGE = 30.0, 40.0
#: *cut*: the pull ends with the daemon. *came*: the image is there when the next daemon starts, and
#: nobody wants it any more.
NAMES = ("cut", "came")


class Scene:
    def __init__(self, node, runtime, host) -> None:
        self.node, self.runtime, self.host = node, runtime, host

    def image(self, name):
        return f"{self.host}/kills/{name}:v1"

    def records(self, kind):
        directory = self.node.root / "image_manager" / kind
        texts = [contents(file) for file in listed(directory) if file.suffix != ".tmp"]
        return [json.loads(text) for text in texts if text]

    def intents(self):
        return {intent["image"] for intent in self.records("pulling")}

    async def running(self):
        """The pods of which a container runs."""
        listed = await self.runtime.list_containers(state=ContainerState.RUNNING)
        return {each.labels["io.kubernetes.pod.name"].removesuffix("-node") for each in listed}

    async def until(self, holds, seconds):
        ends = time.monotonic() + seconds
        while not await holds():
            assert time.monotonic() < ends, (
                f"{self.intents()} {await self.running()}\n{self.node.last_words()}"
            )
            await asyncio.sleep(0.05)


@pytest.mark.timeout(180)
async def test_killed_in_the_middle_of_pulls(containerd, cgroup_parent, no_leaks, short_dir):
    runtime = CriClient(containerd.endpoint, clock=SystemClock(), request_timeout=30)
    quiet = {"enableServer": False, "healthzPort": 0, "serializeImagePulls": False}
    node = KilledNode(short_dir, containerd.endpoint, cgroup_parent, **quiet)
    with running_registry(short_dir / "registry") as registry:
        for name in NAMES:
            registry.push(f"kills/{name}", "v1", padding=1 << 20)
        async with slow_way(registry, 10_000) as way:
            scene = Scene(node, runtime, way.host)
            images = {name: scene.image(name) for name in NAMES}
            try:
                await _killed(scene, way, images)
                await _settled(scene, images)
            finally:
                await asyncio.to_thread(node.clean_up)
                for sandbox in await runtime.list_sandboxes():
                    await runtime.stop_sandbox(sandbox.id)
                    await runtime.remove_sandbox(sandbox.id)
                for image in images.values():
                    await runtime.remove_image(image)
                await runtime.close()


async def _killed(scene, way, images):
    """Kill the daemon while it pulls both images; then let one of them come."""
    node, runtime = scene.node, scene.runtime
    for name, image in images.items():
        node.want(pod(name, container("app", image=image, imagePullPolicy="IfNotPresent")))
    node.start()

    async def pulling():
        assert node.alive, node.last_words()
        return scene.intents() == set(images.values()) and way.sent > 1 << 16

    await scene.until(pulling, REACH)
    node.kill()
    await asyncio.to_thread(node.reap)
    for image in images.values():
        assert await runtime.image_status(image) is None
    assert scene.intents() == set(images.values())
    assert scene.records("pulled") == []
    way.rate = 1 << 30
    await runtime.pull_image(images["came"])
    node.forget("came")


async def _settled(scene, images):
    """Start the daemon again; wait until the pod runs, and see that the records tell what was pulled how."""
    scene.node.start()

    async def settled():
        assert scene.node.alive, scene.node.last_words()
        return "cut" in await scene.running() and not scene.intents()

    await scene.until(settled, CONVERGE)
    found = {record["imageRef"]: record.get("credentialMapping", {}) for record in scene.records("pulled")}
    ids = {name: (await scene.runtime.image_status(image)).id for name, image in images.items()}
    # With which login an image came that was there at the start is not known.
    repository = images["cut"].removesuffix(":v1")
    assert found == {ids["cut"]: {repository: {"nodePodsAccessible": True}}, ids["came"]: {}}
