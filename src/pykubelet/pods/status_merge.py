"""What happens to every status before it is kept: transitions checked, times and texts normalized."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from pykubelet.api.core import (
    Container,
    ContainerState,
    ContainerStatus,
    Pod,
    PodCondition,
    PodSpec,
    PodStatus,
)
from pykubelet.api.podinfo import is_sidecar, is_static

from .resize.conditions import IN_PROGRESS, PENDING
from .restart import may_restart_all, restarts_after
from .status_conditions import DISRUPTION_TARGET, OWNED_CONDITIONS
from .status_containers import unseen_end
from .status_phase import FINAL_PHASES

#: Bytes that the termination messages of all containers of a pod may take together.
_MESSAGE_BYTES = 12288


def merge_conditions(
    old: Sequence[PodCondition], new: Sequence[PodCondition], now: datetime
) -> list[PodCondition]:
    """*new* with ``lastTransitionTime``: that of *old* where the status is unchanged, else *now*.

    Conditions of a resize have theirs.
    """
    before = {condition.type: condition for condition in old}
    merged = []
    for condition in new:
        if condition.type in (PENDING, IN_PROGRESS):
            # Theirs changes with the reason: see ``resize/conditions.py``.
            merged.append(condition)
        elif condition.type in OWNED_CONDITIONS or condition.type == DISRUPTION_TARGET:
            known = before.get(condition.type)
            same = known is not None and known.status == condition.status
            moment = known.lastTransitionTime if known is not None and same else now
            merged.append(msgspec.structs.replace(condition, lastTransitionTime=moment))
        else:
            merged.append(condition)
    return merged


def settle_status(pod: Pod, old: PodStatus, new: PodStatus, now: datetime) -> PodStatus:
    """*new* as it is kept and reported after *old*: start time, transition times, whole seconds, short texts.

    Settling twice changes nothing.
    """
    conditions = merge_conditions(old.conditions, new.conditions, now)
    limit = _message_limit(pod.spec)
    order = {container.name: index for index, container in enumerate(pod.spec.initContainers)}
    init = sorted(new.initContainerStatuses, key=lambda s: order.get(s.name, len(order)))
    return msgspec.structs.replace(
        new,
        observedGeneration=max(old.observedGeneration, new.observedGeneration),
        startTime=_whole(old.startTime or new.startTime or now),
        conditions=[_normal_condition(condition) for condition in conditions],
        initContainerStatuses=[_normal(status, limit) for status in init],
        containerStatuses=_by_name(new.containerStatuses, limit),
        ephemeralContainerStatuses=_by_name(new.ephemeralContainerStatuses, limit),
    )


def illegal_transition(old: PodStatus, new: PodStatus, spec: PodSpec) -> str:
    """Why *new* must not replace *old*: an ended container that may not run again is not ended in it.

    Empty if nothing speaks against it.
    """
    if spec.restartPolicy == "Always" or may_restart_all(spec):
        return ""
    return _illegal(
        old.containerStatuses, new.containerStatuses, spec.containers, spec, "container"
    ) or _illegal(
        old.initContainerStatuses,
        new.initContainerStatuses,
        [container for container in spec.initContainers if not is_sidecar(container)],
        spec,
        "init container",
    )


def terminal_status(pod: Pod, old: PodStatus) -> PodStatus:
    """The last status of a pod whose worker has finished: whatever has no end gets an unknown one.

    The phase becomes final too, but for a static pod's. Transition times are not set.
    """
    containers, init = old.containerStatuses, old.initContainerStatuses
    if _was_initialized(pod, old):
        containers = [_ended(status) for status in containers]
    reached = max((i for i, status in enumerate(init) if _has_evidence(status)), default=0)
    init = [_ended(status) if i <= reached else status for i, status in enumerate(init)]
    phase = old.phase if is_static(pod) or old.phase in FINAL_PHASES else "Failed"
    return msgspec.structs.replace(old, containerStatuses=containers, initContainerStatuses=init, phase=phase)


def _illegal(
    old: Sequence[ContainerStatus],
    new: Sequence[ContainerStatus],
    containers: Sequence[Container],
    spec: PodSpec,
    what: str,
) -> str:
    known = {container.name: container for container in containers}
    after = {status.name: status for status in new}
    for status in old:
        end = status.state.terminated
        container = known.get(status.name)
        if end is None or container is None or status.name not in after:
            continue
        if end.exitCode != 0 and spec.restartPolicy == "OnFailure":
            continue
        if restarts_after(container, spec, end.exitCode):
            continue
        if after[status.name].state.terminated is None:
            return f"terminated {what} {status.name} attempted illegal transition to non-terminated state"
    return ""


def _has_evidence(status: ContainerStatus) -> bool:
    """Whether the container has ever left its waiting."""
    return status.state.waiting is None or status.lastState.terminated is not None


def _was_initialized(pod: Pod, status: PodStatus) -> bool:
    """Whether the pod's regular containers had their turn."""
    if not pod.spec.initContainers or any(_has_evidence(s) for s in status.containerStatuses):
        return True
    if not status.initContainerStatuses:
        return False
    last = status.initContainerStatuses[-1]
    if is_sidecar(pod.spec.initContainers[-1]):
        return last.state.running is not None and last.started is True
    return any(
        state.terminated is not None and state.terminated.exitCode == 0
        for state in (last.state, last.lastState)
    )


def _ended(status: ContainerStatus) -> ContainerStatus:
    if status.state.terminated is not None:
        return status
    return msgspec.structs.replace(status, state=ContainerState(terminated=unseen_end()))


# --- normal form --------------------------------------------------------------


def _message_limit(spec: PodSpec) -> int:
    count = len(spec.containers) + len(spec.initContainers) + len(spec.ephemeralContainers)
    return _MESSAGE_BYTES // max(count, 1)


def _whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def _whole_or_none(moment: datetime | None) -> datetime | None:
    return None if moment is None else _whole(moment)


def _normal_condition(condition: PodCondition) -> PodCondition:
    return msgspec.structs.replace(
        condition,
        lastProbeTime=_whole_or_none(condition.lastProbeTime),
        lastTransitionTime=_whole_or_none(condition.lastTransitionTime),
    )


def _by_name(statuses: Sequence[ContainerStatus], limit: int) -> list[ContainerStatus]:
    return [_normal(status, limit) for status in sorted(statuses, key=lambda status: status.name)]


def _normal(status: ContainerStatus, limit: int) -> ContainerStatus:
    return msgspec.structs.replace(
        status,
        state=_normal_state(status.state, limit),
        lastState=_normal_state(status.lastState, limit),
    )


def _normal_state(state: ContainerState, limit: int) -> ContainerState:
    running, terminated = state.running, state.terminated
    if running is not None:
        running = msgspec.structs.replace(running, startedAt=_whole_or_none(running.startedAt))
    if terminated is not None:
        terminated = msgspec.structs.replace(
            terminated,
            startedAt=_whole_or_none(terminated.startedAt),
            finishedAt=_whole_or_none(terminated.finishedAt),
            message=_cut(terminated.message, limit),
        )
    return ContainerState(waiting=state.waiting, running=running, terminated=terminated)


def _cut(message: str | msgspec.UnsetType, limit: int) -> str | msgspec.UnsetType:
    if isinstance(message, msgspec.UnsetType) or len(message.encode()) <= limit:
        return message
    return message.encode()[:limit].decode(errors="ignore")
