"""The OOM score adjustment of a container's processes, from its pod's QoS and requests."""

from .core import Container, Pod
from .podinfo import is_critical, is_sidecar
from .resources import containers_total

#: Of processes that are killed last: guaranteed and node-critical pods.
GUARANTEED = -997
#: Of processes that are killed first.
BEST_EFFORT = 1000

_LOWEST_BURSTABLE = 1000 + GUARANTEED
_NODE_CRITICAL_CLASS = "system-node-critical"


def _request(container: Container) -> int:
    request = container.resources.requests.get("memory")
    return request.value() if request is not None else 0


def _node_critical(pod: Pod) -> bool:
    return is_critical(pod) and pod.spec.priorityClassName == _NODE_CRITICAL_CLASS


def _sidecar(pod: Pod, container: Container) -> bool:
    return is_sidecar(container) and any(c.name == container.name for c in pod.spec.initContainers)


def _share_of_pod_request(pod: Pod) -> int:
    """Each container's equal part of a pod-level memory request that no container claims, in bytes."""
    stated = pod.spec.resources
    request = stated.requests.get("memory") if stated is not None else None
    if not request:
        return 0
    claimed = containers_total(pod, "requests").get("memory")
    left = request.value() - (claimed.value() if claimed is not None else 0)
    count = len(pod.spec.containers) + len(pod.spec.initContainers)
    return max(left, 0) // count if count else 0


def oom_score_adj(pod: Pod, container: Container, qos: str, memory_capacity: int) -> int:
    """The value for ``/proc/PID/oom_score_adj``, −997 to 1000.

    *qos* is the pod's class, *memory_capacity* the machine's memory in bytes. A burstable
    container is killed the sooner the less it asked for; a sidecar never before the
    regular container that asked for least.
    """
    if _node_critical(pod) or qos == "Guaranteed":
        return GUARANTEED
    if qos == "BestEffort":
        return BEST_EFFORT
    capacity = max(memory_capacity, 1)
    share = _share_of_pod_request(pod)
    score = 1000 - 1000 * (_request(container) + share) // capacity
    if _sidecar(pod, container) and pod.spec.containers:
        least = min(_request(c) for c in pod.spec.containers) + share
        score = min(score, 1000 - 1000 * least // capacity)
    return min(max(score, _LOWEST_BURSTABLE), BEST_EFFORT - 1)
