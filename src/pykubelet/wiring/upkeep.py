"""What tidies up behind the pods: unknown pods, dead containers, unused images, long logs."""

from collections.abc import Callable

from pykubelet.base.tasks import Stage, Stages, TaskOwner
from pykubelet.containers.gc import ContainerGC
from pykubelet.containers.image_collector import ImageCollector
from pykubelet.containers.log_rotator import LogRotator
from pykubelet.pods.housekeeping import Housekeeping, HousekeepingDoors
from pykubelet.pods.trimmer import Trimmer
from pykubelet.wiring.container_collection import ContainerCollection
from pykubelet.wiring.ground import Ground
from pykubelet.wiring.pod_room import Neighbours, PodRoom
from pykubelet.wiring.removal import Removal
from pykubelet.wiring.settings import gc_policy, image_policy, rotation_policy
from pykubelet.wiring.startup import called


class Upkeep:
    """Housekeeping of pods, and the collectors of what they leave."""

    def __init__(self, ground: Ground, neighbours: Neighbours, pods: PodRoom) -> None:
        self._ground = ground
        self._tasks = TaskOwner("containers")
        self.housekeeping = self._housekeeping(neighbours, pods)
        self.removal = Removal(
            neighbours.intake.store,
            neighbours.runtime.observer,
            pods.workers,
            rejected=pods.manager.rejected,
            passed=self.passed,
            held=_held(neighbours),
        )
        self._trimmer = Trimmer(
            neighbours.containers.starter,
            ground.journal,
            cached=neighbours.runtime.observer.cached,
            content_removable=self.removal.content_removable,
            keep=ground.loaded.flags.maximumDeadContainersPerContainer,
        )
        self.gc = ContainerGC(
            neighbours.runtime.runtime,
            ground.layout,
            ground.clock,
            ground.journal,
            gc_policy(ground.loaded),
            self.removal,
            neighbours.containers.starter,
        )
        self.collection = ContainerCollection(
            self.gc,
            pods.crash_loop,
            ground.clock,
            ground.events,
            first_pass=self.housekeeping.first_pass,
            sources_ready=neighbours.intake.ready,
        )
        self.image_collector = self._image_collector(neighbours)
        self.log_rotator = LogRotator(
            neighbours.runtime.runtime,
            ground.clock,
            ground.journal,
            ground.metrics,
            rotation_policy(ground.loaded.config),
            neighbours.runtime.view.running_logs,
        )

    # --- building -------------------------------------------------------------

    def _housekeeping(self, neighbours: Neighbours, pods: PodRoom) -> Housekeeping:
        volumes = neighbours.volumes
        return Housekeeping(
            self._ground.clock,
            self._ground.journal,
            neighbours.intake.store,
            pods.workers,
            pods.manager,
            neighbours.runtime.observer,
            HousekeepingDoors(
                statuses=pods.statuses,
                probes=pods.probes,
                cgroups=neighbours.node.cgroups,
                sources_ready=neighbours.intake.ready,
                volumes_gone=lambda uid: not volumes.mounted(uid),
                on_gone=volumes.reconsider,
                on_leftovers=lambda: self.collection.request(),
                held=_held(neighbours),
                on_known=pods.keep_only,
            ),
        )

    def _image_collector(self, neighbours: Neighbours) -> ImageCollector:
        runtime, cluster, ground = neighbours.runtime, neighbours.cluster, self._ground
        return ImageCollector(
            runtime.runtime,
            ground.clock,
            ground.journal,
            ground.events,
            ground.metrics,
            image_policy(ground.loaded),
            # One look serves the Node's list of images, too.
            list_images=runtime.runtime.list_images if cluster is None else cluster.images.look,
            mounted=runtime.view.mounted_images,
            pulled=neighbours.containers.pulled,
            handlers=ground.loaded.gates.enabled("RuntimeClassInImageCriApi"),
        )

    # --- what others ask and tell ---------------------------------------------

    def passed(self) -> bool:
        """Whether all pods of the node were seen, so that one without a worker is an orphan."""
        return self.housekeeping.passed

    def request(self) -> None:
        """Tidy soon."""
        self.housekeeping.request()

    def container_died(self, uid: str) -> None:
        """Trim the dead containers of that pod soon."""
        self._trimmer.request(uid)

    # --- the order of starts --------------------------------------------------

    def pod_stages(self, stages: Stages) -> None:
        """What looks after pods."""
        trimmer, housekeeping = self._trimmer, self.housekeeping
        stages.add(Stage("trimmer", start=called(trimmer.start), stop=trimmer.stop))
        stages.add(Stage("housekeeping", start=called(housekeeping.start), stop=housekeeping.stop))

    def collecting_stages(self, stages: Stages) -> None:
        """What clears away what the runtime has, as long as the daemon runs."""
        rotator = self.log_rotator
        stages.add(Stage("garbage collection", start=self._start_collecting, stop=self._tasks.close))
        stages.add(Stage("log rotation", start=rotator.start, stop=rotator.stop))

    async def _start_collecting(self) -> None:
        pause = self._ground.clock.sleep
        self._tasks.forever("container gc", self.collection.run, pause=pause)
        self._tasks.forever("image gc", self.image_collector.run, pause=pause)


def _held(neighbours: Neighbours) -> Callable[[str], bool]:
    """Whether a source has a pod (UID), though perhaps in a form that cannot be read."""
    cluster = neighbours.cluster
    return lambda uid: cluster is not None and cluster.source.holds(uid)
