"""The ordered ending of a pod: hooks, stop signals, sidecars last, then its sandboxes.

All containers are ended at the same time; a sidecar waits, within its grace, for the
regular containers and for the sidecar declared after it. A grace that is shortened on
the way takes effect at once, in hooks, in waiting and inside StopContainer.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from pykubelet.api.core import Container, Pod
from pykubelet.api.podinfo import field_path, find_container, is_sidecar, pod_ref
from pykubelet.base.clock import Clock
from pykubelet.base.gotext import aggregate
from pykubelet.base.journal import Events, Journal, PodRef
from pykubelet.base.tasks import TaskOwner
from pykubelet.cri.types import ContainerState, ContainerStatus
from pykubelet.observe.types import ObservedPod

from .doors import ContainerStarter
from .grace import MIN_STOP_SECONDS, container_grace, stop_seconds
from .holder import GraceHolder
from .orders import KillReason
from .restore import restore_container

__all__ = ["ContainerKill", "GraceHolder", "PodKill", "kill_container", "kill_pod", "restore_container"]

log = logging.getLogger(__name__)

#: Seconds that the runtime may take for SIGKILL before a hook is cut short.
_STOPPING = 5
#: Seconds that a hook is given to tell how it went after its container has ended.
_LAST_WORDS = 0.25


@dataclass(frozen=True, slots=True)
class ContainerKill:
    """How the ending of one container went; *error* is upstream's text, empty when all is well."""

    container: str
    id: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class PodKill:
    """How the ending of a pod went."""

    containers: tuple[ContainerKill, ...]
    sandbox_error: str = ""

    @property
    def error(self) -> str:
        """All that failed, as the event ``FailedKillPod`` and the log tell it; empty if nothing did."""
        errors = [kill.error for kill in self.containers if kill.error]
        if self.sandbox_error:
            errors.append(self.sandbox_error)
        return aggregate(errors) if errors else ""


@dataclass(slots=True)
class _Order:
    """Who waits for whom: containers that still run by name, and what each sidecar waits for."""

    running: dict[str, int]
    before: dict[str, tuple[str, ...]]
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def free(self, name: str) -> bool:
        """Whether everything that *name* waits for has ended."""
        return not any(self.running.get(other, 0) for other in self.before.get(name, ()))

    def ended(self, name: str) -> None:
        """One container of that name has ended."""
        self.running[name] = self.running.get(name, 0) - 1
        self.changed.set()
        self.changed = asyncio.Event()


def stop_order(pod: Pod) -> dict[str, tuple[str, ...]]:
    """For each sidecar, the names of the containers whose end it waits for."""
    regular = tuple(container.name for container in pod.spec.containers)
    waits: dict[str, tuple[str, ...]] = {}
    later: tuple[str, ...] = ()
    for container in reversed(pod.spec.initContainers):
        if is_sidecar(container):
            waits[container.name] = regular + later
            later = (container.name,)
    return waits


async def kill_pod(
    starter: ContainerStarter,
    events: Events,
    journal: Journal,
    clock: Clock,
    pod: Pod | None,
    observed: ObservedPod,
    grace: GraceHolder | None = None,
    *,
    cause: str = "",
) -> PodKill:
    """End all running containers of a pod, then stop all its sandboxes.

    *pod* is None for an orphan: what its containers need is read from their labels.
    *grace* overrides every container's own; it may be shortened while this runs. A
    call again after a failure goes on with what is left of it.
    Errors are in the answer; only cancellation is raised.
    """
    living = [c for c in observed.containers if c.state in (ContainerState.RUNNING, ContainerState.UNKNOWN)]
    running: dict[str, int] = {}
    for status in living:
        running[status.name] = running.get(status.name, 0) + 1
    order = _Order(running, {} if pod is None else stop_order(pod))
    journal.record(
        "PodKill",
        f"ending {len(living)} containers and {len(observed.sandboxes)} sandboxes",
        pod=PodRef(observed.namespace, observed.name, observed.uid),
        cause=cause,
        graceSeconds=None if grace is None else grace.seconds,
    )
    if grace is not None:
        grace.begin()
    owner = TaskOwner(f"kill/{observed.uid}")
    try:
        kills = [
            owner.spawn(
                status.name,
                _Killer(starter, events, journal, clock, owner, order, observed.ips).kill(
                    pod, status, "", KillReason.OTHER, grace, cause
                ),
            )
            for status in living
        ]
        results = tuple([await kill for kill in kills])
        return PodKill(results, await _stop_sandboxes(starter, observed))
    finally:
        await owner.close()


async def kill_container(
    starter: ContainerStarter,
    events: Events,
    journal: Journal,
    clock: Clock,
    pod: Pod | None,
    status: ContainerStatus,
    *,
    message: str = "",
    reason: KillReason = KillReason.OTHER,
    grace: GraceHolder | None = None,
    ips: tuple[str, ...] = (),
    cause: str = "",
) -> ContainerKill:
    """End one container; *message* goes into the event ``Killing``, *grace* overrides the container's own."""
    owner = TaskOwner(f"kill/{status.id}")
    killer = _Killer(starter, events, journal, clock, owner, _Order({}, {}), ips)
    try:
        return await killer.kill(pod, status, message, reason, grace, cause)
    finally:
        await owner.close()


