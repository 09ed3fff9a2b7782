"""The facts about this node that others are told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pykubelet.api.core import ResourceList
from pykubelet.api.node import Node, Taint
from pykubelet.cri.types import RuntimeHandler, RuntimeStatus

from .addresses import host_ips


@dataclass(slots=True)
class NodeInfo:
    """What is known of the node; the runtime's part follows its last status."""

    name: str
    #: The node's IPs, the primary one first.
    host_ips: tuple[str, ...]
    capacity: ResourceList
    allocatable: ResourceList
    #: Bytes.
    memory_capacity: int
    swap_capacity: int
    #: As CRI writes them (``2MB``).
    huge_page_sizes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    runtime_status: Callable[[], RuntimeStatus | None] = lambda: None

    def runtime_handler(self, name: str) -> RuntimeHandler | None:
        """What the runtime tells of one of its handlers; None when it tells nothing."""
        status = self.runtime_status()
        if status is None:
            return None
        return next((handler for handler in status.handlers if handler.name == name), None)

    @property
    def supplemental_groups_policy(self) -> bool:
        """Whether the runtime keeps to ``supplementalGroupsPolicy: Strict``."""
        status = self.runtime_status()
        return status is not None and bool(status.supplemental_groups_policy)

    @property
    def ipv6_first(self) -> bool:
        """Whether the primary IP is IPv6."""
        return bool(self.host_ips) and ":" in self.host_ips[0]

    def follow(self, node: Node) -> None:
        """Take over what the API's Node says and others may have written: addresses, labels, taints.

        *capacity* and *allocatable* stay: they are this machine's own, from which the Node's are made.
        """
        self.host_ips = host_ips(node.status.addresses) or self.host_ips
        self.labels = node.metadata.labels
        self.taints = tuple(node.spec.taints)
