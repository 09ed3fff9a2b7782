"""What is to be done so that a pod has what is allocated to it: containers to change or to restart, and
the pod's cgroup before or after them. Pure.

Where the pod's cgroup grows it grows before its containers, where it shrinks it shrinks after
them, memory before CPU; limits grow before requests and shrink after them. Source: upstream's
``doPodResizeAction``. Beyond it the pod's cgroup is put right whenever it differs: also
when nothing of the pod runs, or somebody else wrote to it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from pykubelet.api.core import Container, ContainerKind, Pod, ResourceRequirements
from pykubelet.api.podinfo import all_containers, is_sidecar
from pykubelet.api.wellknown import CPU, MEMORY
from pykubelet.cri.types import ContainerState, ContainerStatus
from pykubelet.linux.cfs import DEFAULT_PERIOD
from pykubelet.linux.cgroups import Limits
from pykubelet.observe.types import ObservedPod

from .amounts import (
    RESIZED,
    PodAmounts,
    ResizeGates,
    effective,
    resizable,
    with_inherited_limits,
    with_resource,
)
from .judge import restarts_for
from .seen import as_the_runtime_shows

_UNLIMITED: Final = float("inf")


@dataclass(frozen=True, slots=True)
class InForce:
    """What is in force of a pod's resources, and what should be of its cgroup's limits."""

    #: What its containers were made with or changed to; None: nobody recorded it.
    recorded: PodAmounts | None = None
    #: The limits of the pod's cgroup as they are, and as they should be.
    limits: Limits = field(default_factory=Limits)
    wanted: Limits = field(default_factory=Limits)
    gates: ResizeGates = field(default_factory=ResizeGates)


@dataclass(frozen=True, slots=True)
class Change:
    """A running container has other resources than are allocated to it."""

    container: str
    id: str
    before: ResourceRequirements
    after: ResourceRequirements
    #: Its ``resizePolicy`` wants it restarted for that.
    restart: bool


@dataclass(frozen=True, slots=True)
class SetPodLimits:
    """Write these limits of the pod's cgroup; the others stay."""

    limits: Limits


@dataclass(frozen=True, slots=True)
class UpdateContainer:
    """Tell the runtime that a container has *resources* from now on (*resource* is what changes)."""

    container: str
    id: str
    resource: str
    resources: ResourceRequirements
    before: ResourceRequirements


@dataclass(frozen=True, slots=True)
class RecordWhole:
    """The pod as a whole now has what it states for *resource*."""

    resource: str


ResizeStep = SetPodLimits | UpdateContainer | RecordWhole


@dataclass(frozen=True, slots=True)
class Lowered:
    """A memory limit that becomes smaller: of a container (its ID), or of the pod (no ID)."""

    limit: int
    container: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class ResizePlan:
    """The steps, in their order; the first that fails ends it."""

    steps: tuple[ResizeStep, ...]
    cause: str
    #: None of them may be below what is used now.
    lowered: tuple[Lowered, ...] = ()
    #: Something of the pod was resized; else only its cgroup is put right.
    resizes: bool = True


# --- containers ---------------------------------------------------------------


def changes(pod: Pod, observed: ObservedPod, in_force: InForce) -> dict[str, Change]:
    """The running containers that have other resources than *pod*, which is as allocated, by name."""
    found = {}
    for container, kind in all_containers(pod):
        newest = observed.newest(container.name)
        if newest is None or newest.state is not ContainerState.RUNNING:
            continue
        if not resizable(container, kind, in_force.gates):
            continue
        change = _change(pod, container, kind, newest, in_force)
        if change is not None:
            found[container.name] = change
    return found


def _change(
    pod: Pod, container: Container, kind: ContainerKind, running: ContainerStatus, in_force: InForce
) -> Change | None:
    after = with_inherited_limits(container.resources, pod.spec.resources)
    recorded = None if in_force.recorded is None else in_force.recorded.containers.get(container.name)
    before = as_the_runtime_shows(after, running.resources) if recorded is None else recorded
    old, new = effective(before), effective(after)
    if old == new:
        return None
    # Only what runs on when it has ended can be restarted.
    restartable = kind == "regular" or is_sidecar(container)
    restart = restartable and any(
        old.of(resource) != new.of(resource) and restarts_for(container, resource) for resource in RESIZED
    )
    return Change(container.name, running.id, before, after, restart)


def resize_in_progress(pod: Pod, observed: ObservedPod, in_force: InForce) -> bool:
    """Whether something of *pod* that runs does not have what is allocated to it.

    What is not restarted when it ends, an init container, does not count: it is soon over.
    """
    passing = {container.name for container in pod.spec.initContainers if not is_sidecar(container)}
    if changes(pod, observed, in_force).keys() - passing:
        return True
    return _whole_recorded(in_force) and _whole_differs(pod, in_force)


def _whole_recorded(in_force: InForce) -> bool:
    return in_force.recorded is not None and in_force.recorded.whole is not None


def _whole_differs(pod: Pod, in_force: InForce) -> bool:
    whole = None if in_force.recorded is None else in_force.recorded.whole
    return (
        in_force.gates.whole_pods
        and pod.spec.resources is not None
        and effective(whole) != effective(pod.spec.resources)
    )