async def _stop_sandboxes(starter: ContainerStarter, observed: ObservedPod) -> str:
    """Stop every sandbox, dead ones too: that frees their network. The last error's text is returned."""
    failed = ""
    for sandbox in observed.sandboxes:
        try:
            await starter.stop_sandbox(sandbox.id)
        except Exception as error:
            log.exception("stopping sandbox %s failed", sandbox.id)
            failed = _failure("KillPodSandbox", observed.uid, "KillPodSandboxError", error)
    return failed


def _failure(action: str, target: str, kind: str, error: Exception) -> str:
    quoted = str(error).replace("\\", "\\\\").replace('"', '\\"')
    return f'failed to "{action}" for "{target}" with {kind}: "{quoted}"'


@dataclass(slots=True)
class _Killer:
    """Ends one container."""

    starter: ContainerStarter
    events: Events
    journal: Journal
    clock: Clock
    owner: TaskOwner
    order: _Order
    ips: tuple[str, ...]

    async def kill(
        self,
        pod: Pod | None,
        status: ContainerStatus,
        message: str,
        reason: KillReason,
        grace: GraceHolder | None,
        cause: str,
    ) -> ContainerKill:
        """Event, preStop, its turn, StopContainer."""
        pod, container, path = _spec_of(pod, status)
        if grace is None:
            grace = GraceHolder(self.clock, container_grace(pod, container, reason))
        grace.begin()
        ref = pod_ref(pod)
        text = message or f"Stopping container {container.name}"
        self.events.pod_event(ref, "Normal", "Killing", text, field_path=path)
        self.journal.record(
            "ContainerKill", text, pod=ref, container=container.name, cause=cause, graceSeconds=grace.rest()
        )
        hook: list[asyncio.Task[None]] = []
        if container.lifecycle is not None and container.lifecycle.preStop is not None and grace.rest() > 0:
            # One that outlives the grace goes on in the seconds that the stop signal is given,
            # until its container has ended.
            timeout = grace.rest() + MIN_STOP_SECONDS + _STOPPING
            hook.append(self.owner.spawn("preStop", self._pre_stop(pod, container, status.id, timeout)))
            await self._within(grace, hook[0])
        if grace.rest() > 0 and not self.order.free(container.name):
            turn = self.owner.spawn("turn", self._turn(container.name))
            await self._within(grace, turn)
            await _cancel([turn])
        error = await self._stop(status.id, grace)
        if hook:
            # A command in the container has ended with it, and its hook is about to say so.
            await asyncio.wait(hook, timeout=_LAST_WORDS)
            await _cancel(hook)
        if error is not None:
            log.warning("killing container %s (%s) failed: %s", status.name, status.id, error)
            text = _failure("KillContainer", status.name, "KillContainerError", error)
            return ContainerKill(status.name, status.id, text)
        self.order.ended(container.name)
        return ContainerKill(status.name, status.id)

    async def _pre_stop(self, pod: Pod, container: Container, container_id: str, timeout: int) -> None:
        try:
            await self.starter.pre_stop(pod, container, container_id, self.ips, float(timeout))
        except Exception:
            # A failed hook never keeps a container alive; its event is the starter's.
            log.exception("preStop hook of %s failed", container.name)

    async def _turn(self, name: str) -> None:
        while not self.order.free(name):
            await self.order.changed.wait()

    async def _within(self, grace: GraceHolder, task: asyncio.Task[None]) -> None:
        """Wait until *task* ends or the grace, however it shrinks, is over; the task goes on."""
        while not task.done() and grace.left() > 0:
            await self._first([task], [grace.shortened(), self.clock.sleep(grace.left())])

    async def _first(
        self, tasks: Sequence[asyncio.Task[Any]], waits: Sequence[Coroutine[Any, Any, None]]
    ) -> None:
        """Wait until any of *tasks* or *waits* ends; the waits are gone afterwards, the tasks go on."""
        waiting = [self.owner.spawn("wait", wait) for wait in waits]
        try:
            await asyncio.wait([*tasks, *waiting], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await _cancel(waiting)

    async def _stop(self, container_id: str, grace: GraceHolder) -> Exception | None:
        """StopContainer; issued again with less when the grace shrinks meanwhile."""
        while True:
            seconds = stop_seconds(grace.rest())
            ends = self.clock.monotonic() + seconds
            call = self.owner.spawn("stop", self._stop_once(container_id, seconds))
            try:
                while not call.done() and self.clock.monotonic() + stop_seconds(grace.rest()) >= ends - 1:
                    await self._first([call], [grace.shortened()])
                if call.done():
                    return call.result()
            finally:
                await _cancel([call])

    async def _stop_once(self, container_id: str, seconds: int) -> Exception | None:
        try:
            await self.starter.stop_container(container_id, seconds)
        except Exception as error:  # noqa: BLE001 - whatever failed is the answer
            return error
        return None


def _spec_of(pod: Pod | None, status: ContainerStatus) -> tuple[Pod, Container, str]:
    """Pod, container and the container's field path; from the labels where the spec does not have it."""
    found = None if pod is None else find_container(pod, status.name)
    if pod is not None and found is not None:
        return pod, found[0], field_path(pod, status.name)
    restored, container = restore_container(status)
    return pod or restored, container, f"spec.containers{{{container.name}}}"


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel *tasks* and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
