"""How much of a file system a directory takes (as ``du`` counts), and how full a file system is.

The walk goes by descriptors: it follows no link, enters no mount, and is not led out by who
moves directories meanwhile. It is bounded, and says when it did not get to the end. Blocking;
other threads run between its entries.
"""

import errno
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from . import safeopen, syscalls

_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_INSIDE: Final = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_XDEV
#: st_blocks counts in this many bytes, whatever the file system's blocks are.
_BLOCK: Final = 512
#: Directories held open at once; the way back up is found again through "..".
_MAX_OPEN: Final = 64
#: Entries between two pauses.
_CHUNK: Final = 512
_PAUSE: Final = 0.001


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a walk ends though there is more."""

    #: Files, directories and links.
    entries: int = 5_000_000
    #: Files with several names: each is remembered.
    linked: int = 500_000
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """What a directory takes, itself included; a file of several names counts once."""

    used_bytes: int
    inodes: int
    #: Why it is not all (then the numbers are what was found so far); empty: it is.
    unfinished: str = ""


@dataclass(frozen=True, slots=True)
class FileSystem:
    """What statfs(2) tells, in bytes; *available* is what users other than root may fill."""

    capacity: int
    available: int
    used: int
    inodes: int
    inodes_free: int


def file_system(path: str) -> FileSystem:
    """The file system that *path* is on.

    :raises OSError: it cannot be looked at.
    """
    with safeopen.opened(path, os.O_PATH | os.O_NOFOLLOW) as found:
        told = os.statvfs(found)
    return FileSystem(
        capacity=told.f_blocks * told.f_frsize,
        available=told.f_bavail * told.f_frsize,
        used=(told.f_blocks - told.f_bfree) * told.f_frsize,
        inodes=told.f_files,
        inodes_free=told.f_ffree,
    )


def disk_usage(
    path: str,
    limits: Limits = Limits(),
    *,
    monotonic: Callable[[], float] = time.monotonic,
    pause: Callable[[float], object] = time.sleep,
) -> DiskUsage:
    """What the directory *path* takes.

    *pause* is called between chunks of entries to let others run; what it raises ends the walk.

    :raises OSError: *path* itself is no directory, or cannot be read.
    """
    with safeopen.opened(path, _OPEN) as root:
        walk = _Walk(limits, monotonic, pause)
        walk.below(root)
        return DiskUsage(walk.blocks * _BLOCK, walk.inodes, walk.unfinished)


def _open_directory(parent: int, name: str) -> int:
    """A descriptor of a directory in *parent* on which nothing is mounted."""
    try:
        return syscalls.openat2(parent, name, _OPEN, resolve=_INSIDE)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):
            raise
    return os.open(name, _OPEN, dir_fd=parent)


def _status(parent: int, entry: "os.DirEntry[str]") -> os.stat_result | None:
    """The status of an *entry* of the directory *parent*; None where something is mounted on it.

    What is mounted is not asked: containers mount for others what may hang, or fail, with its daemon.
    """
    if entry.is_dir(follow_symlinks=False):
        try:
            found = syscalls.openat2(
                parent, entry.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, resolve=_INSIDE
            )
        except OSError as error:
            if error.errno == errno.EXDEV:
                return None
            if error.errno not in (errno.ENOSYS, errno.EPERM):
                raise
        else:
            try:
                return os.fstat(found)
            finally:
                os.close(found)
    return entry.stat(follow_symlinks=False)


class _EnoughError(Exception):
    """A limit is reached."""


@dataclass(slots=True)
class _Frame:
    """A directory on the way down: its descriptor, unless closed meanwhile, and what is left to enter."""

    inode: int
    todo: list[str]
    descriptor: int | None

    @property
    def opened(self) -> int:
        """Its descriptor: the directory that is read is never a closed one."""
        if self.descriptor is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self.descriptor

    def close(self) -> None:
        """Close its descriptor, if that is still open."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


