"""Whether a resize can be, and which of several is looked at first. Pure.

Source: upstream's ``allocation`` package; its API server refuses a changed QoS class, here it is
refused once more for the pods that no API server has seen.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from pykubelet.api.core import Container, Pod
from pykubelet.api.podinfo import all_containers, priority
from pykubelet.api.qos import GUARANTEED, compute_qos
from pykubelet.api.wellknown import CPU, MEMORY

from .amounts import ResizeGates, asks_for_more, resizable_containers

_STATIC: Final = "static"
_LAST: Final = datetime.max.replace(tzinfo=UTC)


def _no_swap(_: Pod, __: Container) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class ResizeRules:
    """What of this node bears on whether a pod can be resized at all."""

    gates: ResizeGates = field(default_factory=ResizeGates)
    #: ``cpuManagerPolicy`` and ``memoryManagerPolicy``
    cpu_manager_policy: str = "none"
    memory_manager_policy: str = "None"
    #: Whether that container of that pod may use swap.
    may_swap: Callable[[Pod, Container], bool] = _no_swap


@dataclass(frozen=True, slots=True)
class Infeasible:
    """A resize that can never be; *detail* is for the metric ``pod_infeasible_resizes_total``."""

    message: str
    detail: str


def infeasible(desired: Pod, allocated: Pod, rules: ResizeRules) -> Infeasible | None:
    """Why the resize from *allocated* to *desired* can never be, if it cannot."""
    if _swaps(desired, allocated, rules):
        return Infeasible("In-place resize of containers with swap is not supported.", "swap_limitation")
    if desired.spec.resources != allocated.spec.resources and not rules.gates.whole_pods:
        return Infeasible("InPlacePodLevelResourcesVerticalScaling is disabled", "plr_feature_gate_off")
    if compute_qos(desired) != compute_qos(allocated):
        return Infeasible("Pod QOS Class may not change as a result of resizing", "qos_class_change")
    if compute_qos(desired) == GUARANTEED:
        return _pinned(desired, allocated, rules)
    return None


def _swaps(desired: Pod, allocated: Pod, rules: ResizeRules) -> bool:
    """Whether memory is changed of a container that may swap, and that is not restarted for it."""
    before = {
        container.name: container for container, kind in all_containers(allocated) if kind != "ephemeral"
    }
    for container, kind in all_containers(desired):
        old = before.get(container.name)
        if kind == "ephemeral" or old is None:
            continue
        if old.resources.requests.get(MEMORY) == container.resources.requests.get(MEMORY):
            continue
        if restarts_for(old, MEMORY):
            continue
        if rules.may_swap(desired, container) or rules.may_swap(allocated, old):
            return True
    return False


def restarts_for(container: Container, resource: str) -> bool:
    """Whether the container is restarted when that resource of it changes."""
    policy = next((p for p in container.resizePolicy if p.resourceName == resource), None)
    return policy is not None and policy.restartPolicy == "RestartContainer"


def _pinned(desired: Pod, allocated: Pod, rules: ResizeRules) -> Infeasible | None:
    """A guaranteed pod may have CPUs or memory of its own, which are given for good."""
    gates = rules.gates
    for resource, manager, policy, allowed in (
        (CPU, "CPU", rules.cpu_manager_policy, gates.exclusive_cpus),
        (MEMORY, "Memory", rules.memory_manager_policy, gates.exclusive_memory),
    ):
        if allowed or policy.lower() != _STATIC or not _changes(desired, allocated, resource, gates):
            continue
        return Infeasible(
            f'Resize is infeasible for Guaranteed Pods alongside {manager} Manager policy "{policy}"',
            f"guaranteed_pod_{manager.lower()}_manager_static_policy",
        )
    return None


def _changes(desired: Pod, allocated: Pod, resource: str, gates: ResizeGates) -> bool:
    before = {c.name: c.resources.requests.get(resource) for c in resizable_containers(allocated, gates)}
    return any(
        container.resources.requests.get(resource) != before.get(container.name)
        for container in resizable_containers(desired, gates)
    )


@dataclass(frozen=True, slots=True)
class PendingResize:
    """A pod whose spec asks for something else than is allocated to it."""

    desired: Pod
    allocated: Pod
    #: Since when it waits; None if it was never looked at.
    since: datetime | None = None


def in_order(resizes: Iterable[PendingResize]) -> list[PendingResize]:
    """The order in which resizes are tried.

    First those that ask for no more than there is, then by priority, Guaranteed before others,
    and those that wait longest.
    """
    return sorted(
        resizes,
        key=lambda resize: (
            asks_for_more(resize.allocated, resize.desired),
            -priority(resize.desired),
            compute_qos(resize.desired) != GUARANTEED,
            resize.since or _LAST,
        ),
    )
