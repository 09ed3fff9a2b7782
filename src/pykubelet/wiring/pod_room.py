"""The corridor, joined: admission, one worker a pod, probes, resizes, and the statuses that come of it."""

from collections.abc import Callable, Collection
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial

from pykubelet.api.core import Pod, PodStatus
from pykubelet.api.podinfo import pod_ref
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import Stage, Stages, TaskOwner
from pykubelet.cluster.status_manager import StatusManager
from pykubelet.containers.resource_updates import ResourceUpdates
from pykubelet.pods.admission import AdmissionChain, Rejections
from pykubelet.pods.execute import Executor
from pykubelet.pods.manager import ManagerDoors, PodManager
from pykubelet.pods.reasons import ReasonCache
from pykubelet.pods.statuses import LocalStatuses
from pykubelet.pods.sync import PodSyncer, SyncDoors
from pykubelet.pods.worker import PodWorkers
from pykubelet.probes.handlers import Handlers
from pykubelet.probes.manager import ProbeManager
from pykubelet.probes.types import ProbeKind
from pykubelet.volumes import VolumeManager
from pykubelet.wiring.admission import Preemption, admission_chain
from pykubelet.wiring.container_room import ContainerRoom
from pykubelet.wiring.ground import Ground
from pykubelet.wiring.intake import Intake
from pykubelet.wiring.membership import Membership
from pykubelet.wiring.node_facts import status_facts
from pykubelet.wiring.node_room import NodeRoom
from pykubelet.wiring.resizing import Resizing, ResizingDoors, resize_rules
from pykubelet.wiring.runtime_room import RuntimeRoom
from pykubelet.wiring.settings import crash_loop_of

#: The version that goes into probes' user agent.
PROBE_VERSION = "1.36"
#: Seconds that the sync loop may be silent at least before its health check fails.
LOOP_SILENCE = 300.0


@dataclass(frozen=True, slots=True)
class PodDoors:
    """What is built after the corridor, and asked late: who tidies up behind it."""

    #: Something happened that housekeeping should look at.
    on_untidy: Callable[[], None]
    #: A container of that pod (UID) died.
    on_died: Callable[[str], None]
    #: Whether all pods of the node were seen, so that one without a worker has ended.
    passed: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The rooms that a pod's worker asks."""

    intake: Intake
    runtime: RuntimeRoom
    node: NodeRoom
    volumes: VolumeManager
    containers: ContainerRoom
    cluster: Membership | None


