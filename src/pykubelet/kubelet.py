"""The composition root: builds each room, joins their doors, owns the order of starts and stops.

This is the only file that knows everybody. It decides nothing about pods.
"""

import asyncio
import os
import random
from collections.abc import Collection
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial

from pykubelet.api.core import Pod, PodStatus
from pykubelet.api.podinfo import pod_ref
from pykubelet.api.quantity import Quantity
from pykubelet.base import notify
from pykubelet.base.clock import Clock, SystemClock
from pykubelet.base.journal import Events, FanOut
from pykubelet.base.layout import Layout
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import Stage, Stages, TaskOwner
from pykubelet.cluster.status_manager import StatusManager
from pykubelet.cluster.tls import TlsMaterialError
from pykubelet.config import Loaded
from pykubelet.containers.resource_updates import ResourceUpdates
from pykubelet.containers.termination_message import enrich
from pykubelet.cri.client import CriClient
from pykubelet.cri.containerd_content import ContainerdContent
from pykubelet.cri.dockerd import CriDockerd, Way
from pykubelet.cri.door import Runtime
from pykubelet.cri.types import RuntimeStatus
from pykubelet.explain.journal import DecisionJournal
from pykubelet.node.host import Host
from pykubelet.node.iptables import IptablesChains
from pykubelet.node.pod_cidr import PodCidr
from pykubelet.observe.health import RuntimeHealth
from pykubelet.observe.observer import Observer
from pykubelet.pods.admission import AdmissionChain, Rejections
from pykubelet.pods.execute import Executor
from pykubelet.pods.gated import gated
from pykubelet.pods.housekeeping import Housekeeping, HousekeepingDoors
from pykubelet.pods.manager import ManagerDoors, PodManager
from pykubelet.pods.reasons import ReasonCache
from pykubelet.pods.sources import PodConfig
from pykubelet.pods.statuses import LocalStatuses
from pykubelet.pods.store import PodStore
from pykubelet.pods.sync import PodSyncer, SyncDoors
from pykubelet.pods.trimmer import Trimmer
from pykubelet.pods.worker import PodWorkers
from pykubelet.probes.handlers import Handlers
from pykubelet.probes.manager import ProbeManager
from pykubelet.probes.types import ProbeKind
from pykubelet.resources.allocatable import ReservationError, check_reservation
from pykubelet.resources.pod_cgroups import NodeAmounts, PodCgroupManager
from pykubelet.resources.user_namespaces import UserNamespaceError, UserNamespaceManager
from pykubelet.wiring.admission import Preemption, admission_chain
from pykubelet.wiring.connection import Connection
from pykubelet.wiring.container_room import ContainerRoom
from pykubelet.wiring.membership import Membership
from pykubelet.wiring.node_api import LocalNodeApi
from pykubelet.wiring.node_facts import status_facts
from pykubelet.wiring.removal import Removal
from pykubelet.wiring.resizing import Resizing, ResizingDoors, resize_rules
from pykubelet.wiring.runtime_view import RuntimeView
from pykubelet.wiring.servers import admin_server, kubelet_server
from pykubelet.wiring.settings import (
    capacity_on,
    container_settings,
    crash_loop_of,
    ids_per_pod,
    node_info,
    reservations_of,
    tree_config,
)
from pykubelet.wiring.startup import StartError, called, listening, prepare_host, tell_start
from pykubelet.wiring.static_sources import StaticSources
from pykubelet.wiring.volume_room import VolumeDoors, VolumeRoom

