"""The room ``volumes``, built and joined: its manager, its plug-ins, and the CSI drivers of the node."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pykubelet.api.core import Pod
from pykubelet.api.podinfo import pod_ref
from pykubelet.base.tasks import Stage, Stages
from pykubelet.node import NodeInfo
from pykubelet.rpc.plugins import PluginManager
from pykubelet.volumes import (
    ClaimStats,
    CsiVolumes,
    Feeds,
    LocalVolumes,
    NfsVolumes,
    NoCsiObjects,
    NoNodeInfoSink,
    UsageCollector,
    VolumeManager,
)
from pykubelet.wiring.ground import Ground
from pykubelet.wiring.membership import Membership
from pykubelet.wiring.settings import labelling, refresh_period


@dataclass(frozen=True, slots=True)
class VolumeDoors:
    """What the manager asks of the other rooms; see :class:`VolumeManager`.

    *pods* are all pods that the sources name, as they name them.
    """

    pods: Callable[[], Sequence[Pod]]
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
        labels = labelling(ground.loaded, ground.host)
        self.plugins = PluginManager(layout.plugins_registry, clock=clock, journal=journal, metrics=metrics)
        feeds = Feeds(node=node) if cluster is None else cluster.feeds(node)
        self._csi = CsiVolumes(
            layout,
            node.name,
            clock,
            journal,
            events,
            metrics,
            sink=NoNodeInfoSink() if cluster is None else cluster.volumes.csi_node,
            objects=NoCsiObjects() if cluster is None else cluster.volumes.csi_objects,
            tokens=feeds.tokens,
            labels=labels is not None,
            on_found=lambda uids: self.manager.retry(uids),
            health=ground.loaded.gates.enabled("CSIVolumeHealth"),
        )
        self.plugins.add_handler(self._csi.plugin_type, self._csi)
        self._events = events
        self._pods = doors.pods
        #: What volumes hold, for whoever tells it or acts on it.
        self.usage = UsageCollector(
            layout,
            clock,
            ground.rng,
            metrics,
            period=ground.loaded.config.volumeStatsAggPeriod.seconds,
            pods=lambda: [pod.metadata.uid for pod in doors.pods()],
            mounted=lambda uid: self.manager.mounted(uid),
            drivers=self._csi.stats,
            on_abnormal=self._abnormal,
        )
        metrics.add(ClaimStats(doors.pods, self.usage.usage))
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
            persistent=(self._csi.plugin, LocalVolumes(layout, clock, events), NfsVolumes(layout)),
            claims=None if cluster is None else cluster.volumes.claims,
            attachments=None if cluster is None else cluster.volumes.attachments,
            node_labels=lambda: node.labels,
            node_name=node.name,
            metrics=metrics,
            labelling=labels,
            onlooker=self.usage,
        )

    def stages(self, stages: Stages) -> None:
        """What is started before pods are worked on."""
        stages.add(Stage("volume manager", start=self.manager.start, stop=self.manager.stop))
        stages.add(Stage("volume usage", start=self.usage.start, stop=self.usage.stop))
        stages.add(Stage("CSI limits", stop=self._csi.stop))
        stages.add(Stage("plug-in watcher", start=self.plugins.start, stop=self.plugins.stop))

    def csi_driver_changed(self, name: str) -> None:
        """The CSIDriver object of that name came, changed or went."""
        self.manager.drivers_changed()
        self._csi.driver_changed(name)

    def _abnormal(self, uid: str, volume: str, message: str) -> None:
        for pod in self._pods():
            if pod.metadata.uid == uid:
                text = f"Volume {volume}: {message}"
                self._events.pod_event(pod_ref(pod), "Warning", "VolumeConditionAbnormal", text)
