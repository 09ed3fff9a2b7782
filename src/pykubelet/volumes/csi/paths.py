"""Where everything of CSI lies below the root directory, and how it is called; upstream's layout. Pure."""

import hashlib
import os
from dataclasses import dataclass
from typing import Final

from pykubelet.base.errors import VolumeError
from pykubelet.base.layout import Layout, escape_plugin

PLUGIN: Final = "kubernetes.io/csi"
DATA_FILE: Final = "vol_data.json"
_DEVICES: Final = "volumeDevices"
#: Between the driver and its handle in a volume's unique name.
_SEPARATOR: Final = "^"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def attachment_name(handle: str, driver: str, node: str) -> str:
    """The name of the VolumeAttachment of a volume on a node."""
    return f"csi-{_digest(handle + driver + node)}"


def inline_handle(uid: str, volume: str) -> str:
    """The handle that the kubelet gives to a volume which a pod asks for by itself."""
    return f"csi-{_digest(uid + volume)}"


def unique_name(driver: str, handle: str) -> str:
    """Upstream's name of a persistent volume on this node."""
    return f"{PLUGIN}/{driver}{_SEPARATOR}{handle}"


def split_unique_name(name: str) -> tuple[str, str]:
    """Driver and handle that make up a unique name.

    :raises ValueError: it is none of CSI.
    """
    driver, separator, handle = name.removeprefix(f"{PLUGIN}/").partition(_SEPARATOR)
    if not name.startswith(f"{PLUGIN}/") or not separator or not driver:
        raise ValueError(f"{name} is no unique name of a CSI volume")
    return driver, handle


def beside(mount: str) -> str:
    """The directory that holds a driver's mount, and the data file about it."""
    return mount.rpartition("/")[0]


def check_name(kind: str, name: str) -> None:
    """See that *name* can be a name in a path.

    :raises VolumeError: it would lead elsewhere.
    """
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise VolumeError(f"{PLUGIN}: {kind} {name!r} is not valid", left="unchanged")


@dataclass(frozen=True, slots=True)
class CsiPaths:
    """The paths of CSI volumes; *name* is a volume's name as in its spec (a PV's, or the pod's own)."""

    layout: Layout

    @property
    def top(self) -> str:
        """Directory of all that is made once a node."""
        return os.fspath(self.layout.plugins / PLUGIN)

    def pod_volumes(self, uid: str) -> str:
        """Directory of all the pod's CSI volumes."""
        return os.fspath(self.layout.pod_volumes(uid) / escape_plugin(PLUGIN))

    def pod_volume(self, uid: str, name: str) -> str:
        """Directory of a pod's volume, with its data file."""
        return os.fspath(self.layout.pod_volume(uid, PLUGIN, name))

    def target(self, uid: str, name: str) -> str:
        """What the driver makes and mounts for the pod."""
        return f"{self.pod_volume(uid, name)}/mount"

    def staged(self, driver: str, handle: str) -> str:
        """Directory of a volume that is staged, with its data file."""
        return f"{self.top}/{driver}/{_digest(handle)}"

    def staging(self, driver: str, handle: str) -> str:
        """Where the driver mounts the volume once a node."""
        return f"{self.staged(driver, handle)}/globalmount"

    @property
    def devices(self) -> str:
        """Directory of all that is made of block volumes once a node."""
        return f"{self.top}/{_DEVICES}"

    def block(self, name: str) -> str:
        """Directory of our own notes on a block volume."""
        return f"{self.devices}/{escape_plugin(name)}"

    def block_data(self, name: str) -> str:
        """Directory of a block volume's data file."""
        return f"{self.block(name)}/data"

    def block_map(self, name: str) -> str:
        """Directory with one file a pod, on which the device is mounted."""
        return f"{self.block(name)}/dev"

    def block_staging(self, name: str) -> str:
        """Directory that is the driver's while a block volume is staged."""
        return f"{self.devices}/staging/{name}"

    def block_published(self, name: str) -> str:
        """Directory of what the driver makes of a block volume, one file a pod."""
        return f"{self.devices}/publish/{name}"

    def block_target(self, uid: str, name: str) -> str:
        """The device file that the driver makes for the pod."""
        return f"{self.block_published(name)}/{uid}"

    def pod_devices(self, uid: str) -> str:
        """Directory of the links to the pod's devices."""
        return os.fspath(self.layout.pod(uid) / _DEVICES / escape_plugin(PLUGIN))

    def pod_device(self, uid: str, name: str) -> str:
        """The link through which the runtime finds the pod's device."""
        return f"{self.pod_devices(uid)}/{escape_plugin(name)}"
