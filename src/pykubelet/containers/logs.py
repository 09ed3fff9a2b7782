"""Reading a container's log file, from its start or its end, once or as it grows.

Blocks are read and turned on a thread, so that neither disk nor decoding holds up the loop;
at most one block and one line are in memory. A file is opened only as a regular one and
without following any link below the directory of all pods' logs: who may write there could
otherwise have any file of the host read to him.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import BinaryIO

from asyncinotify import Inotify, Mask

from pykubelet.linux.safeopen import open_beneath, opened

from .log_lines import LogDecoder, LogOptions
from .regular import open_regular

__all__ = ["LogOptions", "read_logs", "tail_start"]

_BLOCK = 1 << 20
_TAIL_BLOCK = 64 << 10
#: Seconds after which a followed file is looked at though nothing was announced.
_FORCED_LOOK = 1.0
_CHANGES = Mask.MODIFY | Mask.CREATE | Mask.MOVED_TO | Mask.MOVED_FROM | Mask.DELETE


def _open(path: Path) -> BinaryIO:
    """Open ``<logs>/<pod>/<container>/<N>.log`` without following a link below ``<logs>``."""
    with opened(path.parents[2]) as logs:
        return open_regular(open_beneath(logs, "/".join(path.parts[-3:]), follow=False))


def tail_start(file: BinaryIO, lines: int, end: int) -> int:
    """Where the last *lines* lines before the offset *end* begin; blocking.

    A last line that has no end yet counts.
    """
    if lines <= 0:
        return end
    wanted, position, first = lines, end, True
    while position > 0:
        begin = max(0, position - _TAIL_BLOCK)
        block = _pread(file, begin, position - begin)
        # The end of the very last line bounds no further line.
        stop = len(block) - 1 if first and block.endswith(b"\n") else len(block)
        first = False
        found = block.count(b"\n", 0, stop)
        if found >= wanted:
            for _ in range(wanted):
                stop = block.rindex(b"\n", 0, stop)
            return begin + stop + 1
        wanted -= found
        position = begin
    return 0


def _pread(file: BinaryIO, offset: int, length: int) -> bytes:
    chunks: list[bytes] = []
    while length > 0 and (chunk := os.pread(file.fileno(), length, offset)):
        chunks.append(chunk)
        offset += len(chunk)
        length -= len(chunk)
    return b"".join(chunks)


class _Source:
    """The log file being read, and its place; all methods block."""

    def __init__(self, path: Path, options: LogOptions) -> None:
        self._path = path
        self._decoder = LogDecoder(options)
        self._file = _open(path)
        try:
            size = os.fstat(self._file.fileno()).st_size
            #: What is written later than this is not part of a reading that does not follow.
            self._end = None if options.follow else size
            tail = options.tail_lines
            self._at = 0 if tail is None or tail < 0 else tail_start(self._file, tail, size)
        except BaseException:
            self._file.close()
            raise

    @property
    def done(self) -> bool:
        """The limit of bytes is reached."""
        return self._decoder.done

    def block(self) -> tuple[bytes, bool]:
        """The next block's output, and whether anything was read at all."""
        length = _BLOCK if self._end is None else min(_BLOCK, self._end - self._at)
        data = os.pread(self._file.fileno(), length, self._at) if length > 0 else b""
        self._at += len(data)
        return (self._decoder.feed(data) if data else b""), bool(data)

    def rotated(self) -> bool:
        """Whether there is more to read because another file took the name of the one that was read.

        The old file is read out first: its last lines may have come after the last look.
        """
        try:
            fresh = _open(self._path)
        except (OSError, ValueError):
            return False
        old, new = os.fstat(self._file.fileno()), os.fstat(fresh.fileno())
        same = (old.st_dev, old.st_ino) == (new.st_dev, new.st_ino)
        if (same and new.st_size >= self._at) or (not same and old.st_size > self._at):
            fresh.close()
            return not same
        # Truncated in place counts as a new file, too.
        self._file.close()
        self._file, self._at = fresh, 0
        self._decoder.rewind()
        return True

    def finish(self) -> bytes:
        """Output of a last line without end."""
        return self._decoder.finish()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


async def read_logs(
    path: Path, options: LogOptions, is_running: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[bytes, None]:
    """What a container wrote to its log *path* (``<logs>/<pod>/<container>/<N>.log``), in blocks.

    With ``options.follow`` it goes on, over rotations, until *is_running* says no and all is read.
    Close the iterator (``aclosing``) to let go of the file at once.

    :raises OSError: there is no such file, or it cannot be read, or a link is in the way.
    :raises ValueError: it is no regular file, or in no known format.
    """
    source = await asyncio.to_thread(_Source, path, options)
    try:
        if not options.follow:
            async for output in _to_end(source):
                yield output
        else:
            with Inotify() as changes:
                changes.add_watch(path.parent, _CHANGES)
                async for output in _follow(source, changes, is_running):
                    yield output
        rest = source.finish()
        if rest:
            yield rest
    finally:
        source.close()


async def _to_end(source: _Source) -> AsyncGenerator[bytes, None]:
    while not source.done:
        output, more = await asyncio.to_thread(source.block)
        if output:
            yield output
        if not more:
            return


async def _follow(
    source: _Source, changes: Inotify, is_running: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[bytes, None]:
    ended = False
    while not source.done:
        async for output in _to_end(source):
            yield output
        if source.done:
            return
        if await asyncio.to_thread(source.rotated):
            continue
        if ended:
            return
        if not await is_running():
            # What was written between the last look and the end is read in one more round.
            ended = True
            continue
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FORCED_LOOK):
                await changes.get()
