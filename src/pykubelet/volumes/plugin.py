"""What a kind of volume must be able to do."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from pykubelet.api.core import Pod
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.quantity import Quantity
from pykubelet.api.volumes import Volume

from .content_volume import Content
from .spec import VolumeSpec


class Remover(Protocol):
    """The part that all kinds have."""

    @property
    def name(self) -> str:
        """Upstream's name, as in ``kubernetes.io/empty-dir``."""
        ...

    @property
    def kind(self) -> str:
        """The field of the API's Volume that asks for it."""
        ...

    def tear_down(self, uid: str, volume: str) -> None:
        """Take away what was made; what is gone already is fine. Blocks, and can be repeated.

        :raises OSError: something is in use.
        """
        ...


class Plugin(Remover, Protocol):
    """A kind of volume that is made once, from the pod's spec alone."""

    def set_up(self, pod: Pod, volume: Volume) -> MountedVolume:
        """Make the volume ready for the pod's containers; what is ready stays as it is.

        Blocks, and can be repeated after an end at any point.

        :raises OSError: the kernel refused.
        :raises VolumeError: it cannot be had.
        """
        ...


class ContentPlugin(Remover, Protocol):
    """A kind of volume whose contents are gathered first, and renewed while pods use it."""

    async def gather(self, pod: Pod, volume: Volume) -> Content:
        """Fetch what goes into the volume.

        :raises VolumeError: it cannot be had now.
        """
        ...

    def set_up(self, pod: Pod, volume: Volume, content: Content) -> tuple[MountedVolume, bool]:
        """Let the volume hold *content*; whether that changed anything.

        Blocks, and can be repeated after an end at any point.

        :raises OSError: the kernel refused; the old contents stay.
        :raises VolumeError: it cannot be had.
        """
        ...

    def gone(self, uid: str) -> None:
        """A volume of that pod was torn down; called on the event loop."""
        ...


@dataclass(frozen=True, slots=True, order=True)
class Device:
    """What is made of a volume once for all pods of the node: attached, staged."""

    #: Upstream's name of the volume on this node (CSI: ``kubernetes.io/csi/DRIVER^HANDLE``).
    unique_name: str
    #: The name of the persistent volume; empty where the disk tells of the device alone.
    name: str = field(compare=False)
    #: Whether pods get the device itself.
    block: bool = False
    #: The SELinux label that the disk tells it is mounted with (empty: with none); None: that is not told.
    label: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Found:
    """A pod's volume that an earlier life left, as the disk tells of it."""

    #: What it rests on; None when nothing is made once a node.
    device: Device | None = None
    block: bool = False
    #: Whether the disk tells what it rests on.
    readable: bool = True


class PersistentPlugin(Protocol):
    """A kind of volume that outlives pods, or that a driver makes; found by a pod's claim or source.

    Everything can be repeated after an end at any point. What fails raises ``VolumeError``,
    whose *left* tells what it left, or ``OSError``, after which something may be left.
    """

    @property
    def name(self) -> str:
        """Upstream's name, as in ``kubernetes.io/csi``."""
        ...

    @property
    def kinds(self) -> Collection[str]:
        """The fields of Volume and of PersistentVolumeSpec that ask for it."""
        ...

    @property
    def expandable(self) -> bool:
        """Whether :meth:`expand` is to be called when a persistent volume of this kind grew."""
        ...

    def device(self, spec: VolumeSpec) -> Device | None:
        """What is attached or staged once a node; None when all is done for each pod.

        :raises VolumeError: the spec names nothing usable.
        """
        ...

    async def attachable(self, spec: VolumeSpec) -> bool:
        """Whether the attach/detach controller must attach it first.

        :raises VolumeError: it cannot be known now.
        """
        ...

    async def labelled(self, spec: VolumeSpec) -> bool:
        """Whether it can be mounted with an SELinux label, ``spec.label`` of what follows.

        Asked only where SELinux is on.

        :raises VolumeError: it cannot be known now.
        """
        ...

    async def exhausted(self, spec: VolumeSpec) -> bool:
        """Whether it is not attached since the node has as many volumes as it can."""
        ...

    async def unattached(self, spec: VolumeSpec) -> str:
        """What the cluster says why it is not attached; empty when it is, or nothing is said.

        :raises VolumeError: it cannot be known now.
        """
        ...

    async def stage(self, spec: VolumeSpec, pod: Pod, device_path: str) -> None:
        """Prepare the device for the pods of this node; called though it may be staged already.

        *pod* is one that waits for it; *device_path* is what the node's status says of it
        (empty for what is not attachable).
        """
        ...

    async def set_up(self, spec: VolumeSpec, pod: Pod, *, again: bool) -> MountedVolume:
        """Give the volume to the pod; *again*: it is mounted, and whatever fails it must stay so."""
        ...

    async def tear_down(self, uid: str, name: str, *, block: bool) -> None:
        """Take the volume from the pod; what is gone already is fine. *name* as in the spec's name."""
        ...

    async def unstage(self, device: Device) -> None:
        """Undo :meth:`stage`: no pod of this node has the volume any more."""
        ...

    async def expand(self, spec: VolumeSpec, pod: Pod, size: Quantity) -> None:
        """Let the file system have the volume's new *size*; the pod has the volume.

        :raises ExpandError: it was asked for and refused; the claim is told if that is final.
        :raises VolumeError: it could not even be asked for; nobody is told.
        """
        ...

    def republishes(self, spec: VolumeSpec) -> bool:
        """Whether :meth:`set_up` is repeated with each sync of the pod."""
        ...

    def mount_path(self, uid: str, name: str) -> str:
        """Where the pod's volume lies, if it is there; not for block volumes."""
        ...

    def map_path(self, name: str) -> str:
        """Where a block volume is mapped for all pods, as upstream's event tells it."""
        ...

    def found(self, uid: str, name: str, *, block: bool) -> Found:
        """What the disk tells of a pod's volume; blocks.

        :raises OSError, VolumeError: it cannot be told.
        """
        ...

    def devices_found(self) -> Collection[Device]:
        """What is staged, or was begun to be, by what the disk tells; blocks.

        :raises OSError: a directory cannot be read.
        """
        ...

    def given(self) -> Collection[tuple[str, str]]:
        """UIDs of pods, and the block volumes whose devices they were given, or were begun to be; blocks.

        By what lies outside the pods' directories: the Go kubelet makes a pod's own link last.

        :raises OSError: a directory cannot be read.
        """
        ...
