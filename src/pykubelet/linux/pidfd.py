"""Seeing the end of a process that is not our child, at once and without a thread for each.

A pidfd becomes readable when its process ends. Pids are used again, so after the
descriptor is open ``/proc/PID/cgroup`` must still be that of the process meant.
"""

import asyncio
import enum
import os
import select
from collections.abc import Callable, Hashable
from pathlib import Path

Belongs = Callable[[str], bool]

_CGROUP_TEXT_LIMIT = 64 * 1024


class Watching(enum.Enum):
    """What became of the wish to watch a process."""

    #: Its end will be told.
    WATCHED = "watched"
    #: It has ended already; nothing will be told.
    GONE = "gone"
    #: The pid lives, but is not of the cgroup that was expected (pid used again, or a runtime
    #: whose paths do not tell); nothing will be told.
    FOREIGN = "foreign"
    #: As many processes as allowed are watched already; nothing will be told.
    FULL = "full"


def mentions(container_id: str) -> Belongs:
    """A check that a process's ``/proc/PID/cgroup`` names *container_id*."""
    return lambda text: container_id in text


class PidWatches:
    """The processes watched by one loop, each under a key of the caller's choice."""

    def __init__(self, *, limit: int = 4096, proc: Path = Path("/proc")) -> None:
        self._limit = limit
        self._proc = proc
        self._descriptors: dict[Hashable, int] = {}
        self._opening = 0
        self._closed = False

    def __len__(self) -> int:
        return len(self._descriptors)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._descriptors

    async def add(self, key: Hashable, pid: int, belongs: Belongs, on_end: Callable[[], None]) -> Watching:
        """Call *on_end* on the loop, once, when process *pid* ends.

        *belongs* judges the text of ``/proc/PID/cgroup``. A key that is watched already
        is watched anew.

        :raises OSError: pidfds are not to be had (ENOSYS, EMFILE).
        :raises ValueError: *pid* is not positive.
        """
        if pid <= 0:
            raise ValueError(f"pid {pid} is not positive")
        if self._closed or (key not in self and len(self) + self._opening >= self._limit):
            return Watching.FULL
        self._opening += 1
        try:
            opened = await self._open(pid, belongs)
        finally:
            self._opening -= 1
        if isinstance(opened, Watching):
            return opened
        if self._closed:
            os.close(opened)
            return Watching.FULL
        self.discard(key)
        self._descriptors[key] = opened
        asyncio.get_running_loop().add_reader(opened, self._ended, key, opened, on_end)
        return Watching.WATCHED

    async def _open(self, pid: int, belongs: Belongs) -> "int | Watching":
        """Open off the loop; a descriptor that nobody waits for any more is closed again."""
        opening = asyncio.get_running_loop().run_in_executor(None, open_checked, pid, belongs, self._proc)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)
            raise

    def discard(self, key: Hashable) -> None:
        """Watch *key* no more; unknown keys are fine."""
        descriptor = self._descriptors.pop(key, None)
        if descriptor is not None:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)

    def close(self) -> None:
        """Watch nothing any more, now and later."""
        self._closed = True
        for key in list(self._descriptors):
            self.discard(key)

    def _ended(self, key: Hashable, descriptor: int, on_end: Callable[[], None]) -> None:
        if self._descriptors.get(key) == descriptor:
            self.discard(key)
            on_end()


def open_checked(pid: int, belongs: Belongs, proc: Path = Path("/proc")) -> int | Watching:
    """A pidfd of *pid* after its cgroup was checked, or GONE or FOREIGN; reads ``/proc``.

    :raises OSError: pidfds are not to be had (ENOSYS, EMFILE).
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return Watching.GONE
    try:
        outcome = _check(descriptor, proc / str(pid) / "cgroup", belongs)
    except BaseException:
        os.close(descriptor)
        raise
    if outcome is Watching.WATCHED:
        return descriptor
    os.close(descriptor)
    return outcome


def _check(descriptor: int, cgroup_file: Path, belongs: Belongs) -> Watching:
    try:
        with cgroup_file.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_CGROUP_TEXT_LIMIT)
    except (FileNotFoundError, ProcessLookupError):
        return Watching.GONE
    if belongs(text):
        return Watching.WATCHED
    # A process that is ending shows "/" on cgroup v1: not foreign, but gone.
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return Watching.GONE if poll.poll(0) else Watching.FOREIGN


def _close_unwanted(opening: "asyncio.Future[int | Watching]") -> None:
    if opening.cancelled() or opening.exception() is not None:
        return
    opened = opening.result()
    if isinstance(opened, int):
        os.close(opened)