#: The version that goes into probes' user agent.
PROBE_VERSION = "1.36"
#: Seconds that the sync loop may be silent at least before its health check fails.
LOOP_SILENCE = 300.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What a node can be given instead of the real thing; the way to its cluster if it has one."""

    runtime: Runtime | None = None
    clock: Clock | None = None
    rng: random.Random | None = None
    journal: DecisionJournal | None = None
    metrics: Metrics | None = None
    #: Without it the node stands alone.
    connection: Connection | None = None
    #: A cri-dockerd that is to be started and ended with the node.
    docker: Way | None = None


class Kubelet:
    """One node agent, standing alone or belonging to a cluster."""

    def __init__(self, loaded: Loaded, host: Host, layout: Layout, parts: Parts | None = None) -> None:
        """Build everything; nothing is started.

        :raises StartError: the configuration does not fit this machine.
        """
        parts = parts or Parts()
        self.config = loaded.config
        self.host = host
        self.layout = layout
        self.metrics = parts.metrics or Metrics()
        #: Of /metrics/probes alone.
        self.probe_metrics = Metrics()
        self.clock = parts.clock or SystemClock()
        self._rng = parts.rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._loaded = loaded
        self._container_settings = container_settings(loaded, host)
        self._tasks = TaskOwner("kubelet")
        self._stop: asyncio.Event | None = None
        self._fatal = ""
        self.journal = parts.journal or DecisionJournal(self.clock, layout.journal_file)
        config = self.config
        images = config.imageServiceEndpoint or config.containerRuntimeEndpoint
        self.content = None if parts.runtime is not None else ContainerdContent(images)
        self._docker = CriDockerd(parts.docker, self.journal) if parts.docker is not None else None
        self.runtime: Runtime = parts.runtime or CriClient(
            self.config.containerRuntimeEndpoint,
            images,
            request_timeout=self.config.runtimeRequestTimeout.seconds,
            clock=self.clock,
            metrics=self.metrics,
        )
        self.events: Events = self.journal
        self.cluster: Membership | None = None
        if parts.connection is not None:
            self.cluster = Membership(
                parts.connection,
                loaded,
                host,
                self.clock,
                self._rng,
                self.journal,
                self.metrics,
                self.runtime,
                on_object=self._object_changed,
                on_serving=lambda: self.server.certificate_changed(),
                on_attached=lambda: self.volumes.attachments_changed(),
                on_csi_driver=lambda name: self.volume_room.csi_driver_changed(name),
            )
            self.events = FanOut(self.journal, self.cluster.poster)
        self._build_node()
        self._build_sources()
        self._build_volumes()
        self._build_workers()
        self._build_housekeeping()
        if self.cluster is not None:
            self.cluster.join(
                self.node,
                self.sources,
                self.events,
                self.runtime_view,
                self.pod_cidr,
                on_pod_gone=lambda: self.housekeeping.request(),
            )
        self._build_servers()
        self.stages = Stages(on_start=self._told_start)
        self.dependent = Stages(on_start=self._told_start)
        self._order()

    # --- building -------------------------------------------------------------

    def _build_node(self) -> None:
        config, host = self.config, self.host
        capacity, reservations = capacity_on(host, config), reservations_of(self._loaded)
        try:
            check_reservation(capacity, reservations)
        except ReservationError as error:
            raise StartError(str(error)) from error
        self.health = RuntimeHealth(
            self.runtime, self.clock, on_first_good=self._runtime_good, on_recovered=self._runtime_recovered
        )
        self.observer = Observer(
            self.runtime,
            self.clock,
            on_change=lambda change: self.manager.on_change(change),
            enrich=enrich,
            count_missed=self._count_missed,
        )
        self.runtime_view = RuntimeView(self.runtime, self.health, self.observer, self.journal)
        self.node = node_info(self._loaded, host, capacity, reservations, lambda: self.health.status)
        self.pod_cidr = PodCidr(self.runtime, self.clock, self.journal)
        if self.cluster is None and config.podCIDR:
            self.pod_cidr.want([config.podCIDR])
        self.chains = IptablesChains(self.clock, self.journal)
        self.cgroups = PodCgroupManager(
            host.cgroups,
            tree_config(config),
            NodeAmounts(capacity, reservations, host.machine.max_pids),
            journal=self.journal,
            events=self.events,
            clock=self.clock,
            page_sizes=host.page_sizes,
        )

    def _build_sources(self) -> None:
        clock, journal, events = self.clock, self.journal, self.events
        cluster = self.cluster
        self.store = PodStore()
        self.sources = PodConfig(clock, journal, events, adapt=gated(self._loaded.gates.enabled))
        self.static_sources = StaticSources(
            self._loaded,
            self.layout,
            self.node.name,
            self.sources,
            clock,
            journal,
            events,
            self.runtime_view.running_pods,
        )
        self.local_statuses = LocalStatuses(
            self.layout.root / "pod-statuses", None if cluster is not None else self._status_changed
        )
        self.statuses: StatusManager | LocalStatuses = self.local_statuses
        if cluster is not None:
            self.statuses = cluster.status_manager(
                self.store,
                lambda: self.workers,
                lambda: self.housekeeping.passed,
                self.local_statuses,
                self._status_changed,
            )
        self.removal = Removal(
            self.store,
            self.observer,
            workers=lambda: self.workers,
            rejected=lambda uid: self.manager.rejected(uid),
            passed=lambda: self.housekeeping.passed,
            held=self._held,
        )

    def _build_volumes(self) -> None:
        """Volumes, and the containers that mount them."""
        clock, journal, events = self.clock, self.journal, self.events
        cluster = self.cluster
        self.volume_room = VolumeRoom(
            self._loaded,
            self.layout,
            clock,
            journal,
            events,
            self.metrics,
            self._rng,
            self.node,
            cluster,
            VolumeDoors(
                desired_pods=lambda: self.resizing.allocation.all_allocated(self.store.pods()),
                may_remove=self.removal.volumes_removable,
                sources_ready=self.sources.all_sources_ready,
                node_allocatable_memory=lambda: self.node.allocatable.get("memory", Quantity.zero()).value(),
                ending=self.removal.ending,
            ),
        )
        self.volumes = self.volume_room.manager
        self.user_namespaces = UserNamespaceManager(
            self.layout,
            journal,
            ids_per_pod=ids_per_pod(self.config),
            max_pods=self.config.maxPods,
            rng=self._rng,
            metrics=self.metrics,
        )
        self.containers = ContainerRoom(
            self._loaded,
            self.layout,
            clock,
            journal,
            events,
            self.metrics,
            self.runtime,
            self._container_settings,
            self.volumes,
            self.node,
            self.cgroups.parent,
            self.user_namespaces,
            cluster,
        )

    def _build_workers(self) -> None:
        clock, journal, events = self.clock, self.journal, self.events
        cluster = self.cluster
        self.probes = ProbeManager(
            Handlers(self.runtime, PROBE_VERSION),
            clock,
            journal,
            events,
            status_of=self._last_status,
            on_verdict=self._verdict,
            rng=self._rng,
            metrics=self.probe_metrics,
        )
        preemption = Preemption(clock, events, self._tasks, killer=lambda: self.manager)
        self.rejections = Rejections(self.metrics)
        admission = admission_chain(
            self._loaded, self.host, self.node, journal, preemption.make_room, self.rejections
        )
        self.resizing = self._make_resizing(admission)
        self.reasons = ReasonCache()
        self.crash_loop = crash_loop_of(self._loaded)
        self.syncer = self._syncer()
        self.workers = PodWorkers(
            clock,
            journal,
            events,
            self.syncer,
            read=self.runtime_view.read,
            cached=self.observer.cached,
            on_finished=self._worker_finished,
            resync=self.config.syncFrequency.seconds,
            rng=self._rng,
        )
        self.manager = PodManager(
            clock,
            journal,
            events,
            self.store,
            self.workers,
            ManagerDoors(
                statuses=self.statuses,
                admission=admission,
                allocation=self.resizing.allocation,
                sources_ready=self.sources.all_sources_ready,
                runtime_errors=self.runtime_view.errors,
                on_desired=self._desired_changed,
                on_untidy=lambda: self.housekeeping.request(),
                on_died=lambda uid: self.trimmer.request(uid),
                on_mirror=lambda mirror: None if cluster is None else cluster.mirror_changed(mirror),
                on_shown=lambda uid: None if cluster is None else cluster.statuses.recheck(uid),
                look_at_labels=None if cluster is None else cluster.node_watch.look,
            ),
        )

    def _make_resizing(self, admission: AdmissionChain) -> Resizing:
        settings = self._container_settings
        return Resizing(
            resize_rules(self._loaded, settings),
            self.layout,
            self.clock,
            self.journal,
            self.events,
            self.metrics,
            self.store,
            ResizingDoors(
                cgroups=self.cgroups,
                updater=ResourceUpdates(self.runtime, settings, self.node),
                active_pods=lambda: self.manager.active_pods(),
                rejection=admission.admit_resized,
                status=self.statuses.get,
                sources_ready=self.sources.all_sources_ready,
                sync=lambda uid, cause: self.manager.sync(uid, cause),
            ),
        )

    def _syncer(self) -> PodSyncer:
        executor = Executor(
            self.clock,
            self.journal,
            self.events,
            self.containers.starter,
            self.crash_loop,
            self.reasons,
            self.runtime_view.read,
            self.resizing.resizer,
            self.user_namespaces.started,
        )
        started, enabled = self.clock.now(), self._loaded.gates.enabled
        facts = partial(
            status_facts,
            self.node,
            started,
            stop_signals=enabled("ContainerStopSignals"),
            whole_resources=enabled("InPlacePodLevelResourcesVerticalScaling"),
        )
        return PodSyncer(
            self.clock,
            self.journal,
            self.events,
            executor,
            SyncDoors(
                starter=self.containers.starter,
                volumes=self.volumes,
                cgroups=self.cgroups,
                probes=self.probes,
                statuses=self.statuses,
                reasons=self.reasons,
                allocation=self.resizing.allocation,
                resizer=self.resizing.resizer,
                read=self.runtime_view.read,
                node_facts=lambda pod: facts(),
                runtime_name=lambda: self.runtime_view.name,
                network_error=self.health.network_error,
                active_pods=lambda: self.manager.active_pods(),
                wanted=lambda uid: self.store.get(uid) is not None,
                on_refused=self.rejections.count,
            ),
        )

    def _build_housekeeping(self) -> None:
        self.trimmer = Trimmer(
            self.containers.starter,
            self.journal,
            cached=self.observer.cached,
            content_removable=self.removal.content_removable,
            keep=self._loaded.flags.maximumDeadContainersPerContainer,
        )
        self.housekeeping = Housekeeping(
            self.clock,
            self.journal,
            self.store,
            self.workers,
            self.manager,
            self.observer,
            HousekeepingDoors(
                statuses=self.statuses,
                probes=self.probes,
                cgroups=self.cgroups,
                sources_ready=self.sources.all_sources_ready,
                volumes_gone=lambda uid: not self.volumes.mounted(uid),
                on_gone=self.volumes.reconsider,
                on_leftovers=lambda: self.containers.collection.request(),
                held=self._held,
                on_known=self._known_pods,
            ),
        )
        self.containers.collect(
            self.removal,
            self.runtime_view,
            self.crash_loop,
            first_pass=self.housekeeping.first_pass,
            sources_ready=self.sources.all_sources_ready,
        )

    def _build_servers(self) -> None:
        self.api = LocalNodeApi(
            node_name=self.node.name,
            config=self.config,
            layout=self.layout,
            clock=self.clock,
            store=self.store,
            statuses=self.statuses,
            workers=self.workers,
            observer=self.observer,
            runtime=self.runtime,
            volumes=self.volumes,
            journal=self.journal,
            metrics=self.metrics,
            probe_metrics=self.probe_metrics,
            process_started=self.host.process_started,
            loop_problem=self.loop_problem,
            allocated=self.resizing.allocation.allocated,
            images=self.containers.starter.images,
            content=self.content,
        )
        pushed = self.static_sources.pushed
        self.server = kubelet_server(
            self._loaded, self.node, self.api, self.clock, self.metrics, self.cluster, pushed
        )
        self.admin = admin_server(self._loaded, self.layout, self.api, self.clock, pushed)

    # --- the order of starts --------------------------------------------------

    def _order(self) -> None:
        """What is started before the runtime was seen, and what only after its first good status."""
        early, late = self.stages, self.dependent
        prepare = partial(prepare_host, self.layout, self.config.oomScoreAdj)
        early.add(Stage("data directories", start=prepare))
        early.add(Stage("journal", start=self.journal.start, stop=self.journal.stop))
        early.add(Stage("statuses", start=self.local_statuses.start, stop=self.local_statuses.stop))
        self.resizing.stages(early)
        early.add(Stage("user namespaces", start=self._start_user_namespaces, stop=self.user_namespaces.stop))
        early.add(Stage("pushed manifests", start=self.static_sources.load, stop=self.static_sources.close))
        if self._docker is not None:
            early.add(Stage("cri-dockerd", start=self._docker.start, stop=self._docker.stop))
        if self.cluster is not None:
            self.cluster.early_stages(early)
        self.containers.early_stages(early)
        self.volume_room.stages(early)
        early.add(Stage("runtime client", clean_up=self.runtime.close))
        if self.content is not None:
            early.add(Stage("content store", clean_up=self.content.close))
        early.add(Stage("dependent modules", stop=self.dependent.stop))
        early.add(Stage("probes", stop=self.probes.stop))
        early.add(Stage("server", start=listening(self.server.start), stop=self.server.stop))
        early.add(Stage("admin socket", start=listening(self.admin.start), stop=self.admin.stop))
        early.add(Stage("runtime health", start=self.health.start, stop=self.health.stop))
        early.add(Stage("observer", start=self.observer.start, stop=self.observer.stop))
        early.add(Stage("pod workers", stop=self.workers.stop))
        early.add(Stage("trimmer", start=called(self.trimmer.start), stop=self.trimmer.stop))
        early.add(Stage("housekeeping", start=called(self.housekeeping.start), stop=self.housekeeping.stop))
        early.add(Stage("sync loop", start=self._start_loop, stop=self.manager.stop))
        if self.cluster is not None:
            self.cluster.late_stages(early)
            self.cluster.dependent_stages(late)
        early.add(Stage("tasks", stop=self._tasks.close))
        early.add(Stage("sources", start=self.static_sources.start, stop=self.static_sources.stop))
        late.add(Stage("runtime version", start=self.runtime_view.learn_version))
        late.add(Stage("pod CIDR", start=self.pod_cidr.start, stop=self.pod_cidr.stop))
        if self.config.makeIPTablesUtilChains:
            late.add(Stage("iptables chains", start=self.chains.start, stop=self.chains.stop))
        self.containers.record_stages(late)
        late.add(Stage("container manager", start=self._start_cgroups))
        self.containers.collecting_stages(late)
        late.add(Stage("first look", start=self._look_first))

    async def run(self, stop: asyncio.Event) -> None:
        """Start everything and work until *stop* is set; pods run on afterwards.

        :raises StartError: something without which it cannot go on failed.
        """
        self._stop = stop
        try:
            await self.stages.start()
            self.journal.record("Started", "the daemon is up", node=self.node.name)
            tell_start(self.events, self.host.cgroups.version)
            notify.send("READY=1", os.environ)
            await stop.wait()
        except TlsMaterialError as error:
            raise StartError(f"--kubeconfig: {error}") from error
        finally:
            notify.send("STOPPING=1", os.environ)
            # A runtime that comes up only now must not start what waited for it.
            await self.health.stop()
            await self.stages.stop()
        if self._fatal:
            raise StartError(self._fatal)

    def _told_start(self, name: str, seconds: float) -> None:
        self.journal.record("ModuleStarted", f"{name} started", seconds=round(seconds, 3))

    async def _start_loop(self) -> None:
        self.manager.start(self.sources)
        seconds = notify.watchdog_seconds(os.environ, os.getpid())
        if seconds is not None:
            self._tasks.spawn("watchdog", notify.watchdog(seconds, self.loop_problem))

    async def _start_user_namespaces(self) -> None:
        try:
            await self.user_namespaces.start()
        except UserNamespaceError as error:
            raise StartError(str(error)) from error

    # --- what depends on the runtime ------------------------------------------

    async def _runtime_good(self, status: RuntimeStatus) -> None:
        """The first good status: start what waited for it, once."""
        del status
        try:
            await self.dependent.start()
        except StartError as error:
            self.fail(str(error))
            raise

    def _runtime_recovered(self) -> None:
        self.journal.record("RuntimeRecovered", "the container runtime answers again")
        self.observer.request_relist()
        self.workers.wake_all()

    async def _start_cgroups(self) -> None:
        try:
            await self.cgroups.ensure_tree()
            await self.cgroups.enforce_reserved()
        except OSError as error:
            raise StartError(f"cgroupRoot: {error}") from error
        self._tasks.spawn("node allocatable", self.cgroups.enforce_allocatable())
        self._tasks.spawn("qos cgroups", self.cgroups.reassert(self.manager.active_pods))

    async def _look_first(self) -> None:
        self._tasks.spawn("first look", self.runtime_view.look_first())

    def fail(self, reason: str) -> None:
        """End the daemon: it cannot go on."""
        self._fatal = self._fatal or reason
        if self._stop is not None:
            self._stop.set()

    def loop_problem(self) -> str:
        """What the health check ``syncloop`` says; empty when all is well."""
        silent = self.clock.monotonic() - self.manager.last_tick
        limit = max(2 * self.config.syncFrequency.seconds, LOOP_SILENCE)
        return f"sync Loop took longer than expected: {silent:.0f}s" if silent > limit else ""

    # --- doors joined ---------------------------------------------------------

    def _count_missed(self, kind: str) -> None:
        self.metrics.counter(
            "pykubelet_relist_missed_events_total", "Changes that only a relist found.", ["kind"]
        ).labels(kind).inc()

    def _status_changed(self, pod: Pod, old: PodStatus | None, status: PodStatus) -> None:
        if old is None or old.phase != status.phase:
            self.journal.record(
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
        pod = self.store.get(uid)
        return None if pod is None else pod.status

    def _held(self, uid: str) -> bool:
        return self.cluster is not None and self.cluster.source.holds(uid)

    def _desired_changed(self, pod: Pod) -> None:
        if self.cluster is not None:
            # First the objects: the volumes ask for them at once.
            self.cluster.desired_changed(pod)
        self.volumes.reconsider(pod.metadata.uid)

    def _object_changed(self, kind: str, namespace: str, name: str, uids: Collection[str]) -> None:
        which = {"config_map" if kind == "configmap" else "secret": name}
        for uid in uids:
            self.volumes.refresh(uid, f"{kind} {namespace}/{name} changed", **which)
            if self.reasons.of(uid):
                # A container that could not be made for want of it is tried again.
                self.manager.sync(uid, f"{kind} {namespace}/{name} changed")

    def _known_pods(self, uids: AbstractSet[str]) -> None:
        self.resizing.keep_only(uids)
        # What the runtime still has may run.
        self.user_namespaces.keep_only({*uids, *self.observer.uids()})

    def _worker_finished(self, uid: str) -> None:
        self.user_namespaces.release(uid)
        if self.cluster is not None:
            self.cluster.pod_finished(uid)
        self.manager.worker_finished(uid)

    def _verdict(self, kind: ProbeKind, uid: str, container: str, verdict: bool | None) -> None:
        if kind == "liveness" and verdict is not False:
            return
        pod = self.store.get(uid)
        if pod is not None and kind != "liveness":
            self.syncer.show_verdicts(pod)
        self.manager.sync(uid, f"the {kind} probe of {container} says {verdict}")