class _Walk:
    def __init__(
        self, limits: Limits, monotonic: Callable[[], float], pause: Callable[[float], object]
    ) -> None:
        self.blocks = self.inodes = self._names = 0
        self.unfinished = ""
        self._limits = limits
        self._monotonic = monotonic
        self._pause = pause
        self._ends = monotonic() + limits.seconds
        self._linked: set[int] = set()
        self._device = 0
        self._stack: list[_Frame] = []

    def below(self, root: int) -> None:
        """Count *root* and all below."""
        status = os.fstat(root)
        self._device = status.st_dev
        try:
            self._count(status)
            self._push(status.st_ino, self._read(root), os.dup(root))
            while self._stack:
                if self._stack[-1].todo:
                    self._enter(self._stack[-1])
                else:
                    self._leave()
        except _EnoughError as enough:
            self.unfinished = str(enough)
        finally:
            for frame in self._stack:
                frame.close()

    def _enter(self, frame: _Frame) -> None:
        name = frame.todo.pop()
        try:
            found = _open_directory(frame.opened, name)
        except OSError as error:
            # Gone, a link by now, or the same file system mounted once more.
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV):
                self._missed(error)
            return
        try:
            status = os.fstat(found)
            names = self._read(found) if status.st_dev == self._device else []
            if names:
                self._push(status.st_ino, names, os.dup(found))
        finally:
            os.close(found)

    def _push(self, inode: int, names: list[str], descriptor: int) -> None:
        self._stack.append(_Frame(inode, names, descriptor))
        if len(self._stack) > _MAX_OPEN:
            self._stack[-_MAX_OPEN - 1].close()

    def _leave(self) -> None:
        left = self._stack.pop()
        above = self._stack[-1] if self._stack else None
        try:
            if above is not None and above.descriptor is None:
                above.descriptor = os.open("..", _OPEN, dir_fd=left.opened)
                status = os.fstat(above.descriptor)
                if (status.st_dev, status.st_ino) != (self._device, above.inode):
                    raise _EnoughError("a directory was moved while it was read")
        except OSError as error:
            raise _EnoughError(f"the way back was lost: {error.strerror}") from error
        finally:
            left.close()

    def _read(self, directory: int) -> list[str]:
        """Count what is in *directory*; the names of directories in it."""
        names: list[str] = []
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    try:
                        status = _status(directory, entry)
                    except FileNotFoundError:
                        continue
                    except OSError as error:
                        self._missed(error)
                        continue
                    # What is mounted here is not in this file system.
                    if status is not None and status.st_dev == self._device and self._count(status):
                        names.append(entry.name)
        except OSError as error:
            self._missed(error)
        return names

    def _count(self, status: os.stat_result) -> bool:
        """Count it, if it is not known by another name; whether it is a directory.

        :raises _EnoughError: a limit is reached.
        """
        # Names, not files: one file may have as many as there is room for.
        self._names += 1
        if self._names % _CHUNK == 0:
            self._breathe()
        directory = stat.S_ISDIR(status.st_mode)
        if status.st_nlink > 1 and not directory:
            if status.st_ino in self._linked:
                return False
            if len(self._linked) >= self._limits.linked:
                raise _EnoughError(f"more than {self._limits.linked} files have several names")
            self._linked.add(status.st_ino)
        if self.inodes >= self._limits.entries:
            raise _EnoughError(f"there are more than {self._limits.entries} files")
        self.inodes += 1
        self.blocks += status.st_blocks
        return directory

    def _breathe(self) -> None:
        if self._monotonic() >= self._ends:
            raise _EnoughError(f"it took more than {self._limits.seconds:g} s")
        self._pause(_PAUSE)

    def _missed(self, error: OSError) -> None:
        """Something cannot be read: the rest still counts."""
        self.unfinished = self.unfinished or f"a directory could not be read: {error.strerror}"
