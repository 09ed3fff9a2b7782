"""Raw block volumes as a pod gets them: a bind mount, a link, and a loop device that holds it.

The container's device is named by a link in the pod's directory. The same device is bound to
a file under the plug-in's own directory, which tells who uses it; a loop device on that file
keeps the device open, so that its number cannot come to mean another one meanwhile. Paths are
the Go kubelet's, so that each finds and ends what the other made. Blocking.
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


def map_device(device: str, global_map: str, link: str, uid: str) -> str:
    """Give *device* to the pod: bound to ``GLOBAL_MAP/UID``, linked from *link*, held. The link.

    What is mapped already stays; can be repeated after an end at any point.

    :raises OSError: it is no block device, or refused.
    """
    device = os.path.realpath(device)
    local_tree.make_directories(global_map)
    local_tree.make_directories(os.fspath(Path(link).parent))
    bound = f"{os.path.realpath(global_map)}/{uid}"
    with safeopen.opened(device, os.O_PATH) as found:
        status = os.fstat(found)
        if not stat.S_ISBLK(status.st_mode):
            raise OSError(errno.ENOTBLK, os.strerror(errno.ENOTBLK), device)
        _bind(found, status.st_rdev, bound)
    _link(device, link)
    loop.hold(bound)
    return link


def unmap_device(global_map: str, link: str, uid: str) -> None:
    """Undo :func:`map_device`; what is gone already is fine.

    :raises OSError: something is in use; nothing but what was mapped is ever removed.
    """
    bound = f"{os.path.realpath(global_map)}/{uid}"
    loop.release(bound)
    _unlink(link)
    # Plug-ins look for others' links here; an empty directory would stay for ever.
    with contextlib.suppress(OSError):
        os.rmdir(os.fspath(Path(link).parent))
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
        pods = " ".join(sorted(os.listdir(global_map)))
        raise OSError(errno.EBUSY, f"the device is still mapped for pods {pods}", global_map) from None


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
    with contextlib.suppress(OSError):
        if os.readlink(link) == device:
            return
    _unlink(link)
    os.symlink(device, link)


def _unlink(link: str) -> None:
    """Remove the link; anything else at that place is not ours."""
    try:
        if not stat.S_ISLNK(os.lstat(link).st_mode):
            raise OSError(errno.EEXIST, "it is not a link", link)
        os.unlink(link)
    except FileNotFoundError:
        return
