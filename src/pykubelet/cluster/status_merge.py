"""What the API server is to show of a pod, from what it shows now and what this node computed.

Pure. The node's own status is the truth about its containers; conditions and claims that
others wrote are theirs; and a pod is not final for others while its containers may run.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from pykubelet.api.core import ContainerStatus, Pod, PodCondition, PodStatus
from pykubelet.api.podinfo import is_mirror

FINAL_PHASES: Final = frozenset({"Succeeded", "Failed"})
#: The conditions that say whether a pod may get traffic; never True in a final phase.
READINESS: Final = ("ContainersReady", "Ready")
#: Written by others too, by us when we end the pod ourselves.
SHARED_CONDITION: Final = "DisruptionTarget"
_FINAL_REASON: Final = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}


@dataclass(frozen=True, slots=True)
class Merged:
    """A status as it is to be sent, and whether its final phase is held back."""

    status: PodStatus
    held: bool


def merge_for_api(
    pod: Pod, new: PodStatus, *, may_run: bool, owned: Collection[str], now: datetime
) -> Merged:
    """*new* as *pod*, the API server's object, is to bear it.

    *may_run*: containers of it may still run. *owned* are the types of the conditions that are ours alone.
    """
    old = pod.status
    ends = old.phase not in FINAL_PHASES and new.phase in FINAL_PHASES
    held = ends and may_run
    conditions = [c for c in old.conditions if c.type not in owned]
    conditions += [c for c in new.conditions if c.type in owned]
    shared = _find(new.conditions, SHARED_CONDITION)
    if shared is not None and ends and not held:
        conditions = _with_shared(conditions, shared, now)
    merged = msgspec.structs.replace(
        new, conditions=conditions, resourceClaimStatuses=old.resourceClaimStatuses
    )
    if held:
        merged = msgspec.structs.replace(merged, phase=old.phase, reason=old.reason, message=old.message)
    if merged.phase in FINAL_PHASES:
        merged = _never_ready(merged, pod.metadata.generation, now)
    return Merged(merged, held)


def same_for_kubelet(old: PodStatus, new: PodStatus, owned: Collection[str]) -> bool:
    """Whether both say the same about what a kubelet answers for; times of conditions do not count."""
    if _essence(old.conditions, owned) != _essence(new.conditions, owned):
        return False
    alike = msgspec.structs.replace(
        old, conditions=new.conditions, resourceClaimStatuses=new.resourceClaimStatuses
    )
    return alike == new


def matters(old: PodStatus, new: PodStatus) -> bool:
    """Whether somebody waits for the change from *old* to *new*, so that it is to be sent at once.

    While a pod comes up (its phase stays Pending) only failures count: the other steps
    follow one another within moments, and the last of them changes the phase.
    """
    if old.phase != new.phase or any(_truth(old, kind) != _truth(new, kind) for kind in READINESS):
        return True
    before = {status.name: status for status in _containers(old)}
    return any(
        _container_matters(before.get(status.name), status, starting=new.phase == "Pending")
        for status in _containers(new)
    )


def may_be_deleted(pod: Pod, *, finished: bool) -> bool:
    """Whether the API server's object may vanish now: its deletion is asked for, nothing is left of it."""
    return (
        finished
        and pod.metadata.deletionTimestamp is not None
        and not is_mirror(pod)
        and pod.status.phase in FINAL_PHASES
    )


# --- conditions and containers ------------------------------------------------


def _find(conditions: Sequence[PodCondition], kind: str) -> PodCondition | None:
    return next((condition for condition in conditions if condition.type == kind), None)


def _truth(status: PodStatus, kind: str) -> bool:
    condition = _find(status.conditions, kind)
    return condition is not None and condition.status == "True"


def _essence(conditions: Sequence[PodCondition], owned: Collection[str]) -> dict[str, tuple[str, str, str]]:
    return {
        condition.type: (condition.status, condition.reason, condition.message)
        for condition in conditions
        if condition.type in owned or condition.type == SHARED_CONDITION
    }


def _with_shared(
    conditions: Sequence[PodCondition], shared: PodCondition, now: datetime
) -> list[PodCondition]:
    """*conditions* with *shared*, which changed only now: it was held back until the pod's end."""
    known = _find(conditions, shared.type)
    same = known is not None and known.status == shared.status
    moment = known.lastTransitionTime if known is not None and same else now
    shown = msgspec.structs.replace(shared, lastTransitionTime=moment)
    if known is None:
        return [*conditions, shown]
    return [shown if condition is known else condition for condition in conditions]


def _never_ready(status: PodStatus, generation: int, now: datetime) -> PodStatus:
    """*status* of a final phase, both readiness conditions False if one was not."""
    if not any(_truth(status, kind) for kind in READINESS):
        return status
    conditions = list(status.conditions)
    for kind in READINESS:
        known = _find(conditions, kind)
        moment = known.lastTransitionTime if known is not None and known.status == "False" else now
        unready = PodCondition(
            type=kind, observedGeneration=generation, status="False",
            reason=_FINAL_REASON[status.phase], lastTransitionTime=moment,
        )  # fmt: skip
        if known is None:
            conditions.append(unready)
        else:
            conditions[conditions.index(known)] = unready
    return msgspec.structs.replace(status, conditions=conditions)


def _containers(status: PodStatus) -> list[ContainerStatus]:
    return [*status.initContainerStatuses, *status.containerStatuses, *status.ephemeralContainerStatuses]


def _container_matters(old: ContainerStatus | None, new: ContainerStatus, *, starting: bool) -> bool:
    end = new.state.terminated
    if end is not None:
        news = old is None or old.state.terminated is None
        return news and (not starting or end.exitCode != 0)
    if starting or new.state.running is None:
        return False
    if old is None or old.state.running is None or old.containerID != new.containerID:
        return True
    # What a probe found.
    return (old.ready, old.started) != (new.ready, new.started)
