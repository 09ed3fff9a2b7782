"""One probe of one container: when to try, what to make of it, whom to tell."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from pykubelet.api.core import Container, ContainerStatus, Pod, PodStatus, Probe
from pykubelet.api.podinfo import all_containers, field_path, pod_ref
from pykubelet.base.clock import Clock, to_ns
from pykubelet.base.journal import Events

from .handlers import Handlers
from .metrics import ProbeCount
from .types import Finding, Found, ProbeError, ProbeKind
from .verdict import INITIAL, ProbeMemory, judge

log = logging.getLogger(__name__)

#: Attempts within one try when the attempt itself goes wrong.
ATTEMPTS = 3
#: Seconds that an attempt may take beyond the probe's own time-out (a runtime that hangs).
PATIENCE = 30.0
#: Containers that began this long (ns) before the daemon were looked after by the daemon before it.
_BEFORE_US = 10_000_000_000

#: What a look at the container says: try now, look again later, or end this probe.
Gate = Literal["try", "wait", "end"]


class VerdictSink(Protocol):
    """Takes verdicts."""

    def begin(
        self, kind: ProbeKind, pod: Pod, container: str, container_id: str, verdict: bool | None
    ) -> None:
        """What a new container instance counts as until it is tried."""
        ...

    def tell(
        self, kind: ProbeKind, pod: Pod, container: str, container_id: str, verdict: bool, why: str
    ) -> None:
        """A verdict on that container instance."""
        ...

    def forget(self, kind: ProbeKind, pod_uid: str, container_id: str) -> None:
        """That instance is gone."""
        ...


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """What is probed."""

    pod: Pod
    container: Container
    probe: Probe
    kind: ProbeKind
    sidecar: bool


def find_status(status: PodStatus | None, container: str) -> ContainerStatus | None:
    """The container's status, be it a regular or an init container."""
    if status is None:
        return None
    both = (*status.containerStatuses, *status.initContainerStatuses)
    return next((s for s in both if s.name == container), None)


def instance_of(status: ContainerStatus | None) -> str:
    """The runtime's ID of the container that the status tells of; empty without one."""
    if status is None or not isinstance(status.containerID, str):
        return ""
    return status.containerID.partition("://")[2]


def may_restart(target: ProbeTarget) -> bool:
    """Whether the container may ever run again after an end."""
    if target.sidecar or any(container.restartPolicyRules for container, _ in all_containers(target.pod)):
        return True
    return (target.container.restartPolicy or target.pod.spec.restartPolicy) != "Never"


def initial_verdict(
    target: ProbeTarget, status: ContainerStatus, daemon_started_ns: int
) -> tuple[bool | None] | None:
    """What the container counts as before it was tried; None leaves the verdict open.

    A container from before this daemon's start keeps what its status says until a try speaks.
    """
    running = status.state.running
    if (
        running is None
        or running.startedAt is None
        or to_ns(running.startedAt) >= daemon_started_ns - _BEFORE_US
    ):
        return (INITIAL[target.kind],)
    if target.sidecar and target.kind == "startup" and status.started is True:
        # The init containers after it wait for this verdict, and nobody will try again.
        return (True,)
    return None


def gate(
    target: ProbeTarget, status: ContainerStatus, memory: ProbeMemory, now_ns: int
) -> tuple[Gate, float]:
    """Whether to try now; with *wait*, the seconds after which it may be time (0: the next period)."""
    running = status.state.running
    if running is None:
        over = status.state.terminated is not None
        return ("end" if over and not may_restart(target) else "wait"), 0.0
    if memory.held:
        return "wait", 0.0
    delay = target.probe.initialDelaySeconds
    if running.startedAt is not None and delay > 0:
        left = (to_ns(running.startedAt) - now_ns) / 1e9 + delay
        if left > 0:
            return "wait", left
    started = status.started is True
    if started == (target.kind == "startup"):
        # The startup probe has done its work, or the others wait for it.
        return "wait", 0.0
    return "try", 0.0


