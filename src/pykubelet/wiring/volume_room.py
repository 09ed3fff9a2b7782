"""The room ``volumes``, built and joined: its manager, its plug-ins, and the CSI drivers of the node."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pykubelet.api.core import Pod
from pykubelet.base.apart import Apart
from pykubelet.base.tasks import Stage, Stages
from pykubelet.node import NodeInfo
from pykubelet.rpc.plugins import PluginManager
from pykubelet.volumes import Feeds, VolumeManager
from pykubelet.volumes.csi import CsiMetrics, Drivers, NoNodeInfoSink
from pykubelet.volumes.csi.doors import NoCsiObjects
from pykubelet.volumes.csi.drivers import PLUGIN_TYPE
from pykubelet.volumes.csi.means import Means
from pykubelet.volumes.csi.paths import CsiPaths
from pykubelet.volumes.csi.plugin import CsiPlugin
from pykubelet.volumes.csi.refresher import Refresher
from pykubelet.volumes.local import LocalVolumes
from pykubelet.volumes.nfs import NfsVolumes
from pykubelet.wiring.ground import Ground
from pykubelet.wiring.membership import Membership
from pykubelet.wiring.settings import refresh_period


@dataclass(frozen=True, slots=True)
class VolumeDoors:
    """What the manager asks of the other rooms; see :class:`VolumeManager`."""

    desired_pods: Callable[[], Sequence[Pod]]
    may_remove: Callable[[str], bool]
    sources_ready: Callable[[], bool]
    node_allocatable_memory: Callable[[], int]
    ending: Callable[[str], bool]


class VolumeRoom:
    """Everything about volumes; without a cluster there are drivers, but no claims and nothing to ask."""

    def __init__(
        self,
        ground: Ground,
        node: NodeInfo,
        cluster: Membership | None,
        doors: VolumeDoors,
    ) -> None:
        layout, clock, journal = ground.layout, ground.clock, ground.journal
        events, metrics = ground.events, ground.metrics
        self.plugins = PluginManager(layout.plugins_registry, clock=clock, journal=journal, metrics=metrics)
        sink = NoNodeInfoSink() if cluster is None else cluster.volumes.csi_node
        feeds = Feeds(node=node) if cluster is None else cluster.feeds(node)
        drivers = Drivers(sink, clock=clock, journal=journal, metrics=CsiMetrics(metrics))
        objects = NoCsiObjects() if cluster is None else cluster.volumes.csi_objects
        self._refresher = Refresher(drivers, objects, clock, journal)
        self.plugins.add_handler(PLUGIN_TYPE, _Handler(drivers, self._registered, self._refresher.look))
        self._csi = CsiPlugin(
            Means(
                paths=CsiPaths(layout),
                node=node.name,
                clients=drivers,
                objects=objects,
                tokens=feeds.tokens,
                events=events,
                clock=clock,
                apart=Apart("csi"),
            )
        )
        self.manager = VolumeManager(
            layout,
            clock,
            journal,
            events,
            desired_pods=doors.desired_pods,
            may_remove=doors.may_remove,
            sources_ready=doors.sources_ready,
            node_allocatable_memory=doors.node_allocatable_memory,
            ending=doors.ending,
            feeds=feeds,
            refresh_period=refresh_period(ground.loaded),
            rng=ground.rng,
            persistent=(self._csi, LocalVolumes(layout, clock, events), NfsVolumes(layout)),
            claims=None if cluster is None else cluster.volumes.claims,
            attachments=None if cluster is None else cluster.volumes.attachments,
            node_labels=lambda: node.labels,
            node_name=node.name,
            metrics=metrics,
        )

    def stages(self, stages: Stages) -> None:
        """What is started before pods are worked on."""
        stages.add(Stage("volume manager", start=self.manager.start, stop=self.manager.stop))
        stages.add(Stage("CSI limits", stop=self._refresher.stop))
        stages.add(Stage("plug-in watcher", start=self.plugins.start, stop=self.plugins.stop))

    def csi_driver_changed(self, name: str) -> None:
        """The CSIDriver object of that name came, changed or went."""
        self.manager.drivers_changed()
        self._refresher.look(name)

    def _registered(self, driver: str) -> None:
        missed = self._csi.registered(driver)
        if missed:
            self.manager.retry(missed)


class _Handler:
    """The drivers, and who hears of a new one and of one that went."""

    def __init__(
        self, drivers: Drivers, on_registered: Callable[[str], None], on_change: Callable[[str], None]
    ) -> None:
        self._drivers = drivers
        self._on_registered = on_registered
        self._on_change = on_change

    def validate(self, name: str, endpoint: str, versions: Sequence[str]) -> None:
        """See ``PluginHandler``."""
        self._drivers.validate(name, endpoint, versions)

    async def register(self, name: str, endpoint: str, versions: Sequence[str]) -> None:
        """See ``PluginHandler``."""
        try:
            await self._drivers.register(name, endpoint, versions)
        finally:
            # One that could not be had may have been there a while.
            self._on_change(name)
        self._on_registered(name)

    async def deregister(self, name: str, endpoint: str) -> None:
        """See ``PluginHandler``."""
        await self._drivers.deregister(name, endpoint)
        self._on_change(name)
