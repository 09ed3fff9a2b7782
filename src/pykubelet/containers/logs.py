"""Reading a container's log file, from its start or its end, once or as it grows.

Blocks are read and turned on a thread, so that neither disk nor decoding holds up the loop;
at most one block and one line are in memory. A file is opened only as a regular one and
without following any link below the directory of all pods' logs: who may write there could
otherwise have any file of the host read to him.
"""

import asyncio
import contextlib
import os
import time
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import BinaryIO, Literal

from asyncinotify import Inotify, Mask

from .log_dir import LogDirectory, log_directory
from .log_lines import LogDecoder, LogOptions
from .rotation import COMPRESSED, plain_name

__all__ = ["LogOptions", "read_logs", "tail_start"]

_BLOCK = 1 << 20
_TAIL_BLOCK = 64 << 10
#: Seconds after which a followed file is looked at though nothing was announced.
_FORCED_LOOK = 1.0
#: Seconds for which a file that was set aside may still be written to after a new one was begun.
_SETTLE = 0.2
#: Looks at a log that is just being rotated, and the seconds between them.
_TRIES, _BETWEEN = 20, 0.05
#: Bytes by which a compressed file is known to be the one that was read.
_MARK = 256
_CHANGES = Mask.MODIFY | Mask.CREATE | Mask.MOVED_TO | Mask.MOVED_FROM | Mask.DELETE
_GZIP = 31

#: What comes after a file's end: more of this or the next one, perhaps more soon, or nothing as yet.
_Next = Literal["more", "soon", "nothing"]


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


class _File:
    """One file of a log and the place in it; a compressed one is unpacked on the way."""

    def __init__(self, file: BinaryIO, *, packed: bool = False) -> None:
        self._file = file
        self._unpacker = zlib.decompressobj(_GZIP) if packed else None
        self.at = 0

    @property
    def status(self) -> os.stat_result:
        """As the kernel has it now."""
        return os.fstat(self._file.fileno())

    @property
    def file(self) -> BinaryIO:
        """The file itself."""
        return self._file

    @property
    def unread(self) -> bool:
        """Whether it grew after its end was seen."""
        return self._unpacker is None and self.status.st_size > self.at

    def read(self, most: int) -> bytes:
        """The next bytes, at most *most*; none at the end.

        :raises OSError: unreadable.
        """
        if self._unpacker is None:
            data = os.pread(self._file.fileno(), most, self.at)
            self.at += len(data)
            return data
        while True:
            packed = self._unpacker.unconsumed_tail or self._file.read(_TAIL_BLOCK)
            try:
                data = self._unpacker.decompress(packed, most)
            except zlib.error as error:
                raise OSError(f"a rotated log is broken: {error}") from error
            if data or not packed:
                return data

    def mark(self) -> bytes:
        """The first bytes of what it holds."""
        if self._unpacker is None:
            return _pread(self._file, 0, _MARK)
        again = zlib.decompressobj(_GZIP)
        return again.decompress(_pread(self._file, 0, _TAIL_BLOCK), _MARK)

    def close(self) -> None:
        """Let go of it."""
        self._file.close()


