"""Running a short command whose answer is awaited: bounded in time and output, and surely ended."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .tasks import TaskOwner

#: Seconds that the end of a command which was killed is waited for.
_REAP: Final = 5.0
_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    output: bytes
    errors: bytes


async def run(
    command: Sequence[str],
    environ: Mapping[str, str],
    *,
    timeout: float,
    limit: int,
    stdin: bytes = b"",
    keep_errors: bool = False,
) -> Ended:
    """Run *command* for at most *timeout* seconds; whatever happens, it has ended afterwards.

    With *keep_errors* the first *limit* bytes of its standard error are kept; otherwise they go
    where the daemon's own go.

    :raises OSError: it cannot be started.
    :raises TimeoutError: it took too long.
    :raises ValueError: it printed more than *limit* bytes.
    """
    owner = TaskOwner(f"command {command[0]}")
    starting = asyncio.create_subprocess_exec(
        *command,
        env=environ,
        stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE if keep_errors else None,
        start_new_session=True,
    )
    process = await _started(owner.spawn("start", starting))
    try:
        async with asyncio.timeout(timeout):
            feeding = owner.spawn("stdin", _feed(process.stdin, stdin))
            errors = owner.spawn("stderr", _drain(process.stderr, limit))
            output = await _output(process.stdout, limit)
            code = await process.wait()
            await feeding
            return Ended(code, output, await errors)
    except BaseException:
        _kill(process)
        raise
    finally:
        if process.returncode is None:
            # A child that left the session may keep the pipe open all the same: it is not waited for.
            await asyncio.wait({owner.spawn("reap", process.wait())}, timeout=_REAP)
        await owner.close()


async def _started(starting: asyncio.Task[asyncio.subprocess.Process]) -> asyncio.subprocess.Process:
    """The process as soon as it is there; who stops waiting for it earlier has it ended first.

    It runs before asyncio has done with starting it. Cut short in between, asyncio kills the process alone,
    and what that has started meanwhile would run on.
    """
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait({starting}, timeout=_REAP)
        if starting.done() and not starting.cancelled() and starting.exception() is None:
            _kill(starting.result())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(starting.result().wait(), _REAP)
        raise


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill its process group: a shell's children would keep the pipe open, even when it has ended itself."""
    if process.returncode is not None:
        # Nobody else gets the number while the group has members; who has it now, if anybody, is a stranger.
        try:
            os.kill(process.pid, 0)
        except ProcessLookupError:
            pass
        except PermissionError:
            return
        else:
            return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


async def _feed(stream: asyncio.StreamWriter | None, data: bytes) -> None:
    if stream is None:
        return
    # A command may end without having read everything.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stream.write(data)
        await stream.drain()
    stream.close()


async def _output(stream: asyncio.StreamReader | None, limit: int) -> bytes:
    if stream is None:
        raise ValueError("its output cannot be read")
    chunks, size = [], 0
    while chunk := await stream.read(_CHUNK):
        size += len(chunk)
        if size > limit:
            raise ValueError("printed too much")
        chunks.append(chunk)
    return b"".join(chunks)


async def _drain(stream: asyncio.StreamReader | None, limit: int) -> bytes:
    """What the stream brings, of which the first *limit* bytes are kept."""
    kept = b""
    while stream is not None and (chunk := await stream.read(_CHUNK)):
        kept = (kept + chunk)[:limit]
    return kept
