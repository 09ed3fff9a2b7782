"""What a local persistent volume names on this node, and whether it can be one. Some of it blocks."""

import contextlib
import os
import stat
from typing import Final

from pykubelet.api.storage import LocalVolumeSource
from pykubelet.base.errors import VolumeError
from pykubelet.linux import mountinfo

from . import errors, mountpoint
from .spec import VolumeSpec

#: The step of mounting that upstream finds it out in.
_SETTING_UP: Final = "NewMounter initialization"


def source_of(spec: VolumeSpec) -> LocalVolumeSource:
    """What the persistent volume names.

    :raises VolumeError: nothing usable.
    """
    source = spec.pv.spec.local if spec.pv is not None else None
    if source is None or not source.path:
        raise VolumeError("local volume source is nil or local path is not set", left="unchanged")
    return source


def path_of(spec: VolumeSpec) -> str:
    """The absolute path of the directory or device.

    :raises VolumeError: it has a ``..``, or there is none.
    """
    path = source_of(spec).path
    if ".." in path.split("/"):
        raise unusable(f"invalid path: {path} must not contain '..'")
    return path if path.startswith("/") else f"/{path}"


def unusable(text: str) -> VolumeError:
    """The error of a path that cannot be a volume."""
    return VolumeError(text, left="unchanged", step=_SETTING_UP)


def kind_of(path: str) -> str:
    """``directory``, ``block``, or anything else; links are followed. Blocks.

    :raises VolumeError: there is nothing, or it cannot be looked at.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise unusable(f'path "{path}" does not exist') from None
    except OSError as error:
        raise unusable(errors.told("stat", path, error)) from error
    if stat.S_ISDIR(mode):
        return "directory"
    return "block" if stat.S_ISBLK(mode) else "other"


def mounted_from(device: str, target: str) -> bool:
    """Whether the file system of *device* is mounted at *target*. Blocks.

    :raises VolumeError: that of another device is.
    :raises OSError: *device* cannot be looked at.
    """
    place = mountpoint.real(target)
    number = os.stat(device).st_rdev
    found = [mount for mount in mountinfo.read() if mount.mount_point == place]
    for mount in found:
        # The number of a file system may be its own (btrfs): then its source tells.
        if mount.device == f"{os.major(number)}:{os.minor(number)}":
            return True
        with contextlib.suppress(OSError):
            if os.stat(mount.source).st_rdev == number:
                return True
    if found:
        raise VolumeError(f"{target} is mounted from {found[-1].source}, not from {device}", left="unchanged")
    return False
