"""Which pods give way when a critical pod lacks only resources. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from pykubelet.api.core import Pod, PodCondition, PodStatus
from pykubelet.api.podinfo import is_preemptable
from pykubelet.api.qos import qos_class
from pykubelet.api.resources import pod_requests
from pykubelet.api.wellknown import CPU, MEMORY, PODS

from .failures import Insufficient
from .fit import amount

#: Reason of the event on, and of the status of, a pod that gave way.
REASON = "Preempting"
MESSAGE = "Preempted in order to admit critical pod"

_CONDITION = "DisruptionTarget"
_CONDITION_REASON = "TerminationByKubelet"
_CONDITION_MESSAGE = "Pod was preempted by Kubelet to accommodate a critical pod."

#: Resource → how much is still to be freed; only what is more than zero.
Requirements = dict[str, int]


class PreemptionError(Exception):
    """All pods that may be preempted together free too little; upstream's text."""


@dataclass(frozen=True, slots=True)
class Victims:
    """The pod is admitted once these have been ended, in this order."""

    pods: tuple[Pod, ...]
    #: For what: the shortages of the admitted pod.
    shortages: tuple[Insufficient, ...]


def requested(pod: Pod, resource: str) -> int:
    """How much of *resource* the end of *pod* frees; overhead counts beside a request only."""
    if resource == PODS:
        return 1
    own = pod_requests(pod, overhead=False).get(resource)
    if not own:
        return 0
    extra = pod.spec.overhead.get(resource)
    return amount(resource, own + extra if extra is not None else own)


def choose_victims(pod: Pod, active: Sequence[Pod], shortages: Sequence[Insufficient]) -> tuple[Pod, ...]:
    """The pods to end so that *pod* fits: few, and of the least important QoS class that will do.

    Guaranteed pods are taken only for what all others together could not free, burstable
    ones only for what best-effort pods could not.

    :raises PreemptionError: no set of pods frees enough.
    """
    needed = {shortage.resource: shortage.lacking for shortage in shortages if shortage.lacking > 0}
    classes: dict[str, list[Pod]] = {"BestEffort": [], "Burstable": [], "Guaranteed": []}
    for each in active:
        if is_preemptable(each, pod):
            classes[qos_class(each)].append(each)
    best_effort, burstable, guaranteed = classes.values()
    lacking = _left(needed, [*best_effort, *burstable, *guaranteed])
    if lacking:
        raise PreemptionError(_unable(lacking))
    from_guaranteed = _nearest(guaranteed, _left(needed, [*best_effort, *burstable]))
    from_burstable = _nearest(burstable, _left(needed, [*best_effort, *from_guaranteed]))
    from_best_effort = _nearest(best_effort, _left(needed, [*from_burstable, *from_guaranteed]))
    return (*from_best_effort, *from_burstable, *from_guaranteed)


def _nearest(pods: Sequence[Pod], needed: Requirements) -> list[Pod]:
    """Take pods until nothing is needed, each time the one that comes nearest to it.

    The order of looking (the last candidate takes the place of the one that left) decides
    between equals, as upstream's does.
    """
    candidates, taken = list(pods), []
    while needed:
        if not candidates:
            raise PreemptionError(_unable(needed))
        best, shortest = 0, float(len(needed) + 1)
        for index, candidate in enumerate(candidates):
            distance = _distance(needed, candidate)
            if distance < shortest or (distance == shortest and _smaller(candidate, candidates[best])):
                best, shortest = index, distance
        chosen = candidates[best]
        candidates[best] = candidates[-1]
        candidates.pop()
        needed = _left(needed, [chosen])
        taken.append(chosen)
    return taken


def _left(needed: Requirements, ended: Sequence[Pod]) -> Requirements:
    left = {name: quantity - sum(requested(pod, name) for pod in ended) for name, quantity in needed.items()}
    return {name: quantity for name, quantity in left.items() if quantity > 0}


def _distance(needed: Requirements, pod: Pod) -> float:
    """Squares of the fractions that would still be needed, so that every resource weighs the same."""
    fractions = ((quantity - requested(pod, name)) / quantity for name, quantity in needed.items())
    return float(sum(fraction**2 for fraction in fractions if fraction > 0))


def _smaller(one: Pod, other: Pod) -> bool:
    return _size(one) <= _size(other)


def _size(pod: Pod) -> tuple[int, int]:
    return requested(pod, MEMORY), requested(pod, CPU)


def _unable(needed: Requirements) -> str:
    rest = "".join(f"(res: {name}, q: {quantity}), " for name, quantity in needed.items())
    return f"no set of running pods found to reclaim resources: [{rest}]"


def preempted(status: PodStatus, generation: int, now: datetime) -> PodStatus:
    """The status of a pod that gave way; what :class:`pykubelet.pods.doors.PodKiller` takes as change."""
    old = next((condition for condition in status.conditions if condition.type == _CONDITION), None)
    same = old is not None and old.status == "True"
    condition = PodCondition(
        type=_CONDITION,
        observedGeneration=generation,
        status="True",
        lastTransitionTime=old.lastTransitionTime if old is not None and same else now,
        reason=_CONDITION_REASON,
        message=_CONDITION_MESSAGE,
    )
    others = [each for each in status.conditions if each.type != _CONDITION]
    return msgspec.structs.replace(
        status, phase="Failed", reason=REASON, message=MESSAGE, conditions=[*others, condition]
    )
