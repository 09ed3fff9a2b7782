"""core/v1 Node and what it consists of."""

from datetime import datetime

import msgspec

from .core import ResourceList
from .meta import Obj, ObjectMeta


class Taint(Obj):
    """core/v1 Taint."""

    key: str = ""
    value: str = ""
    effect: str = ""
    timeAdded: datetime | None = None


class NodeSpec(Obj):
    """core/v1 NodeSpec."""

    podCIDR: str = ""
    podCIDRs: list[str] = []
    providerID: str = ""
    unschedulable: bool = False
    taints: list[Taint] = []


class NodeCondition(Obj):
    """core/v1 NodeCondition."""

    type: str = ""
    status: str = ""
    lastHeartbeatTime: datetime | None = None
    lastTransitionTime: datetime | None = None
    reason: str = ""
    message: str = ""


class NodeAddress(Obj):
    """core/v1 NodeAddress."""

    type: str = ""
    address: str = ""


class DaemonEndpoint(Obj, omit_defaults=False):
    """core/v1 DaemonEndpoint; the field has no omitempty and a capital letter."""

    Port: int = 0


class NodeDaemonEndpoints(Obj):
    """core/v1 NodeDaemonEndpoints."""

    kubeletEndpoint: DaemonEndpoint = msgspec.field(default_factory=DaemonEndpoint)


class NodeSwapStatus(Obj):
    """core/v1 NodeSwapStatus."""

    capacity: int | None = None


class NodeSystemInfo(Obj, omit_defaults=False):
    """core/v1 NodeSystemInfo: everything but swap is always written."""

    machineID: str = ""
    systemUUID: str = ""
    bootID: str = ""
    kernelVersion: str = ""
    osImage: str = ""
    containerRuntimeVersion: str = ""
    kubeletVersion: str = ""
    kubeProxyVersion: str = ""
    operatingSystem: str = ""
    architecture: str = ""
    swap: NodeSwapStatus | msgspec.UnsetType | None = msgspec.UNSET


class ContainerImage(Obj):
    """core/v1 ContainerImage."""

    names: list[str] = []
    sizeBytes: int = 0


class AttachedVolume(Obj, omit_defaults=False):
    """core/v1 AttachedVolume."""

    name: str = ""
    devicePath: str = ""


class NodeRuntimeHandlerFeatures(Obj):
    """core/v1 NodeRuntimeHandlerFeatures."""

    recursiveReadOnlyMounts: bool | None = None
    userNamespaces: bool | None = None


class NodeRuntimeHandler(Obj, omit_defaults=False):
    """core/v1 NodeRuntimeHandler; the default handler's name is empty and is written."""

    name: str = ""
    features: NodeRuntimeHandlerFeatures | msgspec.UnsetType | None = msgspec.UNSET


class NodeFeatures(Obj):
    """core/v1 NodeFeatures."""

    supplementalGroupsPolicy: bool | None = None


class NodeStatus(Obj):
    """core/v1 NodeStatus."""

    capacity: ResourceList = {}
    allocatable: ResourceList = {}
    phase: str = ""
    conditions: list[NodeCondition] = []
    addresses: list[NodeAddress] = []
    daemonEndpoints: NodeDaemonEndpoints = msgspec.field(default_factory=NodeDaemonEndpoints)
    nodeInfo: NodeSystemInfo = msgspec.field(default_factory=NodeSystemInfo)
    images: list[ContainerImage] = []
    volumesInUse: list[str] = []
    volumesAttached: list[AttachedVolume] = []
    runtimeHandlers: list[NodeRuntimeHandler] = []
    features: NodeFeatures | None = None
    declaredFeatures: list[str] = []


class Node(Obj):
    """core/v1 Node."""

    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: NodeSpec = msgspec.field(default_factory=NodeSpec)
    status: NodeStatus = msgspec.field(default_factory=NodeStatus)
