"""What of a pod can be resized in place: read from its spec, laid over it, compared. Pure.

Sources: KEP-1287 (containers), KEP-5419 (the pod as a whole), and the resource lists of the API.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from pykubelet.api.core import Container, ContainerKind, Pod, ResourceList, ResourceRequirements
from pykubelet.api.podinfo import all_containers, is_sidecar
from pykubelet.api.resources import pod_requests
from pykubelet.api.wellknown import CPU, MEMORY

_NONE: Mapping[str, ResourceRequirements] = MappingProxyType({})
#: The resources that a resize can change, in the order in which they are changed.
RESIZED: Final = (MEMORY, CPU)


@dataclass(frozen=True, slots=True)
class ResizeGates:
    """The feature gates that say what may be resized; the whole of it is on for good since 1.35."""

    #: ``InPlacePodLevelResourcesVerticalScaling``
    whole_pods: bool = True
    #: ``InPlacePodVerticalScalingInitContainers``
    init_containers: bool = True
    #: ``InPlacePodVerticalScalingExclusiveCPUs`` and ``…ExclusiveMemory``
    exclusive_cpus: bool = False
    exclusive_memory: bool = False


@dataclass(frozen=True, slots=True)
class PodAmounts:
    """The resources of a pod's containers by name, and those of the pod as a whole if it states any."""

    containers: Mapping[str, ResourceRequirements] = field(default_factory=lambda: _NONE)
    whole: ResourceRequirements | None = None


class Effective(NamedTuple):
    """What of a container's resources reaches the kernel: CPU in thousandths, memory in bytes, 0 for none."""

    memory_limit: int
    memory_request: int
    cpu_limit: int
    cpu_request: int

    def of(self, resource: str) -> tuple[int, int]:
        """Limit and request of *resource*."""
        if resource == MEMORY:
            return self.memory_limit, self.memory_request
        return self.cpu_limit, self.cpu_request


def resizable(container: Container, kind: ContainerKind, gates: ResizeGates) -> bool:
    """Whether the container's resources are allocated, so that they can be changed."""
    if kind == "init":
        return gates.init_containers or is_sidecar(container)
    return kind == "regular"


def resizable_containers(pod: Pod, gates: ResizeGates) -> Iterator[Container]:
    """The containers of which the resources are allocated: init ones first."""
    return (container for container, kind in all_containers(pod) if resizable(container, kind, gates))


def amounts_of(pod: Pod, gates: ResizeGates) -> PodAmounts:
    """What the pod's spec asks for."""
    return PodAmounts(
        {container.name: container.resources for container in resizable_containers(pod, gates)},
        pod.spec.resources if gates.whole_pods else None,
    )


def laid_over(pod: Pod, amounts: PodAmounts, gates: ResizeGates) -> Pod:
    """The pod with *amounts* in the place of what its spec asks for; the same object if they agree.

    A container that *amounts* does not know keeps its own.
    """

    def replaced(containers: list[Container], kind: ContainerKind) -> list[Container]:
        return [
            msgspec.structs.replace(container, resources=amounts.containers[container.name])
            if container.name in amounts.containers and resizable(container, kind, gates)
            else container
            for container in containers
        ]

    spec = pod.spec
    changed = msgspec.structs.replace(
        spec,
        containers=replaced(spec.containers, "regular"),
        initContainers=replaced(spec.initContainers, "init"),
        resources=amounts.whole if gates.whole_pods else spec.resources,
    )
    return pod if changed == spec else msgspec.structs.replace(pod, spec=changed)


def with_inherited_limits(
    own: ResourceRequirements, whole: ResourceRequirements | None
) -> ResourceRequirements:
    """A container's resources as they bind it: limits of the pod as a whole hold where it has none."""
    inherited = {
        name: whole.limits[name]
        for name in (CPU, MEMORY)
        if whole is not None and whole.limits.get(name) and not own.limits.get(name)
    }
    return msgspec.structs.replace(own, limits=own.limits | inherited) if inherited else own


def effective(resources: ResourceRequirements | None) -> Effective:
    """The numbers of *resources*."""
    if resources is None:
        return Effective(0, 0, 0, 0)
    return Effective(
        _value(resources.limits),
        _value(resources.requests),
        _milli(resources.limits),
        _milli(resources.requests),
    )


def _value(amounts: ResourceList) -> int:
    return amounts[MEMORY].value() if MEMORY in amounts else 0


def _milli(amounts: ResourceList) -> int:
    return amounts[CPU].milli_value() if CPU in amounts else 0


def with_resource(
    resources: ResourceRequirements, resource: str, source: ResourceRequirements
) -> ResourceRequirements:
    """*resources* with what *source* says of that one resource."""

    def merged(into: ResourceList, given: ResourceList) -> ResourceList:
        kept = {name: amount for name, amount in into.items() if name != resource}
        return kept | {name: amount for name, amount in given.items() if name == resource}

    return ResourceRequirements(
        limits=merged(resources.limits, source.limits),
        requests=merged(resources.requests, source.requests),
        claims=source.claims,
    )


# --- comparisons --------------------------------------------------------------


class Operation(NamedTuple):
    """One change that a new spec asks for, as the metric ``container_requested_resizes_total`` names it."""

    resource: str
    requirement: str
    operation: str


def operations(old: Pod, new: Pod, gates: ResizeGates) -> list[Operation]:
    """What *new* changes in the resources of containers, compared with *old*."""
    before = {container.name: container.resources for container in resizable_containers(old, gates)}
    lists: tuple[tuple[str, Callable[[ResourceRequirements], ResourceList]], ...] = (
        ("requests", lambda resources: resources.requests),
        ("limits", lambda resources: resources.limits),
    )
    return [
        Operation(resource, requirement, change)
        for container in resizable_containers(new, gates)
        if container.name in before
        for resource in RESIZED
        for requirement, of in lists
        if (change := _change(of(before[container.name]), of(container.resources), resource))
    ]


def _change(old: ResourceList, new: ResourceList, resource: str) -> str:
    before, after = old.get(resource), new.get(resource)
    if not before:
        return "add" if after else ""
    if not after:
        return "remove"
    if after == before:
        return ""
    return "increase" if after > before else "decrease"


def asks_for_more(allocated: Pod, desired: Pod) -> bool:
    """Whether *desired* requests more CPU or memory than is allocated."""
    have, want = pod_requests(allocated), pod_requests(desired)
    return any(name in want and (name not in have or want[name] > have[name]) for name in RESIZED)
