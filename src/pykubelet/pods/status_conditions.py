"""The conditions of a pod that a kubelet owns, with upstream's reasons and messages."""

from collections.abc import Mapping, Sequence

import msgspec

from pykubelet.api.core import Container, ContainerStatus, Pod, PodCondition, PodStatus
from pykubelet.api.podinfo import is_sidecar
from pykubelet.base.gotext import go_list
from pykubelet.observe.types import ObservedPod

from .resize import conditions as resizes
from .restart import (
    ALL_CONTAINERS_RESTARTING,
    may_restart_all,
    restart_all_cleaned,
    restart_all_wanted,
)
from .sandbox import sandbox_need

READY = "Ready"
CONTAINERS_READY = "ContainersReady"
INITIALIZED = "Initialized"
SCHEDULED = "PodScheduled"
READY_TO_START = "PodReadyToStartContainers"
DISRUPTION_TARGET = "DisruptionTarget"

#: Conditions that are ours alone; all others on a pod are kept as they are.
OWNED_CONDITIONS = frozenset(
    {
        SCHEDULED,
        READY,
        INITIALIZED,
        CONTAINERS_READY,
        resizes.IN_PROGRESS,
        resizes.PENDING,
        READY_TO_START,
        ALL_CONTAINERS_RESTARTING,
    }
)
_FINAL_REASON = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}


def find_condition(status: PodStatus, kind: str) -> PodCondition | None:
    """The condition of that type."""
    return next((condition for condition in status.conditions if condition.type == kind), None)


def is_true(status: PodStatus, kind: str) -> bool:
    """Whether the condition of that type is there and True."""
    condition = find_condition(status, kind)
    return condition is not None and condition.status == "True"


def pod_conditions(
    pod: Pod,
    observed: ObservedPod,
    old: PodStatus,
    phase: str,
    statuses: Mapping[str, ContainerStatus],
    resize: Sequence[PodCondition] = (),
) -> list[PodCondition]:
    """All conditions in upstream's order; *statuses* are those of init and regular containers, by name.

    Foreign conditions come from ``pod.status``, *resize* are those of a resize under way.
    """
    conditions = [c for c in pod.status.conditions if c.type not in OWNED_CONDITIONS]
    conditions += resize
    disruption = find_condition(old, DISRUPTION_TARGET)
    if disruption is not None:
        conditions = replace_or_append(conditions, disruption)
    need = sandbox_need(pod, observed)
    conditions.append(_condition(pod, READY_TO_START, not need.needed))
    conditions.append(_initialized(pod, old, phase, statuses))
    containers_ready = _containers_ready(pod, phase, statuses)
    conditions.append(_ready(pod, containers_ready, conditions))
    conditions.append(containers_ready)
    conditions.append(_condition(pod, SCHEDULED, True))
    if may_restart_all(pod.spec):
        conditions.append(_all_restarting(pod, observed, old, phase))
    return conditions


def probed_conditions(
    pod: Pod, old: PodStatus, statuses: Mapping[str, ContainerStatus]
) -> list[PodCondition]:
    """The conditions of *old* with those that hang on probes as *statuses* (by name) have it now."""
    containers_ready = _containers_ready(pod, old.phase, statuses)
    conditions = list(old.conditions)
    for condition in (
        _initialized(pod, old, old.phase, statuses),
        _ready(pod, containers_ready, old.conditions),
        containers_ready,
    ):
        conditions = replace_or_append(conditions, condition)
    return conditions


def replace_or_append(conditions: Sequence[PodCondition], wanted: PodCondition) -> list[PodCondition]:
    """*conditions* with *wanted* in the place of its type, or at the end."""
    if any(condition.type == wanted.type for condition in conditions):
        return [wanted if condition.type == wanted.type else condition for condition in conditions]
    return [*conditions, wanted]


def _condition(pod: Pod, kind: str, truth: bool, reason: str = "", message: str = "") -> PodCondition:
    return PodCondition(
        type=kind,
        observedGeneration=pod.metadata.generation,
        status="True" if truth else "False",
        reason=reason,
        message=message,
    )


