"""When a container's log is rotated, and what becomes of the files: pure decisions.

A log ``0.log`` is renamed to ``0.log.20060102-150405`` (local time, as upstream); all rotated files
but the newest are compressed to ``….gz`` by way of ``….tmp``. Where a container is rotated more than
once a second, more digits follow, a fraction: such names sort among upstream's by time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

COMPRESSED: Final = ".gz"
TEMPORARY: Final = ".tmp"
#: Seconds between looks at the logs' sizes while none grows fast; the longest, and the shortest.
LOOK, SHORTEST_LOOK = 1.0, 0.1


@dataclass(frozen=True, slots=True)
class RotationPolicy:
    """When logs are rotated, and how many files stay."""

    #: Bytes from which a log is rotated; negative never.
    max_size: int = 10 << 20
    #: Files that a container has, the one being written included.
    max_files: int = 5
    #: Rotations at once, and compressions at once.
    workers: int = 1
    #: Seconds within which every log is looked at, and after which what failed is tried again.
    interval: float = 10.0


@dataclass(frozen=True, slots=True)
class Growth:
    """The size of a log when it was last looked at."""

    size: int
    #: Monotonic seconds.
    at: float
    #: Bytes a second of late.
    rate: float = 0.0

    def grown(self, size: int, at: float) -> "Growth":
        """What is known after another look."""
        if at <= self.at:
            return Growth(size, at, self.rate)
        # A smaller file is a new one, begun after the last look.
        seen = (size - (self.size if size >= self.size else 0)) / (at - self.at)
        # Who writes in bursts is not forgotten at the first pause.
        return Growth(size, at, max(seen, self.rate / 2))


def next_look(logs: Iterable[Growth], max_size: int) -> float:
    """Seconds until the sizes are looked at again: when the first log may be full, if that is soon."""
    wait = LOOK
    for log in logs:
        if log.rate > 0:
            wait = min(wait, (max_size - log.size) / log.rate)
    return max(wait, SHORTEST_LOOK)


def rotated_names(log: str, names: Iterable[str]) -> list[str]:
    """The rotated files of *log* among a directory's *names* that are in use, oldest first."""
    found = {name for name in names if name.startswith(f"{log}.")}
    used = [name for name in found if not name.endswith(TEMPORARY) and name + COMPRESSED not in found]
    return sorted(used, key=plain_name)


def plain_name(name: str) -> str:
    """The name of a rotated file before it was compressed; these sort by time."""
    return name.removesuffix(COMPRESSED)


def unused_names(log: str, names: Iterable[str], busy: Iterable[str] = ()) -> list[str]:
    """What an interrupted rotation of *log* left: temporary files (but *busy*), and what was compressed."""
    found = {name for name in names if name.startswith(f"{log}.")}
    return sorted(found.difference(rotated_names(log, found), busy))


def next_name(log: str, names: Iterable[str], now: datetime) -> str:
    """The name that *log* gets now: later than all rotated ones, whatever the clock did meanwhile."""
    latest = max(map(plain_name, rotated_names(log, names)), default="")
    for stamp in (f"{now:%Y%m%d-%H%M%S}", f"{now:%Y%m%d-%H%M%S}{now.microsecond // 1000:03d}"):
        if f"{log}.{stamp}" > latest:
            return f"{log}.{stamp}"
    head, tail = latest[:-3], latest[-3:]
    # Only a clock that went back, or rotations within a millisecond, get here.
    return f"{head}{int(tail) + 1:03d}" if tail.isdecimal() and tail != "999" else f"{latest}001"


def excess(log: str, names: Iterable[str], max_files: int) -> list[str]:
    """The rotated files that go, oldest first, so that with *log* itself *max_files* are left."""
    used = rotated_names(log, names)
    return used[: max(0, len(used) - (max_files - 1))]


def compressible(log: str, names: Iterable[str]) -> list[str]:
    """The rotated files to compress: all but the newest, which a reader may not have read out.

    The newest first: under a flood the oldest goes before it would be done.
    """
    return [name for name in reversed(rotated_names(log, names)[:-1]) if not name.endswith(COMPRESSED)]


def lasting(policy: RotationPolicy, period: float) -> bool:
    """Whether files that are rotated every *period* seconds stay long enough to be worth compressing."""
    return (policy.max_files - 1) * period >= policy.interval


def due(
    logs: Mapping[str, Growth], policy: RotationPolicy, not_before: Mapping[str, float], now: float
) -> Sequence[str]:
    """The containers whose logs are full and were not tried in vain just before."""
    if policy.max_size < 0:
        return ()
    return [
        name
        for name, log in logs.items()
        if log.size >= max(policy.max_size, 1) and now >= not_before.get(name, now)
    ]
