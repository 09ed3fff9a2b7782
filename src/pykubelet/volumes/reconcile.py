"""The core: from what should be there and what is there to what to do next. Pure.

It is recomputed from the whole situation whenever something changed; its only memory of
flight is *running*. One order at a time runs for a volume, and for a pod's directory.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from .state import Condition, VolumeKey

#: Seconds before a failed operation is tried again: the first time, and at most.
FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 122.0
#: Seconds before a token is asked for again whose renewal was due already, and failed.
TOKEN_REST: Final = 30.0

Kind = Literal["mount", "refresh", "unmount", "clean"]
#: What an order is about: a volume, or the directory of the pod with that UID.
Target = VolumeKey | str


@dataclass(frozen=True, slots=True)
class Order:
    """What to do with one target, and the fact that led to it."""

    kind: Kind
    target: Target
    cause: str
    #: Nothing is known to have changed: worth telling only if something had.
    routine: bool = False

    @property
    def uid(self) -> str:
        """The pod concerned."""
        return uid_of(self.target)


@dataclass(frozen=True, slots=True)
class Setback:
    """An operation that failed and waits; times are seconds of the monotonic clock."""

    kind: Kind
    failures: int
    first: float
    not_before: float
    error: str


@dataclass(frozen=True, slots=True)
class Renewal:
    """When the contents of a volume that is there are to be looked at again, and why."""

    #: Seconds of the monotonic clock.
    at: float
    cause: str
    #: It is merely a while ago.
    routine: bool = False


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the decision depends on."""

    #: Volumes that pods ask for whose containers may run.
    wanted: AbstractSet[VolumeKey]
    #: Pods whose containers may still run: nothing of theirs is taken away.
    kept: AbstractSet[str]
    #: Pods that some source names: their directories stay.
    named: AbstractSet[str]
    #: Volumes that are there.
    actual: Mapping[VolumeKey, Condition]
    #: Pods that have a directory.
    directories: AbstractSet[str]
    #: What orders run for.
    running: AbstractSet[Target]
    setbacks: Mapping[Target, Setback]
    #: For volumes with contents that change; what changed already is due in the past.
    renewals: Mapping[VolumeKey, Renewal]
    #: Whether every source of pods was seen; before that nothing is taken away.
    sources_ready: bool
    #: Seconds of the monotonic clock.
    now: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start now, and when to decide again if nothing changes before."""

    orders: tuple[Order, ...]
    wake_at: float | None


def uid_of(target: Target) -> str:
    """The pod that a target belongs to."""
    return target if isinstance(target, str) else target.uid


def set_back(previous: Setback | None, kind: Kind, error: str, now: float) -> Setback:
    """The wait after a failure; it doubles while the same operation fails again."""
    if previous is None or previous.kind != kind:
        return Setback(kind, 1, now, now + FIRST_WAIT, error)
    # Beyond ten doublings the limit holds anyway.
    wait = min(FIRST_WAIT * 2.0 ** min(previous.failures, 10), LONGEST_WAIT)
    return Setback(kind, previous.failures + 1, previous.first, now + wait, error)


def next_look(refresh_at: datetime | None, wall: datetime, now: float, period: float) -> Renewal:
    """When to look at contents again: after *period* seconds, or when a token in them ages.

    *wall* and *now* are the same moment on the wall's and on the monotonic clock.
    """
    again = Renewal(now + period, "nothing was told for a while", routine=True)
    if refresh_at is None:
        return again
    seconds = max((refresh_at - wall).total_seconds(), TOKEN_REST)
    return min(again, Renewal(now + seconds, "a token in it is to be renewed"), key=lambda look: look.at)


def reconcile(situation: Situation) -> Plan:
    """The orders that are due, in a stable order: what pods wait for comes first."""
    due: list[Order] = []
    waits: list[float] = []
    timed = [(order, situation.now) for order in _needed(situation)] + _renewals(situation)
    for order, at in timed:
        setback = situation.setbacks.get(order.target)
        # Only the same operation waits: a failed mount does not hold up the unmount.
        held = setback is not None and setback.kind == order.kind
        not_before = max(at, setback.not_before) if setback and held else at
        if not_before > situation.now:
            waits.append(not_before)
        else:
            due.append(order)
    return Plan(tuple(due), min(waits, default=None))


def _needed(situation: Situation) -> list[Order]:
    orders = [
        Order("mount", key, _mount_cause(situation.actual.get(key)))
        for key in sorted(situation.wanted)
        if situation.actual.get(key) != "mounted" and key not in situation.running
    ]
    if not situation.sources_ready:
        return orders
    orders += [
        Order("unmount", key, "no pod that may run asks for it")
        for key in sorted(situation.actual)
        if key not in situation.wanted and key.uid not in situation.kept and key not in situation.running
    ]
    busy = {uid_of(target) for target in situation.running}
    busy |= {key.uid for key in situation.actual} | {key.uid for key in situation.wanted}
    orders += [
        Order("clean", uid, "no source names the pod, and nothing of it runs or is mounted")
        for uid in sorted(situation.directories - situation.named - situation.kept - busy)
    ]
    return orders


def _renewals(situation: Situation) -> list[tuple[Order, float]]:
    """Refreshes and when each is due.

    Only of what is mounted and wanted, and has no order of its own: a volume whose pod ends
    is taken away as it is.
    """
    return [
        (Order("refresh", key, renewal.cause, renewal.routine), renewal.at)
        for key, renewal in sorted(situation.renewals.items(), key=lambda item: item[0])
        if situation.actual.get(key) == "mounted" and key in situation.wanted and key not in situation.running
    ]


def _mount_cause(condition: Condition | None) -> str:
    if condition == "uncertain":
        return "a container of the pod mounts it, and its state is not certain"
    return "a container of the pod mounts it"
