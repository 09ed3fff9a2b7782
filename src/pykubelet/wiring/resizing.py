"""Resizes of pods in place, put together: what is allocated, what is in force, and who helps with it."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from pykubelet.api.admission import Rejection
from pykubelet.api.core import Container, Pod, PodStatus
from pykubelet.api.qos import qos_class
from pykubelet.base.tasks import Stage, Stages
from pykubelet.config import Loaded
from pykubelet.containers.linux_resources import may_swap
from pykubelet.containers.settings import ContainerSettings
from pykubelet.pods.doors import PodCgroups, ResourceUpdater
from pykubelet.pods.resize.allocation import POD_RESIZED, Allocation, AllocationDoors
from pykubelet.pods.resize.amounts import ResizeGates
from pykubelet.pods.resize.checkpoint import ResourceBook
from pykubelet.pods.resize.conditions import ResizeConditions
from pykubelet.pods.resize.judge import ResizeRules
from pykubelet.pods.resize.metrics import ResizeMetrics
from pykubelet.pods.resize.resizer import Resizer, ResizerDoors
from pykubelet.pods.store import PodStore
from pykubelet.wiring.ground import Ground


@dataclass(frozen=True, slots=True)
class ResizingDoors:
    """What is built before or after, and asked late."""

    cgroups: PodCgroups
    updater: ResourceUpdater
    active_pods: Callable[[], Sequence[Pod]]
    rejection: Callable[[Pod, Sequence[Pod]], Rejection | None]
    status: Callable[[str], PodStatus | None]
    sources_ready: Callable[[], bool]
    sync: Callable[[str, str], None]


def resize_rules(loaded: Loaded, settings: ContainerSettings) -> ResizeRules:
    """What the configuration says about resizes."""

    def swaps(pod: Pod, container: Container) -> bool:
        return may_swap(pod, container, qos_class(pod), settings)

    enabled = loaded.gates.enabled
    return ResizeRules(
        ResizeGates(
            whole_pods=enabled("InPlacePodLevelResourcesVerticalScaling"),
            init_containers=enabled("InPlacePodVerticalScalingInitContainers"),
            exclusive_cpus=enabled("InPlacePodVerticalScalingExclusiveCPUs"),
            exclusive_memory=enabled("InPlacePodVerticalScalingExclusiveMemory"),
        ),
        cpu_manager_policy=loaded.config.cpuManagerPolicy,
        memory_manager_policy=loaded.config.memoryManagerPolicy,
        may_swap=swaps,
    )


class Resizing:
    """The allocation and the one who puts it into force, with what they share."""

    def __init__(
        self,
        ground: Ground,
        rules: ResizeRules,
        store: PodStore,
        doors: ResizingDoors,
    ) -> None:
        layout, clock, journal, events = ground.layout, ground.clock, ground.journal, ground.events
        conditions, counts = ResizeConditions(), ResizeMetrics(ground.metrics)
        self._recorded = ResourceBook(layout.actuated_state, "actuated")
        self.allocation = Allocation(
            ResourceBook(layout.allocated_state, "allocated"),
            conditions,
            rules,
            clock,
            journal,
            events,
            counts,
            AllocationDoors(
                desired=store.get,
                active_pods=doors.active_pods,
                rejection=doors.rejection,
                status=doors.status,
                sources_ready=doors.sources_ready,
                sync=doors.sync,
            ),
        )
        self.resizer = Resizer(
            self._recorded,
            conditions,
            rules.gates,
            clock,
            journal,
            events,
            counts,
            ResizerDoors(
                cgroups=doors.cgroups,
                updater=doors.updater,
                on_completed=lambda: self.allocation.retry(POD_RESIZED),
            ),
        )

    def stages(self, order: Stages) -> None:
        """Add what is started and stopped."""
        order.add(Stage("actuated resources", start=self._recorded.start, stop=self._recorded.stop))
        order.add(Stage("allocated resources", start=self.allocation.start, stop=self.allocation.stop))

    def keep_only(self, uids: AbstractSet[str]) -> None:
        """Forget all other pods."""
        self._recorded.keep_only(uids)
        self.allocation.keep_only(uids)
