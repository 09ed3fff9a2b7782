"""Raw block volumes as a pod gets them: a bind mount, a link, and a loop device that holds it.

The container's device is named by a link in the pod's directory. The same device is bound to
a file under the plug-in's own directory, which tells who uses it; a loop device on that file
keeps the device open, so that its number cannot come to mean another one meanwhile. Paths are
the Go kubelet's, so that each finds and ends what the other made.

By the link a pod's device is found again after the daemon's end: it is made before anything
else, and removed after everything else. Blocking.
"""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Final

from pykubelet.base.layout import Layout, escape_plugin
from pykubelet.linux import loop, mountinfo, mounts, safeopen

from . import local_tree

_MODE: Final = 0o750
#: How many mounts one on top of the other are taken off a file.
_MAX_STACK: Final = 16


def global_path(layout: Layout, plugin: str, name: str) -> Path:
    """Where plug-ins that have no place of their own bind a volume's device, one file a pod."""
    return layout.plugins / escape_plugin(plugin) / "volumeDevices" / name


def link_path(layout: Layout, uid: str, plugin: str, name: str) -> Path:
    """The link in the pod's directory that names the device of the volume *name*."""
    return layout.pod(uid) / "volumeDevices" / escape_plugin(plugin) / escape_plugin(name)


def begin(link: str, device: str) -> None:
    """Let there be a link: the pod is to have *device*, which may not be there yet.

    :raises OSError: refused, or something else is at its place.
    """
    local_tree.make_directories(os.fspath(Path(link).parent))
    with contextlib.suppress(FileNotFoundError):
        _see_link(link)
        return
    os.symlink(device, link)


def forget(link: str) -> None:
    """Remove the link: nothing of the device is there for the pod any more; gone already is fine.

    :raises OSError: refused, or it is no link.
    """
    with contextlib.suppress(FileNotFoundError):
        _see_link(link)
        os.unlink(link)
    # Plug-ins look for others' links here; an empty directory would stay for ever.
    with contextlib.suppress(OSError):
        os.rmdir(os.fspath(Path(link).parent))


def pods(global_map: str) -> list[str]:
    """UIDs of the pods for which a device was bound in that directory, or begun to be.

    :raises OSError: it cannot be read.
    """
    try:
        return sorted(os.listdir(global_map))
    except (FileNotFoundError, NotADirectoryError):
        return []


def is_mapped(global_map: str, uid: str) -> bool:
    """Whether anything was bound for the pod, or begun to be."""
    return os.path.lexists(f"{global_map}/{uid}")


def map_device(device: str, global_map: str, link: str, uid: str) -> str:
    """Give *device* to the pod: bound to ``GLOBAL_MAP/UID``, linked from *link*, held. The link.

    What is mapped already stays; can be repeated after an end at any point.

    :raises OSError: it is no block device, or refused.
    """
    device = os.path.realpath(device)
    local_tree.make_directories(global_map)
    bound = f"{os.path.realpath(global_map)}/{uid}"
    with safeopen.opened(device, os.O_PATH) as found:
        status = os.fstat(found)
        if not stat.S_ISBLK(status.st_mode):
            raise OSError(errno.ENOTBLK, os.strerror(errno.ENOTBLK), device)
        _link(device, link)
        _bind(found, status.st_rdev, bound)
    loop.hold(bound)
    return link


def unmap_device(global_map: str, uid: str) -> None:
    """Undo :func:`map_device`, but for the link; what is gone already is fine.

    :raises OSError: something is in use; nothing but what was mapped is ever removed.
    """
    bound = f"{os.path.realpath(global_map)}/{uid}"
    loop.release(bound)
    for _ in range(_MAX_STACK):
        if not mounts.unmount(bound):
            break
    with contextlib.suppress(FileNotFoundError):
        if os.lstat(bound).st_size:
            raise OSError(errno.ENOTEMPTY, "it holds data and is no mount point", bound)
        os.unlink(bound)


def remove_global(global_map: str) -> None:
    """Remove the directory in which the device was bound for pods; gone already is fine.

    :raises OSError: it is still bound for one.
    """
    try:
        os.rmdir(global_map)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        uids = " ".join(pods(global_map))
        raise OSError(errno.EBUSY, f"the device is still mapped for pods {uids}", global_map) from None


def _bind(found: int, device: int, bound: str) -> None:
    """Let *bound* show the block device *device* that the descriptor stands for."""
    for _ in range(_MAX_STACK):
        if not mountinfo.is_mount_point(mountinfo.read(), bound):
            break
        status = os.stat(bound)
        if stat.S_ISBLK(status.st_mode) and status.st_rdev == device:
            return
        # The name of a device means another one after a restart of the machine.
        loop.release(bound)
        mounts.unmount(bound)
    os.close(os.open(bound, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE))
    mounts.bind_descriptor(found, bound)


def _link(device: str, link: str) -> None:
    begin(link, device)
    if os.readlink(link) == device:
        return
    # Never without a link, and what an end leaves here is no volume.
    there = Path(link)
    fresh = there.parent.parent / f".{there.name}"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(device)
    fresh.replace(there)


def _see_link(link: str) -> None:
    """See that it is one: anything else at that place is not ours."""
    if not stat.S_ISLNK(os.lstat(link).st_mode):
        raise OSError(errno.EEXIST, "it is not a link", link)
