"""Mounting and unmounting, as the kubelet needs it. All calls block: run them off the loop.

Everything goes straight to the kernel: no ``mount(8)`` that would look at a path a second
time (CVE-2021-25741), and no link is followed at an unmount.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from . import mountinfo, syscalls

#: statvfs(3) has its own number for this flag alone.
_STATVFS_RELATIME: Final = 4096


def bind(source: str, target: str, *, recursive: bool = False) -> None:
    """Show *source* at *target* too.

    :raises OSError: refused.
    """
    syscalls.mount(source, target, "", syscalls.MS_BIND | (syscalls.MS_REC if recursive else 0))


def bind_descriptor(descriptor: int, target: str) -> None:
    """Show what an (``O_PATH``) *descriptor* stands for at *target*, whatever its path became.

    :raises OSError: refused.
    """
    bind(f"/proc/self/fd/{descriptor}", target)


def mount_tmpfs(target: str, *, size: int = 0, noswap: bool = True) -> bool:
    """Mount a tmpfs of at most *size* bytes (0: the kernel's default); True if it never swaps.

    :raises OSError: refused.
    """
    options = [f"size={size}"] if size > 0 else []
    if noswap:
        # Known since Linux 6.4, and refused in a user namespace.
        try:
            syscalls.mount("tmpfs", target, "tmpfs", 0, ",".join([*options, "noswap"]))
            return True
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EPERM):
                raise
    syscalls.mount("tmpfs", target, "tmpfs", 0, ",".join(options))
    return False


def mount_hugetlbfs(target: str, *, page_size: str) -> None:
    """Mount a file system of huge pages of *page_size*, such as ``2Mi``.

    :raises OSError: refused; ``EINVAL`` where the machine has no pages of that size.
    """
    syscalls.mount("nodev", target, "hugetlbfs", 0, f"pagesize={page_size}")


def make_shared(target: str, *, recursive: bool = True) -> None:
    """Let mounts below *target* be seen by its peers.

    :raises OSError: not a mount point, or refused.
    """
    syscalls.mount("", target, "", syscalls.MS_SHARED | (syscalls.MS_REC if recursive else 0))


def make_private(target: str, *, recursive: bool = True) -> None:
    """Keep mounts below *target* to this name space.

    :raises OSError: not a mount point, or refused.
    """
    syscalls.mount("", target, "", syscalls.MS_PRIVATE | (syscalls.MS_REC if recursive else 0))


#: What a single mount can be told beside what its file system was; in mount(8)'s words.
_BIND_OPTIONS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "ro": syscalls.MS_RDONLY,
        "nosuid": syscalls.MS_NOSUID,
        "nodev": syscalls.MS_NODEV,
        "noexec": syscalls.MS_NOEXEC,
        "noatime": syscalls.MS_NOATIME,
        "nodiratime": syscalls.MS_NODIRATIME,
        "relatime": syscalls.MS_RELATIME,
    }
)


def restrict(target: str, options: Iterable[str]) -> None:
    """Give the mount on *target* mount(8)'s *options*, beside those that it has.

    Those that are for a file system as a whole change nothing at a single mount, and are passed.

    :raises OSError: not a mount point, or refused.
    """
    wanted = 0
    for option in options:
        wanted |= _BIND_OPTIONS.get(option, 0)
    if not wanted:
        return
    # What the source's own mount forbids must stay forbidden.
    has = os.statvfs(target).f_flag
    kept = has & (syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
    kept |= has & (syscalls.MS_NOATIME | syscalls.MS_NODIRATIME)
    if has & _STATVFS_RELATIME and not wanted & syscalls.MS_NOATIME:
        kept |= syscalls.MS_RELATIME
    syscalls.mount("", target, "", syscalls.MS_REMOUNT | syscalls.MS_BIND | kept | wanted)


def unmount(target: str) -> bool:
    """Unmount what is on *target*; False when nothing was.

    :raises OSError: it is in use (``EBUSY``), or otherwise refused.
    """
    try:
        syscalls.umount2(target, syscalls.UMOUNT_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True


def unmount_below(top: str) -> int:
    """Unmount what is on *top* and below, innermost first; how many there were.

    Only there: a mount that came from elsewhere with mounts on it is parted from its peers before,
    which are the source's own mounts and would lose theirs, too.

    :raises OSError: one of them is in use, or otherwise refused; those above it stay.
    """
    found = mountinfo.read_below(top)
    numbers = {mount.mount_id for mount in found}
    if any(mount.parent_id in numbers for mount in found):
        for path in mountinfo.linked_outside(mountinfo.read(), numbers):
            make_private(path, recursive=False)
    return sum(unmount(mount.mount_point) for mount in found)


def mounted_type(path: str) -> int | None:
    """The magic number of the file system that is mounted on the directory *path* itself.

    None when none is (a bind of the same file system does not count); the last name is no link.
    The mount table is not read: it is long where many volumes are in memory.

    :raises OSError: it is there, but cannot be looked at.
    """
    try:
        here, above = os.lstat(path), os.lstat(f"{path}/..")
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISDIR(here.st_mode) or here.st_dev == above.st_dev:
        return None
    return syscalls.filesystem_type(path)


def has_tmpfs(path: str) -> bool:
    """Whether a tmpfs is mounted on the directory *path* itself; the last name is no link.

    :raises OSError: it is there, but cannot be looked at.
    """
    return mounted_type(path) == syscalls.TMPFS_MAGIC


def ensure_shared(directory: Path) -> bool:
    """Make sure that mounts below *directory* reach containers; True if something was done.

    Where the mount that holds it is not shared, it becomes a shared mount of its own.

    :raises OSError: refused.
    """
    path = os.path.realpath(directory)
    holder = mountinfo.mount_of(mountinfo.read(), path)
    if holder is not None and holder.is_shared:
        return False
    made = holder is None or holder.mount_point != path
    if made:
        bind(path, path, recursive=True)
    try:
        make_shared(path)
    except OSError:
        if made:
            with contextlib.suppress(OSError):
                unmount(path)
        raise
    return True
