"""The composition root: puts the rooms together, owns the order of starts and stops.

Each room is built in :mod:`pykubelet.wiring`, from the ones before it. What a room tells one that is
built later (hints, mostly) goes through here. It decides nothing about pods.
"""

import asyncio
import os
import random
from dataclasses import dataclass, replace
from functools import partial

from pykubelet.api.quantity import Quantity
from pykubelet.base import notify
from pykubelet.base.clock import Clock, SystemClock
from pykubelet.base.journal import FanOut
from pykubelet.base.layout import Layout
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import Stage, Stages, TaskOwner
from pykubelet.cluster.tls import TlsMaterialError
from pykubelet.config import Loaded
from pykubelet.cri.dockerd import Way
from pykubelet.cri.door import Runtime
from pykubelet.cri.types import RuntimeStatus
from pykubelet.explain.journal import DecisionJournal
from pykubelet.node.host import Host
from pykubelet.wiring.connection import Connection
from pykubelet.wiring.container_room import ContainerRoom
from pykubelet.wiring.ground import Ground
from pykubelet.wiring.intake import Intake
from pykubelet.wiring.membership import Membership
from pykubelet.wiring.node_api import LocalNodeApi
from pykubelet.wiring.node_room import NodeRoom
from pykubelet.wiring.pod_room import Neighbours, PodDoors, PodRoom
from pykubelet.wiring.runtime_room import RuntimeDoors, RuntimeRoom
from pykubelet.wiring.servers import admin_server, kubelet_server
from pykubelet.wiring.startup import StartError, listening, prepare_host, tell_start
from pykubelet.wiring.upkeep import Upkeep
from pykubelet.wiring.volume_room import VolumeDoors, VolumeRoom


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
        ground = _ground(loaded, host, layout, parts)
        self._stop: asyncio.Event | None = None
        self._fatal = ""
        self._tasks = TaskOwner("kubelet")
        self.runtime = self._runtime(ground, parts)
        self.cluster = None if parts.connection is None else self._membership(parts.connection, ground)
        if self.cluster is not None:
            ground = replace(ground, events=FanOut(ground.journal, self.cluster.poster))
        self.ground = ground
        self.node = NodeRoom(ground, self.runtime, alone=self.cluster is None)
        self.intake = Intake(ground, self.node.info.name, self.runtime.view.running_pods)
        self.volumes = self._volume_room()
        self.containers = ContainerRoom(
            ground,
            self.runtime.runtime,
            self.volumes.manager,
            self.node.info,
            self.node.cgroups.parent,
            self.node.user_namespaces,
            self.cluster,
        )
        neighbours = Neighbours(
            self.intake, self.runtime, self.node, self.volumes.manager, self.containers, self.cluster
        )
        self.pods = self._pod_room(neighbours)
        self.upkeep = Upkeep(ground, neighbours, self.pods)
        if self.cluster is not None:
            self.cluster.join(
                ground,
                self.node.info,
                self.intake.sources,
                self.runtime.view,
                self.node.pod_cidr,
                on_pod_gone=self.upkeep.request,
            )
        self.api = self._node_api()
        self.server = kubelet_server(ground, self.node.info, self.api, self.cluster, self.intake.pushed)
        self.admin = admin_server(ground, self.api, self.intake.pushed)
        self.stages = Stages(on_start=self._told_start)
        self.dependent = Stages(on_start=self._told_start)
        self._order()

    # --- rooms that tell ones built later -------------------------------------

    def _runtime(self, ground: Ground, parts: Parts) -> RuntimeRoom:
        doors = RuntimeDoors(
            on_first_good=self._runtime_good,
            on_recovered=self._runtime_recovered,
            on_change=lambda change: self.pods.manager.on_change(change),
        )
        return RuntimeRoom(ground, doors, parts.runtime, parts.docker)

    def _membership(self, connection: Connection, ground: Ground) -> Membership:
        return Membership(
            connection,
            ground,
            self.runtime.runtime,
            on_object=lambda kind, namespace, name, uids: self.pods.object_changed(
                kind, namespace, name, uids
            ),
            on_serving=lambda: self.server.certificate_changed(),
            on_attached=lambda: self.volumes.manager.attachments_changed(),
            on_csi_driver=lambda name: self.volumes.csi_driver_changed(name),
        )

    def _volume_room(self) -> VolumeRoom:
        node, store = self.node.info, self.intake.store
        doors = VolumeDoors(
            pods=store.pods,
            desired_pods=lambda: self.pods.resizing.allocation.all_allocated(store.pods()),
            may_remove=lambda uid: self.upkeep.removal.volumes_removable(uid),
            sources_ready=self.intake.ready,
            node_allocatable_memory=lambda: node.allocatable.get("memory", Quantity.zero()).value(),
            ending=lambda uid: self.upkeep.removal.ending(uid) or self.pods.manager.undecided(uid),
        )
        return VolumeRoom(self.ground, node, self.cluster, doors)

    def _pod_room(self, neighbours: Neighbours) -> PodRoom:
        doors = PodDoors(
            on_untidy=lambda: self.upkeep.request(),
            on_died=lambda uid: self.upkeep.container_died(uid),
            passed=lambda: self.upkeep.passed(),
        )
        return PodRoom(self.ground, neighbours, doors)

    def _node_api(self) -> LocalNodeApi:
        ground = self.ground
        return LocalNodeApi(
            node_name=self.node.info.name,
            config=ground.loaded.config,
            layout=ground.layout,
            clock=ground.clock,
            store=self.intake.store,
            statuses=self.pods.statuses,
            workers=self.pods.workers,
            observer=self.runtime.observer,
            runtime=self.runtime.runtime,
            volumes=self.volumes.manager,
            usage=self.volumes.usage,
            journal=ground.journal,
            metrics=ground.metrics,
            probe_metrics=self.pods.probe_metrics,
            process_started=ground.host.process_started,
            loop_problem=self.pods.loop_problem,
            allocated=self.pods.resizing.allocation.allocated,
            images=self.containers.starter.images,
            content=self.runtime.content,
        )

    # --- the order of starts --------------------------------------------------

    def _order(self) -> None:
        """What is started before the runtime was seen, and what only after its first good status."""
        early, late, ground = self.stages, self.dependent, self.ground
        labelled = ground.host.selinux is not None
        prepare = partial(prepare_host, ground.layout, ground.loaded.config.oomScoreAdj, labelled=labelled)
        early.add(Stage("data directories", start=prepare))
        early.add(Stage("journal", start=ground.journal.start, stop=ground.journal.stop))
        self.pods.early_stages(early)
        self.node.early_stages(early)
        self.intake.early_stages(early)
        self.runtime.docker_stages(early)
        if self.cluster is not None:
            self.cluster.early_stages(early)
        self.containers.early_stages(early)
        self.volumes.stages(early)
        self.runtime.client_stages(early)
        early.add(Stage("dependent modules", stop=late.stop))
        self.pods.probe_stages(early)
        early.add(Stage("server", start=listening(self.server.start), stop=self.server.stop))
        early.add(Stage("admin socket", start=listening(self.admin.start), stop=self.admin.stop))
        self.runtime.watching_stages(early)
        self.pods.worker_stages(early)
        self.upkeep.pod_stages(early)
        self.pods.loop_stages(early)
        early.add(Stage("watchdog", start=self._start_watchdog, stop=self._tasks.close))
        if self.cluster is not None:
            self.cluster.late_stages(early)
        self.intake.last_stages(early)

        if self.cluster is not None:
            self.cluster.dependent_stages(late)
        late.add(Stage("runtime version", start=self.runtime.view.learn_version))
        self.node.network_stages(late)
        self.containers.record_stages(late)
        self.node.cgroup_stages(late, self.pods.manager.active_pods)
        self.upkeep.collecting_stages(late)
        late.add(Stage("first look", start=self._look_first))

    async def run(self, stop: asyncio.Event) -> None:
        """Start everything and work until *stop* is set; pods run on afterwards.

        :raises StartError: something without which it cannot go on failed.
        """
        self._stop = stop
        try:
            await self.stages.start()
            self.ground.journal.record("Started", "the daemon is up", node=self.node.info.name)
            tell_start(self.ground.events, self.ground.host.cgroups.version)
            notify.send("READY=1", os.environ)
            await stop.wait()
        except TlsMaterialError as error:
            raise StartError(f"--kubeconfig: {error}") from error
        finally:
            notify.send("STOPPING=1", os.environ)
            # A runtime that comes up only now must not start what waited for it.
            await self.runtime.health.stop()
            await self.stages.stop()
        if self._fatal:
            raise StartError(self._fatal)

    def fail(self, reason: str) -> None:
        """End the daemon: it cannot go on."""
        self._fatal = self._fatal or reason
        if self._stop is not None:
            self._stop.set()

    def _told_start(self, name: str, seconds: float) -> None:
        self.ground.journal.record("ModuleStarted", f"{name} started", seconds=round(seconds, 3))

    async def _start_watchdog(self) -> None:
        seconds = notify.watchdog_seconds(os.environ, os.getpid())
        if seconds is not None:
            self._tasks.spawn("watchdog", notify.watchdog(seconds, self.pods.loop_problem))

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
        self.ground.journal.record("RuntimeRecovered", "the container runtime answers again")
        self.runtime.observer.request_relist()
        self.pods.workers.wake_all()

    async def _look_first(self) -> None:
        self._tasks.spawn("first look", self.runtime.view.look_first())


def _ground(loaded: Loaded, host: Host, layout: Layout, parts: Parts) -> Ground:
    clock = parts.clock or SystemClock()
    journal = parts.journal or DecisionJournal(clock, layout.journal_file)
    rng = parts.rng or random.Random()  # noqa: S311 - spreads load, guards nothing
    return Ground(loaded, host, layout, clock, rng, journal, journal, parts.metrics or Metrics())
