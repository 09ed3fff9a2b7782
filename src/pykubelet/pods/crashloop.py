"""The waits of containers that crash again and again, as a book without a clock of its own.

A first crash restarts at once; then the wait doubles from the initial one to the
maximum. A container that ran ten minutes since its last restart begins anew.
"""

from dataclasses import dataclass

from pykubelet.api.core import Container, Pod, ResourceList, ResourceRequirements
from pykubelet.base.fnv import fnv1a
from pykubelet.base.gotext import format_duration
from pykubelet.base.journal import PodRef
from pykubelet.cri.types import ContainerState, ContainerStatus
from pykubelet.observe.types import ObservedPod

#: Waiting reason, and reason of the event.
CRASH_LOOP = "CrashLoopBackOff"
BACK_OFF_EVENT = "BackOff"

_SECOND = 1_000_000_000
#: A container that ended this long after its wait was last raised counts as healthy again.
_HEALTHY_NS = 600 * _SECOND


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet: start no earlier than *until* (ns since the epoch); the whole wait is *seconds* long."""

    until: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Go:
    """Start now, and bump the wait."""


@dataclass(slots=True)
class _Entry:
    wait_ns: int
    raised_at: int


def crash_loop_limits(
    max_container_restart_period: float | None, *, reduced: bool = False
) -> tuple[float, float]:
    """Initial and maximum wait in seconds.

    *max_container_restart_period* is the configuration's
    ``crashLoopBackOff.maxContainerRestartPeriod`` in seconds, None when it is not to
    be regarded; *reduced* is the gate ReduceDefaultCrashLoopBackOffDecay.
    """
    initial, maximum = (1.0, 60.0) if reduced else (10.0, 300.0)
    if max_container_restart_period is not None:
        maximum = max_container_restart_period
        initial = min(initial, maximum)
    return initial, maximum


class CrashLoop:
    """The book. Times are ns since the epoch, as the runtime gives them."""

    def __init__(self, initial: float = 10.0, maximum: float = 300.0) -> None:
        self._initial = int(initial * _SECOND)
        self._maximum = int(maximum * _SECOND)
        self._entries: dict[str, _Entry] = {}

    def decide(self, key: str, now: int, last_finished_at: int | None) -> Wait | Go:
        """Whether a container that last ended at *last_finished_at* (None: it never ran) may start."""
        entry = self._entries.get(key)
        if entry is None or last_finished_at is None or _healthy(entry, last_finished_at):
            return Go()
        until = last_finished_at + entry.wait_ns
        return Wait(until, entry.wait_ns / _SECOND) if now < until else Go()

    def bump(self, key: str, now: int, last_finished_at: int | None) -> None:
        """The container is started: its next wait is longer, or the initial one.

        A container that never ran before takes no entry.
        """
        if last_finished_at is None:
            return
        entry = self._entries.get(key)
        if entry is None or _healthy(entry, last_finished_at):
            self._entries[key] = _Entry(self._initial, now)
            return
        entry.wait_ns = min(entry.wait_ns * 2, self._maximum)
        entry.raised_at = now

    def collect(self, now: int) -> None:
        """Forget what could not matter any more."""
        stale = [key for key, entry in self._entries.items() if _healthy(entry, now)]
        for key in stale:
            del self._entries[key]

    def __len__(self) -> int:
        return len(self._entries)


def _healthy(entry: _Entry, at: int) -> bool:
    return at - entry.raised_at > _HEALTHY_NS


def last_exit(observed: ObservedPod, container: str) -> ContainerStatus | None:
    """The newest ended instance of the container, whose end the wait is counted from."""
    return next((s for s in observed.instances(container) if s.state is ContainerState.EXITED), None)


def backoff_key(pod: Pod, container: Container) -> str:
    """The book's key: another image or other resources begin anew."""
    meta = pod.metadata
    parts = (
        meta.name,
        meta.namespace,
        meta.uid,
        container.name,
        container.image,
        _resources_text(container.resources),
    )
    return f"{fnv1a('/'.join(parts).encode(), 64):x}"


def backoff_message(pod: PodRef, container: str, wait: Wait) -> str:
    """The waiting message of the container's status."""
    text = format_duration(round(wait.seconds * _SECOND))
    return f"back-off {text} restarting failed container={container} pod={pod}"


def backoff_event_message(pod: PodRef, container: str) -> str:
    """The message of the Warning event ``BackOff``."""
    return f"Back-off restarting failed container {container} in pod {pod}"


def _resources_text(resources: ResourceRequirements) -> str:
    """Resources as Go's generated code prints them."""
    claims = "".join(f"ResourceClaim{{Name:{c.name},Request:{c.request},}}," for c in resources.claims)
    return (
        f"&ResourceRequirements{{Limits:{_list_text(resources.limits)},"
        f"Requests:{_list_text(resources.requests)},Claims:[]ResourceClaim{{{claims}}},}}"
    )


def _list_text(resources: ResourceList) -> str:
    """A resource list as Go prints it: quantities by value show their inner fields.

    Only that equal lists give equal texts matters here; the key never leaves the process.
    """
    return "ResourceList{" + "".join(f"{name}: {resources[name]}," for name in sorted(resources)) + "}"
