"""What a container said at its end: its termination message file, or the last of its log.

The file lies in a mount that the container writes, so that nothing of it is trusted: it is
read only as a regular file, never over a link, never more than its last 4096 bytes.
"""

import asyncio
import os
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from pykubelet.cri.types import ContainerState, ContainerStatus

from .container_config import TERMINATION_PATH, TERMINATION_POLICY
from .logs import LogOptions, read_logs
from .mounts import absolute
from .regular import read_tail

_MAX_MESSAGE = 4096
_LOG_LINES = 80
_MAX_LOG = 2048


def _read_file(path: str) -> str:
    found = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    return read_tail(found, _MAX_MESSAGE).decode(errors="replace")


async def _from_file(status: ContainerStatus) -> str:
    path = status.annotations.get(TERMINATION_PATH, "")
    if not path:
        return ""
    target = absolute(path)
    host = next((mount.host_path for mount in status.mounts if mount.container_path == target), None)
    if host is None:
        return ""
    try:
        return await asyncio.to_thread(_read_file, host)
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        return f"Error on reading termination log {host}: {error}"


async def _stopped() -> bool:
    return False


async def _from_log(path: str) -> str:
    text = b""
    try:
        async with aclosing(read_logs(Path(path), LogOptions(tail_lines=_LOG_LINES), _stopped)) as blocks:
            async for block in blocks:
                text = (text + block)[-_MAX_LOG:]
    except (OSError, ValueError, IndexError) as error:
        return f"Error on reading termination message from logs: {error}"
    return text.decode(errors="replace")


async def enrich(status: ContainerStatus) -> ContainerStatus:
    """The status of an exited container with its termination message; any other as it is.

    With policy ``FallbackToLogsOnError`` an empty message of a failed container is replaced by
    the last 80 lines of its log, at most 2048 bytes.
    """
    if status.state is not ContainerState.EXITED:
        return status
    message = await _from_file(status)
    wants_log = status.annotations.get(TERMINATION_POLICY) == "FallbackToLogsOnError"
    failed = status.exit_code != 0 and status.reason != "ContainerCannotRun"
    if not message and wants_log and failed:
        message = await _from_log(status.log_path)
    if not message:
        return status
    return replace(status, message=f"{status.message}: {message}" if status.message else message)
