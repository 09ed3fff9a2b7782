"""Sums of what a pod asks for, and what is due to one container (KEP-753, KEP-2837)."""

import re
from typing import Literal

from .core import Container, Pod, ResourceList
from .podinfo import is_sidecar
from .quantity import Quantity
from .wellknown import CPU, HUGEPAGES_PREFIX, MEMORY

Which = Literal["requests", "limits"]

_NATIVE = "kubernetes.io/"
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", re.ASCII)


def is_extended(resource: str) -> bool:
    """Whether the resource is one that a vendor defines (``example.com/gpu``)."""
    prefix, slash, name = resource.partition("/")
    if not slash or _NATIVE in resource or resource.startswith("requests."):
        return False
    return bool(prefix) and len(f"requests.{prefix}") <= 253 and bool(_QUALIFIED.fullmatch(name))


def pod_level(name: str) -> bool:
    """Whether a pod itself, and not only its containers, may ask for that resource."""
    return name in (CPU, MEMORY) or name.startswith(HUGEPAGES_PREFIX)


def added(one: ResourceList, other: ResourceList) -> ResourceList:
    """Both lists, summed by name."""
    result = dict(one)
    for name, amount in other.items():
        result[name] = result[name] + amount if name in result else amount
    return result


def greatest(one: ResourceList, other: ResourceList) -> ResourceList:
    """The greater amount of each name."""
    result = dict(one)
    for name, amount in other.items():
        if name not in result or amount > result[name]:
            result[name] = amount
    return result


def _of(container: Container, which: Which) -> ResourceList:
    return container.resources.requests if which == "requests" else container.resources.limits


def containers_total(pod: Pod, which: Which) -> ResourceList:
    """What the containers need at most at once.

    Regular containers and sidecars run together; an init container runs beside the
    sidecars declared before it.
    """
    together: ResourceList = {}
    for container in pod.spec.containers:
        together = added(together, _of(container, which))
    sidecars: ResourceList = {}
    peak: ResourceList = {}
    for container in pod.spec.initContainers:
        step = added(_of(container, which), sidecars)
        if is_sidecar(container):
            together = added(together, _of(container, which))
            sidecars = step
        peak = greatest(peak, step)
    return greatest(together, peak)


def has_pod_level(pod: Pod, which: Which | None = None) -> bool:
    """Whether the pod itself states requests or limits (or *which* of them) that count."""
    stated = pod.spec.resources
    if stated is None:
        return False
    names: set[str] = set()
    if which != "limits":
        names.update(stated.requests)
    if which != "requests":
        names.update(stated.limits)
    return any(pod_level(name) for name in names)


def _stated(pod: Pod, which: Which) -> ResourceList:
    if pod.spec.resources is None:
        return {}
    stated = pod.spec.resources.requests if which == "requests" else pod.spec.resources.limits
    return {name: amount for name, amount in stated.items() if pod_level(name)}


def pod_requests(pod: Pod, *, overhead: bool = True) -> ResourceList:
    """The pod's requests: its own where stated, else its containers', with its overhead."""
    total = containers_total(pod, "requests") | _stated(pod, "requests")
    return added(total, pod.spec.overhead) if overhead else total


def pod_limits(pod: Pod, *, overhead: bool = True) -> ResourceList:
    """The pod's limits; overhead is added only to what is limited at all.

    A resource counts here as soon as one container limits it: see :func:`limited_by_all`.
    """
    total = containers_total(pod, "limits") | _stated(pod, "limits")
    if overhead:
        for name, amount in pod.spec.overhead.items():
            if total.get(name):
                total[name] = total[name] + amount
    return total


def limited_by_all(pod: Pod, name: str) -> bool:
    """Whether the pod as a whole is limited in *name*: by itself, or in every container."""
    if _stated(pod, "limits").get(name):
        return True
    containers = [*pod.spec.initContainers, *pod.spec.containers]
    return bool(containers) and all(c.resources.limits.get(name) for c in containers)


def container_limit(pod: Pod, container: Container, name: str) -> Quantity | None:
    """What bounds the container in *name*: its own limit, else the pod's; None if nothing does."""
    own = container.resources.limits.get(name)
    return own if own else _stated(pod, "limits").get(name)
