"""The volume manager joined with the CSI plug-in, a driver that really mounts, and a cluster in memory."""

from contextlib import asynccontextmanager

from tests.volumes.fake_driver import Cluster
from tests.volumes.managed import Node as Managed

from pykubelet.api.core import Container, Pod, PodSpec
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.volumes import VolumeDevice, VolumeMount


def pod_of(uid, spec):
    """A pod whose container has the volume."""
    name = spec.volume.name
    container = Container(name="box")
    if spec.block:
        container.volumeDevices = [VolumeDevice(name=name, devicePath="/dev/x")]
    else:
        container.volumeMounts = [VolumeMount(name=name, mountPath="/data")]
    return Pod(
        metadata=ObjectMeta(name=f"web-{uid}", namespace="shop", uid=uid),
        spec=PodSpec(serviceAccountName="clerk", volumes=[spec.volume], containers=[container]),
    )


class Joined:
    """A manager on a node with one driver; *start* makes a new one, as after a kill."""

    def __init__(self, node):
        self.node, self.cluster = node, Cluster()
        self.managed = Managed(node.layout.root)
        self.managed.layout = node.layout

    def has(self, spec):
        self.cluster.bound["data"] = (spec.pv, None)

    async def start(self, **options):
        doors = {"claims": self.cluster, "attachments": self.cluster}
        return await self.managed.start(persistent=[self.node.restart()], **doors, **options)

    async def stop(self):
        await self.managed.manager.stop()

    @asynccontextmanager
    async def life(self, **options):
        yield await self.start(**options)
        await self.stop()

    async def run(self, *pods):
        """Let exactly these pods be there, and have their volumes."""
        gone = [pod for pod in self.managed.pods if pod not in pods]
        self.managed.pods = list(pods)
        manager = self.managed.manager
        for pod in pods:
            await manager.wait_ready(pod)
        for pod in gone:
            await manager.wait_gone(pod)

    def left(self, *names):
        """What is there of volumes of these names, beside the usual ones."""
        parts = ("pv-1", "scratch", "vol_data", *names)
        return [path for path in self.node.tree() if any(part in path for part in parts)]


def path_of(joined, pod):
    return next(iter(joined.managed.manager.mounted(pod.metadata.uid).values()))