# --- steps --------------------------------------------------------------------


def plan_resize(
    pod: Pod, found: Mapping[str, Change], in_force: InForce, restarted: Collection[str] = ()
) -> ResizePlan | None:
    """The steps for the containers with changes that run on, and for the pod; None if there are none.

    *restarted* are the containers that are restarted for their changes.
    """
    whole = _whole_differs(pod, in_force)
    steps: list[ResizeStep] = []
    for resource, pod_steps in ((MEMORY, _memory_steps(in_force)), (CPU, _cpu_steps(in_force))):
        before, after = pod_steps
        steps += before
        steps += _updates(found, resource)
        steps += after
        if whole:
            steps.append(RecordWhole(resource))
    if not steps:
        return None
    resizes = bool(found or restarted or whole)
    names = sorted({*found, *restarted})
    cause = "the pod's cgroup has other limits than it should"
    if resizes:
        cause = "other resources are allocated than are in force: " + (", ".join(names) or "the pod's own")
    return ResizePlan(tuple(steps), cause, _lowered(found, in_force), resizes)


def _updates(found: Mapping[str, Change], resource: str) -> list[ResizeStep]:
    """Containers that get less come first, so that the pod's limit holds for all of them at any time."""
    less: list[ResizeStep] = []
    more: list[ResizeStep] = []
    for change in found.values():
        old, new = effective(change.before).of(resource), effective(change.after).of(resource)
        if old == new:
            continue
        # Memory first: the CPU's turn comes later.
        halfway = with_resource(change.before, MEMORY, change.after)
        resources, before = (halfway, change.before) if resource == MEMORY else (change.after, halfway)
        step = UpdateContainer(change.container, change.id, resource, resources, before)
        limits_differ = old[0] != new[0]
        grows = (_limit(new[0]) > _limit(old[0])) if limits_differ else (new[1] > old[1])
        (more if grows else less).append(step)
    return less + more


def _limit(value: int | None) -> float:
    """A limit as a number that can be compared."""
    return _UNLIMITED if value is None or value <= 0 else value


def _memory_steps(in_force: InForce) -> tuple[list[ResizeStep], list[ResizeStep]]:
    """What is done to the pod's memory limit before its containers are changed, and after."""
    have, want = in_force.limits.memory, in_force.wanted.memory
    if not want or want == have:
        return [], []
    step: list[ResizeStep] = [SetPodLimits(Limits(memory=want))]
    return (step, []) if _limit(want) > _limit(have) else ([], step)


def _cpu_steps(in_force: InForce) -> tuple[list[ResizeStep], list[ResizeStep]]:
    """The same of the pod's CPU quota and shares."""
    before: list[ResizeStep] = []
    after: list[ResizeStep] = []
    have, want = in_force.limits, in_force.wanted
    if want.cpu_quota and (want.cpu_quota, want.cpu_period) != (have.cpu_quota, have.cpu_period):
        step = SetPodLimits(Limits(cpu_quota=want.cpu_quota, cpu_period=want.cpu_period))
        (after if _rate(want) < _rate(have) else before).append(step)
    if want.cpu_shares and want.cpu_shares != have.cpu_shares:
        shares = SetPodLimits(Limits(cpu_shares=want.cpu_shares))
        if want.cpu_shares > (have.cpu_shares or 0):
            before.append(shares)
        else:
            after.insert(0, shares)
    return before, after


def _rate(limits: Limits) -> float:
    return _limit(limits.cpu_quota) / (limits.cpu_period or DEFAULT_PERIOD)


def _lowered(found: Mapping[str, Change], in_force: InForce) -> tuple[Lowered, ...]:
    lowered = []
    have, want = in_force.limits.memory, in_force.wanted.memory
    if want and _limit(want) < _limit(have):
        lowered.append(Lowered(want))
    for change in found.values():
        limit = effective(change.after).memory_limit
        if limit and limit < _limit(effective(change.before).memory_limit):
            lowered.append(Lowered(limit, change.container, change.id))
    return tuple(lowered)


@dataclass(frozen=True, slots=True)
class MemoryUsage:
    """Bytes that a pod uses now, and its containers by their IDs; None where it is not known."""

    pod: int | None
    containers: Mapping[str, int | None]


def below_usage(plan: ResizePlan, usage: MemoryUsage) -> str:
    """Why the memory limits of *plan* cannot be lowered now, in upstream's words; empty if they can.

    The kernel would kill what does not fit (v2), or refuse (v1).
    """
    problems = []
    for lowered in plan.lowered:
        used = usage.containers.get(lowered.id) if lowered.id else usage.pod
        what = f'container "{lowered.container}"' if lowered.id else "pod"
        if used is None:
            problems.append(f"missing {what} memory usage")
        elif used >= lowered.limit:
            problems.append(
                f"attempting to set {what} memory limit ({lowered.limit}) below current usage ({used})"
            )
    if not problems:
        return ""
    text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
    return f"cannot decrease memory limits: {text}"
