"""Putting what is allocated into force: the steps of a plan, through the doors, and what is told of them."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from pykubelet.api.core import Container, Pod, PodCondition, ResourceRequirements
from pykubelet.api.podinfo import find_container, pod_ref
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Events, Journal
from pykubelet.cri.errors import CriError
from pykubelet.linux.cgroups import Limits
from pykubelet.observe.types import ObservedPod

from ..doors import PodCgroups, ResourceUpdater
from .amounts import PodAmounts, ResizeGates, with_inherited_limits, with_resource
from .checkpoint import ResourceBook
from .conditions import ResizeConditions
from .metrics import ResizeMetrics
from .plan import (
    InForce,
    MemoryUsage,
    ResizePlan,
    ResizeStep,
    SetPodLimits,
    UpdateContainer,
    below_usage,
    resize_in_progress,
)
from .seen import whole_in_force
from .story import amounts_text, resize_message

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ResizerDoors:
    """What putting into force needs from others."""

    cgroups: PodCgroups
    updater: ResourceUpdater
    #: A pod has now what is allocated to it: others that wait may be tried.
    on_completed: Callable[[], None]


class Resizer:
    """Keeps what is in force, and changes it."""

    def __init__(
        self,
        recorded: ResourceBook,
        conditions: ResizeConditions,
        gates: ResizeGates,
        clock: Clock,
        journal: Journal,
        events: Events,
        metrics: ResizeMetrics,
        doors: ResizerDoors,
    ) -> None:
        """*recorded* is the book of what each container was made with or changed to."""
        self._recorded = recorded
        self._conditions = conditions
        self._gates = gates
        self._clock = clock
        self._journal = journal
        self._events = events
        self._metrics = metrics
        self._doors = doors
        #: What was last seen of the pods as a whole.
        self._wholes: dict[str, ResourceRequirements] = {}

    # --- what is in force -----------------------------------------------------

    def in_force(self, pod: Pod, limits: Limits, wanted: Limits) -> InForce:
        """What is in force of the pod, with its cgroup's *limits* as they are and as they should be."""
        uid = pod.metadata.uid
        in_force = InForce(self._recorded.get(uid), limits, wanted, self._gates)
        if limits != Limits():
            self._wholes[uid] = whole_in_force(pod, in_force.recorded, limits, wanted, self._gates)
        return in_force

    def recorded(self, uid: str) -> PodAmounts:
        """What is recorded of the pod."""
        return self._recorded.get(uid) or PodAmounts()

    def whole(self, uid: str) -> ResourceRequirements | None:
        """The resources of the pod as a whole as they were last seen; None if they were not."""
        return self._wholes.get(uid)

    async def making(self, pod: Pod, container: Container) -> None:
        """An instance of *container* is about to be made; returns when that is on the disk.

        Else a daemon that is killed would take it for one that was resized.
        """
        resources = with_inherited_limits(container.resources, pod.spec.resources)
        self._recorded.set_container(pod.metadata.uid, container.name, resources)
        await self._recorded.stored()

    def cgroup_made(self, pod: Pod) -> None:
        """The pod's cgroup was made with the limits of the pod as it is."""
        if pod.spec.resources is not None:
            self._recorded.set_whole(pod.metadata.uid, pod.spec.resources)

    # --- what is told ---------------------------------------------------------

    def conditions(self, uid: str) -> tuple[PodCondition, ...]:
        """The conditions of the pod's resize, for its status."""
        return self._conditions.of(uid)

    def look(self, pod: Pod, observed: ObservedPod) -> None:
        """Note whether *pod*, as allocated, still is to be resized, and tell when it is done."""
        uid, generation = pod.metadata.uid, pod.metadata.generation
        in_force = InForce(self._recorded.get(uid), gates=self._gates)
        if resize_in_progress(pod, observed, in_force):
            self._conditions.keep_in_progress(uid, generation, self._clock.now())
            self._metrics.tell(self._conditions)
            return
        completed = self._conditions.complete(uid)
        if completed is None:
            return
        self._metrics.tell(self._conditions)
        ref = pod_ref(pod)
        self._events.pod_event(ref, "Normal", "ResizeCompleted", resize_message("completed", pod, completed))
        self._journal.record(
            "ResizeCompleted", f"in force: {amounts_text(pod)}", pod=ref, generation=completed
        )
        self._doors.on_completed()

    def ended(self, uid: str) -> None:
        """The pod is over: nothing of it is resized any more."""
        self._conditions.remove(uid)
        self._wholes.pop(uid, None)
        self._metrics.tell(self._conditions)

    # --- the steps ------------------------------------------------------------

    async def carry_out(self, pod: Pod, plan: ResizePlan, sandbox_id: str) -> str:
        """Do what *plan* says, up to the first step that fails; why it failed, or empty."""
        began = self._clock.monotonic()
        problem = await self._refusal(pod, plan)
        for step in () if problem else plan.steps:
            try:
                told = await self._step(pod, step, sandbox_id)
            except (CriError, OSError) as error:
                problem = str(error)
                break
            if told:
                self._journal.record("ResizeStep", told, pod=pod_ref(pod), cause=plan.cause)
        if plan.resizes:
            self._metrics.took(self._clock.monotonic() - began, success=not problem)
        if problem:
            self._failed(pod, plan, problem)
        return problem

    async def _refusal(self, pod: Pod, plan: ResizePlan) -> str:
        """Why the memory limits cannot be lowered now; asked before anything is changed."""
        if not plan.lowered:
            return ""
        ids = [lowered.id for lowered in plan.lowered if lowered.id]
        try:
            whole, containers = await self._doors.cgroups.memory_usage(pod, ids)
        except OSError as error:
            return f'unable to read memory usage for pod "{pod_ref(pod)}": {error}'
        return below_usage(plan, MemoryUsage(whole, containers))

    async def _step(self, pod: Pod, step: ResizeStep, sandbox_id: str) -> str:
        """Do one step: what to tell of it.

        :raises CriError: the runtime refused.
        :raises OSError: the kernel refused.
        """
        uid = pod.metadata.uid
        if isinstance(step, SetPodLimits):
            await self._set_limits(pod, step.limits, sandbox_id)
            return f"the pod's cgroup now has {_limits_text(step.limits)}"
        if isinstance(step, UpdateContainer):
            found = find_container(pod, step.container)
            assert found is not None
            container = found[0]
            await self._doors.updater.update_container(pod, container, step.id, step.resources, step.before)
            self._recorded.set_container(uid, step.container, step.resources)
            await self._recorded.stored()
            return f"container {step.container} was told its new {step.resource}"
        whole, stated = self.recorded(uid).whole, pod.spec.resources
        assert stated is not None
        self._recorded.set_whole(uid, with_resource(whole or ResourceRequirements(), step.resource, stated))
        return ""

    async def _set_limits(self, pod: Pod, limits: Limits, sandbox_id: str) -> None:
        """The runtime is asked first: it may refuse."""
        updater, cgroups = self._doors.updater, self._doors.cgroups
        if sandbox_id:
            before = await cgroups.limits(pod)
            await updater.update_sandbox(pod, sandbox_id, _merged(before, limits))
        try:
            await cgroups.set_limits(pod, limits)
        except OSError:
            if sandbox_id:
                await self._take_back(pod, sandbox_id, before)
            raise

    async def _take_back(self, pod: Pod, sandbox_id: str, before: Limits) -> None:
        try:
            await self._doors.updater.update_sandbox(pod, sandbox_id, before)
        except CriError as error:
            log.warning("pod %s: the runtime was not told that its limits stay: %s", pod_ref(pod), error)

    def _failed(self, pod: Pod, plan: ResizePlan, problem: str) -> None:
        ref = pod_ref(pod)
        self._journal.record("ResizeFailed", problem, pod=ref, cause=plan.cause)
        if not plan.resizes:
            return
        generation, news = self._conditions.fail(ref.uid, problem, pod.metadata.generation, self._clock.now())
        self._metrics.tell(self._conditions)
        if news:
            text = resize_message("error", pod, generation, problem)
            self._events.pod_event(ref, "Warning", "ResizeError", text)


def _merged(one: Limits, other: Limits) -> Limits:
    return Limits(
        cpu_shares=other.cpu_shares or one.cpu_shares,
        cpu_quota=other.cpu_quota or one.cpu_quota,
        cpu_period=other.cpu_period or one.cpu_period,
        memory=other.memory or one.memory,
    )


def _limits_text(limits: Limits) -> str:
    parts = []
    if limits.memory:
        parts.append(f"a memory limit of {limits.memory} bytes")
    if limits.cpu_quota:
        parts.append(f"a CPU quota of {limits.cpu_quota} µs in {limits.cpu_period} µs")
    if limits.cpu_shares:
        parts.append(f"{limits.cpu_shares} CPU shares")
    return ", ".join(parts)
