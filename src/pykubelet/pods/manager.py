"""The corridor: takes what the sources want and what the runtime shows, and moves the workers.

Nothing here waits for a pod. Updates are taken one after the other, each handed to the
worker of its pod.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pykubelet.api.core import Pod, PodStatus
from pykubelet.api.podinfo import is_mirror, pod_ref
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Events, Journal
from pykubelet.base.tasks import TaskOwner
from pykubelet.observe.changes import ChangeKind, PodChange

from .admission import AdmissionChain
from .doors import StatusChange, StatusSink
from .grace import kill_timeout
from .lifecycle import KillRequest, WorkerUpdate, final_phase
from .rejection import rejected_status
from .resize.allocation import POD_TERMINATED, PODS_ADDED, PODS_REMOVED, Allocation
from .sources import Op, PodConfig, PodUpdate
from .store import PodStore
from .worker import PodWorkers

log = logging.getLogger(__name__)

#: Seconds that the loop rests while the runtime cannot be worked with: first, and at most.
UNHEALTHY_WAIT = (0.1, 5.0)


@dataclass(frozen=True, slots=True)
class ManagerDoors:
    """What the manager needs from others."""

    statuses: StatusSink
    admission: AdmissionChain
    allocation: Allocation
    sources_ready: Callable[[], bool]
    #: Why the runtime cannot be worked with now; empty when it can.
    runtime_errors: Callable[[], Sequence[str]]
    #: The set of desired pods changed (volumes follow it).
    on_desired: Callable[[Pod], None]
    #: Something happened that housekeeping should look at.
    on_untidy: Callable[[], None]
    #: A container of that pod died: trim its dead instances.
    on_died: Callable[[str], None]
    #: That mirror pod was brought, changed or taken away.
    on_mirror: Callable[[Pod], None] = lambda mirror: None
    #: The source shows another status of that pod (UID) than before.
    on_shown: Callable[[str], None] = lambda uid: None
    #: Returns when the node's labels are known as the API server has them now, or as well as they can
    #: be; None: nobody knows more of them than the node itself.
    look_at_labels: Callable[[], Awaitable[None]] | None = None


class PodManager:
    """Hands updates, changes and probe results to the workers; admits new pods; kills on request."""

    def __init__(
        self,
        clock: Clock,
        journal: Journal,
        events: Events,
        store: PodStore,
        workers: PodWorkers,
        doors: ManagerDoors,
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._events = events
        self._store = store
        self._workers = workers
        self._doors = doors
        self._tasks = TaskOwner("pods")
        self._undecided: set[str] = set()
        self._last_tick = clock.monotonic()

    def start(self, config: PodConfig) -> None:
        """Begin to take the changes of *config*."""
        self._tasks.forever("loop", lambda: self._loop(config), pause=self._clock.sleep)

    async def stop(self) -> None:
        """Take no more updates."""
        await self._tasks.close()

    @property
    def last_tick(self) -> float:
        """Monotonic seconds at which the loop was last seen alive (the ``syncloop`` health check)."""
        return self._last_tick

    # --- the loop -------------------------------------------------------------

    async def _loop(self, config: PodConfig) -> None:
        wait = UNHEALTHY_WAIT[0]
        while True:
            self._last_tick = self._clock.monotonic()
            errors = self._doors.runtime_errors()
            if errors:
                log.info("skipping pod synchronization: %s", ", ".join(errors))
                await self._clock.sleep(wait)
                wait = min(wait * 2, UNHEALTHY_WAIT[1])
                continue
            wait = UNHEALTHY_WAIT[0]
            try:
                async with asyncio.timeout(10):
                    update = await config.next_update()
            except TimeoutError:
                continue
            ready = self._doors.sources_ready()
            try:
                self._take(update)
            finally:
                config.processed(update)
            if not ready and self._doors.sources_ready():
                # Resizes that the daemon before this one left had to wait for the last source.
                self._doors.allocation.retry(PODS_ADDED)

    def _take(self, update: PodUpdate) -> None:
        handler = {
            Op.ADD: self._add,
            Op.UPDATE: self._change,
            Op.DELETE: self._change,
            Op.REMOVE: self._remove,
            Op.RECONCILE: self._reconcile,
        }[update.op]
        for pod in sorted(update.pods, key=_created):
            try:
                handler(pod, update.source)
            except Exception:
                # One pod that cannot be handled must not stop the others.
                log.exception("handling %s of pod %s failed", update.op.name, pod_ref(pod))
        if update.op is Op.ADD:
            # Only now: a resize must not take what a pod of the same update has.
            self._doors.allocation.added(pod for pod in update.pods if self._admitted(pod))
        elif update.op is Op.REMOVE:
            self._doors.allocation.retry(PODS_REMOVED)
        if update.op is not Op.RECONCILE:
            # A status that comes back changes nothing about who is wanted.
            self._doors.on_untidy()

    def _add(self, pod: Pod, source: str) -> None:
        self._store.set(pod)
        if is_mirror(pod):
            self._mirror_changed(pod)
            return
        self._doors.on_desired(pod)
        self._journal.record("PodAdded", f"source {source} wants the pod", pod=pod_ref(pod), source=source)
        self._begin(pod, source)

    def _begin(self, pod: Pod, source: str, *, labels_sure: bool = False) -> None:
        """Judge the pod and hand it to its worker."""
        self._forget_refusal(pod)
        state = self._workers.state(pod.metadata.uid)
        ending = state is not None and state.terminating
        if not ending and not final_phase(pod) and not self._admit(pod, source, labels_sure=labels_sure):
            return
        self._workers.update(
            WorkerUpdate("create", pod, self._store.mirror_of(pod), cause=f"added by source {source}")
        )

    def _admitted(self, pod: Pod) -> bool:
        return not is_mirror(pod) and self._workers.state(pod.metadata.uid) is not None

    def _change(self, pod: Pod, source: str) -> None:
        before = self._store.get(pod.metadata.uid)
        self._store.set(pod)
        if is_mirror(pod):
            self._mirror_changed(pod)
            return
        self._doors.on_desired(pod)
        deleted = pod.metadata.deletionTimestamp is not None
        text = "deleted" if deleted else "changed"
        self._journal.record("PodChanged", f"source {source} {text} the pod", pod=pod_ref(pod), source=source)
        if self._workers.state(pod.metadata.uid) is None and not deleted:
            # It was refused as it was; as it is now it may be taken.
            self._begin(pod, source)
            return
        self._doors.allocation.changed(before, pod)
        self._workers.update(
            WorkerUpdate("update", pod, self._store.mirror_of(pod), cause=f"{text} by source {source}")
        )

    def _remove(self, pod: Pod, source: str) -> None:
        self._store.remove(pod)
        if is_mirror(pod):
            self._mirror_changed(pod)
            return
        self._doors.on_desired(pod)
        self._journal.record(
            "PodRemoved", f"source {source} no longer has it", pod=pod_ref(pod), source=source
        )
        if not self._doors.sources_ready():
            # Another source may still bring it; housekeeping ends it when all were seen.
            return
        self._doors.allocation.removed(pod.metadata.uid)
        if self._workers.state(pod.metadata.uid) is not None:
            self._workers.update(
                WorkerUpdate("kill", pod, self._store.mirror_of(pod), cause=f"removed from source {source}")
            )

    def _reconcile(self, pod: Pod, source: str) -> None:
        self._store.set(pod)
        if is_mirror(pod):
            self._doors.on_mirror(pod)
            return
        self._doors.on_shown(pod.metadata.uid)
        if pod.spec.readinessGates:
            self.sync(pod.metadata.uid, "the status of its readiness gates changed")
        if pod.status.phase == "Failed" and pod.status.reason == "Evicted":
            self._doors.on_died(pod.metadata.uid)

    def _mirror_changed(self, mirror: Pod) -> None:
        self._doors.on_mirror(mirror)
        static = self._store.static_of(mirror)
        if static is not None and self._workers.state(static.metadata.uid) is not None:
            self._workers.update(
                WorkerUpdate("update", static, self._store.mirror_of(static), cause="its mirror pod changed")
            )

    # --- admission ------------------------------------------------------------

    def active_pods(self) -> list[Pod]:
        """Admitted pods that have not ended, as allocated: those whose resources are in use."""
        return [self._doors.allocation.allocated(pod) for pod in self._store.pods() if self._active(pod)]

    def _active(self, pod: Pod) -> bool:
        state = self._workers.state(pod.metadata.uid)
        if state is not None:
            return state.containers_may_run
        return not final_phase(pod) and not self.rejected(pod.metadata.uid)

    def rejected(self, uid: str) -> bool:
        """Whether the pod was refused, or ended for good, and so is not to be started."""
        status = self._doors.statuses.get(uid)
        return status is not None and status.phase in {"Failed", "Succeeded"}

    def _forget_refusal(self, pod: Pod) -> None:
        """A pod that was refused before it ever ran is judged anew when its source brings it again."""
        uid = pod.metadata.uid
        status = self._doors.statuses.get(uid)
        ran = status is not None and any(s.containerID for s in status.containerStatuses)
        if self.rejected(uid) and not ran and self._workers.state(uid) is None:
            self._doors.statuses.remove(uid)

    def _admit(self, pod: Pod, source: str, *, labels_sure: bool) -> bool:
        labels_sure = labels_sure or self._doors.look_at_labels is None
        # What was allocated before this daemon began is what runs, whatever the pod asks for now.
        pod = self._doors.allocation.allocated(pod)
        others = [other for other in self.active_pods() if other.metadata.uid != pod.metadata.uid]
        rejection = self._doors.admission.admit(pod, others, labels_sure=labels_sure)
        if rejection is None:
            self._doors.allocation.admitted(pod)
            return True
        if rejection.by_labels and not labels_sure:
            self._decide_later(pod.metadata.uid, source)
            return False
        self._events.pod_event(pod_ref(pod), "Warning", rejection.reason, rejection.message)
        old = self._doors.statuses.get(pod.metadata.uid) or pod.status
        status = rejected_status(pod, old, rejection.reason, rejection.message, self._clock.now())
        self._doors.statuses.set(pod, status)
        return False

    def undecided(self, uid: str) -> bool:
        """Whether the pod is neither admitted nor refused yet: labels of the node are looked at for it."""
        return uid in self._undecided

    def _decide_later(self, uid: str, source: str) -> None:
        if uid not in self._undecided:
            self._undecided.add(uid)
            self._tasks.spawn(f"decide {uid}", self._decide(uid, source))

    async def _decide(self, uid: str, source: str) -> None:
        """Judge a pod by labels that are certain; as its source has it by then.

        Who is cancelled here leaves it undecided: nobody may start it unjudged.
        """
        try:
            if self._doors.look_at_labels is not None:
                await self._doors.look_at_labels()
        except Exception:
            log.exception("the node's labels cannot be looked at: a pod is judged by what is known of them")
        self._undecided.discard(uid)
        pod = self._store.get(uid)
        if pod is None or self._workers.state(uid) is not None:
            return
        self._begin(pod, source, labels_sure=True)
        if self._admitted(pod):
            self._doors.allocation.added([pod])
        self._doors.on_untidy()

    # --- what happens to pods -------------------------------------------------

    def sync(self, uid: str, cause: str) -> None:
        """Let the pod's worker look now."""
        pod = self._store.get(uid)
        if pod is not None and self._workers.state(uid) is not None:
            self._workers.update(WorkerUpdate("sync", pod, self._store.mirror_of(pod), cause=cause))

    def on_change(self, change: PodChange) -> None:
        """The observed pod changed."""
        if change.kind is ChangeKind.DIED:
            self._doors.on_died(change.uid)
        if change.kind in {ChangeKind.REMOVED, ChangeKind.CHANGED}:
            if self._workers.state(change.uid) is None:
                self._doors.on_untidy()
            return
        if self._workers.state(change.uid) is None:
            self._doors.on_untidy()
            return
        name = change.name or "the sandbox"
        self.sync(change.uid, f"{name} ({change.id[:12]}): {change.kind.value}, seen by {change.source}")

    def worker_finished(self, uid: str) -> None:
        """A worker ended: the pod is forgotten, or begins anew if it was created again meanwhile."""
        state = self._workers.state(uid)
        again = state is not None and state.restart_requested
        pod = self._store.get(uid)
        if pod is None or again:
            self._workers.forget(uid)
            self._doors.allocation.removed(uid)
        if pod is None:
            self._doors.statuses.remove(uid)
        elif again:
            self._doors.statuses.remove(uid)
            self._add(pod, pod.metadata.annotations.get("kubernetes.io/config.source", "api"))
        self._doors.allocation.retry(POD_TERMINATED)
        self._doors.on_untidy()

    async def kill(
        self, uid: str, reason: str, change: StatusChange, grace: int | None, *, evict: bool = False
    ) -> None:
        """See ``PodKiller``."""
        pod = self._store.get(uid)
        if pod is None:
            return
        self._workers.update(
            WorkerUpdate(
                "kill", pod, self._store.mirror_of(pod),
                kill=KillRequest(evict=evict, change=change, grace=grace, reason=reason), cause=reason,
            )
        )  # fmt: skip
        try:
            async with asyncio.timeout(kill_timeout(pod, grace)):
                await self._workers.ending(uid).wait()
        except TimeoutError:
            self._events.pod_event(
                pod_ref(pod),
                "Warning",
                "ExceededGracePeriod",
                "Container runtime did not kill the pod within specified grace period.",
            )
            raise

    def statuses(self) -> Iterable[tuple[Pod, PodStatus]]:
        """Every desired pod, and every pod that is still being ended, with its last status."""
        pods = {pod.metadata.uid: pod for pod in (*self._workers.pods(), *self._store.pods())}
        for uid, pod in pods.items():
            yield pod, self._doors.statuses.get(uid) or pod.status


def _created(pod: Pod) -> datetime:
    return pod.metadata.creationTimestamp or datetime.min.replace(tzinfo=UTC)
