"""The node's own logs: files below ``/var/log``, opened so that no link leads out, and the journal.

All file calls run in threads. Matches the server's door ``NodeLogs``.
"""

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Final

from pykubelet.linux.safeopen import open_beneath, opened, parts_of

#: Entries of a directory that are listed.
_MAX_NAMES: Final = 10_000
_BLOCK: Final = 64 << 10
#: Seconds for the list of units, and its bytes that are looked at.
_UNITS_TIMEOUT: Final = 10.0
_UNITS_LIMIT: Final = 4 << 20


class OpenLog:
    """A file or directory that is open."""

    def __init__(self, descriptor: int, status: os.stat_result, names: Sequence[str] | None) -> None:
        self._descriptor = descriptor
        self.size = status.st_size
        self.modified = status.st_mtime
        self.names = names

    async def read(self, offset: int, size: int) -> bytes:
        """At most *size* bytes from *offset* on.

        :raises OSError: it cannot be read.
        """
        return await asyncio.to_thread(os.pread, self._descriptor, size, offset)

    async def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)


class SystemLogFiles:
    """Files below *root*, and what ``journalctl`` tells."""

    def __init__(self, root: Path = Path("/var/log"), *, journalctl: str = "journalctl") -> None:
        self._root = root
        self._journalctl = journalctl

    async def open(self, path: str) -> OpenLog:
        """What lies at *path* below the root: a regular file or a directory.

        :raises OSError: nothing is there, or nothing that may be read.
        """
        return await asyncio.to_thread(self._open, path)

    def _open(self, path: str) -> OpenLog:
        with opened(self._root) as root:
            try:
                found = self._beneath(root, path)
            except ValueError as error:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from error
        try:
            status = os.fstat(found)
            is_directory = stat.S_ISDIR(status.st_mode)
            if not is_directory and not stat.S_ISREG(status.st_mode):
                raise PermissionError(errno.EACCES, "neither a file nor a directory", path)
            flags = os.O_RDONLY | os.O_CLOEXEC | (os.O_DIRECTORY if is_directory else 0)
            descriptor = os.open(f"/proc/self/fd/{found}", flags)
        finally:
            os.close(found)
        try:
            return OpenLog(descriptor, status, _names(descriptor) if is_directory else None)
        except BaseException:
            os.close(descriptor)
            raise

    def _beneath(self, root: int, path: str) -> int:
        """As ``open_beneath``; a last link to an absolute path below the root is followed, too.

        Such links are what ``/var/log/containers`` is made of.
        """
        try:
            return open_beneath(root, path, follow=True)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            target = self._link_inside(root, path)
            if target is None:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path) from error
        try:
            return open_beneath(root, target, follow=True)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path) from error

    def _link_inside(self, root: int, path: str) -> str | None:
        parts = parts_of(path)
        if not parts:
            return None
        try:
            parent = open_beneath(root, "/".join(parts[:-1]), follow=True)
        except OSError:
            return None
        try:
            target = os.readlink(parts[-1], dir_fd=parent)
        except OSError:
            return None
        finally:
            os.close(parent)
        inside = f"{self._root}/"
        return target.removeprefix(inside) if target.startswith(inside) else None

    async def has_unit(self, service: str) -> bool:
        """Whether the journal knows ``SERVICE.service``; no journal knows none."""
        told = bytearray()
        try:
            async with (
                asyncio.timeout(_UNITS_TIMEOUT),
                contextlib.aclosing(self.journal(["--field", "_SYSTEMD_UNIT"])) as blocks,
            ):
                async for block in blocks:
                    told += block
                    if len(told) > _UNITS_LIMIT:
                        break
        except (OSError, TimeoutError):
            return False
        return f"{service}.service".encode() in told

    async def journal(self, arguments: Sequence[str]) -> AsyncGenerator[bytes, None]:
        """What ``journalctl`` writes, errors too; it is ended when the reader is.

        :raises OSError: it cannot be started.
        """
        process = await asyncio.create_subprocess_exec(
            self._journalctl,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=_BLOCK,
        )
        assert process.stdout is not None
        try:
            while block := await process.stdout.read(_BLOCK):
                yield block
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            # Its pipe is read to the end so that nothing of it stays open.
            await process.communicate()


def _names(descriptor: int) -> list[str]:
    found = []
    with os.scandir(descriptor) as entries:
        for entry in entries:
            found.append(f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name)
            if len(found) >= _MAX_NAMES:
                break
    return sorted(found)
