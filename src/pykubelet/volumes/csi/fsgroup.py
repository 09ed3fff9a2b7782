"""Whether the kubelet gives a CSI volume's files to the pod's fsGroup. Pure."""

from collections.abc import Sequence
from typing import Final

from pykubelet.api.storage import CSIDriver
from pykubelet.base.errors import VolumeError

from .paths import PLUGIN

#: The policies of a CSIDriver.
NONE: Final = "None"
FILE: Final = "File"
BY_TYPE: Final = "ReadWriteOnceWithFSType"


def policy_of(driver: CSIDriver | None) -> str:
    """The driver's ``fsGroupPolicy``.

    :raises VolumeError: its object has none; the API server fills it in.
    """
    if driver is None:
        return BY_TYPE
    if not driver.spec.fsGroupPolicy:
        text = f"{PLUGIN}: expected valid fsGroupPolicy, received nil value or empty string"
        raise VolumeError(text, left="unchanged")
    return driver.spec.fsGroupPolicy


def applies(
    policy: str, group: int | None, *, read_only: bool, fs_type: str, access_modes: Sequence[str] | None
) -> bool:
    """Whether the kubelet gives the volume's files to *group*; *access_modes* None: an inline volume."""
    if group is None or policy == NONE or read_only:
        return False
    if policy == FILE:
        return True
    if not fs_type:
        return False
    return access_modes is None or not {"ReadWriteOnce", "ReadWriteOncePod"}.isdisjoint(access_modes)
