"""The part of a pod's plan that is about init containers, restartable ones (sidecars) included."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pykubelet.api.container_hash import container_hash
from pykubelet.api.core import Container, Pod
from pykubelet.api.podinfo import is_sidecar
from pykubelet.cri.types import ContainerState, ContainerStatus
from pykubelet.observe.types import ObservedPod

from .doors import Verdicts
from .orders import KillContainer, KillReason, StartContainer, restart_for_resize
from .resize.plan import Change
from .restart import policy_text, restarts_after, restarts_after_kill
from .story import ended, unknown_message


@dataclass(frozen=True, slots=True)
class InitPlan:
    """What the init containers need."""

    #: Regular containers may run.
    initialized: bool
    start: tuple[StartContainer, ...] = ()
    kill: tuple[KillContainer, ...] = ()
    #: Why the pod cannot go on, if it cannot.
    kill_pod: str = ""


@dataclass(slots=True)
class _Walk:
    """The walk over the init containers, last to first."""

    pod: Pod
    observed: ObservedPod
    verdicts: Verdicts
    restarts: Mapping[str, Change]
    initialized: bool
    #: A later init container is known, so this one was passed before.
    passed: bool
    #: Orders by index in the spec.
    start: dict[int, str] = field(default_factory=dict)
    kill: list[KillContainer] = field(default_factory=list)
    kill_pod: str = ""


def plan_init(
    pod: Pod, observed: ObservedPod, verdicts: Verdicts, restarts: Mapping[str, Change]
) -> InitPlan:
    """What the init containers need now; *restarts* are the resizes that want a sidecar restarted.

    The walk goes from the last to the first, because completed ones may be gone from
    the runtime: the last one that is known tells how far initialization came.
    """
    containers = pod.spec.initContainers
    if not containers:
        return InitPlan(initialized=True)
    over = _regular_lives(pod, observed)
    walk = _Walk(pod, observed, verdicts, restarts, initialized=over, passed=over)
    for index in range(len(containers) - 1, -1, -1):
        container = containers[index]
        status = observed.newest(container.name)
        if status is None:
            if walk.passed and is_sidecar(container):
                walk.start[index] = f"sidecar {container.name} is gone from the runtime"
            continue
        if walk.passed and not is_sidecar(container):
            continue
        _look_at(walk, index, container, status)
        if walk.kill_pod:
            return InitPlan(initialized=False, kill_pod=walk.kill_pod)
        walk.passed = True
    if not walk.passed:
        walk.start[0] = f"init container {containers[0].name} has not run yet"
    start = tuple(
        StartContainer(containers[index].name, "init", walk.start[index]) for index in sorted(walk.start)
    )
    return InitPlan(walk.initialized, start, tuple(reversed(walk.kill)))


def _regular_lives(pod: Pod, observed: ObservedPod) -> bool:
    """Whether a regular container is created or running: then initialization is over.

    Exited ones do not count: after a reboot they are of an earlier sandbox.
    """
    newest = (observed.newest(container.name) for container in pod.spec.containers)
    return any(
        status is not None and status.state in (ContainerState.CREATED, ContainerState.RUNNING)
        for status in newest
    )


def _look_at(walk: _Walk, index: int, container: Container, status: ContainerStatus) -> None:
    match status.state:
        case ContainerState.CREATED:
            # Create and start are one step: what stays created has failed to start.
            walk.start[index] = f"init container {container.name} was created but not started"
        case ContainerState.RUNNING:
            if is_sidecar(container):
                _running_sidecar(walk, index, container, status)
        case ContainerState.EXITED:
            _exited(walk, index, container, status)
        case ContainerState.UNKNOWN:
            _unknown(walk, index, container, status)


def _completed(walk: _Walk, index: int, why: str) -> None:
    """The init container at *index* does not stand in the way: the next one, or the pod, may go on."""
    if index == len(walk.pod.spec.initContainers) - 1:
        walk.initialized = True
    elif not walk.passed:
        walk.start[index + 1] = why


def _running_sidecar(walk: _Walk, index: int, container: Container, status: ContainerStatus) -> None:
    if container.startupProbe is not None:
        verdict = walk.verdicts.startup(status.id)
        if verdict is None:
            return
        if not verdict:
            cause = f"the startup probe of sidecar {container.name} failed"
            _replace(walk, index, status, "failed startup probe", KillReason.STARTUP_PROBE, cause)
            return
    _completed(walk, index, f"sidecar {container.name} has started")
    wanted = container_hash(container)
    if status.hash != wanted:
        cause = f"sidecar {container.name} runs with hash {status.hash or 'none'}, its spec has {wanted}"
        _replace(walk, index, status, "definition changed", KillReason.OTHER, cause)
    elif container.livenessProbe is not None and walk.verdicts.liveness(status.id) is False:
        cause = f"the liveness probe of sidecar {container.name} failed"
        _replace(walk, index, status, "failed liveness probe", KillReason.LIVENESS_PROBE, cause)
    elif container.name in walk.restarts:
        order = restart_for_resize(walk.restarts[container.name])
        walk.kill.append(order)
        walk.start[index] = order.cause


def _replace(
    walk: _Walk, index: int, status: ContainerStatus, what: str, reason: KillReason, cause: str
) -> None:
    message = f"Init container {status.name} {what}"
    walk.kill.append(KillContainer(status.name, status.id, message, reason, cause))
    walk.start[index] = cause


def _exited(walk: _Walk, index: int, container: Container, status: ContainerStatus) -> None:
    spec = walk.pod.spec
    if is_sidecar(container):
        walk.start[index] = f"{ended(status)}; it is a sidecar"
    elif status.exit_code == 0:
        _completed(walk, index, f"{ended(status)}, the next init container follows")
    elif walk.pod.metadata.deletionTimestamp is None and restarts_after(container, spec, status.exit_code):
        walk.start[index] = f"{ended(status)}; {policy_text(container, spec, status.exit_code)}"
    else:
        walk.kill_pod = f"init container {ended(status)} and is not restarted"


def _unknown(walk: _Walk, index: int, container: Container, status: ContainerStatus) -> None:
    cause = f"the runtime does not know the state of init container {container.name}"
    # There is no exit code that restart rules could match, so only the policies speak.
    if not is_sidecar(container) and not restarts_after_kill(container, walk.pod.spec):
        walk.kill_pod = f"{cause} and it is not restarted"
        return
    message = unknown_message("Init container")
    walk.kill.append(KillContainer(container.name, status.id, message, KillReason.OTHER, cause))
    walk.start[index] = cause
