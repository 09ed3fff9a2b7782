"""A node whose persistent volumes are made by a plug-in in memory, with claims and a controller."""

import asyncio

from tests.volumes.fake_driver import CSI, Cluster, Driver, bound
from tests.volumes.managed import Node, inline, pod_of

from pykubelet.api.volumes import (
    PersistentVolumeClaimVolumeSource,
    VolumeDevice,
)
from pykubelet.base.metrics import Metrics
from pykubelet.volumes import VolumeManager

A = f"{CSI}/d^a"


PV_A = {"persistent_volume": "pv-a"}


class Lab:
    """A node whose persistent volumes are made by a plug-in in memory."""

    def __init__(self, root):
        self.node = Node(root)
        self.driver, self.cluster, self.metrics = Driver(), Cluster(), Metrics()
        self.cluster.bound["a"] = bound("a")
        self.labels = {}

    async def start(self, **options):
        manager = await self.node.start(
            plugins=options.pop("plugins", []),
            contents=[],
            persistent=[self.driver],
            claims=self.cluster,
            attachments=self.cluster,
            node_labels=lambda: self.labels,
            node_name="node-1",
            metrics=self.metrics,
            off_loop=inline,
            **options,
        )
        assert isinstance(manager, VolumeManager)
        self.manager = manager
        return manager

    @property
    def calls(self):
        return [call[0] for call in self.driver.calls]

    @property
    def events(self):
        return [event[1:] for event in self.node.story.events]

    async def rest(self, seconds=0.1):
        await asyncio.sleep(seconds)


def claiming(uid="uid-1", **volumes):
    """A pod with a claim for each volume: ``data="a"``, or ``data=("a", True)`` to read only."""
    sources = {}
    for name, claim in volumes.items():
        claim, read_only = claim if isinstance(claim, tuple) else (claim, False)
        sources[name] = PersistentVolumeClaimVolumeSource(claimName=claim, readOnly=read_only)
    return pod_of(uid, **sources)


def with_devices(pod):
    """The same pod, its volumes given as devices."""
    box = pod.spec.containers[0]
    box.volumeDevices = [
        VolumeDevice(name=each.name, devicePath=f"/dev/{each.name}") for each in box.volumeMounts
    ]
    box.volumeMounts = []
    return pod


def leave(lab, uid, *names):
    """What an earlier life left: the pod's directories, mounts and staged devices."""
    for name in names:
        lab.node.layout.pod_volume(uid, CSI, name).mkdir(parents=True)
        lab.driver.mounts.add((uid, name))
        lab.driver.staged.add(name)
