"""The room ``containers``, built and joined: what makes containers and pulls their images."""

from collections.abc import Callable
from functools import partial

from pykubelet.api.core import Pod
from pykubelet.base.tasks import Stage, Stages
from pykubelet.containers.doors import (
    NoObjects,
    NoPullSecrets,
    NoRuntimeClasses,
    NoServiceAccounts,
    NoServices,
    UserNamespaces,
    VolumePaths,
)
from pykubelet.containers.pulled import PulledImages
from pykubelet.containers.starter import Starter
from pykubelet.cri.door import Runtime
from pykubelet.node import NodeInfo
from pykubelet.wiring.ground import Ground
from pykubelet.wiring.image_pulls import ImagePulls
from pykubelet.wiring.membership import Membership
from pykubelet.wiring.settings import container_settings


class ContainerRoom:
    """What makes containers; without a cluster there are no objects, services or classes to ask for."""

    def __init__(
        self,
        ground: Ground,
        runtime: Runtime,
        volumes: VolumePaths,
        node: NodeInfo,
        cgroup_parent: Callable[[Pod], str],
        user_namespaces: UserNamespaces,
        cluster: Membership | None,
    ) -> None:
        self._runtime = runtime
        self.settings = container_settings(ground.loaded, ground.host)
        self._pulls = ImagePulls(
            ground.loaded,
            ground.layout,
            ground.clock,
            ground.journal,
            ground.events,
            ground.metrics,
            NoPullSecrets() if cluster is None else cluster.objects,
            NoServiceAccounts() if cluster is None else cluster.service_accounts,
        )
        self.starter = Starter(
            runtime,
            ground.layout,
            ground.clock,
            ground.journal,
            ground.events,
            self.settings,
            volumes,
            node,
            cgroup_parent,
            objects=NoObjects() if cluster is None else cluster.container_objects,
            services=NoServices() if cluster is None else cluster.services,
            runtime_classes=NoRuntimeClasses() if cluster is None else cluster.runtime_classes,
            user_namespaces=user_namespaces,
            metrics=ground.metrics,
            credentials=self._pulls.credentials,
            pulled=self._pulls.pulled,
        )

    @property
    def pulled(self) -> PulledImages | None:
        """Who pulled which image; None when every pod may use every image that is on the node."""
        return self._pulls.pulled

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
