"""Persistent volumes in memory: a plug-in, its claims and the attach/detach controller, for tests."""

import os
from types import SimpleNamespace

from pykubelet.api.meta import ObjectMeta
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.quantity import Quantity
from pykubelet.api.storage import (
    CSIPersistentVolumeSource,
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimStatus,
    PersistentVolumeSpec,
)
from pykubelet.base.errors import VolumeError
from pykubelet.volumes import claims, expansion
from pykubelet.volumes.plugin import Device, Found
from pykubelet.volumes.spec import VolumeSpec

CSI = "kubernetes.io/csi"


def storage(size):
    return {"storage": Quantity.parse(size)}


def bound(name, *, size="1Gi", has="1Gi", driver="d", modes=("ReadWriteMany",), annotations=None, **spec):
    """A persistent volume ``pv-NAME`` and its claim."""
    pv = PersistentVolume(
        metadata=ObjectMeta(name=f"pv-{name}", annotations=annotations or {}),
        spec=PersistentVolumeSpec(
            capacity=storage(size),
            accessModes=list(modes),
            **({"csi": CSIPersistentVolumeSource(driver=driver, volumeHandle=name)} | spec),
        ),
    )
    claim = PersistentVolumeClaim(
        metadata=ObjectMeta(name=name, namespace="shop"),
        status=PersistentVolumeClaimStatus(phase="Bound", capacity=storage(has)),
    )
    return pv, claim


class Cluster:
    """The doors Claims and Attachments."""

    def __init__(self):
        self.bound, self.asked, self.told_of = {}, [], []
        self.used, self.written, self.attached_to = None, set(), {}
        self.error = self.untold = None
        self.plans = []

    async def resolve(self, pod, volume):
        name = claims.claim_name(pod, volume)
        self.asked.append(name)
        if self.error is not None:
            raise self.error
        if name not in self.bound:
            raise VolumeError(f"error processing PVC shop/{name}: PVC is not bound", left="unchanged")
        return VolumeSpec(volume, *self.bound[name])

    async def expanding(self, spec):
        pv, claim = self.bound[spec.volume.persistentVolumeClaim.claimName]
        plan = expansion.plan(VolumeSpec(spec.volume, pv, claim), failed=False)
        self.plans.append(plan.act)
        return plan

    async def expanded(self, plan, error):
        if self.untold is not None:
            raise self.untold
        self.told_of.append((str(plan.size), error))

    def use(self, names):
        self.used = set(names)

    by_controller = True

    def told(self, name):
        return name in self.written

    def seen(self, name):
        return name in self.attached_to

    async def attached(self):
        if self.error is not None:
            raise self.error
        return dict(self.attached_to)


class Driver:
    """The plug-in; keeps what it made in sets, fails as the test says."""

    name = CSI
    kinds = ("csi",)
    expandable = True

    def __init__(self):
        self.calls, self.staged, self.mounts = [], set(), set()
        #: Errors by the name of the call, raised while they are there.
        self.errors = {}
        self.attaches, self.republished, self.full = False, False, False
        self.attach_error = ""
        #: Whether it can mount with SELinux labels, and the labels of what was staged and mounted.
        self.labels, self.labelled_with = False, {}
        #: The label that the disk tells of what is staged; nothing is told of what is mounted.
        self.label_found = None
        self.paths = {}
        self.unreadable = set()
        #: Pods (UIDs) and block volumes of which something lies outside the pods' directories.
        self.devices = set()

    def _call(self, name, *what):
        self.calls.append((name, *what))
        if name in self.errors:
            raise self.errors[name]

    def device(self, spec):
        if spec.pv is None:
            return None
        return Device(
            f"{CSI}/{spec.pv.spec.csi.driver}^{spec.pv.spec.csi.volumeHandle}", spec.name, spec.block
        )

    async def attachable(self, spec):
        return self.attaches

    async def labelled(self, spec):
        self.calls.append(("labelled", spec.name))
        return self.labels

    async def exhausted(self, spec):
        return self.full

    async def unattached(self, spec):
        return self.attach_error

    async def stage(self, spec, pod, device_path):
        self._call("stage", spec.name, device_path)
        self.labelled_with["stage", spec.name] = spec.label
        self.staged.add(spec.name)

    async def set_up(self, spec, pod, *, again):
        uid = pod.metadata.uid
        self._call("again" if again else "set_up", uid, spec.name)
        self.labelled_with[uid, spec.name] = spec.label
        self.mounts.add((uid, spec.name))
        path = f"/there/{uid}/{spec.name}"
        if spec.block:
            return MountedVolume(spec.name, device_path=path)
        return MountedVolume(spec.name, path)

    async def tear_down(self, uid, name, *, block):
        self._call("tear_down", uid, name, *(["block"] if block else []))
        self.mounts.discard((uid, name))

    async def unstage(self, device):
        assert not any(name == device.name for _, name in self.mounts), "a pod still has it"
        self._call("unstage", device.unique_name)
        self.staged.discard(device.name)

    async def expand(self, spec, pod, size):
        self._call("expand", spec.name, str(size))

    def republishes(self, spec):
        return self.republished

    def mount_path(self, uid, name):
        return self.paths.get((uid, name), "/nowhere")

    def map_path(self, name):
        return f"/plugins/{name}/dev"

    def found(self, uid, name, *, block):
        if name in self.unreadable:
            raise OSError(2, os.strerror(2), f"{name}/vol_data.json")
        return Found(Device(f"{CSI}/d^{name.removeprefix('pv-')}", name, block), block)

    def devices_found(self):
        names, label = [(name, name.removeprefix("pv-")) for name in self.staged], self.label_found
        return [Device(f"{CSI}/d^{handle}", name, label=label) for name, handle in names]

    def given(self):
        return list(self.devices)


def sample(metrics, name, **labels):
    """The sum of the samples of that name which have at least *labels*."""
    told = SimpleNamespace(total=0.0)
    for line in metrics.render().decode().splitlines():
        head, _, value = line.rpartition(" ")
        if head.partition("{")[0] == name and all(f'{key}="{text}"' in head for key, text in labels.items()):
            told.total += float(value)
    return told.total
