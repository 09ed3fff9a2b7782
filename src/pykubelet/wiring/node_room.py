"""The node as pods find it: what it has, its cgroups, host IDs, pod addresses and iptables chains."""

from collections.abc import Callable, Sequence

from pykubelet.api.core import Pod
from pykubelet.base.tasks import Stage, Stages, TaskOwner
from pykubelet.node.iptables import IptablesChains
from pykubelet.node.pod_cidr import PodCidr
from pykubelet.resources.allocatable import ReservationError, check_reservation
from pykubelet.resources.pod_cgroups import NodeAmounts, PodCgroupManager
from pykubelet.resources.user_namespaces import UserNamespaceError, UserNamespaceManager
from pykubelet.wiring.ground import Ground
from pykubelet.wiring.runtime_room import RuntimeRoom
from pykubelet.wiring.settings import capacity_on, ids_per_pod, node_info, reservations_of, tree_config
from pykubelet.wiring.startup import StartError


class NodeRoom:
    """What of the machine pods share."""

    def __init__(self, ground: Ground, runtime: RuntimeRoom, *, alone: bool) -> None:
        """A node that stands *alone* takes ``podCIDR`` from its configuration.

        :raises StartError: more is reserved than there is.
        """
        loaded, host = ground.loaded, ground.host
        clock, journal, config = ground.clock, ground.journal, loaded.config
        capacity, reservations = capacity_on(host, config), reservations_of(loaded)
        try:
            check_reservation(capacity, reservations)
        except ReservationError as error:
            raise StartError(str(error)) from error
        self._makes_chains = config.makeIPTablesUtilChains
        self._tasks = TaskOwner("node")
        self.info = node_info(loaded, host, capacity, reservations, lambda: runtime.health.status)
        self.pod_cidr = PodCidr(runtime.runtime, clock, journal)
        if alone and config.podCIDR:
            self.pod_cidr.want([config.podCIDR])
        self._chains = IptablesChains(clock, journal)
        self.cgroups = PodCgroupManager(
            host.cgroups,
            tree_config(config),
            NodeAmounts(capacity, reservations, host.machine.max_pids),
            journal=journal,
            events=ground.events,
            clock=clock,
            page_sizes=host.page_sizes,
        )
        self.user_namespaces = UserNamespaceManager(
            ground.layout,
            journal,
            ids_per_pod=ids_per_pod(config),
            max_pods=config.maxPods,
            rng=ground.rng,
            metrics=ground.metrics,
        )

    # --- the order of starts --------------------------------------------------

    def early_stages(self, stages: Stages) -> None:
        """What must be known before the first pod."""
        stop = self.user_namespaces.stop
        stages.add(Stage("user namespaces", start=self._start_user_namespaces, stop=stop))

    def network_stages(self, stages: Stages) -> None:
        """What pods' networks need."""
        stages.add(Stage("pod CIDR", start=self.pod_cidr.start, stop=self.pod_cidr.stop))
        if self._makes_chains:
            stages.add(Stage("iptables chains", start=self._chains.start, stop=self._chains.stop))

    def cgroup_stages(self, stages: Stages, active_pods: Callable[[], Sequence[Pod]]) -> None:
        """The cgroup tree; *active_pods* are those whose QoS cgroups are kept as they should be."""

        async def start() -> None:
            await self._start_cgroups(active_pods)

        stages.add(Stage("container manager", start=start, stop=self._tasks.close))

    async def _start_user_namespaces(self) -> None:
        try:
            await self.user_namespaces.start()
        except UserNamespaceError as error:
            raise StartError(str(error)) from error

    async def _start_cgroups(self, active_pods: Callable[[], Sequence[Pod]]) -> None:
        try:
            await self.cgroups.ensure_tree()
            await self.cgroups.enforce_reserved()
        except OSError as error:
            raise StartError(f"cgroupRoot: {error}") from error
        self._tasks.spawn("node allocatable", self.cgroups.enforce_allocatable())
        self._tasks.spawn("qos cgroups", self.cgroups.reassert(active_pods))