class PodRoom:
    """Everything between the pods that are wanted and the statuses that are told."""

    def __init__(self, ground: Ground, neighbours: Neighbours, doors: PodDoors) -> None:
        """Build it.

        :raises StartError: the configuration of admission cannot be used.
        """
        clock, journal, events = ground.clock, ground.journal, ground.events
        self._ground = ground
        self._neighbours = neighbours
        self._store = neighbours.intake.store
        self._volumes = neighbours.volumes
        self._cluster = neighbours.cluster
        self._tasks = TaskOwner("preemption")
        #: Of /metrics/probes alone.
        self.probe_metrics = Metrics()
        self.reasons = ReasonCache()
        self.crash_loop = crash_loop_of(ground.loaded)
        self._local_statuses = LocalStatuses(
            ground.layout.root / "pod-statuses", None if self._cluster is not None else self._status_changed
        )
        self.statuses = self._keeper(doors)
        self.probes = ProbeManager(
            Handlers(neighbours.runtime.runtime, PROBE_VERSION),
            clock,
            journal,
            events,
            status_of=self._last_status,
            on_verdict=self._verdict,
            rng=ground.rng,
            metrics=self.probe_metrics,
        )
        preemption = Preemption(clock, events, self._tasks, killer=lambda: self.manager)
        self._rejections = Rejections(ground.metrics)
        admission = admission_chain(
            ground.loaded,
            ground.host,
            neighbours.node.info,
            journal,
            preemption.make_room,
            self._rejections,
        )
        self.resizing = self._resizing(admission)
        self._syncer = self._make_syncer()
        self.workers = PodWorkers(
            clock,
            journal,
            events,
            self._syncer,
            read=neighbours.runtime.view.read,
            cached=neighbours.runtime.observer.cached,
            on_finished=self._worker_finished,
            resync=ground.loaded.config.syncFrequency.seconds,
            rng=ground.rng,
        )
        self.manager = self._manager(admission, doors)

    # --- building -------------------------------------------------------------

    def _keeper(self, doors: PodDoors) -> StatusManager | LocalStatuses:
        """Who keeps the statuses: with a cluster the one who reports them."""
        if self._cluster is None:
            return self._local_statuses
        return self._cluster.status_manager(
            self._store, lambda: self.workers, doors.passed, self._local_statuses, self._status_changed
        )

    def _resizing(self, admission: AdmissionChain) -> Resizing:
        node, settings = self._neighbours.node, self._neighbours.containers.settings
        return Resizing(
            self._ground,
            resize_rules(self._ground.loaded, settings),
            self._store,
            ResizingDoors(
                cgroups=node.cgroups,
                updater=ResourceUpdates(self._neighbours.runtime.runtime, settings, node.info),
                active_pods=lambda: self.manager.active_pods(),
                rejection=admission.admit_resized,
                status=self.statuses.get,
                sources_ready=self._neighbours.intake.ready,
                sync=lambda uid, cause: self.manager.sync(uid, cause),
            ),
        )

    def _make_syncer(self) -> PodSyncer:
        ground, node, runtime = self._ground, self._neighbours.node, self._neighbours.runtime
        starter = self._neighbours.containers.starter
        executor = Executor(
            ground.clock,
            ground.journal,
            ground.events,
            starter,
            self.crash_loop,
            self.reasons,
            runtime.view.read,
            self.resizing.resizer,
            node.user_namespaces.started,
        )
        started, enabled = ground.clock.now(), ground.loaded.gates.enabled
        facts = partial(
            status_facts,
            node.info,
            started,
            stop_signals=enabled("ContainerStopSignals"),
            whole_resources=enabled("InPlacePodLevelResourcesVerticalScaling"),
        )
        return PodSyncer(
            ground.clock,
            ground.journal,
            ground.events,
            executor,
            SyncDoors(
                starter=starter,
                volumes=self._volumes,
                cgroups=node.cgroups,
                probes=self.probes,
                statuses=self.statuses,
                reasons=self.reasons,
                allocation=self.resizing.allocation,
                resizer=self.resizing.resizer,
                read=runtime.view.read,
                node_facts=lambda pod: facts(),
                runtime_name=lambda: runtime.view.name,
                network_error=runtime.health.network_error,
                active_pods=lambda: self.manager.active_pods(),
                wanted=lambda uid: self._store.get(uid) is not None,
                on_refused=self._rejections.count,
            ),
        )

    def _manager(self, admission: AdmissionChain, doors: PodDoors) -> PodManager:
        cluster = self._cluster
        return PodManager(
            self._ground.clock,
            self._ground.journal,
            self._ground.events,
            self._store,
            self.workers,
            ManagerDoors(
                statuses=self.statuses,
                admission=admission,
                allocation=self.resizing.allocation,
                sources_ready=self._neighbours.intake.ready,
                runtime_errors=self._neighbours.runtime.view.errors,
                on_desired=self._desired_changed,
                on_untidy=doors.on_untidy,
                on_died=doors.on_died,
                on_mirror=lambda mirror: None if cluster is None else cluster.mirror_changed(mirror),
                on_shown=lambda uid: None if cluster is None else cluster.statuses.recheck(uid),
                look_at_labels=None if cluster is None else cluster.node_watch.look,
            ),
        )

    # --- the order of starts --------------------------------------------------

    def early_stages(self, stages: Stages) -> None:
        """What an earlier life left: statuses, and what is allocated."""
        stages.add(Stage("statuses", start=self._local_statuses.start, stop=self._local_statuses.stop))
        self.resizing.stages(stages)

    def probe_stages(self, stages: Stages) -> None:
        """What is ended after the workers."""
        stages.add(Stage("probes", stop=self.probes.stop))

    def worker_stages(self, stages: Stages) -> None:
        """What drives the pods."""
        stages.add(Stage("pod workers", stop=self.workers.stop))

    def loop_stages(self, stages: Stages) -> None:
        """What takes the pods that are wanted."""

        async def start() -> None:
            self.manager.start(self._neighbours.intake.sources)

        async def stop() -> None:
            await self._tasks.close()
            await self.manager.stop()

        stages.add(Stage("sync loop", start=start, stop=stop))

    # --- what others ask and tell ---------------------------------------------

    def loop_problem(self) -> str:
        """What the health check ``syncloop`` says; empty when all is well."""
        silent = self._ground.clock.monotonic() - self.manager.last_tick
        limit = max(2 * self._ground.loaded.config.syncFrequency.seconds, LOOP_SILENCE)
        return f"sync Loop took longer than expected: {silent:.0f}s" if silent > limit else ""

    def object_changed(self, kind: str, namespace: str, name: str, uids: Collection[str]) -> None:
        """A config map or secret that these pods (UIDs) use was brought, changed or taken away."""
        which = {"config_map" if kind == "configmap" else "secret": name}
        for uid in uids:
            self._volumes.refresh(uid, f"{kind} {namespace}/{name} changed", **which)
            if self.reasons.of(uid):
                # A container that could not be made for want of it is tried again.
                self.manager.sync(uid, f"{kind} {namespace}/{name} changed")

    def keep_only(self, uids: AbstractSet[str]) -> None:
        """Forget what is kept of all other pods."""
        self.resizing.keep_only(uids)
        # What the runtime still has may run.
        node, runtime = self._neighbours.node, self._neighbours.runtime
        node.user_namespaces.keep_only({*uids, *runtime.observer.uids()})

    # --- doors joined ---------------------------------------------------------

    def _status_changed(self, pod: Pod, old: PodStatus | None, status: PodStatus) -> None:
        if old is None or old.phase != status.phase:
            self._ground.journal.record(
                "PhaseChanged",
                f"the pod's phase is {status.phase}",
                pod=pod_ref(pod),
                cause=status.reason,
                before=old.phase if old is not None else "",
            )
        self.probes.status_changed(pod, status)

    def _last_status(self, uid: str) -> PodStatus | None:
        """What was last reported of the pod, if only by the daemon before this one."""
        status = self.statuses.get(uid)
        if status is not None:
            return status
        pod = self._store.get(uid)
        return None if pod is None else pod.status

    def _desired_changed(self, pod: Pod) -> None:
        if self._cluster is not None:
            # First the objects: the volumes ask for them at once.
            self._cluster.desired_changed(pod)
        self._volumes.reconsider(pod.metadata.uid)

    def _worker_finished(self, uid: str) -> None:
        self._neighbours.node.user_namespaces.release(uid)
        if self._cluster is not None:
            self._cluster.pod_finished(uid)
        self.manager.worker_finished(uid)

    def _verdict(self, kind: ProbeKind, uid: str, container: str, verdict: bool | None) -> None:
        if kind == "liveness" and verdict is not False:
            return
        pod = self._store.get(uid)
        if pod is not None and kind != "liveness":
            self._syncer.show_verdicts(pod)
        self.manager.sync(uid, f"the {kind} probe of {container} says {verdict}")
