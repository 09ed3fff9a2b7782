"""The arithmetic of grace periods; everything in whole seconds."""

from dataclasses import dataclass

from pykubelet.api.core import Container, Pod, Probe

from .orders import KillReason

#: No container gets less than this between its stop signal and SIGKILL.
MIN_STOP_SECONDS = 2
_MIN_POD_SECONDS = 1
_MIN_KILL_TIMEOUT = 10


@dataclass(frozen=True, slots=True)
class PodGrace:
    """Answer of :func:`pod_grace`."""

    seconds: int
    #: It differs from what was in force, so a running kill must hear of it.
    changed: bool


def pod_grace(current: int, pod: Pod, override: int | None = None) -> PodGrace:
    """The grace of a pod that is being ended.

    *current* is what is in force (0: nothing yet); ``metadata.deletionGracePeriodSeconds``
    and *override* (eviction, preemption, shutdown) only ever shorten it.
    """
    seconds, given = current, False
    for wish in (pod.metadata.deletionGracePeriodSeconds, override):
        if wish is not None and (seconds == 0 or wish < seconds):
            # A wish for none at all must not look like none given to the next one.
            seconds, given = max(wish, _MIN_POD_SECONDS), True
    if not given and seconds == 0:
        seconds = pod.spec.terminationGracePeriodSeconds or 0
    seconds = max(seconds, _MIN_POD_SECONDS)
    return PodGrace(seconds, current not in (0, seconds))


def container_grace(
    pod: Pod,
    container: Container | None = None,
    reason: KillReason = KillReason.OTHER,
    override: int | None = None,
) -> int:
    """The grace of one container that is killed for *reason*; without *container*, the pod's own."""
    if override is not None:
        return override
    if pod.metadata.deletionGracePeriodSeconds is not None:
        return pod.metadata.deletionGracePeriodSeconds
    if pod.spec.terminationGracePeriodSeconds is None:
        return MIN_STOP_SECONDS
    own = _probe(container, reason)
    if own is not None and own.terminationGracePeriodSeconds is not None:
        return own.terminationGracePeriodSeconds
    return pod.spec.terminationGracePeriodSeconds


def _probe(container: Container | None, reason: KillReason) -> Probe | None:
    if container is None:
        return None
    if reason is KillReason.STARTUP_PROBE:
        return container.startupProbe
    if reason is KillReason.LIVENESS_PROBE:
        return container.livenessProbe
    return None


def rest_after(seconds: int, elapsed: float) -> int:
    """What is left of *seconds* after hooks and waiting took *elapsed*: only whole seconds count."""
    return seconds - int(elapsed)


def stop_seconds(rest: int) -> int:
    """The grace that goes to the runtime with StopContainer."""
    return max(rest, MIN_STOP_SECONDS)


def kill_timeout(pod: Pod, override: int | None = None) -> int:
    """How long eviction and its like wait for the end of a pod: max(10, 1.5 × grace) seconds."""
    grace = pod.spec.terminationGracePeriodSeconds or 0 if override is None else override
    return max(grace + grace // 2, _MIN_KILL_TIMEOUT)
