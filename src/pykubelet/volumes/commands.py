"""The commands that volumes need: run with a bound in time, killed beyond it, their words kept for events."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pykubelet.base import processes
from pykubelet.base.apart import Apart
from pykubelet.base.errors import VolumeError

#: Bytes that are kept of each of a command's outputs.
_LIMIT: Final = 1 << 20
#: Bytes of an output that go into an error, and so into an event.
_SHOWN: Final = 2048


class TookTooLong(VolumeError):
    """A command did not end in its time."""


class Done:
    """How a command ended."""

    def __init__(self, code: int, output: bytes) -> None:
        self.code = code
        #: What it printed, errors last.
        self.output = output.decode("utf-8", "replace")

    @property
    def shown(self) -> str:
        """The end of the output, for a message."""
        return self.output[-_SHOWN:]


async def run(*command: str, seconds: float) -> Done:
    """Run *command*, whose words are in English; it has ended afterwards unless the kernel holds it.

    :raises FileNotFoundError: there is no such command.
    :raises TookTooLong: it took more than *seconds* and was killed.
    :raises VolumeError: it cannot be run.
    """
    environ = {**os.environ, "LC_ALL": "C"}
    try:
        ended = await processes.run(command, environ, timeout=seconds, limit=_LIMIT, keep_errors=True)
    except FileNotFoundError:
        raise
    except TimeoutError:
        raise TookTooLong(f"{command[0]} did not end within {seconds:g} s and was killed") from None
    except (OSError, ValueError) as error:
        raise VolumeError(f"{command[0]} cannot be run: {error}") from error
    return Done(ended.code, ended.output + ended.errors)


async def mount(
    source: str, target: str, kind: str, options: Sequence[str], *, seconds: float, scope: bool = False
) -> None:
    """Mount with ``mount(8)``, which knows each file system's helpers and options.

    With *scope*, and where systemd runs, it is run in a scope of its own: daemons of file systems
    in user space survive this one's end.

    :raises VolumeError: it failed, with upstream's text.
    """
    arguments = ["-t", kind, *(["-o", ",".join(options)] if options else []), source, target]
    command = ["mount", *arguments]
    if scope and await Apart("systemd").run(_has_systemd):
        about = f"--description=Kubernetes transient mount for {target}"
        command = ["systemd-run", about, "--scope", "--", *command]
    try:
        done = await run(*command, seconds=seconds)
    except FileNotFoundError:
        raise VolumeError(f"there is no {command[0]} on this node") from None
    if done.code:
        raise VolumeError(
            f"mount failed: exit status {done.code}\nMounting command: {command[0]}\n"
            f"Mounting arguments: {' '.join(command[1:])}\nOutput: {done.shown}"
        )


async def unmount(target: str, *, seconds: float, force: bool = False) -> None:
    """Unmount with ``umount(8)``; what is not mounted is fine. With *force* a server need not answer.

    :raises TookTooLong: it was killed.
    :raises VolumeError: it failed, with upstream's text.
    """
    command = ["umount", *(["-f"] if force else []), target]
    try:
        done = await run(*command, seconds=seconds)
    except FileNotFoundError:
        raise VolumeError("there is no umount on this node") from None
    if done.code and "not mounted" not in done.output:
        raise VolumeError(
            f"unmount failed: exit status {done.code}\nUnmounting arguments: {target}\nOutput: {done.shown}"
        )


def _has_systemd() -> bool:
    return Path("/run/systemd/system").is_dir() and shutil.which("systemd-run") is not None
