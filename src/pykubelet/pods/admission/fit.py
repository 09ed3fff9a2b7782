"""Whether what a pod requests is left on the node beside the other pods. Pure."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from pykubelet.api.core import Container, Pod, ResourceList
from pykubelet.api.quantity import Quantity
from pykubelet.api.resources import is_extended, pod_requests
from pykubelet.api.wellknown import CPU, EPHEMERAL_STORAGE, HUGEPAGES_PREFIX, MEMORY, PODS

from .failures import Insufficient

_BASIC = (CPU, MEMORY, EPHEMERAL_STORAGE)
_NATIVE = "kubernetes.io/"
_ATTACHABLE = "attachable-volumes-"


def is_scalar(resource: str) -> bool:
    """Whether the resource is counted by its plain number beside CPU, memory and storage."""
    return (
        is_extended(resource) or resource.startswith((HUGEPAGES_PREFIX, _ATTACHABLE)) or _NATIVE in resource
    )


def amount(resource: str, quantity: Quantity | None) -> int:
    """A quantity as messages and sums show it: CPU in thousandths."""
    if quantity is None:
        return 0
    return quantity.milli_value() if resource == CPU else quantity.value()


def without_unknown(pod: Pod, allocatable: ResourceList) -> Pod:
    """The pod without requests for extended resources that this node does not offer.

    Such are counted by the scheduler for the cluster, not by a node.
    """

    def known(containers: list[Container]) -> list[Container]:
        return [_with_requests(container, allocatable) for container in containers]

    containers = (*pod.spec.containers, *pod.spec.initContainers)
    if not any(_unknown(name, allocatable) for each in containers for name in each.resources.requests):
        return pod
    replace = msgspec.structs.replace
    spec = replace(
        pod.spec, containers=known(pod.spec.containers), initContainers=known(pod.spec.initContainers)
    )
    return replace(pod, spec=spec)


def _unknown(resource: str, allocatable: ResourceList) -> bool:
    return is_extended(resource) and resource not in allocatable


def _with_requests(container: Container, allocatable: ResourceList) -> Container:
    kept = {
        name: quantity
        for name, quantity in container.resources.requests.items()
        if not _unknown(name, allocatable)
    }
    resources = msgspec.structs.replace(container.resources, requests=kept)
    return msgspec.structs.replace(container, resources=resources)


def shortages(pod: Pod, others: Sequence[Pod], allocatable: ResourceList) -> Iterator[Insufficient]:
    """What is short for *pod* beside *others*: number of pods, CPU, memory, storage, then the rest."""
    most = amount(PODS, allocatable.get(PODS))
    if len(others) + 1 > most:
        yield Insufficient(PODS, 1, len(others), most)
    wanted = pod_requests(pod)
    scalars = sorted(name for name in wanted if is_scalar(name))
    names = [name for name in (*_BASIC, *scalars) if amount(name, wanted.get(name)) > 0]
    if not names:
        return
    used = _sums(others, names)
    for name in names:
        capacity = amount(name, allocatable.get(name))
        requested = amount(name, wanted[name])
        if requested > capacity - used[name]:
            yield Insufficient(name, requested, used[name], capacity)


def _sums(pods: Sequence[Pod], names: Sequence[str]) -> Mapping[str, int]:
    sums = dict.fromkeys(names, 0)
    for pod in pods:
        requests = pod_requests(pod)
        for name in names:
            sums[name] += amount(name, requests.get(name))
    return sums