class _Source:
    """The log being read, over all the files that it becomes; all methods block."""

    def __init__(self, directory: LogDirectory, options: LogOptions) -> None:
        self._directory = directory
        self._decoder = LogDecoder(options)
        self._noticed = 0.0
        #: The newest rotated file that is older than the one being read.
        self._after = ""
        self._file = self._open_current()
        try:
            size = self._file.status.st_size
            #: What is written later than this is not part of a reading that does not follow.
            self._end = None if options.follow else size
            tail = options.tail_lines
            self._file.at = 0 if tail is None or tail < 0 else tail_start(self._file.file, tail, size)
        except BaseException:
            self._file.close()
            raise

    def _open_current(self) -> _File:
        while True:
            before = self._newest_rotated()
            file = _File(self._directory.open(self._directory.log))
            if self._newest_rotated() == before:
                self._after = before
                return file
            # It was rotated just now.
            file.close()

    def _newest_rotated(self) -> str:
        return max(map(plain_name, self._directory.rotated()), default="")

    @property
    def done(self) -> bool:
        """The limit of bytes is reached."""
        return self._decoder.done

    def block(self) -> tuple[bytes, bool]:
        """The next block's output, and whether anything was read at all."""
        length = _BLOCK if self._end is None else min(_BLOCK, self._end - self._file.at)
        data = self._file.read(length) if length > 0 else b""
        return (self._decoder.feed(data) if data else b""), bool(data)

    def advance(self) -> _Next:
        """What comes after the end of the file, which was just reached; opens the next file in time."""
        try:
            return self._advance()
        except FileNotFoundError:
            # Renamed, compressed or removed between two looks.
            return "soon"

    def _advance(self) -> _Next:
        newer = [name for name in self._directory.rotated() if plain_name(name) > self._after]
        own = self._own_place(newer)
        behind = newer[own + 1 :]
        if not behind:
            verdict = self._before_current(aside=bool(newer))
            if verdict is not None:
                return verdict
        name = behind[0] if behind else self._directory.log
        fresh = _File(self._directory.open(name), packed=name.endswith(COMPRESSED))
        if not behind and self._newest_rotated() != (plain_name(newer[-1]) if newer else self._after):
            # The log was rotated once more before it was opened: this is not the next one.
            fresh.close()
            return "more"
        passed = newer[: own + 1]
        self._after = plain_name(passed[-1]) if passed else self._after
        self._file.close()
        self._file, self._noticed = fresh, 0.0
        self._decoder.rewind()
        return "more"

    def _own_place(self, newer: list[str]) -> int:
        """Where in *newer* the file is that is being read; -1 if it is not there."""
        own = self._file.status
        for place, name in enumerate(newer):
            if (found := self._directory.status(name)) is not None and os.path.samestat(found, own):
                return place
        if newer and newer[0].endswith(COMPRESSED):
            with self._directory.open(newer[0]) as packed:
                if _File(packed, packed=True).mark() == self._file.mark():
                    return 0
        return -1

    def _before_current(self, *, aside: bool) -> _Next | None:
        """What to do while only the current log can come next; None: go on to it."""
        current, own = self._directory.status(self._directory.log), self._file.status
        if current is None:
            return "soon" if aside else "nothing"
        if os.path.samestat(current, own):
            if own.st_size >= self._file.at:
                return "nothing"
            # Truncated in place counts as a new file, too.
            return None
        if self._file.unread:
            return "more"
        now = time.monotonic()
        self._noticed = self._noticed or now
        # The runtime opens the new file first and writes out to the old one what it still has.
        return None if now - self._noticed >= _SETTLE else "soon"

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
    with contextlib.ExitStack() as held:
        directory = await asyncio.to_thread(held.enter_context, log_directory(path))
        source = await _source(directory, options)
        held.callback(source.close)
        if not options.follow:
            async for output in _to_end(source):
                yield output
        else:
            changes = held.enter_context(Inotify())
            changes.add_watch(path.parent, _CHANGES)
            async for output in _follow(source, changes, is_running):
                yield output
        rest = source.finish()
        if rest:
            yield rest


async def _source(directory: LogDirectory, options: LogOptions) -> _Source:
    for _ in range(_TRIES - 1):
        try:
            return await asyncio.to_thread(_Source, directory, options)
        except FileNotFoundError:
            if not await asyncio.to_thread(directory.rotated):
                raise
            # Between the renaming of a full log and the runtime's opening of a new one.
            await asyncio.sleep(_BETWEEN)
    return await asyncio.to_thread(_Source, directory, options)


async def _to_end(source: _Source) -> AsyncGenerator[bytes, None]:
    """What there is now; while one block is being sent the next is read."""
    loop = asyncio.get_running_loop()
    ahead = loop.run_in_executor(None, source.block)
    try:
        more = True
        while more:
            output, more = await ahead
            more = more and not source.done
            if more:
                ahead = loop.run_in_executor(None, source.block)
            if output:
                yield output
    finally:
        # The thread must be done with the file before that is closed.
        await asyncio.wait({ahead})
        if not ahead.cancelled():
            ahead.exception()


async def _follow(
    source: _Source, changes: Inotify, is_running: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[bytes, None]:
    ended, patience = False, _TRIES
    while not source.done and patience:
        async for output in _to_end(source):
            yield output
        if source.done:
            return
        coming = await asyncio.to_thread(source.advance)
        if coming == "more":
            continue
        if ended and coming == "nothing":
            return
        if not ended and not await is_running():
            # What was written between the last look and the end is read in one more round.
            ended = True
            continue
        if coming == "soon":
            patience -= ended
            await asyncio.sleep(_BETWEEN)
            continue
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FORCED_LOOK):
                await changes.get()
