"""The room ``containers``, built and joined: what makes containers and images, and what clears them away."""

from collections.abc import Awaitable, Callable
from functools import partial

from pykubelet.api.core import Pod
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Events, Journal
from pykubelet.base.layout import Layout
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import Stage, Stages, TaskOwner
from pykubelet.config import Loaded
from pykubelet.containers.doors import (
    NoObjects,
    NoPullSecrets,
    NoRuntimeClasses,
    NoServiceAccounts,
    NoServices,
    UserNamespaces,
    VolumePaths,
)
from pykubelet.containers.gc import ContainerGC
from pykubelet.containers.image_collector import ImageCollector
from pykubelet.containers.log_rotator import LogRotator
from pykubelet.containers.settings import ContainerSettings
from pykubelet.containers.starter import Starter
from pykubelet.cri.door import Runtime
from pykubelet.node import NodeInfo
from pykubelet.pods.crashloop import CrashLoop
from pykubelet.wiring.container_collection import ContainerCollection
from pykubelet.wiring.image_pulls import ImagePulls
from pykubelet.wiring.membership import Membership
from pykubelet.wiring.removal import Removal
from pykubelet.wiring.runtime_view import RuntimeView
from pykubelet.wiring.settings import gc_policy, image_policy, rotation_policy


class ContainerRoom:
    """What makes containers; with :meth:`collect` also what collects dead ones, images and logs."""

    def __init__(
        self,
        loaded: Loaded,
        layout: Layout,
        clock: Clock,
        journal: Journal,
        events: Events,
        metrics: Metrics,
        runtime: Runtime,
        settings: ContainerSettings,
        volumes: VolumePaths,
        node: NodeInfo,
        cgroup_parent: Callable[[Pod], str],
        user_namespaces: UserNamespaces,
        cluster: Membership | None,
    ) -> None:
        self._loaded = loaded
        self._layout = layout
        self._clock = clock
        self._journal = journal
        self._events = events
        self._metrics = metrics
        self._runtime = runtime
        self._cluster = cluster
        self._tasks = TaskOwner("containers")
        self._pulls = ImagePulls(
            loaded,
            layout,
            clock,
            journal,
            events,
            metrics,
            NoPullSecrets() if cluster is None else cluster.objects,
            NoServiceAccounts() if cluster is None else cluster.service_accounts,
        )
        self.starter = Starter(
            runtime,
            layout,
            clock,
            journal,
            events,
            settings,
            volumes,
            node,
            cgroup_parent,
            objects=NoObjects() if cluster is None else cluster.container_objects,
            services=NoServices() if cluster is None else cluster.services,
            runtime_classes=NoRuntimeClasses() if cluster is None else cluster.runtime_classes,
            user_namespaces=user_namespaces,
            metrics=metrics,
            credentials=self._pulls.credentials,
            pulled=self._pulls.pulled,
        )

    def collect(
        self,
        removal: Removal,
        view: RuntimeView,
        crash_loop: CrashLoop,
        *,
        first_pass: Callable[[float], Awaitable[None]],
        sources_ready: Callable[[], bool],
    ) -> None:
        """Build the collectors; *removal* tells what may go, *view* what is in use."""
        self.gc = ContainerGC(
            self._runtime,
            self._layout,
            self._clock,
            self._journal,
            gc_policy(self._loaded),
            removal,
            self.starter,
        )
        self.collection = ContainerCollection(
            self.gc,
            crash_loop,
            self._clock,
            self._events,
            first_pass=first_pass,
            sources_ready=sources_ready,
        )
        self.image_collector = ImageCollector(
            self._runtime,
            self._clock,
            self._journal,
            self._events,
            self._metrics,
            image_policy(self._loaded),
            # One look serves the Node's list of images, too.
            list_images=self._runtime.list_images if self._cluster is None else self._cluster.images.look,
            mounted=view.mounted_images,
            pulled=self._pulls.pulled,
            handlers=self._loaded.gates.enabled("RuntimeClassInImageCriApi"),
        )
        self.log_rotator = LogRotator(
            self._runtime,
            self._clock,
            self._journal,
            self._metrics,
            rotation_policy(self._loaded.config),
            view.running_logs,
        )

    # --- the order of starts --------------------------------------------------

    def early_stages(self, stages: Stages) -> None:
        """What comes before the runtime was seen."""
        pulls = self._pulls
        stages.add(Stage("credential providers", start=pulls.start_providers, stop=pulls.credentials.stop))
        stages.add(Stage("resolver check", start=self.starter.check_resolver))

    def record_stages(self, stages: Stages) -> None:
        """What must be known of images before the first container is made."""
        start = partial(self._pulls.start_records, self._runtime)
        stages.add(Stage("pull records", start=start, stop=self._pulls.stop_records))

    def collecting_stages(self, stages: Stages) -> None:
        """What clears away, as long as the daemon runs."""
        rotator = self.log_rotator
        stages.add(Stage("garbage collection", start=self._start_collecting, stop=self._tasks.close))
        stages.add(Stage("log rotation", start=rotator.start, stop=rotator.stop))

    async def _start_collecting(self) -> None:
        self._tasks.forever("container gc", self.collection.run, pause=self._clock.sleep)
        self._tasks.forever("image gc", self.image_collector.run, pause=self._clock.sleep)
