"""The daemon killed while CSI volumes come and go; afterwards drivers, mounts and files are as wanted."""

import asyncio
import os
import random
import time

import pytest
from tests.apiserver import ApiServer, resources
from tests.csidriver import disk
from tests.csidriver.driver import CsiDriver
from tests.integration.joined import container_id, is_ready
from tests.integration.killed_node import KilledNode, container, pod
from tests.listing import files_below

SEED = 20264
ROUNDS = 5
#: Seconds after which everything has to be as wanted.
CONVERGE = 60.0
NODE = "node"
DRIVER = "driver.example"
CALLS = ("NodeStageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume")


class Scene:
    """The API server, the driver, and pods that each have a claimed, a raw and an inline volume."""

    def __init__(self, server: ApiServer, driver: CsiDriver, rng: random.Random) -> None:
        self.server, self.driver, self.rng = server, driver, rng
        self.number = 0
        self.wanted: list[str] = []
        spec: dict = {"attachRequired": False, "podInfoOnMount": True, "fsGroupPolicy": "File"}
        spec["volumeLifecycleModes"] = ["Persistent", "Ephemeral"]
        server.create(resources.CSI_DRIVERS, {"metadata": {"name": DRIVER}, "spec": spec})

    def bind(self, name: str, mode: str) -> None:
        spec = {"accessModes": ["ReadWriteOnce"], "volumeMode": mode}
        claim = self.server.create(
            resources.CLAIMS,
            {
                "metadata": {"name": name},
                "spec": {**spec, "volumeName": f"pv-{name}", "resources": {"requests": {"storage": "1Mi"}}},
            },
            "default",
        )
        reference = {"namespace": "default", "name": name, "uid": claim["metadata"]["uid"]}
        csi = {"driver": DRIVER, "volumeHandle": name, "volumeAttributes": {"size": "1048576"}}
        self.server.create(
            resources.PERSISTENT_VOLUMES,
            {
                "metadata": {"name": f"pv-{name}"},
                "spec": {**spec, "capacity": {"storage": "1Mi"}, "claimRef": reference, "csi": csi},
            },
        )
        status = {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Mi"}}
        self.server.patch(resources.CLAIMS, "default", name, lambda obj: obj.update(status=status), "status")

    def create(self) -> str:
        self.number += 1
        name = f"pod-{self.number}"
        for kind, mode in (("files", "Filesystem"), ("raw", "Block")):
            self.bind(f"{name}-{kind}", mode)
        app = container(
            "app",
            volumeMounts=[{"name": "files", "mountPath": "/files"}, {"name": "own", "mountPath": "/own"}],
            volumeDevices=[{"name": "raw", "devicePath": "/dev/raw"}],
        )
        volumes = [
            {"name": "files", "persistentVolumeClaim": {"claimName": f"{name}-files"}},
            {"name": "raw", "persistentVolumeClaim": {"claimName": f"{name}-raw"}},
            {"name": "own", "csi": {"driver": DRIVER}},
        ]
        manifest = pod(name, app, volumes=volumes)
        spec = {**manifest["spec"], "nodeName": NODE}
        self.server.create(resources.PODS, {"metadata": dict(manifest["metadata"]), "spec": spec}, "default")
        self.wanted.append(name)
        return name

    def act(self) -> str:
        """Let a pod come, or one go."""
        if len(self.wanted) < 2:
            return f"create {self.create()}"
        name = self.wanted.pop(self.rng.randrange(len(self.wanted)))
        self.server.delete(resources.PODS, "default", name, self.rng.choice([0, 1]))
        return f"delete {name}"

    def pod(self, name):
        return self.server.pod("default", name)

    def pods(self) -> set[str]:
        return {one["metadata"]["name"] for one in self.server.list(resources.PODS)}


async def until(node, off, seconds=CONVERGE):
    """Wait until nothing is *off*."""
    ends = time.monotonic() + seconds
    while told := await off():
        assert node.alive, node.last_words()
        assert time.monotonic() < ends, f"{told}\n{node.last_words()}"
        await asyncio.sleep(0.1)


@pytest.mark.timeout(240)
async def test_killed_while_volumes_come_and_go(containerd, cgroup_parent, no_leaks, short_dir):
    async with ApiServer() as server:
        kubeconfig = server.write_kubeconfig(short_dir / "kubeconfig", f"system:node:{NODE}", "system:nodes")
        node = KilledNode(short_dir, containerd.endpoint, cgroup_parent, kubeconfig=kubeconfig)
        registry = node.root / "plugins_registry"
        registry.mkdir(parents=True)
        driver = CsiDriver(short_dir / "d", registry, node_id=NODE)
        scene = Scene(server, driver, random.Random(SEED))
        # Slow enough to be cut in the middle.
        for method in CALLS:
            driver.fault(method, times=None, delay=0.15)

        async def unready():
            return [name for name in scene.wanted if not is_ready(scene.pod(name) or {})]

        async def excess():
            return sorted(scene.pods().difference(scene.wanted))

        async def left():
            """What is of volumes when no pod should have any."""
            notes = list(map(str, files_below(node.root / "plugins/kubernetes.io/csi", "vol_data.json")))
            mounts = [point for point in await asyncio.to_thread(node.mounts) if "csi" in point]
            return [*await excess(), *notes, *mounts, *node.pod_directories()]

        try:
            async with driver:
                lasting = scene.create()
                node.start()
                await until(node, unready)
                scene.wanted.remove(lasting)
                before = scene.pod(lasting)
                for number in range(ROUNDS):
                    did = scene.act()
                    await asyncio.sleep(scene.rng.random() * 2.5)
                    node.kill()
                    await asyncio.to_thread(node.reap)
                    print(f"round {number}: {did}, killed")
                    node.start()
                scene.wanted.append(lasting)
                await until(node, unready)
                await until(node, excess)
                # What ran all the time was published again and again, and noticed nothing.
                assert container_id(scene.pod(lasting)) == container_id(before)
                assert [call.request["volume_id"] for call in driver.calls("NodeUnstageVolume")].count(
                    f"{lasting}-files"
                ) == 0
                driver.files.no_faults()
                for name in scene.wanted:
                    server.delete(resources.PODS, "default", name, 1)
                scene.wanted.clear()
                await until(node, left)
                volumes = driver.files.root / "volumes"
                assert not [name for name in os.listdir(volumes) if _held(volumes / name / "image")]
                assert await asyncio.to_thread(node.stop) == 0
        finally:
            await asyncio.to_thread(node.clean_up)
            await asyncio.to_thread(disk.clean_up, short_dir / "d")


def _held(image) -> bool:
    """Whether the driver still has a loop device for a volume."""
    return image.exists() and bool(disk.run("losetup", "-j", image))
