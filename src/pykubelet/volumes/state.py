"""The words in which desired and actual volumes are told. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from pykubelet.api.core import Pod
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volumes import Volume

from .plugin import Device
from .spec import VolumeSpec

#: A volume or a device that is there is *mounted*, or *uncertain*: left by an earlier life, a failed
#: set-up or a failed tear-down; an uncertain one is set up again or taken away, never used.
Condition = Literal["mounted", "uncertain"]
#: Whether the attach/detach controller attached a device; *uncertain*: the node's status was not read yet.
Attachment = Literal["no", "yes", "uncertain"]


# Keys are tuples: each decision compares and hashes thousands of them.


class VolumeKey(NamedTuple):
    """One volume of one pod; *plugin* is the plug-in's name (``kubernetes.io/empty-dir``).

    *name* is the persistent volume's, where there is one, as its directories have it.
    """

    uid: str
    plugin: str
    name: str

    @property
    def unique_name(self) -> str:
        """Upstream's name of the volume on this node."""
        return f"{self.plugin}/{self.uid}-{self.name}"


class DeviceKey(NamedTuple):
    """What is made of a volume once for all pods of the node."""

    unique_name: str


class SourceKey(NamedTuple):
    """A volume of a pod's spec of which it must be found out what is behind it (its claim)."""

    uid: str
    volume: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """What was found behind a volume of a pod's spec."""

    spec: VolumeSpec
    #: The plug-in's name.
    plugin: str
    device: Device | None = None
    attachable: bool = False
    #: Whether it is set up again with each sync of the pod.
    republished: bool = False
    expandable: bool = False
    #: Whether it can be mounted with an SELinux label; not asked where SELinux is off.
    labelled: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """A volume that a pod's containers mount."""

    key: VolumeKey
    pod: Pod
    volume: Volume
    #: What is behind it; None for volumes that are made from the pod's spec alone.
    resolved: Resolved | None = None
    #: What each name that the pod's spec has for it says; empty: it has one name.
    specs: Mapping[str, VolumeSpec] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """What the pod's spec calls it; several volumes may lead to one persistent volume."""
        return tuple(self.specs) or (self.volume.name,)

    @property
    def called(self) -> str:
        """What events call it."""
        return self.resolved.spec.name if self.resolved is not None else self.key.name

    @property
    def migrated(self) -> bool:
        """Whether it is a cloud provider's, translated for a CSI driver."""
        return self.resolved is not None and self.resolved.spec.migrated

    @property
    def device(self) -> Device | None:
        """What it rests on."""
        return self.resolved.device if self.resolved is not None else None

    @property
    def host_path(self) -> str:
        """The node's path that is looked at to set it up; empty: none is (a hostPath may name no type)."""
        pv = self.resolved.spec.pv if self.resolved is not None else None
        source = self.volume.hostPath if pv is None else pv.spec.hostPath
        return source.path if source is not None and source.type else ""

    @property
    def unique_name(self) -> str:
        """Upstream's name of the volume on this node."""
        return self.device.unique_name if self.device is not None else self.key.unique_name

    @property
    def driver(self) -> str:
        """The CSI driver that makes it; empty when none does, or that is not known yet."""
        if self.resolved is None:
            return ""
        spec = self.resolved.spec
        source = spec.volume.csi if spec.pv is None else spec.pv.spec.csi
        return source.driver if source is not None else ""

    @property
    def block(self) -> bool:
        """Whether containers get the device itself."""
        return self.resolved is not None and self.resolved.spec.block

    def named(self, volume: MountedVolume) -> dict[str, MountedVolume]:
        """What containers get of it, which is there as *volume*, by each of its names."""
        if not self.specs:
            return {volume.name: volume}
        context = self.pod.spec.securityContext
        asked = context.supplementalGroups if context is not None else []
        return {
            name: replace(
                volume,
                name=name,
                read_only=volume.read_only or spec.read_only,
                gid=None if spec.gid in asked else spec.gid,
            )
            for name, spec in self.specs.items()
        }
