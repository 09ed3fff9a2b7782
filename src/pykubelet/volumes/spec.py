"""A volume as plug-ins see it: the pod's own source, or the persistent volume behind its claim. Pure."""

import re
from dataclasses import dataclass
from typing import Final

from pykubelet.api.storage import PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec
from pykubelet.api.volumes import Volume
from pykubelet.base.layout import escape_plugin

from . import kinds

_MOUNT_OPTIONS: Final = "volume.beta.kubernetes.io/mount-options"

#: Every source that a persistent volume can name, in the API's words.
_PV_SOURCES: Final = tuple(
    field
    for field in PersistentVolumeSpec.__struct_fields__
    if field in kinds.SOURCES or field in ("local", "flexVolume")
)

_GID: Final = "pv.beta.kubernetes.io/gid"
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """One volume of one pod, resolved."""

    #: As the pod's spec has it.
    volume: Volume
    #: What its claim is bound to, or what stands for a cloud provider's volume that the pod names
    #: itself; None for all other sources that the pod names itself.
    pv: PersistentVolume | None = None
    claim: PersistentVolumeClaim | None = None
    #: The kind of *pv* (``awsElasticBlockStore``) before it was translated for the CSI driver that took
    #: over; empty for all others.
    migrated_from: str = ""
    #: The SELinux label that it is to be mounted with; empty: with none.
    label: str = ""

    @property
    def name(self) -> str:
        """What events call it: the persistent volume's name, else the pod's own for it."""
        return self.pv.metadata.name if self.pv is not None else self.volume.name

    @property
    def directory(self) -> str:
        """The name that its directories have; names of translated volumes may have slashes."""
        return escape_plugin(self.name)

    @property
    def migrated(self) -> bool:
        """Whether it is a cloud provider's, translated for a CSI driver."""
        return bool(self.migrated_from)

    @property
    def inline(self) -> bool:
        """Whether the pod names it itself."""
        return self.volume.persistentVolumeClaim is None and self.volume.ephemeral is None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The sources that are named, in the API's words; a valid volume names one."""
        if self.pv is None:
            return kinds.kinds_of(self.volume)
        return tuple(source for source in _PV_SOURCES if getattr(self.pv.spec, source) is not None)

    @property
    def block(self) -> bool:
        """Whether containers get the device itself."""
        return self.pv is not None and self.pv.spec.volumeMode == "Block"

    @property
    def gid(self) -> int | None:
        """The group that the persistent volume asks for; what is no number is none."""
        text = self.pv.metadata.annotations.get(_GID, "") if self.pv is not None else ""
        return int(text) if _INTEGER.fullmatch(text) and abs(int(text)) < 1 << 63 else None

    @property
    def mount_options(self) -> tuple[str, ...]:
        """What the persistent volume asks ``mount(8)`` for, sorted; its old annotation goes first."""
        if self.pv is None:
            return ()
        old = self.pv.metadata.annotations.get(_MOUNT_OPTIONS)
        options = self.pv.spec.mountOptions if old is None else old.split(",")
        return tuple(sorted({option for option in options if option}))

    @property
    def read_only(self) -> bool:
        """Whether the pod asks for reading only; what a PV's own source says is its plug-in's business."""
        source = self.volume.persistentVolumeClaim
        if self.pv is not None and self.inline:
            return self.pv.spec.csi is not None and self.pv.spec.csi.readOnly
        if self.pv is not None:
            return source is not None and source.readOnly
        own = self.volume.csi or self.volume.nfs
        return bool(own is not None and own.readOnly)
