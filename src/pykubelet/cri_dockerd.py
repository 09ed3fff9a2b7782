"""``--container-runtime=docker``: Docker Engine, spoken to through cri-dockerd, found or started.

The kubelet's own way to Docker (dockershim) is gone since Kubernetes 1.24; cri-dockerd took its place
and speaks CRI. One that serves already is used as it is. Else the installed one is started as a child
of the daemon: what it writes goes into our log, it is started again when it ends, and it ends with us.
Pods run on in Docker all the while.
"""

import asyncio
import asyncio.subprocess
import contextlib
import logging
import os
import shutil
import socket
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
    if serving is not None:
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
    # One of ours may have outlived a daemon that was killed.
    return choose(next((one for one in (*sockets, own) if _listens(one)), None), program, own)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


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
        # The socket of one that was killed would be in the way.
        await asyncio.to_thread(own.unlink, missing_ok=True)
        arguments = ("--container-runtime-endpoint", self._way.endpoint)
        try:
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
        for signal in (process.terminate, process.kill):
            with contextlib.suppress(ProcessLookupError):
                signal()
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
