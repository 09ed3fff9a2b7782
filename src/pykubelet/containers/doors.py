"""The doors of this room: what making a container needs from volumes, managers, node and cluster."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Protocol

from pykubelet.api.auth import TokenRequest
from pykubelet.api.core import Container, Pod, ResourceList
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.objects import Secret, ServiceAccount
from pykubelet.cri.types import RuntimeHandler

_NOTHING: Mapping[str, str] = MappingProxyType({})


class VolumePaths(Protocol):
    """Where a pod's volumes are on this host; the room ``volumes`` implements it."""

    def mounted(self, pod_uid: str) -> Mapping[str, MountedVolume]:
        """The volumes of the pod that are ready now, by their name in the spec."""
        ...

    async def prepare_subpath(
        self, pod_uid: str, volume: MountedVolume, container: str, index: int, subpath: str
    ) -> str:
        """Bind *subpath* of the volume where it cannot be swapped, creating it if missing; its host path.

        *index* is the mount's place in the container's list.

        :raises VolumeError: it leaves the volume, or cannot be made.
        """
        ...


@dataclass(frozen=True, slots=True)
class BindMount:
    """A host path that a contributor wants bound into a container."""

    host_path: str
    container_path: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class HostDevice:
    """A device node of the host for a container; *permissions* as in cgroups (``mrw``)."""

    host_path: str
    container_path: str
    permissions: str


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one manager adds to a container."""

    env: tuple[tuple[str, str], ...] = ()
    mounts: tuple[BindMount, ...] = ()
    devices: tuple[HostDevice, ...] = ()
    cdi_devices: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    #: The container has CPUs of its own: no CFS quota.
    exclusive_cpus: bool = False


class ContainerContributor(Protocol):
    """A manager of devices, CPUs or memory that has a word in a container's making."""

    async def contribute(self, pod: Pod, container: Container) -> Contribution:
        """What the container gets.

        :raises StartError: it cannot be had now.
        """
        ...

    def created(self, pod: Pod, container: Container, container_id: str) -> None:
        """The runtime made the container; it does not run yet."""
        ...

    def removed(self, container_id: str) -> None:
        """The runtime no longer has the container."""
        ...


class Objects(Protocol):
    """Secrets and config maps, as the cluster has them."""

    async def config_map(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """Its data; None when there is no such config map.

        :raises LookupError: it cannot be known now; the text goes to the container's status.
        """
        ...

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """Its data; None when there is no such secret.

        :raises LookupError: it cannot be known now; the text goes to the container's status.
        """
        ...


class NoObjects:
    """The answer where there is no cluster."""

    async def config_map(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """See :class:`Objects`."""
        raise LookupError(f"couldn't get configMap {namespace}/{name}, no kubeClient defined")

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """See :class:`Objects`."""
        raise LookupError(f"couldn't get secret {namespace}/{name}, no kubeClient defined")


class PullSecrets(Protocol):
    """Whole secrets, which images are pulled with."""

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """The secret; None when there is no such secret.

        :raises LookupError: it cannot be known now.
        """
        ...


class NoPullSecrets:
    """The answer where there is no cluster."""

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """See :class:`PullSecrets`."""
        raise LookupError(f"couldn't get secret {namespace}/{name}, no kubeClient defined")


class PullRecords(Protocol):
    """Who pulled which image; :class:`~pykubelet.containers.pulled.PulledImages` implements it."""

    async def prune(self, refs: Collection[str], before: datetime) -> None:
        """Forget all images but *refs*, the IDs of those that the runtime had at *before*.

        What was noted since *before* stays.
        """
        ...


class ServiceAccounts(Protocol):
    """Service accounts and their tokens, for plug-ins that log in at registries as pods' accounts."""

    async def service_account(self, namespace: str, name: str) -> ServiceAccount:
        """The service account, as the API server has it now.

        :raises LookupError: there is none, or it cannot be known; with upstream's text.
        """
        ...

    async def token(self, namespace: str, service_account: str, request: TokenRequest) -> TokenRequest:
        """The answer to *request*, from the cache while that is good.

        :raises LookupError: none can be had; with upstream's text.
        """
        ...


class NoServiceAccounts:
    """The answer where there is no cluster."""

    async def service_account(self, namespace: str, name: str) -> ServiceAccount:
        """See :class:`ServiceAccounts`."""
        raise LookupError("cannot get ServiceAccounts when kubelet is in standalone mode")

    async def token(self, namespace: str, service_account: str, request: TokenRequest) -> TokenRequest:
        """See :class:`ServiceAccounts`."""
        raise LookupError("cannot use TokenManager when kubelet is in standalone mode")


class Services(Protocol):
    """The variables that tell containers of the cluster's services."""

    def environment(self, namespace: str, *, links: bool) -> Mapping[str, str] | None:
        """Variables for pods of *namespace*; None while services have never been read."""
        ...


class NoServices:
    """The answer where there is no cluster: no variables."""

    def environment(self, namespace: str, *, links: bool) -> Mapping[str, str] | None:
        """See :class:`Services`."""
        return {}


class RuntimeClasses(Protocol):
    """Which runtime handler a RuntimeClass stands for."""

    def handler(self, name: str | None) -> str:
        """The handler; ``""`` for no class.

        :raises LookupError: there is no such class.
        """
        ...


class NoRuntimeClasses:
    """The answer where there is no cluster: only the default handler exists."""

    def handler(self, name: str | None) -> str:
        """See :class:`RuntimeClasses`."""
        if not name:
            return ""
        # A pod that asks for a sandboxed runtime must not silently get the plain one.
        raise LookupError(f'runtimeclass.node.k8s.io "{name}" not found')


class UserNamespaces(Protocol):
    """Host IDs for pods that run in a user namespace of their own."""

    async def mapping(self, pod: Pod) -> tuple[int, int]:
        """First host ID and number of IDs of the pod's range; the same for users and groups.

        :raises LookupError: no range can be had.
        :raises OSError: it cannot be kept on disk.
        """
        ...


class NodeView(Protocol):
    """The facts about this node that containers are told or computed from."""

    @property
    def name(self) -> str:
        """The node's name."""
        ...

    @property
    def host_ips(self) -> Sequence[str]:
        """The node's IPs, the primary one first."""
        ...

    @property
    def allocatable(self) -> ResourceList:
        """What pods may use altogether."""
        ...

    @property
    def memory_capacity(self) -> int:
        """The machine's memory in bytes."""
        ...

    @property
    def swap_capacity(self) -> int:
        """The machine's swap in bytes."""
        ...

    @property
    def huge_page_sizes(self) -> Sequence[str]:
        """Sizes of huge pages that the kernel offers, as CRI writes them (``2MB``)."""
        ...

    def runtime_handler(self, name: str) -> RuntimeHandler | None:
        """What the runtime tells of one of its handlers; None when it tells nothing."""
        ...
