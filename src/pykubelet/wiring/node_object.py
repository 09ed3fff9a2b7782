"""The Node as this machine would have it: gathers the facts that the room ``node`` makes its object of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pykubelet import KUBELET_VERSION
from pykubelet.api.node import Node
from pykubelet.base.clock import Clock
from pykubelet.config import Loaded
from pykubelet.node import NodeInfo
from pykubelet.node.addresses import AddressFacts
from pykubelet.node.conditions import Readiness, not_ready_errors
from pykubelet.node.features import declared_features
from pykubelet.node.host import Host
from pykubelet.node.images import ImageList
from pykubelet.node.object import NodeIdentity, bare_node
from pykubelet.node.status import NodeUpdate, StatusFacts, container_runtime_version, updated_node
from pykubelet.wiring.runtime_view import RuntimeView


@dataclass(frozen=True, slots=True)
class VolumeFacts:
    """What volumes have to do with the Node."""

    #: The volumes that the status is to list as in use; None: those that it does.
    in_use: Callable[[], Sequence[str] | None] = lambda: None
    #: Why the node is not ready for pods with volumes.
    errors: Callable[[], Sequence[str]] = tuple


class NodeObject:
    """What is written to the API server of the node, from what is known now."""

    def __init__(
        self,
        loaded: Loaded,
        host: Host,
        node: NodeInfo,
        runtime: RuntimeView,
        clock: Clock,
        images: ImageList,
        addresses: Callable[[], tuple[str, ...]],
        volumes: VolumeFacts = VolumeFacts(),
    ) -> None:
        """*addresses* gives the machine's IPs, the primary one first."""
        config, flags, machine = loaded.config, loaded.flags, host.machine
        self._gates = loaded.gates
        self._node = node
        self._runtime = runtime
        self._clock = clock
        self._images = images
        self._addresses = addresses
        self._volumes = volumes
        external = flags.cloudProvider == "external"
        self._identity = NodeIdentity(
            node.name,
            machine.operating_system,
            machine.architecture,
            labels=flags.nodeLabels,
            taints=node.taints,
            provider_id=config.providerID,
            external_cloud=external,
            controller_attach=config.enableControllerAttachDetach,
        )
        #: What does not change while the daemon runs.
        self._facts = StatusFacts(
            now=clock.now(),
            name=node.name,
            addresses=AddressFacts(node.name, flags.nodeIP, (), external),
            machine=machine,
            capacity=node.capacity,
            allocatable=node.allocatable,
            container_runtime_version="",
            kubelet_version=KUBELET_VERSION,
            port=config.port,
            max_images=config.nodeStatusMaxImages,
            local_storage=config.localStorageCapacityIsolation,
        )

    def initial(self) -> NodeUpdate:
        """The Node to register with."""
        return self.updated(bare_node(self._identity))

    def updated(self, old: Node) -> NodeUpdate:
        """The Node as it should be now, from the Node as it is."""
        runtime, status = self._runtime, self._runtime.status
        facts = replace(
            self._facts,
            now=self._clock.now(),
            addresses=replace(self._facts.addresses, ips=self._addresses()),
            images=self._images.images,
            container_runtime_version=(
                container_runtime_version(runtime.name, runtime.version) if runtime.name else ""
            ),
            runtime_handlers=None if status is None else status.handlers,
            supplemental_groups_policy=None if status is None else status.supplemental_groups_policy,
            declared_features=declared_features(
                self._gates.enabled,
                user_namespaces_host_network=status is not None and status.user_namespaces_host_network,
            ),
            readiness=self._readiness(),
            volumes_in_use=self._volumes.in_use(),
        )
        return updated_node(old, facts)

    def outlook(self) -> object:
        """Whether the node is ready: what is told at once when it changes."""
        return not not_ready_errors(
            self._readiness(), self._node.capacity, local_storage=self._facts.local_storage
        )

    def _readiness(self) -> Readiness:
        return Readiness(
            runtime_errors=self._runtime.errors(),
            network_error=self._runtime.network_error(),
            storage_errors=self._volumes.errors(),
        )
