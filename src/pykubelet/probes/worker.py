"""One probe of one container: when to try, what to make of it, whom to tell."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from pykubelet.api.core import Container, ContainerStatus, Pod, PodStatus, Probe
from pykubelet.api.podinfo import field_path
from pykubelet.base.clock import Clock, to_ns
from pykubelet.base.journal import Events, Journal, PodRef

from .handlers import Handlers
from .types import Finding, Found, ProbeError, ProbeKind
from .verdict import INITIAL, ProbeMemory, judge

log = logging.getLogger(__name__)

#: Attempts within one try when the attempt itself goes wrong.
ATTEMPTS = 3
#: Seconds that an attempt may take beyond the probe's own time-out (a runtime that hangs).
PATIENCE = 30.0

#: What a look at the container says: try now, look again later, or end this probe.
Gate = Literal["try", "wait", "end"]


class VerdictSink(Protocol):
    """Takes verdicts."""

    def tell(
        self, kind: ProbeKind, pod: Pod, container: str, container_id: str, verdict: bool | None, why: str
    ) -> None:
        """A verdict on that container instance."""
        ...

    def forget(self, kind: ProbeKind, container_id: str) -> None:
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


def gate(
    target: ProbeTarget, status: ContainerStatus, memory: ProbeMemory, now_ns: int
) -> tuple[Gate, float]:
    """Whether to try now; with *wait*, the seconds after which it may be time (0: the next period)."""
    running = status.state.running
    if running is None:
        over = status.state.terminated is not None
        policy = (
            "Always" if target.sidecar else target.container.restartPolicy or target.pod.spec.restartPolicy
        )
        return ("end" if over and policy == "Never" else "wait"), 0.0
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
        journal: Journal,
        events: Events,
        status_of: Callable[[str], PodStatus | None],
    ) -> None:
        self._target = target
        self._handlers = handlers
        self._sink = sink
        self._clock = clock
        self._journal = journal
        self._events = events
        self._status_of = status_of
        self._memory = ProbeMemory()
        self._poked = asyncio.Event()
        self._ending = False
        meta = target.pod.metadata
        self._ref = PodRef(meta.namespace, meta.name, meta.uid)

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
        period = float(max(self._target.probe.periodSeconds, 1))
        await self._wait(first_wait)
        while not self._ending:
            now = self._clock.monotonic()
            step, seconds = await self._look()
            if step == "end":
                break
            took = self._clock.monotonic() - now
            await self._wait(seconds if seconds > 0 else max(0.0, period - took))
        if self._memory.container_id and not self._ending:
            self._sink.forget(self._target.kind, self._memory.container_id)

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
            self._new_instance(container_id)
        step, seconds = gate(target, of_container, self._memory, self._clock.now_ns())
        if of_container.state.running is None:
            self._tell(False, "the container is not running")
            # What it said of the dead instance does not count for the next one.
            self._memory = ProbeMemory(container_id, held=True)
        if step == "try":
            await self._try(container_id, status.podIP)
        return step, seconds

    def _new_instance(self, container_id: str) -> None:
        if self._memory.container_id:
            self._sink.forget(self._target.kind, self._memory.container_id)
        self._memory = ProbeMemory(container_id)
        self._sink.tell(
            self._target.kind, self._target.pod, self._target.container.name, container_id,
            INITIAL[self._target.kind], "a new container instance",
        )  # fmt: skip

    async def _try(self, container_id: str, ip: str) -> None:
        finding = await self._attempt(container_id, ip)
        if finding is None or self._ending or self._memory.container_id != container_id:
            return
        self._report(finding)
        judgement = judge(
            self._memory, self._target.probe, self._target.kind, finding.found is not Found.FAILURE
        )
        self._memory = judgement.memory
        if judgement.verdict is not None:
            self._tell(judgement.verdict, finding.output)

    async def _attempt(self, container_id: str, ip: str) -> Finding | None:
        """One try: an attempt that goes wrong is made again; None when nothing could be found out."""
        target = self._target
        problem = ""
        for _ in range(ATTEMPTS):
            try:
                async with asyncio.timeout(max(target.probe.timeoutSeconds, 1) + PATIENCE):
                    return await self._handlers.attempt(target.probe, target.container, container_id, ip)
            except (ProbeError, TimeoutError) as error:
                problem = str(error) or "the runtime did not answer"
        text = f"{target.kind.capitalize()} probe errored and resulted in unknown state: {problem}"
        self._events.pod_event(self._ref, "Warning", "Unhealthy", text, field_path=self._field_path())
        return None

    def _report(self, finding: Finding) -> None:
        kind = self._target.kind.capitalize()
        if finding.found is Found.FAILURE:
            self._events.pod_event(
                self._ref, "Warning", "Unhealthy", f"{kind} probe failed: {finding.output}",
                field_path=self._field_path(),
            )  # fmt: skip
        elif finding.found is Found.WARNING:
            self._events.pod_event(
                self._ref, "Warning", "ProbeWarning", f"{kind} probe warning: {finding.output}",
                field_path=self._field_path(),
            )  # fmt: skip

    def _field_path(self) -> str:
        return field_path(self._target.pod, self._target.container.name)

    def _tell(self, verdict: bool, why: str) -> None:
        self._sink.tell(
            self._target.kind,
            self._target.pod,
            self._target.container.name,
            self._memory.container_id,
            verdict,
            why,
        )

    def adopt(self, pod: Pod) -> None:
        """The pod object changed (labels, deletion); what is probed stays the same."""
        self._target = replace(self._target, pod=pod)
