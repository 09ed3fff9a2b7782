"""Rotates the logs of running containers: looks at their sizes, renames, lets the runtime open a new one.

Sizes are looked at every second, and as often as ten times a second while a log grows fast; upstream
looks once in ``containerLogMonitorInterval``. Compressing is apart from rotating, so that a container
that writes faster than gzip reads does not outgrow its files.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from pykubelet.base.clock import Clock
from pykubelet.base.journal import Journal, PodRef
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner
from pykubelet.cri.door import RuntimeService
from pykubelet.cri.errors import CriError

from .log_dir import log_directory
from .rotation import SHORTEST_LOOK, TEMPORARY, Growth, RotationPolicy, due, lasting, next_look

log = logging.getLogger(__name__)

#: Seconds between two entries of the journal about one container's rotations.
_TOLD_AGAIN = 60.0
#: Parts that a log's path has at least: ``/``, ``<logs>``, ``<pod>``, ``<container>``, ``<N>.log``.
_DEPTH = 5


@dataclass(frozen=True, slots=True)
class RunningLog:
    """A container that runs, and where the runtime writes its log (empty: nowhere)."""

    container_id: str
    path: str
    pod: PodRef
    container: str


@dataclass(slots=True)
class _Told:
    """How often a container was rotated since the journal was told."""

    at: float
    rotations: int = 0


def _sizes(paths: Mapping[str, str]) -> dict[str, int | None]:
    """The files' sizes by the same keys; None where there is no file."""
    sizes: dict[str, int | None] = {}
    for key, path in paths.items():
        try:
            sizes[key] = os.stat(path, follow_symlinks=False).st_size
        except FileNotFoundError:
            sizes[key] = None
        except OSError as error:
            log.warning("the log %s of container %s cannot be looked at: %s", path, key, error)
    return sizes


