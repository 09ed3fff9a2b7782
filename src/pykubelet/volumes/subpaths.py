"""subPath: one part of a volume for a container, bound where the container cannot swap it.

What is bound is a descriptor that was opened below the volume (CVE-2017-1002101), by
mount(2) itself (CVE-2021-25741), onto a path that only the kubelet writes to. Links inside
the volume are followed, as a configMap's files need; none leads out. Blocking.
"""

import contextlib
import logging
import os
import stat
from typing import Final

from pykubelet.api.mounted import MountedVolume
from pykubelet.base.errors import VolumeError
from pykubelet.base.layout import Layout, escape_plugin
from pykubelet.linux import mountinfo, mounts, safeopen

from . import local_tree

log = logging.getLogger(__name__)

#: How many mounts one on top of the other are taken off a target.
_MAX_STACK: Final = 16


def check(subpath: str) -> None:
    """See that a subPath is one.

    :raises VolumeError: it is absolute or has a ``..``.
    """
    if subpath.startswith("/"):
        raise VolumeError(f"error SubPath `{subpath}` must not be an absolute path")
    try:
        safeopen.parts_of(subpath)
    except ValueError:
        raise VolumeError(f"unable to provision SubPath `{subpath}`: must not contain '..'") from None


def called(volume: str, container: str) -> str:
    """Whose sub path it is, as errors tell it."""
    return f'for volumeMount "{volume}" of container "{container}"'


def prepare(
    layout: Layout,
    uid: str,
    volume: MountedVolume,
    directory: str,
    container: str,
    index: int,
    subpath: str,
) -> str:
    """Bind *subpath* of the volume for mount *index* of the container; the path where it is bound.

    *directory* is how the volume's directories are named: as the volume itself, or its persistent volume.
    A directory that is missing is made with the mode of the volume's root.

    :raises VolumeError: it leaves the volume, or cannot be made. The text does not tell what
        the node's file system looks like: its reader may be the one who tried to leave.
    """
    check(subpath)
    # Names come validated from the API; a path must not depend on that.
    for name in (container, directory):
        if "/" in name or name in ("", ".", ".."):
            raise VolumeError(f'"{name}" is not a name')
    what = called(volume.name, container)
    try:
        with safeopen.opened(volume.host_path) as root:
            found = _open(root, subpath, what)
    except OSError as error:
        log.warning("subPath %s of %s %s: %s", subpath, volume.host_path, what, error)
        raise VolumeError(f"failed to prepare subPath {what}") from error
    try:
        parent = os.path.realpath(layout.pod_subpaths(uid))
        return _bind(found, f"{parent}/{escape_plugin(directory)}/{container}", str(index))
    except OSError as error:
        log.warning("binding subPath %s of %s %s: %s", subpath, volume.host_path, what, error)
        raise VolumeError(f"failed to prepare subPath {what}") from error
    finally:
        os.close(found)


def _open(root: int, subpath: str, what: str) -> int:
    try:
        return safeopen.open_beneath(root, subpath, follow=True)
    except FileNotFoundError:
        mode = stat.S_IMODE(os.fstat(root).st_mode)
    try:
        return safeopen.make_directories(root, subpath, mode)
    except OSError as error:
        log.warning("subPath %s %s cannot be made: %s", subpath, what, error)
        raise VolumeError(f"failed to create subPath directory {what}") from error


def _bind(found: int, directory: str, name: str) -> str:
    target = f"{directory}/{name}"
    wanted = os.fstat(found)
    local_tree.make_directories(directory)
    if _clear(target, wanted):
        return target
    if stat.S_ISDIR(wanted.st_mode):
        os.mkdir(target, 0o750)
    else:
        # A file takes every other kind too: bound on it, it becomes that.
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
    try:
        mounts.bind_descriptor(found, target)
        if not _same(target, wanted):
            raise OSError(0, "something else was bound", target)
    except OSError:
        with contextlib.suppress(OSError):
            mounts.unmount(target)
            _remove_placeholder(target)
        raise
    return target


def _same(path: str, wanted: os.stat_result) -> bool:
    status = os.lstat(path)
    return (status.st_dev, status.st_ino) == (wanted.st_dev, wanted.st_ino)


def _clear(target: str, wanted: os.stat_result) -> bool:
    """Free *target* of what is not *wanted*; True when that is bound there already."""
    for _ in range(_MAX_STACK):
        if not mountinfo.is_mount_point(mountinfo.read(), target):
            break
        if _same(target, wanted):
            return True
        mounts.unmount(target)
    _remove_placeholder(target)
    return False


def _remove_placeholder(path: str) -> None:
    """Remove the empty file or directory that a bind lay on; a mount makes it fail with ``EBUSY``."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(status.st_mode):
        os.rmdir(path)
    else:
        os.unlink(path)


def clean(layout: Layout, uid: str, volume: str | None = None) -> int:
    """Undo the binds of one volume, or of all, and remove what they lay on; how many there were.

    :raises OSError: one is in use.
    """
    top = os.path.realpath(layout.pod_subpaths(uid))
    where = top if volume is None else f"{top}/{escape_plugin(volume)}"
    if not _names(where):
        # Most pods have none: they need no look at the whole mount table.
        with contextlib.suppress(OSError):
            os.rmdir(where)
        return 0
    undone = mounts.unmount_below(where)
    for directory in [where] if volume is not None else _directories(top):
        for container in _directories(directory):
            for name in _names(container):
                _remove_placeholder(f"{container}/{name}")
            os.rmdir(container)
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(directory)
    # Others may still have theirs there.
    with contextlib.suppress(OSError):
        os.rmdir(top)
    return undone


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _directories(directory: str) -> list[str]:
    return [f"{directory}/{name}" for name in _names(directory)]
