"""Opening and making what lies below a directory, whoever swaps links there meanwhile.

``openat2`` lets the kernel keep a path below its root; older kernels get a walk that holds
a descriptor of each step. Links are followed only where that is asked for, and never out.
All calls block. The descriptors returned belong to the caller.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from . import syscalls

_MAX_LINKS: Final = 40
#: How often a walk is tried again when the tree changed under it.
_TRIES: Final = 32

_O_PATH: Final = os.O_PATH | os.O_CLOEXEC


def parts_of(relative: str) -> list[str]:
    """The names in a relative path.

    :raises ValueError: it is absolute, has a ``..`` or a NUL.
    """
    if relative.startswith("/"):
        raise ValueError(f"{relative} is an absolute path")
    if "\0" in relative:
        raise ValueError("a path cannot have a NUL byte")
    parts = [part for part in relative.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"{relative} must not contain '..'")
    return parts


@contextmanager
def opened(path: str | os.PathLike[str], flags: int = os.O_PATH | os.O_DIRECTORY) -> Iterator[int]:
    """A descriptor of *path*, closed at the end.

    :raises OSError: it cannot be opened.
    """
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_beneath(root: int, relative: str, *, follow: bool, cross: bool = True) -> int:
    """An ``O_PATH`` descriptor of *relative* below the directory *root*.

    With *follow* links are resolved as long as they stay below; without *cross* no mount is entered.

    :raises OSError: missing; a link where none is allowed (``ELOOP``); a way out (``EXDEV``).
    :raises ValueError: *relative* is absolute or has a ``..``.
    """
    parts = parts_of(relative)
    try:
        return _open_by_kernel(root, "/".join(parts) or ".", follow=follow, cross=cross)
    except OSError as error:
        # Seccomp profiles of older container engines answer EPERM for calls they do not know.
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
    return walk_beneath(root, parts, follow=follow, cross=cross)


def _open_by_kernel(root: int, relative: str, *, follow: bool, cross: bool) -> int:
    resolve = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_MAGICLINKS
    if not follow:
        resolve |= syscalls.RESOLVE_NO_SYMLINKS
    if not cross:
        resolve |= syscalls.RESOLVE_NO_XDEV
    for _ in range(_TRIES - 1):
        try:
            return syscalls.openat2(root, relative, os.O_PATH, resolve=resolve)
        except BlockingIOError:
            continue
    return syscalls.openat2(root, relative, os.O_PATH, resolve=resolve)


def walk_beneath(root: int, parts: list[str], *, follow: bool, cross: bool = True) -> int:
    """As :func:`open_beneath`, step by step; *cross* is judged by the device number.

    :raises OSError: as there.
    """
    # The way back up is the way that was come: a directory moved out of the root meanwhile
    # cannot turn ".." into something outside.
    trail = [os.open(".", _O_PATH | os.O_DIRECTORY, dir_fd=root)]
    device = os.fstat(trail[0]).st_dev
    todo, links = list(reversed(parts)), 0
    try:
        while todo:
            name = todo.pop()
            if name == "..":
                _step_up(trail)
                continue
            step = os.open(name, _O_PATH | os.O_NOFOLLOW, dir_fd=trail[-1])
            trail.append(step)
            status = os.fstat(step)
            if not cross and status.st_dev != device:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
            if not stat.S_ISLNK(status.st_mode):
                continue
            links += 1
            if not follow or links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
            target = os.readlink("", dir_fd=step)
            os.close(trail.pop())
            if target.startswith("/"):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), name)
            todo += [part for part in reversed(target.split("/")) if part not in ("", ".")]
        return os.dup(trail[-1])
    finally:
        for descriptor in trail:
            os.close(descriptor)


def _step_up(trail: list[int]) -> None:
    if len(trail) == 1:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), "..")
    os.close(trail.pop())


def make_directories(root: int, relative: str, mode: int) -> int:
    """Make what is missing of *relative* below *root* with exactly *mode*; the last as a descriptor.

    Links that exist are followed while they stay below; nothing is made through a link that
    appears meanwhile.

    :raises OSError: something that is no directory is in the way, or a way out.
    :raises ValueError: *relative* is absolute or has a ``..``.
    """
    parts = parts_of(relative)
    have = len(parts)
    while True:
        try:
            current = open_beneath(root, "/".join(parts[:have]), follow=True)
            break
        except FileNotFoundError:
            if not have:
                raise
            have -= 1
    for name in parts[have:]:
        parent = current
        try:
            current = _make_one(parent, name, mode)
        finally:
            os.close(parent)
    return current


def _make_one(parent: int, name: str, mode: int) -> int:
    made = True
    try:
        os.mkdir(name, mode & 0o777, dir_fd=parent)
    except FileExistsError:
        made = False
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, dir_fd=parent)
    if made:
        try:
            # The umask took bits away, and mkdir ignores setgid.
            os.fchmod(descriptor, mode)
        except OSError:
            os.close(descriptor)
            raise
    return descriptor