def _listed(unknown: Sequence[str], what: str, others: Sequence[str]) -> str:
    parts = []
    if unknown:
        parts.append(f"containers with unknown status: {go_list(unknown)}")
    if others:
        parts.append(f"containers with {what} status: {go_list(others)}")
    return ", ".join(parts)


def _containers_ready(pod: Pod, phase: str, statuses: Mapping[str, ContainerStatus]) -> PodCondition:
    """Whether all sidecars and regular containers are ready."""
    counted = [c for c in pod.spec.initContainers if is_sidecar(c)] + pod.spec.containers
    unknown = [c.name for c in counted if c.name not in statuses]
    unready = [c.name for c in counted if c.name in statuses and not statuses[c.name].ready]
    if phase == "Failed" or (phase == "Succeeded" and not unknown):
        return _condition(pod, CONTAINERS_READY, False, _FINAL_REASON[phase])
    message = _listed(unknown, "unready", unready)
    if message:
        return _condition(pod, CONTAINERS_READY, False, "ContainersNotReady", message)
    return _condition(pod, CONTAINERS_READY, True)


def _ready(pod: Pod, containers_ready: PodCondition, conditions: Sequence[PodCondition]) -> PodCondition:
    """ContainersReady, and every readiness gate's condition."""
    if containers_ready.status != "True":
        return msgspec.structs.replace(containers_ready, type=READY)
    known = {condition.type: condition.status for condition in conditions}
    wrong = []
    for gate in pod.spec.readinessGates:
        kind = gate.conditionType
        if kind not in known:
            wrong.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif known[kind] != "True":
            wrong.append(f'the status of pod readiness gate "{kind}" is not "True", but {known[kind]}')
    if wrong:
        return _condition(pod, READY, False, "ReadinessGatesNotReady", ", ".join(wrong))
    return _condition(pod, READY, True)


def _is_initialized(container: Container, status: ContainerStatus) -> bool:
    return status.started is True if is_sidecar(container) else status.ready


def _initialized(
    pod: Pod, old: PodStatus, phase: str, statuses: Mapping[str, ContainerStatus]
) -> PodCondition:
    """Whether all init containers are through; once true it stays true."""
    unknown = [c.name for c in pod.spec.initContainers if c.name not in statuses]
    incomplete = [
        c.name
        for c in pod.spec.initContainers
        if c.name in statuses and not _is_initialized(c, statuses[c.name])
    ]
    if phase == "Succeeded" and not unknown:
        return _condition(pod, INITIALIZED, True, _FINAL_REASON[phase])
    message = _listed(unknown, "incomplete", incomplete)
    if message and not _any_regular_ran(pod, statuses) and not is_true(old, INITIALIZED):
        return _condition(pod, INITIALIZED, False, "ContainersNotInitialized", message)
    return _condition(pod, INITIALIZED, True)


def _any_regular_ran(pod: Pod, statuses: Mapping[str, ContainerStatus]) -> bool:
    found = (statuses.get(container.name) for container in pod.spec.containers)
    return any(
        status is not None and (status.state.running is not None or status.state.terminated is not None)
        for status in found
    )


def _all_restarting(pod: Pod, observed: ObservedPod, old: PodStatus, phase: str) -> PodCondition:
    """Whether all containers are being restarted; upstream gives it no generation."""
    if phase in _FINAL_REASON:
        return PodCondition(type=ALL_CONTAINERS_RESTARTING, status="False", reason=_FINAL_REASON[phase])
    if not restart_all_wanted(pod, observed, old) or restart_all_cleaned(pod, observed):
        return PodCondition(type=ALL_CONTAINERS_RESTARTING, status="False")
    return PodCondition(
        type=ALL_CONTAINERS_RESTARTING,
        status="True",
        reason="RestartAllContainersStarted",
        message="container exited with restart policy rule",
    )
