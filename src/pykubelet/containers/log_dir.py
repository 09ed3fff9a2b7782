"""The directory of one container's logs, held open: nothing in it is reached through a link.

All methods block. Who may write into the directory of all pods' logs could otherwise have any
file of the host renamed, read or overwritten.
"""

import contextlib
import os
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from pykubelet.linux.safeopen import open_beneath, opened

from .regular import open_regular
from .rotation import COMPRESSED, TEMPORARY, compressible, excess, next_name, rotated_names, unused_names

_BLOCK = 1 << 20
#: zlib's way to say: with gzip's head and tail.
_GZIP = 31
#: How hard gzip tries; Go's default.
_LEVEL = 6


class LogDirectory:
    """``<logs>/<pod>/<container>``, for the log *name* in it."""

    def __init__(self, descriptor: int, name: str) -> None:
        """*descriptor* (``O_PATH``) stays its owner's."""
        self._descriptor = descriptor
        self.log = name

    def names(self) -> list[str]:
        """Everything in the directory.

        :raises OSError: it cannot be read.
        """
        return os.listdir(f"/proc/self/fd/{self._descriptor}")

    def rotated(self) -> list[str]:
        """The log's rotated files, oldest first.

        :raises OSError: the directory cannot be read.
        """
        return rotated_names(self.log, self.names())

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading.

        :raises OSError: there is none, or it cannot be read.
        :raises ValueError: it is no regular file.
        """
        found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._descriptor)
        return open_regular(found)

    def status(self, name: str) -> os.stat_result | None:
        """What the kernel tells of a file; None if there is none."""
        try:
            return os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Remove a file if it is there.

        :raises OSError: it cannot be removed.
        """
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._descriptor)

    # --- rotation -------------------------------------------------------------

    def set_aside(self, now: datetime, busy: frozenset[str]) -> str:
        """Rename the log, after clearing away what an interrupted rotation left; its new name.

        :raises OSError: it cannot be done.
        """
        names = self.names()
        for name in unused_names(self.log, names, busy):
            self.remove(name)
        aside = next_name(self.log, names, now)
        os.rename(self.log, aside, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        return aside

    def put_back(self, aside: str) -> bool:
        """Give the log its name again, unless the runtime has begun a new one; whether it was done.

        :raises OSError: it cannot be done.
        """
        try:
            os.link(
                aside,
                self.log,
                src_dir_fd=self._descriptor,
                dst_dir_fd=self._descriptor,
                follow_symlinks=False,
            )
        except FileExistsError:
            return False
        self.remove(aside)
        return True

    def drop_excess(self, max_files: int) -> list[str]:
        """Remove the oldest rotated files; which they were.

        :raises OSError: one cannot be removed.
        """
        dropped = excess(self.log, self.names(), max_files)
        for name in dropped:
            self.remove(name)
        return dropped

    def to_compress(self) -> str | None:
        """The rotated file to compress next; None when there is none.

        :raises OSError: the directory cannot be read.
        """
        return next(iter(compressible(self.log, self.names())), None)

    def compress(self, name: str, given_up: Callable[[], bool] = lambda: False) -> bool:
        """Put ``name.gz`` in the place of *name*; False if that went away meanwhile.

        *given_up* is asked after each block whether nobody wants it any more.

        :raises OSError: it cannot be done, or was given up; nothing is left of the attempt.
        :raises ValueError: it is no regular file.
        """
        temporary = name + TEMPORARY
        try:
            with self.open(name) as plain:
                self._write_compressed(plain, temporary, given_up)
            if self.status(name) is None:
                return False
            os.rename(temporary, name + COMPRESSED, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except FileNotFoundError:
            return False
        finally:
            self.remove(temporary)
        self.remove(name)
        return True

    def _write_compressed(self, plain: BinaryIO, temporary: str, given_up: Callable[[], bool]) -> None:
        self.remove(temporary)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        mode = os.fstat(plain.fileno()).st_mode & 0o777
        with os.fdopen(os.open(temporary, flags, mode, dir_fd=self._descriptor), "wb") as packed:
            packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
            while block := plain.read(_BLOCK):
                packed.write(packer.compress(block))
                if given_up():
                    raise InterruptedError("the compression was given up")
            packed.write(packer.flush())


@contextlib.contextmanager
def log_directory(path: Path) -> Iterator[LogDirectory]:
    """The directory of the log *path* (``<logs>/<pod>/<container>/<N>.log``).

    :raises OSError: it cannot be opened, or a link below ``<logs>`` is in the way.
    """
    with opened(path.parents[2]) as logs:
        descriptor = open_beneath(logs, "/".join(path.parts[-3:-1]), follow=False)
    try:
        yield LogDirectory(descriptor, path.name)
    finally:
        os.close(descriptor)
