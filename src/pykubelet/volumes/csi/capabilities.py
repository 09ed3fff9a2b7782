"""What a driver can do, and how a volume is to be used, in CSI's terms; pure."""

import enum
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from pykubelet.rpc import csi_v1


class Capability(enum.Enum):
    """What the Node service of a driver can do; values as on the wire."""

    STAGE_UNSTAGE_VOLUME = 1
    GET_VOLUME_STATS = 2
    EXPAND_VOLUME = 3
    VOLUME_CONDITION = 4
    SINGLE_NODE_MULTI_WRITER = 5
    VOLUME_MOUNT_GROUP = 6


#: All that one driver can do.
Capabilities = AbstractSet[Capability]

_KNOWN = {capability.value: capability for capability in Capability}

_AccessMode = csi_v1.VolumeCapability.AccessMode
_MODES = {
    "ReadWriteOnce": _AccessMode.SINGLE_NODE_WRITER,
    "ReadWriteOncePod": _AccessMode.SINGLE_NODE_WRITER,
    "ReadOnlyMany": _AccessMode.MULTI_NODE_READER_ONLY,
    "ReadWriteMany": _AccessMode.MULTI_NODE_MULTI_WRITER,
}
_MULTI_WRITER_MODES = {
    **_MODES,
    "ReadWriteOnce": _AccessMode.SINGLE_NODE_MULTI_WRITER,
    "ReadWriteOncePod": _AccessMode.SINGLE_NODE_SINGLE_WRITER,
}


def known(capabilities: Iterable[csi_v1.NodeServiceCapability]) -> frozenset[Capability]:
    """The capabilities that a driver told of; those that we do not know are left out."""
    told = (item.rpc.type for item in capabilities if item.HasField("rpc"))
    return frozenset(_KNOWN[value] for value in told if value in _KNOWN)


def access_mode(mode: str, capabilities: Capabilities) -> "csi_v1.VolumeCapability.AccessMode.Mode.ValueType":
    """CSI's form of the API's access *mode*; UNKNOWN for one that the API does not have.

    RWO and RWOP are told apart only to drivers with SINGLE_NODE_MULTI_WRITER.
    """
    modes = _MULTI_WRITER_MODES if Capability.SINGLE_NODE_MULTI_WRITER in capabilities else _MODES
    return modes.get(mode, _AccessMode.UNKNOWN)


@dataclass(frozen=True, slots=True)
class VolumeUse:
    """How a volume is to be used.

    *access_mode* is the API's (``ReadWriteOnce``). A *block* volume has no file
    system: the other fields say nothing then. *mount_group* is only for drivers
    with VOLUME_MOUNT_GROUP; the caller looks.
    """

    access_mode: str
    block: bool = False
    fs_type: str = ""
    mount_flags: tuple[str, ...] = ()
    mount_group: int | None = None


def volume_capability(use: VolumeUse, capabilities: Capabilities) -> csi_v1.VolumeCapability:
    """*use* as it is told to a driver with *capabilities*."""
    made = csi_v1.VolumeCapability()
    made.access_mode.mode = access_mode(use.access_mode, capabilities)
    if use.block:
        made.block.SetInParent()
        return made
    made.mount.SetInParent()
    made.mount.fs_type = use.fs_type
    made.mount.mount_flags.extend(use.mount_flags)
    if use.mount_group is not None:
        made.mount.volume_mount_group = str(use.mount_group)
    return made
