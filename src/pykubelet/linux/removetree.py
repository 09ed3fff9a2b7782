"""Removing a tree without following a link and without entering a mount.

Depth costs no descriptors without bound: what lies too deep is moved up first. Blocking.
"""

import contextlib
import errno
import os
import stat
from typing import Final

from . import safeopen

#: Directories held open at once.
_MAX_DEPTH: Final = 64
_READ: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: str) -> bool:
    """Remove *path* with all that is in it; False when there was nothing.

    :raises OSError: ``EXDEV`` or ``EBUSY``: a mount is in it (what is outside it may be gone);
        or otherwise refused.
    """
    parent, name = os.path.split(path.rstrip("/"))
    try:
        with safeopen.opened(parent) as directory:
            return _remove(directory, name)
    except FileNotFoundError:
        return False


def _remove(parent: int, name: str) -> bool:
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(name, dir_fd=parent)
        return True
    top = _open_directory(parent, name)
    try:
        moved = _Moved(top)
        while _empty(top, 1, moved):
            pass
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)
    return True


class _Moved:
    """Names for directories that are moved up to *top*."""

    def __init__(self, top: int) -> None:
        self.top = top
        self._count = 0

    def take(self, parent: int, name: str) -> None:
        """Move *name* up under a name that is free."""
        while True:
            self._count += 1
            target = f".removed-{self._count}"
            try:
                os.stat(target, dir_fd=self.top, follow_symlinks=False)
            except FileNotFoundError:
                os.rename(name, target, src_dir_fd=parent, dst_dir_fd=self.top)
                return


def _empty(directory: int, depth: int, moved: _Moved) -> bool:
    """Remove what is in *directory*; True when something was moved up and is still there."""
    again = False
    with os.scandir(directory) as entries:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in names:
        if not is_directory:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
            continue
        if depth >= _MAX_DEPTH:
            moved.take(directory, name)
            again = True
            continue
        child = _open_directory(directory, name)
        try:
            again |= _empty(child, depth + 1, moved)
        finally:
            os.close(child)
        os.rmdir(name, dir_fd=directory)
    return again


def _open_directory(parent: int, name: str) -> int:
    """A readable descriptor of a directory that no mount covers."""
    found = safeopen.open_beneath(parent, name, follow=False, cross=False)
    try:
        if not stat.S_ISDIR(os.fstat(found).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)
        return os.open(".", _READ, dir_fd=found)
    finally:
        os.close(found)
