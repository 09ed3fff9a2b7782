"""Carrying out a plan: the orders of one look at a pod, in their order, through the doors."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pykubelet.api.core import Container, Pod
from pykubelet.api.podinfo import field_path, find_container, is_sidecar, pod_ref
from pykubelet.base.clock import Clock
from pykubelet.base.errors import SandboxError, StartError
from pykubelet.base.journal import Events, Journal
from pykubelet.cri.errors import CriError
from pykubelet.observe.types import ObservedPod

from .crashloop import (
    BACK_OFF_EVENT,
    CRASH_LOOP,
    CrashLoop,
    Wait,
    backoff_event_message,
    backoff_key,
    backoff_message,
    last_exit,
)
from .doors import ContainerStarter
from .holder import GraceHolder
from .orders import KillContainer, KillReason, Plan, RemoveContainer, StartContainer
from .reasons import ReasonCache
from .resize.resizer import Resizer
from .termination import kill_container, kill_pod


@dataclass(slots=True)
class Outcome:
    """What carrying out a plan came to."""

    #: Something was asked of the runtime, so the pod is to be looked at again.
    acted: bool = False
    errors: list[str] | None = None
    #: Wall time (ns) at which the first back-off ends.
    backoff_until: int | None = None

    def failed(self, error: str) -> None:
        """Note an error."""
        self.errors = [*(self.errors or []), error]

    def waits(self, until: int) -> None:
        """Note a back-off."""
        self.backoff_until = until if self.backoff_until is None else min(self.backoff_until, until)


Read = Callable[[str, float], Awaitable[ObservedPod]]


class Executor:
    """Carries out plans."""

    def __init__(
        self,
        clock: Clock,
        journal: Journal,
        events: Events,
        starter: ContainerStarter,
        crash_loop: CrashLoop,
        reasons: ReasonCache,
        read: Read,
        resizer: Resizer,
        on_new_sandbox: Callable[[Pod, bool], None] = lambda pod, well: None,
    ) -> None:
        """*on_new_sandbox* hears of each plan with a new sandbox, and whether all of it went well."""
        self._clock = clock
        self._journal = journal
        self._events = events
        self._starter = starter
        self._crash_loop = crash_loop
        self._reasons = reasons
        self._read = read
        self._resizer = resizer
        self._on_new_sandbox = on_new_sandbox

    async def carry_out(self, pod: Pod, observed: ObservedPod, plan: Plan) -> Outcome:
        """Carry out *plan*, made from *observed*; errors are in the answer, only cancellation is raised."""
        outcome = Outcome(acted=not plan.idle)
        if not await self._end(pod, observed, plan, outcome):
            return outcome
        await self._begin(pod, observed, plan, outcome)
        if plan.create_sandbox is not None:
            self._on_new_sandbox(pod, not outcome.errors)
        return outcome

    async def _begin(self, pod: Pod, observed: ObservedPod, plan: Plan, outcome: Outcome) -> None:
        """Make the sandbox and start the containers that the plan says."""
        sandbox_id = plan.sandbox_id
        if plan.create_sandbox is not None:
            made = await self._make_sandbox(pod, plan, outcome)
            if made is None:
                return
            sandbox_id, observed = made
        if not sandbox_id:
            return
        if plan.resize is not None:
            # What fails here is tried again later; nothing else waits for it.
            problem = await self._resizer.carry_out(pod, plan.resize, sandbox_id)
            if problem:
                outcome.failed(problem)
        for order in plan.start_ephemeral:
            await self._start(pod, order, sandbox_id, observed, outcome)
        for order in plan.start_init:
            # A sidecar that does not start holds up nobody but those who wait for it.
            if not await self._start(pod, order, sandbox_id, observed, outcome) and not _sidecar(pod, order):
                return
        for order in plan.start:
            await self._start(pod, order, sandbox_id, observed, outcome)

    # --- ends -----------------------------------------------------------------

    async def _end(self, pod: Pod, observed: ObservedPod, plan: Plan, outcome: Outcome) -> bool:
        """Kill and remove what the plan says; False when what follows must wait."""
        ref = pod_ref(pod)
        if plan.kill_pod is not None:
            if plan.create_sandbox is not None and plan.create_sandbox.changed:
                self._events.pod_event(
                    ref, "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created."
                )
            killed = await kill_pod(
                self._starter, self._events, self._journal, self._clock, pod, observed,
                cause=plan.kill_pod.cause,
            )  # fmt: skip
            if killed.error:
                self._events.pod_event(ref, "Warning", "FailedKillPod", f"error killing pod: {killed.error}")
                outcome.failed(killed.error)
                return False
        results = await asyncio.gather(*(self._kill(pod, observed, order) for order in plan.kill))
        for error in filter(None, results):
            outcome.failed(error)
        if any(results):
            return False
        for removal in plan.remove:
            await self._remove(pod, observed, removal, outcome)
        return True

    async def _kill(self, pod: Pod, observed: ObservedPod, order: KillContainer) -> str:
        status = next((c for c in observed.containers if c.id == order.id), None)
        if status is None:
            return ""
        result = await kill_container(
            self._starter, self._events, self._journal, self._clock, pod, status,
            message=order.message, reason=order.reason, ips=observed.ips, cause=order.cause,
        )  # fmt: skip
        return result.error

    async def _remove(
        self, pod: Pod, observed: ObservedPod, order: RemoveContainer, outcome: Outcome
    ) -> None:
        status = next((c for c in observed.containers if c.id == order.id), None)
        if status is None:
            return
        if order.kill:
            killed = await kill_container(
                self._starter, self._events, self._journal, self._clock, pod, status,
                message="killing", reason=KillReason.RESTART_ALL, grace=GraceHolder(self._clock, 0),
                ips=observed.ips, cause=order.cause,
            )  # fmt: skip
            if killed.error:
                outcome.failed(killed.error)
                return
        try:
            await self._starter.remove_container(status, keep_logs=order.keep_logs)
        except (CriError, OSError) as error:
            outcome.failed(f"removing {order.container} ({order.id}): {error}")
            return
        self._journal.record(
            "ContainerRemoved",
            f"removed a dead instance of {order.container}",
            pod=pod_ref(pod),
            container=order.container,
            cause=order.cause,
            id=order.id,
        )

    # --- the sandbox ----------------------------------------------------------

    async def _make_sandbox(self, pod: Pod, plan: Plan, outcome: Outcome) -> tuple[str, ObservedPod] | None:
        order = plan.create_sandbox
        assert order is not None
        ref = pod_ref(pod)
        self._journal.record(
            "CreateSandbox", f"making a sandbox (attempt {order.attempt})", pod=ref, cause=order.cause
        )
        try:
            sandbox_id = await self._starter.create_sandbox(pod, order.attempt)
        except SandboxError as error:
            self._events.pod_event(
                ref, "Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}"
            )
            outcome.failed(f"creating the sandbox: {error}")
            return None
        try:
            return sandbox_id, await self._read(pod.metadata.uid, self._clock.monotonic())
        except (CriError, TimeoutError) as error:
            self._events.pod_event(
                ref, "Warning", "FailedPodSandBoxStatus", f"Unable to get pod sandbox status: {error}"
            )
            outcome.failed(f"looking at the new sandbox: {error}")
            return None

    # --- starts ---------------------------------------------------------------

    async def _start(
        self, pod: Pod, order: StartContainer, sandbox_id: str, observed: ObservedPod, outcome: Outcome
    ) -> bool:
        """Start one container unless it is in back-off; whether it was started."""
        container = _ordered(pod, order)
        ref, uid = pod_ref(pod), pod.metadata.uid
        key, exit_before = backoff_key(pod, container), last_exit(observed, container.name)
        ended_at = exit_before.finished_at if exit_before is not None else None
        verdict = self._crash_loop.decide(key, self._clock.now_ns(), ended_at)
        if isinstance(verdict, Wait):
            self._back_off(pod, order, verdict, outcome)
            return False
        self._crash_loop.bump(key, self._clock.now_ns(), ended_at)
        self._journal.record(
            "StartContainer",
            f"starting {order.container}",
            pod=ref,
            container=order.container,
            cause=order.cause,
        )
        await self._resizer.making(pod, container)
        try:
            await self._starter.start_container(pod, container, order.kind, sandbox_id, observed)
        except StartError as error:
            self._reasons.set(uid, order.container, error.reason, error.message)
            self._journal.record(
                "StartFailed",
                f"{order.container} was not started, its status shows {error.reason}",
                pod=ref,
                container=order.container,
                cause=error.message,
            )
            outcome.failed(str(error))
            return False
        except (CriError, OSError) as error:
            outcome.failed(f"starting {order.container}: {error}")
            return False
        self._reasons.clear(uid, order.container)
        return True

    def _back_off(self, pod: Pod, order: StartContainer, wait: Wait, outcome: Outcome) -> None:
        ref = pod_ref(pod)
        message = backoff_message(ref, order.container, wait)
        self._events.pod_event(
            ref,
            "Warning",
            BACK_OFF_EVENT,
            backoff_event_message(ref, order.container),
            field_path=field_path(pod, order.container),
        )
        self._journal.record(
            "BackOff",
            message,
            pod=ref,
            container=order.container,
            cause=order.cause,
            untilNs=wait.until,
            seconds=wait.seconds,
        )
        self._reasons.set(pod.metadata.uid, order.container, CRASH_LOOP, message)
        outcome.waits(wait.until)


def _sidecar(pod: Pod, order: StartContainer) -> bool:
    return order.kind == "init" and is_sidecar(_ordered(pod, order))


def _ordered(pod: Pod, order: StartContainer) -> Container:
    """The container that the order names; an order can only name one that the pod has."""
    found = find_container(pod, order.container)
    if found is None:
        raise KeyError(f"pod {pod_ref(pod)} has no container {order.container}")
    return found[0]
