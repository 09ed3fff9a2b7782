"""What the core sees, and the orders that it gives. Pure."""

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from .state import Attachment, Condition, DeviceKey, SourceKey, VolumeKey

#: Seconds before a failed operation is tried again: the first time, and at most.
FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 122.0
#: Seconds before a token is asked for again whose renewal was due already, and failed.
TOKEN_REST: Final = 30.0
#: Seconds between moments at which contents are looked at of which nothing was told: those of many
#: pods are, at one moment, and one decision is enough for all.
_LOOKS_APART: Final = 10.0

Kind = Literal[
    "resolve", "attach", "stage", "mount", "refresh", "expand", "unmount", "unstage", "detach", "clean"
]
#: What is done for a pod that is to have its volumes.
SERVING: Final[frozenset[Kind]] = frozenset({"resolve", "attach", "stage", "mount", "refresh", "expand"})
#: What an order is about: a pod's volume, a device, what is behind a pod's volume, or the directory
#: of the pod with that UID.
Target = VolumeKey | DeviceKey | SourceKey | str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a volume is not given to a pod though nothing failed; *step* as upstream's events name it."""

    step: str
    text: str


#: Upstream's text where no controller attaches to the node: no volume that is left in Kubernetes can be
#: attached by a kubelet itself.
NO_ATTACHER: Final = "attaching volumes from the kubelet is not supported"


@dataclass(frozen=True, slots=True)
class Order:
    """What to do with one target, and the fact that led to it."""

    kind: Kind
    target: Target
    cause: str
    #: Nothing is known to have changed: worth telling only if something had.
    routine: bool = False
    #: The device that nothing else may be done with meanwhile; of an *unmount*: nothing but others.
    device: str = ""
    #: For whose sake a device is attached or staged.
    volume: VolumeKey | None = None
    #: The order is to fail with this.
    refusal: Refusal | None = None

    @property
    def uid(self) -> str:
        """The pod concerned; empty for a device that no pod waits for."""
        return uid_of(self.target) or uid_of(self.volume or "")

    @property
    def slot(self) -> Target:
        """What waits when it failed: as upstream the device, for all pods."""
        return DeviceKey(self.device) if self.device and self.kind != "unmount" else self.target


@dataclass(frozen=True, slots=True)
class Setback:
    """An operation that failed and waits; times are seconds of the monotonic clock."""

    failures: int
    first: float
    not_before: float
    error: str


@dataclass(frozen=True, slots=True)
class Renewal:
    """When a volume that is there is to be set up again, and why."""

    #: Seconds of the monotonic clock.
    at: float
    cause: str
    #: It is merely a while ago.
    routine: bool = False


@dataclass(frozen=True, slots=True)
class Need:
    """What a wanted volume needs beside its own mount."""

    #: Unique name of its device; empty when it has none.
    device: str = ""
    attachable: bool = False
    #: Only one pod at a time may have it.
    alone: bool = False
    refusal: Refusal | None = None
    #: The SELinux label that it is to be mounted with.
    label: str = ""


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What is known of a device."""

    attachable: bool = False
    attached: Attachment = "no"
    staged: Condition | None = None
    #: An earlier life left it, and it was not used since.
    found: bool = False
    #: The SELinux label that it is staged with (empty: with none); None: not staged, or not known.
    label: str | None = None

    def labelled_otherwise(self, label: str) -> bool:
        """Whether it is, or may be, staged with another label than this."""
        return self.staged is not None and self.label is not None and self.label != label


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
    #: What orders run, by their targets.
    running: Mapping[Target, Order]
    #: What failed, by slot and kind of the order.
    setbacks: Mapping[tuple[Target, Kind], Setback]
    #: For volumes that are set up again; what changed already is due in the past.
    renewals: Mapping[VolumeKey, Renewal]
    #: Whether every source of pods was seen; before that nothing is taken away.
    sources_ready: bool
    #: Seconds of the monotonic clock.
    now: float
    #: Volumes of which it must be found out what is behind them; whether that was known once.
    unresolved: Mapping[SourceKey, bool] = field(default_factory=dict)
    #: What wanted volumes need, where that is anything.
    needs: Mapping[VolumeKey, Need] = field(default_factory=dict)
    #: The devices that actual volumes rest on, by unique name.
    rests: Mapping[VolumeKey, str] = field(default_factory=dict)
    devices: Mapping[str, DeviceState] = field(default_factory=dict)
    #: Devices that a written status lists as in use, and those that the Node may list as attached.
    told: AbstractSet[str] = frozenset()
    visible: AbstractSet[str] = frozenset()
    #: Volumes that are larger than their file systems.
    growing: AbstractSet[VolumeKey] = frozenset()
    #: What pods left in an earlier life that cannot have it now: nothing is mounted there.
    vacant: AbstractSet[VolumeKey] = frozenset()
    #: Whether something that an earlier life left rests on nobody knows which of these devices.
    obscure: bool = False
    #: Whether it is known which of the devices that an earlier life left are attached.
    attachments_known: bool = True
    #: Whether a controller attaches volumes to this node.
    by_controller: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start now, and when to decide again if nothing changes before."""

    orders: tuple[Order, ...]
    wake_at: float | None
    #: Whether something else is due that only waits for the end of one of these orders.
    held_back: bool = False


def uid_of(target: Target) -> str:
    """The pod that a target belongs to; empty for a device."""
    if isinstance(target, DeviceKey):
        return ""
    return target if isinstance(target, str) else target.uid


def set_back(previous: Setback | None, error: str, now: float) -> Setback:
    """The wait after a failure; it doubles while the same operation fails again."""
    if previous is None:
        return Setback(1, now, now + FIRST_WAIT, error)
    # Beyond ten doublings the limit holds anyway.
    wait = min(FIRST_WAIT * 2.0 ** min(previous.failures, 10), LONGEST_WAIT)
    return Setback(previous.failures + 1, previous.first, now + wait, error)


def next_look(refresh_at: datetime | None, wall: datetime, now: float, period: float) -> Renewal:
    """When to look at contents again: after about *period* seconds, or when a token in them ages.

    *wall* and *now* are the same moment on the wall's and on the monotonic clock.
    """
    at = math.ceil((now + period) / _LOOKS_APART) * _LOOKS_APART
    again = Renewal(at, "nothing was told for a while", routine=True)
    if refresh_at is None:
        return again
    seconds = max((refresh_at - wall).total_seconds(), TOKEN_REST)
    return min(again, Renewal(now + seconds, "a token in it is to be renewed"), key=lambda look: look.at)
