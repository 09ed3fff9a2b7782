"""A node's part in a cluster: builds the room ``cluster`` and joins it to the others.

What other rooms need to be built (events, objects, tokens, who may do what) is there at once;
:meth:`Membership.join` takes what the other rooms are asked for.
"""

from collections.abc import Callable, Collection
from typing import cast

from pykubelet.api.core import Pod, PodStatus
from pykubelet.api.node import Node
from pykubelet.api.podinfo import full_name, is_static
from pykubelet.base.journal import PodRef
from pykubelet.base.tasks import Stage, Stages
from pykubelet.cluster.events import EventPoster
from pykubelet.cluster.mirror import MirrorPods
from pykubelet.cluster.node_watch import NodeWatch
from pykubelet.cluster.object_cache import object_ttl
from pykubelet.cluster.objects import ContainerObjects, ObjectManager, Strategy
from pykubelet.cluster.pod_source import PodSource
from pykubelet.cluster.runtime_classes import RuntimeClassLister
from pykubelet.cluster.service_accounts import ServiceAccountReader
from pykubelet.cluster.services import ServiceLister
from pykubelet.cluster.status_doors import Keeper, StatusRules
from pykubelet.cluster.status_manager import StatusManager
from pykubelet.cluster.tokens import TokenManager
from pykubelet.cluster.trust_bundles import TrustBundles
from pykubelet.cri.door import Runtime
from pykubelet.node import NodeInfo
from pykubelet.node.address_watch import AddressWatch
from pykubelet.node.images import ImageList
from pykubelet.node.pod_cidr import PodCidr
from pykubelet.pods.sources import PodConfig
from pykubelet.pods.status import settle_status, terminal_status
from pykubelet.pods.status_conditions import OWNED_CONDITIONS
from pykubelet.pods.store import PodStore
from pykubelet.pods.worker import PodWorkers
from pykubelet.volumes import Feeds
from pykubelet.wiring.cluster_volumes import ClusterVolumes
from pykubelet.wiring.connection import Connection
from pykubelet.wiring.ground import Ground
from pykubelet.wiring.node_object import NodeObject
from pykubelet.wiring.node_reports import node_lease, node_reporter
from pykubelet.wiring.pod_views import PodViews
from pykubelet.wiring.runtime_view import RuntimeView
from pykubelet.wiring.server_trust import ServerTrust


