"""Cleaning up what no pod owns any more, and starting what was lost sight of.

It runs soon after something asked for it, and every half minute as a safety net.
"""

import asyncio
import logging
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from pykubelet.api.podinfo import pod_ref
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Journal, PodRef
from pykubelet.base.tasks import TaskOwner
from pykubelet.observe.observer import Observer

from .doors import PodCgroups, Probes, StatusSink
from .lifecycle import ORPHAN_GRACE, KillRequest, WorkerUpdate, final_phase
from .manager import PodManager
from .store import PodStore
from .worker import PodWorkers

log = logging.getLogger(__name__)

#: Seconds between passes: after a request, and at the longest.
SOON, PERIOD = 0.2, 30.0


@dataclass(frozen=True, slots=True)
class HousekeepingDoors:
    """What housekeeping needs from others."""

    statuses: StatusSink
    probes: Probes
    cgroups: PodCgroups
    sources_ready: Callable[[], bool]
    #: Whether the pod's volumes are all gone (its cgroup may go too).
    volumes_gone: Callable[[str], bool]
    #: Nobody knows that pod any more: its directories may be looked at.
    on_gone: Callable[[str], None]
    #: The runtime still has something dead of pods that nobody knows any more.
    on_leftovers: Callable[[], None]
    #: A source has that pod (UID), though perhaps in a form that cannot be read: it is no orphan.
    held: Callable[[str], bool] = lambda uid: False
    #: These pods (UIDs) are known; what is kept of others may be forgotten.
    on_known: Callable[[AbstractSet[str]], None] = lambda uids: None


class Housekeeping:
    """One pass after the other, never two at once."""

    def __init__(
        self,
        clock: Clock,
        journal: Journal,
        store: PodStore,
        workers: PodWorkers,
        manager: PodManager,
        observer: Observer,
        doors: HousekeepingDoors,
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._store = store
        self._workers = workers
        self._manager = manager
        self._observer = observer
        self._doors = doors
        self._tasks = TaskOwner("housekeeping")
        self._wanted = asyncio.Event()
        self._passed = asyncio.Event()

    @property
    def passed(self) -> bool:
        """Whether one whole pass was made; before, unknown pods are not taken for orphans by others."""
        return self._passed.is_set()

    async def first_pass(self, seconds: float) -> None:
        """Wait for the first whole pass, at most *seconds*."""
        try:
            async with asyncio.timeout(seconds):
                await self._passed.wait()
        except TimeoutError:
            log.info("nothing was tidied within %.0f s", seconds)

    def start(self) -> None:
        """Begin to tidy."""
        self._tasks.forever("loop", self._loop, pause=self._clock.sleep)

    async def stop(self) -> None:
        """End after the pass at hand is cut."""
        await self._tasks.close()

    def request(self) -> None:
        """Tidy soon."""
        self._wanted.set()

    async def _loop(self) -> None:
        while True:
            try:
                async with asyncio.timeout(PERIOD):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            await self._clock.sleep(SOON)
            self._wanted.clear()
            if not self._doors.sources_ready() or not self._observer.relisted:
                # Before every source was seen nobody can say what an orphan is.
                await self._clock.sleep(1)
                self._wanted.set()
                continue
            await self.tidy()
            self._passed.set()

    async def tidy(self) -> None:
        """One pass."""
        self._end_unwanted()
        self._kill_orphans()
        self._doors.probes.keep_only(
            {uid for uid, state in self._workers.states().items() if state.containers_may_run}
        )
        self._start_missing()
        held = filter(self._doors.held, self._observer.uids())
        known = {*self._workers.states(), *(pod.metadata.uid for pod in self._store.pods()), *held}
        self._doors.statuses.keep_only(known)
        self._doors.on_known(known)
        await self._clean_cgroups()
        for uid in self._observer.cached_uids():
            if self._known_to_nobody(uid):
                self._observer.forget(uid)
                self._doors.on_gone(uid)
        if any(self._known_to_nobody(uid) for uid in self._observer.uids()):
            self._doors.on_leftovers()

    def _known_to_nobody(self, uid: str) -> bool:
        nobody = self._store.get(uid) is None and self._workers.state(uid) is None
        return nobody and not self._doors.held(uid)

    def _end_unwanted(self) -> None:
        """End the workers of pods that no source has; purge those that have finished."""
        for uid, state in self._workers.states().items():
            wanted = self._store.get(uid) is not None
            if wanted and not state.restart_requested:
                continue
            if self._workers.forget(uid):
                if not wanted:
                    self._doors.statuses.remove(uid)
                continue
            if not wanted and not state.terminating:
                self._workers.end(uid, "no source has it any more")

    def _kill_orphans(self) -> None:
        """End what runs in the runtime without anybody knowing it."""
        for uid in self._observer.uids():
            observed = self._observer.cached(uid)
            if observed is not None and self._known_to_nobody(uid) and observed.alive:
                ref = PodRef(observed.namespace, observed.name, uid)
                self._journal.record(
                    "OrphanKilled", "the runtime runs it, but no source knows it", pod=ref, grace=ORPHAN_GRACE
                )
                self._workers.update(
                    WorkerUpdate("kill", orphan=observed, kill=KillRequest(grace=ORPHAN_GRACE))
                )

    def _start_missing(self) -> None:
        """Make workers for desired pods that have none (a UID that was used again), end deleted ones."""
        for pod in self._store.pods():
            uid = pod.metadata.uid
            if self._workers.state(uid) is not None or self._manager.undecided(uid):
                continue
            mirror = self._store.mirror_of(pod)
            if not final_phase(pod) and not self._manager.rejected(uid):
                self._journal.record("PodRestarted", "it is wanted, but had no worker", pod=pod_ref(pod))
                self._workers.update(WorkerUpdate("create", pod, mirror, cause="it had no worker"))
            elif pod.metadata.deletionTimestamp is not None and final_phase(pod):
                self._workers.update(WorkerUpdate("kill", pod, mirror, cause="it was deleted after its end"))

    async def _clean_cgroups(self) -> None:
        try:
            in_cgroups = await self._doors.cgroups.list_pods()
        except OSError as error:
            log.warning("the pods' cgroups cannot be listed: %s", error)
            return
        for uid in sorted(in_cgroups):
            state = self._workers.state(uid)
            if state is not None and state.containers_may_run:
                continue
            observed = self._observer.cached(uid)
            if self._observer.unread(uid) or (observed is not None and observed.alive):
                continue
            if not self._doors.volumes_gone(uid):
                continue
            wanted = self._store.get(uid) is not None or self._doors.held(uid)
            if state is None and wanted and not self._manager.rejected(uid):
                continue
            try:
                await self._doors.cgroups.destroy(uid)
            except OSError as error:
                log.warning("the cgroup of pod %s cannot be removed: %s", uid, error)