class ProbeWorker:
    """The loop of one probe."""

    def __init__(
        self,
        target: ProbeTarget,
        handlers: Handlers,
        sink: VerdictSink,
        clock: Clock,
        events: Events,
        status_of: Callable[[str], PodStatus | None],
        daemon_started_ns: int,
        count: ProbeCount,
    ) -> None:
        self._target = target
        self._count = count
        self._handlers = handlers
        self._sink = sink
        self._clock = clock
        self._events = events
        self._status_of = status_of
        self._daemon_started_ns = daemon_started_ns
        self._memory = ProbeMemory()
        self._poked = asyncio.Event()
        self._ending = False
        self._ref = pod_ref(target.pod)

    def adopt(self, pod: Pod) -> None:
        """The pod object changed (labels, deletion); what is probed stays the same."""
        self._target = replace(self._target, pod=pod)

    def poke(self) -> None:
        """Look now."""
        self._poked.set()

    def end_well(self) -> None:
        """The pod is being ended: the verdict is success from here on, and no attempt is made."""
        self._ending = True
        if self._memory.container_id:
            self._tell(True, "the pod is being ended")
        self._poked.set()

    async def run(self, first_wait: float) -> None:
        """Probe until the container will not run again; *first_wait* seconds pass before the first look."""
        try:
            await self._run(first_wait)
        finally:
            self._count.forget()

    async def _run(self, first_wait: float) -> None:
        period = float(max(self._target.probe.periodSeconds, 1))
        await self._wait(first_wait)
        while not self._ending:
            began = self._clock.monotonic()
            try:
                step, seconds = await self._look()
            except Exception:
                # A worker that died would leave a container that counts as never probed.
                log.exception("the %s probe of %s failed", self._target.kind, self._target.container.name)
                step, seconds = "wait", 0.0
            if step == "end":
                break
            took = self._clock.monotonic() - began
            await self._wait(seconds if seconds > 0 else max(0.0, period - took))
        if not self._ending:
            self._forget()

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._poked.wait()
        except TimeoutError:
            pass
        self._poked.clear()

    async def _look(self) -> tuple[Gate, float]:
        """Look at the container and try if it is time."""
        target = self._target
        status = self._status_of(self._ref.uid)
        if status is not None and status.phase in {"Failed", "Succeeded"}:
            return "end", 0.0
        of_container = find_status(status, target.container.name)
        container_id = instance_of(of_container)
        if status is None or of_container is None or not container_id:
            return "wait", 0.0
        if container_id != self._memory.container_id:
            self._new_instance(container_id, of_container)
        if of_container.state.running is None and not self._memory.held:
            self._tell(False, "the container is not running")
            # What was counted of the dead instance does not count for the next one.
            self._memory = ProbeMemory(container_id)
        step, seconds = gate(target, of_container, self._memory, self._clock.now_ns())
        if step == "try":
            await self._try(container_id, status.podIP)
        return step, seconds

    def _new_instance(self, container_id: str, status: ContainerStatus) -> None:
        self._forget()
        self._memory = ProbeMemory(container_id)
        target = self._target
        initial = initial_verdict(target, status, self._daemon_started_ns)
        if initial is not None:
            self._sink.begin(target.kind, target.pod, target.container.name, container_id, initial[0])

    async def _try(self, container_id: str, ip: str) -> None:
        began = self._clock.monotonic()
        finding = await self._attempt(container_id, ip)
        if finding is None or self._ending:
            return
        self._report(finding)
        target, success = self._target, finding.found is not Found.FAILURE
        self._count.count(self._clock.monotonic() - began, success=success)
        judgement = judge(self._memory, target.probe, target.kind, success)
        self._memory = judgement.memory
        if judgement.verdict is not None:
            self._tell(judgement.verdict, finding.output)

    async def _attempt(self, container_id: str, ip: str) -> Finding | None:
        """One try: an attempt that goes wrong is made again; None when nothing could be found out."""
        target = self._target
        problem, state = "", "unknown"
        for _ in range(ATTEMPTS):
            try:
                async with asyncio.timeout(max(target.probe.timeoutSeconds, 1) + PATIENCE):
                    return await self._handlers.attempt(target.probe, target.container, container_id, ip)
            except ProbeError as error:
                problem, state = str(error), error.state
            except TimeoutError:
                problem, state = "the runtime did not answer", "unknown"
            if self._ending:
                return None
        self._warn("Unhealthy", f"probe errored and resulted in {state} state: {problem}")
        return None

    def _report(self, finding: Finding) -> None:
        if finding.found is Found.FAILURE:
            self._warn("Unhealthy", f"probe failed: {finding.output}")
        elif finding.found is Found.WARNING:
            self._warn("ProbeWarning", f"probe warning: {finding.output}")

    def _warn(self, reason: str, text: str) -> None:
        target = self._target
        self._events.pod_event(
            self._ref,
            "Warning",
            reason,
            f"{target.kind.capitalize()} {text}",
            field_path=field_path(target.pod, target.container.name),
        )

    def _tell(self, verdict: bool, why: str) -> None:
        target, container_id = self._target, self._memory.container_id
        self._sink.tell(target.kind, target.pod, target.container.name, container_id, verdict, why)

    def _forget(self) -> None:
        if self._memory.container_id:
            self._sink.forget(self._target.kind, self._ref.uid, self._memory.container_id)
