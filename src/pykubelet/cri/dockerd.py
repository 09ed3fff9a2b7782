"""``--container-runtime=docker``: Docker Engine, spoken to through cri-dockerd, found or started.

The kubelet's own way to Docker (dockershim) is gone since Kubernetes 1.24; cri-dockerd took its place
and speaks CRI. One that serves already is used as it is. Else the installed one is started as a child
of the daemon: what it writes goes into our log, it is started again when it ends, and it ends with us.
One that a daemon left which was killed is ended first: nobody reads any more what it writes, so that it
would end at its next word. Pods run on in Docker all the while.
"""

import asyncio
import asyncio.subprocess
import contextlib
import logging
import os
import select
import shutil
import signal
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pykubelet.base.journal import Journal
from pykubelet.base.tasks import TaskOwner

log = logging.getLogger(__name__)

#: Where an installed cri-dockerd serves.
USUAL_SOCKETS: Final = (Path("/run/cri-dockerd.sock"), Path("/var/run/cri-dockerd.sock"))
_PROGRAM: Final = "cri-dockerd"
#: Where Debian and the project's own packages put it, besides the PATH.
_MORE_PATH: Final = ("/usr/local/bin", "/usr/bin", "/usr/local/sbin", "/usr/sbin")
#: Bytes of a line of its log that are kept.
_LINE: Final = 4096
#: Seconds between its starts: first, longest; and how long it must have run for the first to count again.
_WAITS: Final = (1.0, 30.0)
_SOUND: Final = 60.0
#: Seconds that it gets to end.
_GRACE: Final = 10.0

_INSTALL: Final = (
    "--container-runtime=docker: cri-dockerd neither serves at {sockets} nor is it installed. Docker Engine "
    "speaks no CRI by itself: install Docker (Debian: docker.io) and cri-dockerd "
    "(https://github.com/Mirantis/cri-dockerd/releases), or use another runtime with "
    "--container-runtime-endpoint"
)


class DockerError(Exception):
    """There is no way to Docker; one line that says what to install."""


@dataclass(frozen=True, slots=True)
class Way:
    """How Docker is reached: the CRI endpoint, and the program that must be started for it, if any."""

    endpoint: str
    program: str = ""


def choose(serving: Path | None, program: str | None, own_socket: Path) -> Way:
    """The way to Docker; pure. *serving* is a socket where cri-dockerd listens.

    :raises DockerError: there is none.
    """
    if serving is not None and (serving != own_socket or program is None):
        return Way(f"unix://{serving}")
    if program is None:
        raise DockerError(_INSTALL.format(sockets=" or ".join(map(str, USUAL_SOCKETS))))
    return Way(f"unix://{own_socket}", program)


def find(
    run_dir: Path,
    *,
    sockets: tuple[Path, ...] = USUAL_SOCKETS,
    which: Callable[[str], str | None] | None = None,
) -> Way:
    """The way to Docker on this machine; blocking. A cri-dockerd of ours serves in *run_dir*.

    :raises DockerError: there is none.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), *_MORE_PATH])
    program = which(_PROGRAM) if which is not None else shutil.which(_PROGRAM, path=path)
    own = run_dir / "cri-dockerd.sock"
    return choose(next((one for one in (*sockets, own) if listens(one)), None), program, own)


def listens(path: Path) -> bool:
    """Whether somebody does at the Unix socket *path*; blocking."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def end_earlier(path: Path) -> None:
    """End the process that listens at *path*, if any, and take its socket away; blocking.

    :raises OSError: the socket cannot be removed.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        with contextlib.suppress(OSError):
            probe.connect(str(path))
            pid, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            # 0: of another PID namespace.
            if pid not in (0, os.getpid()):
                log.info("the cri-dockerd of an earlier daemon, process %d, is ended", pid)
                _end_process(pid)
    path.unlink(missing_ok=True)


def _end_process(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    try:
        ended = select.poll()
        ended.register(descriptor, select.POLLIN)
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(descriptor, number)
            if ended.poll(_GRACE * 1000):
                return
    finally:
        os.close(descriptor)


class CriDockerd:
    """A cri-dockerd that belongs to this daemon, from :meth:`start` to :meth:`stop`."""

    def __init__(self, way: Way, journal: Journal, environ: Mapping[str, str] = os.environ) -> None:
        """*way* names the program and the socket that it shall serve at."""
        self._way = way
        self._journal = journal
        self._environ = environ
        self._tasks = TaskOwner("cri-dockerd")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Begin to keep it running; whether it serves is found out as with every runtime."""
        self._tasks.forever("supervise", self._supervise)

    async def stop(self) -> None:
        """End it."""
        await self._tasks.close()
        await self._end()

    async def _supervise(self) -> None:
        wait = _WAITS[0]
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            how = await self._run()
            if loop.time() - began > _SOUND:
                wait = _WAITS[0]
            log.error("cri-dockerd %s; it is started again in %.0fs", how, wait)
            self._journal.record("CriDockerdEnded", f"cri-dockerd {how}", cause="its process ended")
            await asyncio.sleep(wait)
            wait = min(wait * 2, _WAITS[1])

    async def _run(self) -> str:
        """One life of the process; how it ended."""
        own = Path(self._way.endpoint.removeprefix("unix://"))
        arguments = ("--container-runtime-endpoint", self._way.endpoint)
        try:
            await asyncio.to_thread(end_earlier, own)
            process = await asyncio.create_subprocess_exec(
                self._way.program,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(self._environ),
                start_new_session=True,
                limit=_LINE,
            )
        except OSError as error:
            return f"cannot be started: {error.strerror or error}"
        self._process = process
        self._journal.record(
            "CriDockerdStarted", f"cri-dockerd runs as process {process.pid}", endpoint=self._way.endpoint
        )
        try:
            assert process.stdout is not None
            await _relay(process.stdout)
            return f"ended with code {await process.wait()}"
        finally:
            await asyncio.shield(self._end())

    async def _end(self) -> None:
        """End the process that still runs, if any."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        for end in (process.terminate, process.kill):
            with contextlib.suppress(ProcessLookupError):
                end()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GRACE):
                    await process.wait()
                    return


async def _relay(output: asyncio.StreamReader) -> None:
    """Put every line into our log, cut where it is too long."""
    while True:
        try:
            line = await output.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            line = error.partial
            if not line:
                return
        except asyncio.LimitOverrunError as error:
            line = await output.read(error.consumed or _LINE)
        log.info("cri-dockerd: %s", line[:_LINE].decode(errors="replace").rstrip())
