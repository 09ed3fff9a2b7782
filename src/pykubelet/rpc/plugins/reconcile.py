"""What to do next about plug-ins; pure.

Facts: the sockets seen, the plug-ins registered, the paths something is being done
about, and the failures that are waited out. There is never more than one order for a
path, and none while another runs.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from .scan import Mark

#: Seconds after a first failure, and at most, until a socket is tried again.
FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 122.0


@dataclass(frozen=True, slots=True)
class Registered:
    """A plug-in that was taken; *mark* is that of the socket it was taken from."""

    mark: Mark
    type: str
    name: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A socket whose plug-in was not taken; *until* is when it is tried again (monotonic seconds)."""

    mark: Mark
    count: int
    until: float


@dataclass(frozen=True, slots=True)
class Register:
    """Take the plug-in at *path*."""

    path: str
    mark: Mark
    cause: str


@dataclass(frozen=True, slots=True)
class Deregister:
    """Let go of the plug-in that was taken from *path*."""

    path: str
    cause: str


Order = Register | Deregister


def decide(
    seen: Mapping[str, Mark],
    registered: Mapping[str, Registered],
    running: Collection[str],
    failures: Mapping[str, Failure],
    now: float,
) -> list[Order]:
    """The orders to be started at *now*: first those that let go, each kind in the order of paths."""
    orders: list[Order] = []
    for path, plugin in sorted(registered.items()):
        if path in running:
            continue
        if path not in seen:
            orders.append(Deregister(path, "its socket is gone"))
        elif seen[path] != plugin.mark:
            orders.append(Deregister(path, "its socket was made anew"))
    for path, mark in sorted(seen.items()):
        if path in running or path in registered:
            continue
        failure = failures.get(path)
        if failure is None or failure.mark != mark:
            orders.append(Register(path, mark, "a socket appeared"))
        elif failure.until <= now:
            orders.append(Register(path, mark, f"tried again after {failure.count} failures"))
    return orders


def failed(before: Failure | None, mark: Mark, now: float, first: float, longest: float) -> Failure:
    """The failure at *now* that follows *before*: waits double, from *first* to *longest* seconds."""
    count = before.count + 1 if before is not None and before.mark == mark else 1
    # The power is bounded before it is taken: a count may be large.
    return Failure(mark, count, now + min(first * 2 ** min(count - 1, 64), longest))


def next_try(
    seen: Mapping[str, Mark], running: Collection[str], failures: Mapping[str, Failure]
) -> float | None:
    """When the first of the waits ends that an order follows; None: there is none."""
    return min(
        (
            failure.until
            for path, failure in failures.items()
            if path not in running and seen.get(path) == failure.mark
        ),
        default=None,
    )