class LogRotator:
    """Rotates and compresses; :meth:`start` and :meth:`stop` bound its life."""

    def __init__(
        self,
        runtime: RuntimeService,
        clock: Clock,
        journal: Journal,
        metrics: Metrics,
        policy: RotationPolicy,
        running: Callable[[], Iterable[RunningLog]],
    ) -> None:
        """*running* gives the containers that run now."""
        self._runtime = runtime
        self._clock = clock
        self._journal = journal
        self._policy = policy
        self._running = running
        self._counter = metrics.counter(
            "pykubelet_container_log_rotations_total", "Rotations of containers' logs.", ["result"]
        )
        self._tasks = TaskOwner("log-rotation")
        self._growth: dict[str, Growth] = {}
        #: Containers that wait for a rotation, or are at it.
        self._busy: set[str] = set()
        self._wanted: asyncio.Queue[RunningLog] = asyncio.Queue()
        self._to_compress: dict[str, None] = {}
        #: When the logs (by path) were rotated last that are compressed only when they are quiet.
        self._postponed: dict[str, float] = {}
        self._rotated_at: dict[str, float] = {}
        self._compress = asyncio.Event()
        #: Names of temporary files that are being written.
        self._compressing: set[str] = set()
        # Its own threads: those of the loop have the daemon's files to read meanwhile.
        self._packers = ThreadPoolExecutor(max(1, policy.workers), "compress logs")
        self._ended = False
        self._not_before: dict[str, float] = {}
        self._told: dict[str, _Told] = {}
        self._pathless: set[str] = set()

    async def start(self) -> None:
        """Begin to look, unless the policy says that logs are never rotated."""
        if self._policy.max_size < 0:
            return
        self._tasks.forever("look", self._look_forever, pause=self._clock.sleep)
        for number in range(self._policy.workers):
            self._tasks.forever(f"rotate-{number}", self._rotate_forever, pause=self._clock.sleep)
            self._tasks.forever(f"compress-{number}", self._compress_forever, pause=self._clock.sleep)

    async def stop(self) -> None:
        """Rotate no more; what is under way is left as it is, the next life clears it away."""
        self._ended = True
        await self._tasks.close()
        self._packers.shutdown(wait=False)

    # --- looking --------------------------------------------------------------

    async def _look_forever(self) -> None:
        thorough = self._clock.monotonic()
        while True:
            now = self._clock.monotonic()
            missing_too = now >= thorough
            if missing_too:
                thorough = now + self._policy.interval
            await self._look(missing_too=missing_too)
            wait = next_look(self._growth.values(), self._policy.max_size)
            await self._clock.sleep(SHORTEST_LOOK if self._busy else wait)

    async def _look(self, *, missing_too: bool) -> None:
        """Look at all sizes; with *missing_too* logs that are not there are asked for."""
        every = {each.container_id: each for each in self._running()}
        running = {key: each for key, each in every.items() if self._has_path(each)}
        sizes = await asyncio.to_thread(_sizes, {key: each.path for key, each in running.items()})
        now = self._clock.monotonic()
        self._forget_others(every)
        for path in [path for path, at in self._postponed.items() if now - at >= self._policy.interval]:
            del self._postponed[path]
            self._compress_soon(path)
        for key, size in sizes.items():
            if key in self._busy:
                # It may be neither the old file nor the new one.
                continue
            if size is None:
                if missing_too:
                    self._want(running[key])
                continue
            before = self._growth.get(key)
            self._growth[key] = Growth(size, now) if before is None else before.grown(size, now)
        for key in due(self._growth, self._policy, self._not_before, now):
            self._want(running[key])

    def _has_path(self, running: RunningLog) -> bool:
        if running.path:
            return True
        if running.container_id not in self._pathless:
            self._pathless.add(running.container_id)
            log.error("container %s of pod %s has no log path", running.container, running.pod)
        return False

    def _forget_others(self, running: Mapping[str, RunningLog]) -> None:
        self._growth = {key: value for key, value in self._growth.items() if key in running}
        self._not_before = {key: value for key, value in self._not_before.items() if key in running}
        self._told = {key: value for key, value in self._told.items() if key in running}
        self._rotated_at = {key: value for key, value in self._rotated_at.items() if key in running}
        self._pathless &= running.keys()

    def _want(self, running: RunningLog) -> None:
        if running.container_id not in self._busy:
            self._busy.add(running.container_id)
            self._wanted.put_nowait(running)

    # --- rotating -------------------------------------------------------------

    async def _rotate_forever(self) -> None:
        while True:
            running = await self._wanted.get()
            try:
                await self._rotate(running)
            except (CriError, OSError, ValueError) as error:
                self._counter.labels("error").inc()
                # Not at once again, but not later than upstream would either.
                self._not_before[running.container_id] = self._clock.monotonic() + self._policy.interval
                log.error(
                    "the log of container %s of pod %s was not rotated: %s",
                    running.container,
                    running.pod,
                    error,
                )
            finally:
                self._busy.discard(running.container_id)

    async def _rotate(self, running: RunningLog) -> None:
        path = Path(running.path)
        if len(path.parts) < _DEPTH:
            raise ValueError(f"{path} is no path of a container's log")
        size = (await asyncio.to_thread(_sizes, {"": running.path})).get("")
        if size is None:
            # Someone removed it, or an earlier life of ours ended before this.
            await self._runtime.reopen_container_log(running.container_id)
            return
        if size < self._policy.max_size:
            return
        aside = await asyncio.to_thread(_set_aside, path, self._clock.now(), frozenset(self._compressing))
        try:
            await self._runtime.reopen_container_log(running.container_id)
        except BaseException:
            # Also when this task is ended: the container still writes to that file.
            try:
                await asyncio.to_thread(_put_back, path, aside)
            except OSError as error:
                log.error("%s did not get its name back from %s: %s", path, aside, error)
            raise
        before = self._growth.get(running.container_id)
        if before is not None:
            # It will go on as it did: when to look next is reckoned from that.
            self._growth[running.container_id] = Growth(0, self._clock.monotonic(), before.rate)
        self._counter.labels("success").inc()
        dropped = await asyncio.to_thread(_drop_excess, path, self._policy.max_files)
        self._tell(running, aside, dropped)
        now = self._clock.monotonic()
        last = self._rotated_at.get(running.container_id)
        self._rotated_at[running.container_id] = now
        if last is None or lasting(self._policy, now - last):
            self._postponed.pop(running.path, None)
            self._compress_soon(running.path)
        else:
            self._postponed[running.path] = now

    def _compress_soon(self, path: str) -> None:
        self._to_compress[path] = None
        self._compress.set()

    def _tell(self, running: RunningLog, aside: str, dropped: Sequence[str]) -> None:
        """Tell the journal, of a container that is rotated all the time once a minute."""
        now = self._clock.monotonic()
        told = self._told.get(running.container_id)
        if told is not None and now - told.at < _TOLD_AGAIN:
            told.rotations += 1
            return
        more = told.rotations if told is not None else 0
        self._told[running.container_id] = _Told(now)
        self._journal.record(
            "LogRotated",
            f"the log of {running.container} was set aside as {aside}",
            pod=running.pod,
            container=running.container,
            cause=f"it reached containerLogMaxSize of {self._policy.max_size} bytes",
            removed=", ".join(dropped) or None,
            rotations_since_last_told=more or None,
        )

    # --- compressing ----------------------------------------------------------

    async def _compress_forever(self) -> None:
        while True:
            if not self._to_compress:
                self._compress.clear()
                await self._compress.wait()
                continue
            path = next(iter(self._to_compress))
            del self._to_compress[path]
            try:
                if await self._compress_one(Path(path)):
                    # The others of this log come after those of other logs.
                    self._to_compress[path] = None
            except (OSError, ValueError) as error:
                log.error("a rotated log of %s was not compressed: %s", path, error)

    async def _compress_one(self, path: Path) -> bool:
        """Compress one rotated file of the log *path*; whether there may be more."""
        name = await asyncio.to_thread(_to_compress, path)
        if name is None or name + TEMPORARY in self._compressing:
            return False
        self._compressing.add(name + TEMPORARY)
        try:
            work = partial(_compress, path, name, lambda: self._ended)
            await asyncio.get_running_loop().run_in_executor(self._packers, work)
        finally:
            self._compressing.discard(name + TEMPORARY)
        return True


def _set_aside(path: Path, now: datetime, busy: frozenset[str]) -> str:
    with log_directory(path) as directory:
        return directory.set_aside(now.astimezone(), busy)


def _to_compress(path: Path) -> str | None:
    try:
        with log_directory(path) as directory:
            return directory.to_compress()
    except FileNotFoundError:
        # The container was removed with its logs.
        return None


def _compress(path: Path, name: str, given_up: Callable[[], bool]) -> None:
    with log_directory(path) as directory:
        directory.compress(name, given_up)


def _put_back(path: Path, aside: str) -> None:
    with log_directory(path) as directory:
        directory.put_back(aside)


def _drop_excess(path: Path, max_files: int) -> list[str]:
    with log_directory(path) as directory:
        return directory.drop_excess(max_files)
