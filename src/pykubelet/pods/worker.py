"""One worker a pod: takes the newest update, does the work of its phase, waits, goes on.

Only the latest update of a pod is kept. Work whose premise is gone (the pod began to
end, its grace was shortened) is cancelled and begun again under the new premise.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from pykubelet.api.core import Pod
from pykubelet.api.podinfo import is_static, pod_ref
from pykubelet.base.clock import Clock
from pykubelet.base.errors import VolumeError
from pykubelet.base.journal import Events, Journal, PodRef
from pykubelet.base.tasks import TaskOwner
from pykubelet.cri.errors import CriError
from pykubelet.observe.types import ObservedPod

from .holder import GraceHolder
from .lifecycle import (
    WorkerPhase,
    WorkerState,
    WorkerUpdate,
    apply_update,
    containers_ended,
    ended_by_itself,
    finished,
    first_state,
)

log = logging.getLogger(__name__)

#: Seconds before failed work is tried again, and before that when only the network was missing.
ERROR_WAIT = 10.0
NETWORK_WAIT = 1.0
#: How much longer than asked a wait may randomly be.
JITTER = 0.5
#: Seconds within which a worker must have looked at the runtime.
READ_WAIT = 60.0
#: Seconds for which a reading that followed the last orders will do for the next look.
FRESH = 1.0


@dataclass(frozen=True, slots=True)
class SyncOutcome:
    """What one sync came to."""

    #: The pod's phase is final: it is to be terminated.
    terminal: bool = False
    cause: str = ""
    #: Seconds after which it should be looked at again at the latest; None: the normal period.
    next_in: float | None = None
    #: What failed, for the log; empty when all went well.
    error: str = ""
    network: bool = False
    #: Monotonic seconds after which, when all orders were done, the pod was read; None if it was not.
    read_after: float | None = None


class PodSync(Protocol):
    """The work of each phase; see ``sync.py``."""

    async def sync(self, update: WorkerUpdate, observed: ObservedPod) -> SyncOutcome:
        """Bring a pod that should run one look closer to its spec."""
        ...

    async def terminate(
        self, update: WorkerUpdate, state: WorkerState, observed: ObservedPod, grace: GraceHolder
    ) -> None:
        """Stop everything of the pod within *grace*, which may shrink meanwhile.

        :raises TerminationError: something still runs.
        """
        ...

    async def finish(self, update: WorkerUpdate, state: WorkerState) -> None:
        """Clean up after the pod: volumes, cgroup, final status.

        :raises VolumeError: something is still mounted.
        """
        ...


class TerminationError(Exception):
    """A pod could not be stopped yet; the worker tries again."""


@dataclass(slots=True, eq=False)
class _Worker:
    uid: str
    ref: PodRef
    state: WorkerState
    active: WorkerUpdate
    pending: WorkerUpdate | None
    started: bool = False
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    due: float | None = None
    running: asyncio.Task[None] | None = None
    cut: bool = False
    last_work: float = 0.0
    #: See ``SyncOutcome``, of the last work.
    read_after: float | None = None
    ended: list[asyncio.Event] = field(default_factory=list)
    #: The grace in force once the pod is being ended.
    grace: GraceHolder | None = None


Read = Callable[[str, float], Awaitable[ObservedPod]]


class PodWorkers:
    """All workers of a node."""

    def __init__(
        self,
        clock: Clock,
        journal: Journal,
        events: Events,
        sync: PodSync,
        *,
        read: Read,
        cached: Callable[[str], ObservedPod | None],
        on_finished: Callable[[str], None],
        resync: float,
        rng: random.Random,
    ) -> None:
        """*resync* is ``syncFrequency`` in seconds; *on_finished* hears the UID of a worker at its end."""
        self._clock = clock
        self._journal = journal
        self._events = events
        self._sync = sync
        self._read = read
        self._cached = cached
        self._on_finished = on_finished
        self._resync = resync
        self._rng = rng
        self._workers: dict[str, _Worker] = {}
        self._static_order: dict[str, list[str]] = {}
        self._tasks = TaskOwner("pod")

    async def stop(self) -> None:
        """End all workers where they stand; the pods go on."""
        await self._tasks.close()

    # --- what others ask ------------------------------------------------------

    def states(self) -> dict[str, WorkerState]:
        """The state of every worker by pod UID."""
        return {uid: worker.state for uid, worker in self._workers.items()}

    def pods(self) -> list[Pod]:
        """The pods of all workers that have not finished, as their last update had them."""
        return [
            worker.active.pod
            for worker in self._workers.values()
            if worker.active.pod is not None and worker.state.phase is not WorkerPhase.FINISHED
        ]

    def state(self, uid: str) -> WorkerState | None:
        """The state of the pod's worker, if it has one."""
        worker = self._workers.get(uid)
        return worker.state if worker is not None else None

    def static_terminating(self, full_name: str) -> bool:
        """Whether a static pod of that full name is being ended."""
        return any(
            worker.state.terminating and worker.state.phase is not WorkerPhase.FINISHED
            for uid in self._static_order.get(full_name, ())
            if (worker := self._workers.get(uid)) is not None
        )

    def started(self, uid: str) -> bool:
        """Whether the worker has begun to work (a static pod may wait for its turn)."""
        worker = self._workers.get(uid)
        return worker is not None and worker.started

    def ending(self, uid: str) -> asyncio.Event:
        """An event that is set when the pod's containers have all stopped (at once without a worker)."""
        event = asyncio.Event()
        worker = self._workers.get(uid)
        if worker is None or not worker.state.containers_may_run:
            event.set()
        else:
            worker.ended.append(event)
        return event

    # --- updates --------------------------------------------------------------

    def update(self, update: WorkerUpdate) -> None:
        """Take an update; the worker is made when it is the pod's first."""
        uid = update.uid
        worker = self._workers.get(uid)
        first = worker is None
        if worker is None:
            worker = self._make(uid, update)
        if update.pod is None and worker.active.pod is not None:
            # Found running, but the pod itself was known once: its spec says how to end it.
            known = worker.active
            update = WorkerUpdate(update.kind, known.pod, known.mirror, kill=update.kill, cause=update.cause)
        before = worker.state
        step = apply_update(worker.state, update, first=first)
        worker.state = step.state
        if step.state.terminating and not before.terminating:
            self._journal.record(
                "PodTerminating", "the pod begins to end", pod=worker.ref,
                cause=step.state.cause, grace=step.state.grace,
            )  # fmt: skip
        if step.ignored:
            return
        if step.shortened and worker.grace is not None and worker.grace.shorten(step.state.grace):
            self._journal.record(
                "GraceShortened",
                f"the pod now has {step.state.grace}s to end",
                pod=worker.ref,
                cause=update.cause,
                before=before.grace,
                now=step.state.grace,
            )
        worker.pending = update
        worker.wake.set()
        if step.cut_short and worker.running is not None:
            worker.cut = True
            worker.running.cancel()

    def _make(self, uid: str, update: WorkerUpdate) -> _Worker:
        observed = self._cached(uid)
        if update.pod is not None:
            ref, static = pod_ref(update.pod), is_static(update.pod)
        else:
            orphan = update.orphan or ObservedPod(uid)
            ref, static = PodRef(orphan.namespace, orphan.name, uid), False
        all_ended = observed is None or not observed.alive
        full_name = f"{ref.name}_{ref.namespace}"
        state = first_state(update, full_name, static=static, all_ended=all_ended)
        worker = _Worker(uid, ref, state, active=update, pending=None)
        self._workers[uid] = worker
        if static:
            self._static_order.setdefault(full_name, []).append(uid)
        self._tasks.spawn(uid, self._live(worker))
        return worker

    def end(self, uid: str, cause: str) -> None:
        """End a pod that nobody wants, by what its worker knows of it."""
        worker = self._workers[uid]
        active = worker.active
        self.update(WorkerUpdate("kill", active.pod, active.mirror, active.orphan, cause=cause))

    def forget(self, uid: str) -> bool:
        """Drop a worker that has finished (or never started and has nothing running); False if it lives."""
        worker = self._workers.get(uid)
        if worker is None:
            return True
        if worker.state.phase is not WorkerPhase.FINISHED:
            return False
        del self._workers[uid]
        return True

    def wake_all(self) -> None:
        """Let every worker look now: the runtime came back."""
        for worker in self._workers.values():
            if worker.state.phase is not WorkerPhase.FINISHED:
                worker.due = self._clock.monotonic()
                worker.wake.set()

    # --- the life of a worker -------------------------------------------------

    async def _live(self, worker: _Worker) -> None:
        try:
            while worker.state.phase is not WorkerPhase.FINISHED:
                update = await self._next(worker)
                if update is None:
                    continue
                worker.running = self._tasks.spawn(f"{worker.uid}/work", self._work(worker, update))
                try:
                    await asyncio.wait({worker.running})
                finally:
                    worker.running.cancel()
                    worker.running = None
                if worker.cut:
                    worker.cut = False
                    worker.pending = worker.pending or update
        finally:
            self._leave_order(worker)
            for event in worker.ended:
                event.set()
        self._journal.record("PodFinished", "nothing of the pod is left to do", pod=worker.ref)
        self._on_finished(worker.uid)

    async def _next(self, worker: _Worker) -> WorkerUpdate | None:
        """The next update to work on, or None when the pod may not start yet."""
        due = False
        if worker.pending is None:
            wait = None if worker.due is None else max(0.0, worker.due - self._clock.monotonic())
            due = await self._wait(worker, wait) or self._due(worker)
        worker.wake.clear()
        if not worker.started and not self._may_start(worker):
            if worker.state.terminating and not self._has_anything(worker):
                worker.state = finished(worker.state)
                return None
            if not worker.state.terminating:
                worker.due = self._clock.monotonic() + ERROR_WAIT
                if worker.pending is not None:
                    worker.active, worker.pending = worker.pending, None
                return None
        worker.started = True
        if worker.pending is not None:
            worker.active, worker.pending = worker.pending, None
        elif due:
            before = worker.active
            worker.active = WorkerUpdate(
                "sync", before.pod, before.mirror, before.orphan, cause="its time to be looked at came"
            )
        else:
            return None
        worker.due = None
        return worker.active

    async def _wait(self, worker: _Worker, seconds: float | None) -> bool:
        """Wait to be woken; True if the time was over first."""
        try:
            async with asyncio.timeout(seconds):
                await worker.wake.wait()
        except TimeoutError:
            return True
        return False

    def _due(self, worker: _Worker) -> bool:
        return worker.due is not None and worker.due <= self._clock.monotonic()

    def _has_anything(self, worker: _Worker) -> bool:
        observed = self._cached(worker.uid)
        return observed is not None and not observed.empty

    def _may_start(self, worker: _Worker) -> bool:
        """Static pods of one full name run one after the other, in the order of their arrival."""
        if not worker.state.static:
            return True
        order = self._static_order.get(worker.state.full_name, [])
        return not order or order[0] == worker.uid

    def _leave_order(self, worker: _Worker) -> None:
        order = self._static_order.get(worker.state.full_name)
        if order is None or worker.uid not in order:
            return
        order.remove(worker.uid)
        if not order:
            del self._static_order[worker.state.full_name]
            return
        successor = self._workers.get(order[0])
        if successor is not None:
            successor.due = self._clock.monotonic()
            successor.wake.set()

    async def _work(self, worker: _Worker, update: WorkerUpdate) -> None:
        """Do the work of the phase once and say when to look again."""
        try:
            outcome = await self._work_of_phase(worker, update)
        except asyncio.CancelledError:
            # What it ordered may still come true: the next look must be newer than this.
            worker.last_work, worker.read_after = self._clock.monotonic(), None
            raise
        except Exception as error:
            text = str(error) or type(error).__name__
            if isinstance(error, CriError | TimeoutError | OSError | TerminationError | VolumeError):
                log.warning("pod %s: %s", worker.ref, text)
            else:
                log.exception("pod %s: unexpected failure", worker.ref)
            self._journal.record("SyncFailed", text, pod=worker.ref, cause=update.cause)
            outcome = SyncOutcome(error=text)
        worker.last_work, worker.read_after = self._clock.monotonic(), outcome.read_after
        if worker.state.phase is WorkerPhase.FINISHED:
            return
        worker.due = worker.last_work + self._until_next(outcome)

    def _until_next(self, outcome: SyncOutcome) -> float:
        jitter = 1 + self._rng.random() * JITTER
        if outcome.next_in is not None:
            return max(0.0, min(outcome.next_in, self._resync * jitter))
        if outcome.error:
            return (NETWORK_WAIT if outcome.network else ERROR_WAIT) * jitter
        return self._resync * jitter

    async def _work_of_phase(self, worker: _Worker, update: WorkerUpdate) -> SyncOutcome:
        phase = worker.state.phase
        if phase is WorkerPhase.SYNCING:
            observed = await self._look(worker)
            outcome = await self._sync.sync(update, observed)
            if not outcome.terminal:
                return outcome
            worker.state = ended_by_itself(worker.state, update, outcome.cause)
            self._journal.record(
                "PodTerminating",
                "the pod begins to end",
                pod=worker.ref,
                cause=outcome.cause,
            )
            return SyncOutcome(next_in=0)
        if phase is WorkerPhase.TERMINATING:
            observed = await self._look(worker)
            if worker.grace is None:
                worker.grace = GraceHolder(self._clock, worker.state.grace)
            await self._sync.terminate(update, worker.state, observed, worker.grace)
            worker.state = containers_ended(worker.state)
            for event in worker.ended:
                event.set()
            worker.ended.clear()
            if worker.state.runtime_only:
                worker.state = finished(worker.state)
            return SyncOutcome(next_in=0)
        await self._sync.finish(update, worker.state)
        worker.state = finished(worker.state)
        return SyncOutcome()

    async def _look(self, worker: _Worker) -> ObservedPod:
        """A reading of the pod that is newer than this worker's last orders."""
        newer_than, read_after = worker.last_work, worker.read_after
        if read_after is not None and self._clock.monotonic() - read_after < FRESH:
            # What was started is often what causes this look; it was seen then.
            newer_than = read_after
        try:
            async with asyncio.timeout(READ_WAIT):
                return await self._read(worker.uid, newer_than)
        except (CriError, TimeoutError) as error:
            self._events.pod_event(
                worker.ref, "Warning", "FailedSync", f"error determining status: {str(error) or 'timed out'}"
            )
            raise
