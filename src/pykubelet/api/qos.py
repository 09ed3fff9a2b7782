"""The QoS class of a pod, from what it requests and limits of CPU and memory."""

from typing import Final, Literal

from .core import Pod, ResourceList
from .resources import added
from .wellknown import CPU, MEMORY

QosClass = Literal["Guaranteed", "Burstable", "BestEffort"]

GUARANTEED: Final = "Guaranteed"
BURSTABLE: Final = "Burstable"
BEST_EFFORT: Final = "BestEffort"


def _counted(resources: ResourceList) -> ResourceList:
    return {
        name: amount
        for name, amount in resources.items()
        if name in (CPU, MEMORY) and amount.nano_value() > 0
    }


def compute_qos(pod: Pod) -> QosClass:
    """The class by the spec alone: pod-level resources decide if present, else all containers.

    Guaranteed needs both limits everywhere and requests equal to them.
    """
    requests: ResourceList = {}
    limits: ResourceList = {}
    complete = True
    if pod.spec.resources is not None:
        requests = _counted(pod.spec.resources.requests)
        limits = _counted(pod.spec.resources.limits)
        complete = not pod.spec.resources.limits or len(limits) == 2
    else:
        for container in (*pod.spec.containers, *pod.spec.initContainers):
            own = _counted(container.resources.limits)
            complete = complete and len(own) == 2
            requests = added(requests, _counted(container.resources.requests))
            limits = added(limits, own)
    if not requests and not limits:
        return BEST_EFFORT
    return GUARANTEED if complete and requests == limits else BURSTABLE


def qos_class(pod: Pod) -> QosClass:
    """The class that the pod's status names, else the computed one."""
    for known in (GUARANTEED, BURSTABLE, BEST_EFFORT):
        if pod.status.qosClass == known:
            return known
    return compute_qos(pod)
