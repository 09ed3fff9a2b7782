"""Telling the runtime that a container, or a pod as a whole, has other resources from now on."""

from pykubelet.api.core import Container, Pod, ResourceRequirements
from pykubelet.api.qos import qos_class
from pykubelet.cri.door import Runtime
from pykubelet.cri.errors import Code, CriError
from pykubelet.linux.cgroups import Limits

from .doors import NodeView
from .linux_resources import MachineFacts, sandbox_resources, updated_resources
from .sandbox_config import overhead_resources
from .settings import ContainerSettings


class ResourceUpdates:
    """Implements the door ``ResourceUpdater`` of pods' workers on a container runtime."""

    def __init__(self, runtime: Runtime, settings: ContainerSettings, node: NodeView) -> None:
        self._runtime = runtime
        self._settings = settings
        self._node = node

    async def update_container(
        self,
        pod: Pod,
        container: Container,
        container_id: str,
        resources: ResourceRequirements,
        before: ResourceRequirements,
    ) -> None:
        """See :class:`pykubelet.pods.doors.ResourceUpdater`."""
        machine = MachineFacts(
            self._node.memory_capacity, self._node.swap_capacity, self._node.huge_page_sizes
        )
        qos = qos_class(pod)
        numbers = updated_resources(pod, container, resources, before, qos, self._settings, machine)
        await self._runtime.update_container_resources(container_id, numbers)

    async def update_sandbox(self, pod: Pod, sandbox_id: str, limits: Limits) -> None:
        """See :class:`pykubelet.pods.doors.ResourceUpdater`."""
        overhead = overhead_resources(pod, self._settings)
        resources = sandbox_resources(pod, limits)
        try:
            await self._runtime.update_sandbox_resources(sandbox_id, overhead, resources)
        except CriError as error:
            # containerd 2.2 says so in words only.
            said = error.code is Code.Unknown and "not implemented" in error.message
            if error.code is not Code.Unimplemented and not said:
                raise