class Membership:
    """The cluster's side of one node."""

    def __init__(
        self,
        connection: Connection,
        ground: Ground,
        runtime: Runtime,
        *,
        on_object: Callable[[str, str, str, Collection[str]], None],
        on_serving: Callable[[], None],
        on_attached: Callable[[], None] = lambda: None,
        on_csi_driver: Callable[[str], None] = lambda name: None,
    ) -> None:
        """*on_object* hears kind, namespace and name of an object that changed, and which pods (UIDs) use it;
        *on_serving* that there is a new serving certificate; *on_attached* that volumes may be attached,
        or told to be in use, that were not; *on_csi_driver* the name of a CSIDriver object that changed.
        """
        loaded, host, clock, rng = ground.loaded, ground.host, ground.clock, ground.rng
        journal, metrics = ground.journal, ground.metrics
        config, api, name = loaded.config, connection.api, host.node_name
        self.connection = connection
        self._ground = ground
        self.poster = EventPoster(
            connection.events, clock, rng, metrics, name, resource_version=self._version_of
        )
        self.node_watch = NodeWatch(api, name, clock, rng, on_change=self._node_changed)
        self.objects = ObjectManager(
            api,
            clock,
            rng,
            journal,
            strategy=cast("Strategy", config.configMapAndSecretChangeDetectionStrategy),
            sync_period=config.syncFrequency.seconds,
            ttl=self._ttl,
            on_change=on_object,
        )
        self.container_objects = ContainerObjects(self.objects)
        self.tokens = TokenManager(api, clock, rng)
        self.service_accounts = ServiceAccountReader(api, self.tokens)
        self.services = ServiceLister(api, clock, rng)
        self.runtime_classes = RuntimeClassLister(api, clock, rng)
        self.bundles = (
            TrustBundles(api, clock, rng, cache_size=2 * config.maxPods)
            if loaded.gates.enabled("ClusterTrustBundleProjection")
            else None
        )
        self.volumes = ClusterVolumes(
            api,
            name,
            clock,
            rng,
            journal,
            controller_attach=config.enableControllerAttachDetach,
            cached=self.node_watch.node,
            report=self._report,
            on_attached=on_attached,
            on_csi_driver=on_csi_driver,
        )
        self.trust = ServerTrust(ground, api, self.node_watch.node, on_serving)
        self.images = ImageList(runtime, clock)
        self.addresses = AddressWatch(
            name,
            loaded.flags.nodeIP,
            () if host.ip_problem else host.ips,
            clock,
            journal,
            on_change=lambda: self._report("the node's addresses changed"),
        )

    # --- joining --------------------------------------------------------------

    def feeds(self, node: NodeInfo) -> Feeds:
        """What volumes are filled from."""
        return Feeds(self.objects, self.tokens, node, bundles=self.bundles)

    def status_manager(
        self,
        store: PodStore,
        workers: Callable[[], PodWorkers],
        passed: Callable[[], bool],
        keeper: Keeper,
        on_change: Callable[[Pod, PodStatus | None, PodStatus], None],
    ) -> StatusManager:
        """The keeper of statuses that reports them.

        *passed* tells whether all pods of the node were seen, so that one without a worker has ended.
        """
        self.pods = PodViews(
            store,
            workers,
            passed,
            watched=lambda uid: self.source.get(uid),
            complete=lambda: self._sources.all_sources_ready(),
        )
        self.statuses = StatusManager(
            self.connection.api,
            self.pods,
            StatusRules(OWNED_CONDITIONS, terminal_status, settle_status),
            self._ground.clock,
            self._ground.journal,
            self._ground.metrics,
            self._ground.rng,
            keeper=keeper,
            on_change=on_change,
        )
        return self.statuses

    def join(
        self,
        ground: Ground,
        node: NodeInfo,
        sources: PodConfig,
        runtime: RuntimeView,
        pod_cidr: PodCidr,
        on_pod_gone: Callable[[], object],
    ) -> None:
        """Build what tells of the node and brings its pods.

        *pod_cidr* hears of the Node's; *on_pod_gone* that the server may have fewer pods.
        """
        self._pod_cidr = pod_cidr
        self._sources = sources
        self._node = node
        self.source = PodSource(
            self.connection.api,
            node.name,
            sources.channel("api"),
            ground.clock,
            ground.rng,
            ground.journal,
            after=self.node_watch.synced,
            on_gone=on_pod_gone,
        )
        self.mirrors = MirrorPods(
            self.connection.api,
            self.pods,
            self.node_watch.node,
            ground.clock,
            ground.journal,
            ground.events,
            ground.rng,
        )
        own = NodeObject(
            ground.loaded,
            ground.host,
            node,
            runtime,
            ground.clock,
            self.images,
            lambda: self.addresses.ips,
            self.volumes.facts(),
        )

        async def settled() -> None:
            await runtime.settled.wait()
            await self.volumes.csi_node.settled()

        self.reporter = node_reporter(
            ground,
            self.connection,
            own,
            cached=self.node_watch.node,
            seen=self._node_seen,
            settled=settled,
            written=self.volumes.attachments.written,
        )
        self.lease = node_lease(ground, self.connection)

    def desired_changed(self, pod: Pod) -> None:
        """A pod was brought, changed or taken away by its source."""
        if is_static(pod):
            self.mirrors.reconsider(full_name(pod))
        else:
            self.statuses.recheck(pod.metadata.uid)
        if self.pods.needs_objects(pod):
            self.objects.register(pod)
        else:
            self.objects.unregister(pod)

    def mirror_changed(self, mirror: Pod) -> None:
        """A mirror pod was brought, changed or taken away."""
        if not self.pods.complete():
            self.statuses.recall(mirror)
        self.mirrors.reconsider(full_name(mirror))
        static = self.pods.static(full_name(mirror))
        if static is not None:
            self.statuses.recheck(static.metadata.uid)

    def pod_finished(self, uid: str) -> None:
        """The pod's worker has done all it had to."""
        pod = self.pods.desired(uid)
        if pod is not None:
            self.objects.unregister(pod)
        self.statuses.recheck(uid)
        self.mirrors.reconsider_all()

    def early_stages(self, stages: Stages) -> None:
        """What comes before the runtime was seen, and before any pod."""
        connection = self.connection
        stages.add(Stage("API connection", start=connection.start, stop=connection.stop))
        stages.add(Stage("events", start=self.poster.start, stop=self.poster.stop))
        stages.add(Stage("objects", start=self.objects.start, stop=self.objects.stop))
        stages.add(Stage("tokens", start=self.tokens.start, stop=self.tokens.stop))
        stages.add(Stage("services", start=self.services.start, stop=self.services.stop))
        if self.bundles is not None:
            stages.add(Stage("trust bundles", stop=self.bundles.stop))
        stages.add(Stage("runtime classes", start=self.runtime_classes.start, stop=self.runtime_classes.stop))
        self.volumes.early_stages(stages)
        stages.add(Stage("node watch", start=self.node_watch.start, stop=self.node_watch.stop))
        self.trust.stages(stages)

    def late_stages(self, stages: Stages) -> None:
        """What tells of the node and its pods; the pods themselves come last."""
        stages.add(Stage("status manager", start=self.statuses.start, stop=self.statuses.stop))
        stages.add(Stage("mirror pods", start=self.mirrors.start, stop=self.mirrors.stop))
        self.volumes.late_stages(stages)
        stages.add(Stage("addresses", start=self.addresses.start, stop=self.addresses.stop))
        stages.add(Stage("lease", start=self.lease.start, stop=self.lease.stop))
        stages.add(Stage("node status", start=self.reporter.start, stop=self.reporter.stop))
        stages.add(Stage("API source", start=self.source.start, stop=self.source.stop))

    def dependent_stages(self, stages: Stages) -> None:
        """What needs a runtime that answers."""
        stages.add(Stage("image list", start=self.images.start, stop=self.images.stop))

    def _version_of(self, ref: PodRef) -> str:
        """The resourceVersion of a pod as the watch last brought it; empty for static pods."""
        pod = self.source.get(ref.uid)
        return "" if pod is None else pod.metadata.resourceVersion

    # --- the Node -------------------------------------------------------------

    def _ttl(self) -> float | None:
        """What the Node's annotation says about how long objects may be kept; seconds."""
        node = self.node_watch.node()
        return None if node is None else object_ttl(node.metadata.annotations)

    def _report(self, cause: str) -> None:
        self.reporter.changed(cause)

    def _node_changed(self, node: Node | None) -> None:
        self.volumes.attachments.node_changed(node)
        if node is None:
            self.reporter.changed("the Node was deleted")
            return
        self._node_seen(node)

    def _node_seen(self, node: Node) -> None:
        self.lease.owned_by(node.metadata.uid)
        self.volumes.csi_node.node_seen(node)
        self._node.follow(node)
        self._pod_cidr.want(node.spec.podCIDRs)
        self.mirrors.reconsider_all()
