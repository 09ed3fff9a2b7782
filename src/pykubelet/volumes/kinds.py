"""Which kind a volume is of, and what is told of the kinds that this kubelet does not have. Pure."""

from types import MappingProxyType
from typing import Final

from pykubelet.api.volumes import Volume

CSI: Final = "csi"
EMPTY_DIR: Final = "emptyDir"
HOST_PATH: Final = "hostPath"
IMAGE: Final = "image"
CONFIG_MAP: Final = "configMap"
SECRET: Final = "secret"  # noqa: S105 - a kind of volume
DOWNWARD_API: Final = "downwardAPI"
PROJECTED: Final = "projected"

#: Every source that a volume can name, in the API's words.
SOURCES: Final = tuple(field for field in Volume.__struct_fields__ if field != "name")

#: Sources that left the kubelet and are not translated either (:mod:`.migration`), and the CSI driver
#: that does the like ("" where none does).
GONE: Final = MappingProxyType(
    {
        "cephfs": "cephfs.csi.ceph.com",
        "flocker": "",
        "glusterfs": "",
        "photonPersistentDisk": "",
        "quobyte": "csi.quobyte.com",
        "rbd": "rbd.csi.ceph.com",
        "scaleIO": "csi-vxflexos.dellemc.com",
        "storageos": "csi.storageos.com",
    }
)


def kinds_of(volume: Volume) -> tuple[str, ...]:
    """The sources that the volume names; a valid volume names one."""
    return tuple(source for source in SOURCES if getattr(volume, source) is not None)


def refusal(volume: Volume, kind: str) -> str:
    """Why a volume of that kind, which no plug-in here takes, cannot be had."""
    if kind == "gitRepo":
        # A repository's hooks ran as root on the node (CVE-2024-10220, CVE-2025-1767).
        return (
            f'volume "{volume.name}" of type gitRepo is refused: clone the repository '
            "in an init container into an emptyDir volume instead"
        )
    driver = GONE.get(kind)
    if driver is None:
        return f'volume "{volume.name}" of type {kind} is not supported yet by this kubelet'
    gone = f'volume "{volume.name}" of type {kind} is not part of the kubelet any more'
    return f"{gone}: use the CSI driver {driver}" if driver else f"{gone}: use a CSI driver"
