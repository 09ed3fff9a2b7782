"""What an earlier life left in the root directory: volumes found again, pod directories removed.

Nothing here follows a link, enters a mount, or deletes what is in a volume. Blocking.
"""

import contextlib
import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pykubelet.base import files
from pykubelet.base.layout import Layout
from pykubelet.linux import mountinfo, removetree

from . import subpaths
from .csi.paths import DATA_FILE
from .state import VolumeKey

_CSI: Final = "kubernetes.io~csi"


def pod_directories(layout: Layout) -> frozenset[str]:
    """UIDs of all pods that have a directory.

    :raises OSError: the directory of pods cannot be read.
    """
    return frozenset(_directories(os.fspath(layout.pods)))


def volumes_found(layout: Layout) -> Mapping[VolumeKey, bool]:
    """Every volume that has a directory or a device, whichever plug-in made it; whether it is a device.

    :raises OSError: a directory cannot be read.
    """
    found: dict[VolumeKey, bool] = {}
    for uid in _directories(os.fspath(layout.pods)):
        devices, volumes = os.fspath(layout.pod_devices(uid)), os.fspath(layout.pod_volumes(uid))
        for plugin in _directories(devices):
            name = plugin.replace("~", "/")
            found |= {VolumeKey(uid, name, volume): True for volume in _names(f"{devices}/{plugin}")}
        for plugin in _directories(volumes):
            name = plugin.replace("~", "/")
            found |= {VolumeKey(uid, name, volume): False for volume in _directories(f"{volumes}/{plugin}")}
    return found


def remove_pod_directory(layout: Layout, uid: str) -> None:
    """Remove the directory of a pod of which nothing runs any more.

    :raises OSError: something is mounted there, or a volume's directory holds more than directories.
    """
    pod = os.path.realpath(layout.pod(uid))
    volumes = f"{pod}/volumes"
    _refuse_mounts(volumes)
    subpaths.clean(layout, uid)
    for plugin in _directories(volumes):
        for volume in _directories(f"{volumes}/{plugin}"):
            path = f"{volumes}/{plugin}/{volume}"
            if plugin == _CSI:
                _empty_csi(path)
            _remove_empty(path)
        os.rmdir(f"{volumes}/{plugin}")
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(volumes)
    _refuse_devices(f"{pod}/volumeDevices")
    _refuse_mounts(pod)
    removetree.remove_tree(pod)


def _remove_empty(volume: str) -> None:
    """Remove a volume's directory that holds nothing, or nothing but directories.

    Files in a volume are never deleted here: they may be a user's data. Nor is anything then.
    """
    directories = [volume]
    for top, names, others in os.walk(volume):
        places = [f"{top}/{name}" for name in names]
        if others or any(os.path.islink(place) for place in places):  # noqa: PTH114
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), top)
        directories += places
    for directory in reversed(directories):
        os.rmdir(directory)


def _empty_csi(volume: str) -> None:
    """The names that stay of an unmounted CSI volume."""
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(f"{volume}/mount")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{volume}/{DATA_FILE}")
    files.remove_temporary(Path(volume), DATA_FILE)


def _refuse_mounts(path: str) -> None:
    below = mountinfo.mounts_below(mountinfo.read(), path)
    if below:
        raise OSError(errno.EBUSY, "something is still mounted", below[0].mount_point)


def _refuse_devices(path: str) -> None:
    for plugin in _directories(path):
        if os.listdir(f"{path}/{plugin}"):
            raise OSError(errno.ENOTEMPTY, "block volumes are still mapped", f"{path}/{plugin}")


def _names(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except FileNotFoundError:
        return []


def _directories(path: str) -> list[str]:
    """Names of the directories in *path* (no links); none where it is missing."""
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []
