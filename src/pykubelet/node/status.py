"""The whole NodeStatus, made of what is known of the node. Pure.

Source: the setters in upstream's ``pkg/kubelet/nodestatus``, in their order. What others
wrote into the Node (foreign conditions, cluster-wide extended resources) stays.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec

from pykubelet.api.core import ResourceList
from pykubelet.api.node import (
    DaemonEndpoint,
    Node,
    NodeDaemonEndpoints,
    NodeFeatures,
    NodeRuntimeHandler,
    NodeRuntimeHandlerFeatures,
    NodeStatus,
    NodeSwapStatus,
    NodeSystemInfo,
)
from pykubelet.api.quantity import Quantity
from pykubelet.api.resources import is_extended
from pykubelet.api.wellknown import LABEL_ARCH, LABEL_OS
from pykubelet.cri.types import Image, RuntimeHandler
from pykubelet.linux.machine import Machine

from .addresses import AddressFacts, addresses, annotations
from .conditions import NodeEvent, Pressure, Readiness, updated_conditions
from .images import reported_images

_VERSION: Final = re.compile(r"\s*v?(\d+(?:\.\d+)*)(.*)", re.ASCII | re.DOTALL)
_SUFFIX: Final = re.compile(r"(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class StatusFacts:
    """What a NodeStatus is made of."""

    now: datetime
    name: str
    addresses: AddressFacts
    machine: Machine
    #: This node's own resources, without those of others.
    capacity: ResourceList
    allocatable: ResourceList
    #: ``containerd://2.1.0``.
    container_runtime_version: str
    #: ``v1.36.2``.
    kubelet_version: str
    #: The port of the kubelet's API.
    port: int
    #: None until they were looked at.
    images: Sequence[Image] | None = None
    #: ``nodeStatusMaxImages``; -1 for all.
    max_images: int = 50
    #: None until the runtime told its status.
    runtime_handlers: Sequence[RuntimeHandler] | None = None
    #: None when the runtime does not tell its features.
    supplemental_groups_policy: bool | None = None
    declared_features: Sequence[str] = ()
    pressure: Pressure = field(default_factory=Pressure)
    readiness: Readiness = field(default_factory=Readiness)
    #: ``localStorageCapacityIsolation``.
    local_storage: bool = True
    #: None until it is known which volumes an earlier life left mounted.
    volumes_in_use: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class NodeUpdate:
    """The Node as it should be, and what is to be told once it is."""

    node: Node
    events: tuple[NodeEvent, ...] = ()


def updated_node(old: Node, facts: StatusFacts) -> NodeUpdate:
    """*old* with the status, labels and annotations that follow from *facts*."""
    labels = {
        **old.metadata.labels,
        LABEL_OS: facts.machine.operating_system,
        LABEL_ARCH: facts.machine.architecture,
    }
    status, events = updated_status(old.status, facts)
    metadata = msgspec.structs.replace(
        old.metadata, labels=labels, annotations=annotations(old.metadata.annotations, facts.addresses)
    )
    return NodeUpdate(msgspec.structs.replace(old, metadata=metadata, status=status), tuple(events))


def updated_status(old: NodeStatus, facts: StatusFacts) -> tuple[NodeStatus, list[NodeEvent]]:
    """The status after *old*, and the events of what changed."""
    now = facts.now.replace(microsecond=0)
    capacity = {**old.capacity, **facts.capacity}
    conditions, events = updated_conditions(
        facts.name,
        old.conditions,
        facts.pressure,
        facts.readiness,
        capacity,
        now,
        local_storage=facts.local_storage,
    )
    known_boot, boot = old.nodeInfo.bootID, facts.machine.boot_id
    if known_boot and known_boot != boot:
        text = f"Node {facts.name} has been rebooted, boot id: {boot}"
        events.insert(0, NodeEvent("Warning", "Rebooted", text))
    told, handlers = facts.supplemental_groups_policy, facts.runtime_handlers
    status = msgspec.structs.replace(
        old,
        capacity=capacity,
        allocatable=merged_allocatable(old.allocatable, capacity, facts),
        conditions=conditions,
        addresses=addresses(old.addresses, facts.addresses),
        daemonEndpoints=NodeDaemonEndpoints(kubeletEndpoint=DaemonEndpoint(Port=facts.port)),
        nodeInfo=system_info(facts),
        images=old.images if facts.images is None else reported_images(facts.images, facts.max_images),
        volumesInUse=old.volumesInUse if facts.volumes_in_use is None else list(facts.volumes_in_use),
        runtimeHandlers=old.runtimeHandlers if handlers is None else runtime_handlers(handlers),
        features=old.features if told is None else NodeFeatures(supplementalGroupsPolicy=told),
        declaredFeatures=list(facts.declared_features),
    )
    return status, events


def merged_allocatable(old: ResourceList, capacity: ResourceList, facts: StatusFacts) -> ResourceList:
    """What pods may request: of foreign resources all there is, unless they are there no more."""
    kept = {name: amount for name, amount in old.items() if name in capacity or not is_extended(name)}
    foreign = {name: _floor(amount) for name, amount in capacity.items() if name not in facts.capacity}
    return {**kept, **foreign, **facts.allocatable}


def _floor(amount: Quantity) -> Quantity:
    return amount if amount > Quantity.zero() else Quantity(0, amount.format)


def system_info(facts: StatusFacts) -> NodeSystemInfo:
    """What machine and software the node is."""
    machine = facts.machine
    return NodeSystemInfo(
        machineID=machine.machine_id,
        systemUUID=machine.system_uuid,
        bootID=machine.boot_id,
        kernelVersion=machine.kernel_version,
        osImage=machine.os_image,
        containerRuntimeVersion=facts.container_runtime_version,
        kubeletVersion=facts.kubelet_version,
        operatingSystem=machine.operating_system,
        architecture=machine.architecture,
        swap=NodeSwapStatus(capacity=machine.swap) if machine.swap else msgspec.UNSET,
    )


def runtime_handlers(handlers: Sequence[RuntimeHandler]) -> list[NodeRuntimeHandler]:
    """What the runtime's handlers can do, in the order of their names."""
    return [
        NodeRuntimeHandler(
            name=handler.name,
            features=NodeRuntimeHandlerFeatures(
                recursiveReadOnlyMounts=handler.recursive_read_only_mounts,
                userNamespaces=handler.user_namespaces,
            ),
        )
        for handler in sorted(handlers, key=lambda handler: handler.name)
    ]


def container_runtime_version(name: str, version: str) -> str:
    """``containerd://2.1.0``: the name and the version without a ``v``, as upstream parses it.

    A semantic version keeps its suffix (``2.0.0-rc.1``), anything else loses it (``1.6.20~ds1``);
    what is no version at all is ``Unknown``.
    """
    match = _VERSION.fullmatch(version)
    if match is None or "." not in match[1]:
        return f"{name}://Unknown"
    parts = [part.lstrip("0") or "0" for part in match[1].split(".")]
    semantic = len(parts) == 3 and parts == match[1].split(".") and _SUFFIX.fullmatch(match[2]) is not None
    return f"{name}://{'.'.join(parts)}{match[2] if semantic else ''}"
