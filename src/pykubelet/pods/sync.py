"""The work of a pod's worker in each phase: bring it closer to its spec, stop it, clean up after it."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from pykubelet.api.core import Pod, PodStatus
from pykubelet.api.podinfo import pod_ref
from pykubelet.base.clock import Clock
from pykubelet.base.errors import VolumeError, VolumeLimitError
from pykubelet.base.journal import Events, Journal, PodRef
from pykubelet.cri.errors import CriError
from pykubelet.observe.types import ObservedPod

from .doors import ContainerStarter, PodCgroups, PodVolumes, Probes, StatusSink
from .execute import Executor, Outcome, Read
from .holder import GraceHolder
from .lifecycle import WorkerState, WorkerUpdate
from .plan import plan_pod
from .reasons import ReasonCache
from .rejection import rejected_status
from .resize.allocation import Allocation
from .resize.plan import InForce
from .resize.resizer import Resizer
from .restart import restart_all_runs
from .status import (
    DEADLINE_MESSAGE,
    DEADLINE_REASON,
    FINAL_PHASES,
    NodeFacts,
    generate_status,
    illegal_transition,
    past_deadline,
    unready_with_probe,
)
from .status_verdicts import with_verdicts
from .termination import kill_pod
from .worker import ERROR_WAIT, SyncOutcome, TerminationError

log = logging.getLogger(__name__)

#: Seconds of waiting for volumes after which the pod is looked at again before it is planned.
STALE_AFTER = 0.5
#: Seconds between attempts to remove a container whose cut start the runtime is still undoing.
REMOVAL_WAITS = (0.1, 0.2, 0.4, 0.8, 1.6)


@dataclass(frozen=True, slots=True)
class SyncDoors:
    """What the work needs from others."""

    starter: ContainerStarter
    volumes: PodVolumes
    cgroups: PodCgroups
    probes: Probes
    statuses: StatusSink
    reasons: ReasonCache
    allocation: Allocation
    resizer: Resizer
    read: Read
    node_facts: Callable[[Pod], NodeFacts]
    #: Prefix of container IDs, as the runtime names itself.
    runtime_name: Callable[[], str]
    #: Why the network cannot be used; empty when it can.
    network_error: Callable[[], str]
    active_pods: Callable[[], Sequence[Pod]]
    #: Whether a source still has the pod.
    wanted: Callable[[str], bool]
    #: A pod was refused after all; hears the reason.
    on_refused: Callable[[str], None] = lambda reason: None


class PodSyncer:
    """Implements ``worker.PodSync``."""

    def __init__(
        self, clock: Clock, journal: Journal, events: Events, executor: Executor, doors: SyncDoors
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._events = events
        self._executor = executor
        self._doors = doors

    # --- syncing --------------------------------------------------------------

    async def sync(self, update: WorkerUpdate, observed: ObservedPod) -> SyncOutcome:
        """See ``PodSync``."""
        if update.pod is None:
            return SyncOutcome(terminal=True, cause="there is no pod object")
        # What is allocated must outlive us before anything is made of it.
        await self._doors.allocation.stored()
        pod = self._doors.allocation.allocated(update.pod)
        ref = pod_ref(pod)
        self._doors.resizer.look(pod, observed)
        status = self._report(pod, observed)
        if status.phase in FINAL_PHASES:
            return SyncOutcome(terminal=True, cause=f"its phase is {status.phase} {status.reason}".rstrip())
        problem = self._doors.network_error()
        if problem and not pod.spec.hostNetwork:
            self._events.pod_event(ref, "Warning", "NetworkNotReady", f"network is not ready: {problem}")
            return SyncOutcome(error=f"network is not ready: {problem}", network=True)
        began = self._clock.monotonic()
        error, killed, in_force = await self._ensure_cgroup(pod, observed)
        try:
            error = error or await self._ensure_directories(pod) or await self._ensure_volumes(pod)
        except VolumeLimitError as refusal:
            return self._refuse(pod, refusal.reason, str(refusal))
        if error:
            return SyncOutcome(error=error)
        # What does not run does not change meanwhile.
        if killed or (observed.alive and self._clock.monotonic() - began > STALE_AFTER):
            observed = await self._doors.read(pod.metadata.uid, self._clock.monotonic())
        self._doors.probes.add_pod(pod)
        plan = plan_pod(
            pod,
            observed,
            verdicts=self._doors.probes,
            restart_all=restart_all_runs(status),
            in_force=in_force,
        )
        outcome, read_after = await self._executor.carry_out(pod, observed, plan), None
        if outcome.acted:
            read_after = self._clock.monotonic()
            observed = await self._doors.read(pod.metadata.uid, read_after)
            # Meanwhile something else may have been allocated: that is not in force yet.
            pod = self._doors.allocation.allocated(update.pod)
            if plan.resize is not None and in_force is not None:
                await self._see_limits(pod, in_force)
            self._doors.resizer.look(pod, observed)
            status = self._report(pod, observed)
        return self._sync_outcome(pod, status, outcome, read_after)

    def show_verdicts(self, pod: Pod) -> None:
        """Report at once what the pod's probes say; its worker, which may be busy, follows."""
        doors = self._doors
        old = doors.statuses.get(pod.metadata.uid)
        if old is None:
            return
        started = doors.node_facts(pod).kubelet_started
        status = with_verdicts(pod, old, doors.probes, started, self._clock.now())
        if status is not old:
            doors.statuses.set(pod, status)

    async def _see_limits(self, pod: Pod, before: InForce) -> None:
        """Look at the pod's cgroup after it was changed."""
        try:
            limits = await self._doors.cgroups.limits(pod)
        except OSError as error:
            log.warning("pod %s: the limits of its cgroup cannot be read: %s", pod_ref(pod), error)
        else:
            self._doors.resizer.in_force(pod, limits, before.wanted)

    def _sync_outcome(
        self, pod: Pod, status: PodStatus, outcome: Outcome, read_after: float | None
    ) -> SyncOutcome:
        """When to look again: at the end of a back-off, or of the pod's deadline."""
        waits = []
        if outcome.backoff_until is not None:
            waits.append((outcome.backoff_until - self._clock.now_ns()) / 1e9 + 0.01)
        if pod.spec.activeDeadlineSeconds is not None and status.startTime is not None:
            age = (self._clock.now() - status.startTime).total_seconds()
            waits.append(pod.spec.activeDeadlineSeconds - age + 0.01)
        next_in = max(0.0, min(waits)) if waits else None
        error = "; ".join(outcome.errors or ())
        if error:
            log.info("pod %s: %s", pod_ref(pod), error)
            # What failed is tried again after its own wait, unless something else is due before.
            soon = next_in if (next_in or ERROR_WAIT) < ERROR_WAIT else None
            return SyncOutcome(error=error, next_in=soon, read_after=read_after)
        return SyncOutcome(next_in=next_in, read_after=read_after)

    def _report(self, pod: Pod, observed: ObservedPod, *, terminal: bool = False) -> PodStatus:
        """Compute the pod's status and hand it on."""
        doors, uid = self._doors, pod.metadata.uid
        old = doors.statuses.get(uid) or pod.status
        now = self._clock.now()
        status = generate_status(
            pod,
            observed,
            old_status=old,
            reasons=doors.reasons.of(uid),
            verdicts=doors.probes,
            node=doors.node_facts(pod),
            now=now,
            runtime_name=doors.runtime_name(),
            terminal=terminal,
            resize=() if terminal else doors.resizer.conditions(uid),
            recorded=doors.resizer.recorded(uid),
            whole=doors.resizer.whole(uid),
        )
        if (
            status.reason == DEADLINE_REASON
            and past_deadline(pod, old, now)
            and old.reason != DEADLINE_REASON
        ):
            self._events.pod_event(pod_ref(pod), "Normal", DEADLINE_REASON, DEADLINE_MESSAGE)
        problem = illegal_transition(old, status, pod.spec)
        if problem:
            self._journal.record("StatusRefused", problem, pod=pod_ref(pod))
            return status
        doors.statuses.set(pod, status)
        for container in unready_with_probe(pod, status, doors.probes):
            doors.probes.poke_readiness(uid, container)
        return status

    def _refuse(self, pod: Pod, reason: str, message: str) -> SyncOutcome:
        """The pod can never run here: it is ended as one that was not admitted."""
        self._events.pod_event(pod_ref(pod), "Warning", reason, message)
        old = self._doors.statuses.get(pod.metadata.uid) or pod.status
        self._doors.statuses.set(pod, rejected_status(pod, old, reason, message, self._clock.now()))
        self._doors.on_refused(reason)
        return SyncOutcome(terminal=True, cause=message)

    async def _ensure_cgroup(self, pod: Pod, observed: ObservedPod) -> tuple[str, bool, InForce | None]:
        """The pod's cgroup: why it cannot be had, whether the pod was killed for it, what is in force."""
        cgroups, ref = self._doors.cgroups, pod_ref(pod)
        killed = False
        try:
            there = await cgroups.exists(pod)
            if not there and observed.running:
                # Containers outside their cgroup would run without the pod's limits.
                result = await kill_pod(
                    self._doors.starter, self._events, self._journal, self._clock, pod, observed,
                    cause="the pod's cgroup is missing while its containers run",
                )  # fmt: skip
                if result.error:
                    return result.error, False, None
                killed = True
            if killed and pod.spec.restartPolicy == "Never":
                return "", killed, None
            await cgroups.update_qos(self._doors.active_pods())
            limits, wanted = await cgroups.ensure(pod)
        except OSError as error:
            text = f"unable to ensure pod container exists: {error}"
            self._events.pod_event(ref, "Warning", "FailedCreatePodContainer", text)
            return text, killed, None
        if not there:
            self._doors.resizer.cgroup_made(pod)
        return "", killed, self._doors.resizer.in_force(pod, limits, wanted)

    async def _ensure_directories(self, pod: Pod) -> str:
        try:
            await self._doors.starter.prepare_pod(pod)
        except OSError as error:
            text = f"error making pod data directories: {error}"
            self._events.pod_event(pod_ref(pod), "Warning", "Failed", text)
            return text
        return ""

    async def _ensure_volumes(self, pod: Pod) -> str:
        try:
            await self._doors.volumes.wait_ready(pod)
        except VolumeLimitError:
            raise
        except VolumeError as error:
            text = f"Unable to attach or mount volumes: {error}"
            if error.real:
                self._events.pod_event(pod_ref(pod), "Warning", "FailedMount", text)
            return text
        return ""

    # --- terminating ----------------------------------------------------------

    async def terminate(
        self, update: WorkerUpdate, state: WorkerState, observed: ObservedPod, grace: GraceHolder
    ) -> None:
        """See ``PodSync``."""
        if update.pod is None:
            await self._kill(None, observed, grace, state)
            return
        pod = self._doors.allocation.allocated(update.pod)
        uid = pod.metadata.uid
        self._report_end(pod, observed, state, terminal=False)
        self._doors.probes.stop_liveness_and_startup(uid)
        after = await self._kill(pod, observed, grace, state)
        self._doors.probes.remove_pod(uid)
        self._report_end(pod, after, state, terminal=True)

    async def _kill(
        self, pod: Pod | None, observed: ObservedPod, grace: GraceHolder, state: WorkerState
    ) -> ObservedPod:
        """Stop everything and make sure of it."""
        ref = PodRef(observed.namespace, observed.name, observed.uid) if pod is None else pod_ref(pod)
        result = await kill_pod(
            self._doors.starter, self._events, self._journal, self._clock, pod, observed, grace,
            cause=state.cause,
        )  # fmt: skip
        if result.error:
            self._events.pod_event(ref, "Warning", "FailedKillPod", f"error killing pod: {result.error}")
            raise TerminationError(result.error)
        after = await self._doors.read(observed.uid, self._clock.monotonic())
        if after.running:
            names = ", ".join(c.name for c in after.running)
            raise TerminationError(f"containers still run after the pod was killed: {names}")
        if pod is None:
            await self._remove_content(after, ref)
        return after

    def _report_end(self, pod: Pod, observed: ObservedPod, state: WorkerState, *, terminal: bool) -> None:
        status = self._report(pod, observed, terminal=terminal)
        if state.changes:
            # Who spoke last (eviction, preemption, shutdown) has the say.
            self._doors.statuses.set(pod, state.changes[-1](status))

    # --- terminated -----------------------------------------------------------

    async def finish(self, update: WorkerUpdate, state: WorkerState) -> None:
        """See ``PodSync``."""
        if update.pod is None:
            return
        pod = self._doors.allocation.allocated(update.pod)
        doors, uid, ref = self._doors, pod.metadata.uid, pod_ref(pod)
        observed = await doors.read(uid, self._clock.monotonic())
        self._report_end(pod, observed, state, terminal=True)
        doors.resizer.ended(uid)
        await doors.volumes.wait_gone(pod)
        await doors.cgroups.destroy(uid)
        doors.statuses.terminate(pod)
        # A pod that its source took away and brings again begins from nothing.
        if state.deleted or state.evicted or state.restart_requested or not doors.wanted(uid):
            await self._remove_content(observed, ref)
        doors.reasons.forget(uid)
        await doors.cgroups.update_qos(doors.active_pods())

    async def _remove_content(self, observed: ObservedPod, ref: PodRef) -> None:
        """Remove containers, sandboxes and logs of a pod that nobody wants any more."""
        for container in observed.containers:
            await self._insist(partial(self._doors.starter.remove_container, container))
        for sandbox in observed.sandboxes:
            await self._insist(partial(self._doors.starter.remove_sandbox, sandbox.id))
        await self._doors.starter.clean_pod(ref.uid, ref.namespace, ref.name)
        await self._doors.read(ref.uid, self._clock.monotonic())
        self._journal.record(
            "PodContentRemoved",
            f"removed {len(observed.containers)} containers and {len(observed.sandboxes)} sandboxes",
            pod=ref,
        )

    async def _insist(self, remove: Callable[[], Awaitable[None]]) -> None:
        """Call *remove*; a runtime that refuses for the moment is asked a few times more.

        :raises CriError: it refused to the last.
        """
        for wait in REMOVAL_WAITS:
            try:
                return await remove()
            except CriError as error:
                log.info("a removal is tried again in %.1f s: %s", wait, error)
            await self._clock.sleep(wait)
        return await remove()
