"""What pods' claims lead to: core/v1 claims and persistent volumes, storage.k8s.io/v1 objects.

Persistent volumes of in-tree types that are gone are kept as they came.
"""

from datetime import datetime
from typing import Any

import msgspec

from .cloud_volumes import (
    AWSElasticBlockStoreVolumeSource,
    AzureDiskVolumeSource,
    GCEPersistentDiskVolumeSource,
    PortworxVolumeSource,
    VsphereVirtualDiskVolumeSource,
)
from .core import NodeSelector
from .events import ObjectReference
from .meta import Obj, ObjectMeta
from .quantity import Quantity
from .volumes import HostPathVolumeSource, NFSVolumeSource


class SecretReference(Obj):
    """core/v1 SecretReference."""

    name: str = ""
    namespace: str = ""


class VolumeResourceRequirements(Obj):
    """core/v1 VolumeResourceRequirements."""

    limits: dict[str, Quantity] = {}
    requests: dict[str, Quantity] = {}


class PersistentVolumeClaimSpec(Obj):
    """core/v1 PersistentVolumeClaimSpec, as far as a node reads it."""

    accessModes: list[str] = []
    resources: VolumeResourceRequirements = msgspec.field(default_factory=VolumeResourceRequirements)
    volumeName: str = ""
    storageClassName: str | None = None
    volumeMode: str | None = None
    volumeAttributesClassName: str | None = None


class PersistentVolumeClaimCondition(Obj):
    """core/v1 PersistentVolumeClaimCondition."""

    type: str = ""
    status: str = ""
    lastProbeTime: datetime | None = None
    lastTransitionTime: datetime | None = None
    reason: str = ""
    message: str = ""


class PersistentVolumeClaimStatus(Obj):
    """core/v1 PersistentVolumeClaimStatus."""

    phase: str = ""
    accessModes: list[str] = []
    capacity: dict[str, Quantity] = {}
    conditions: list[PersistentVolumeClaimCondition] = []
    allocatedResources: dict[str, Quantity] = {}
    allocatedResourceStatuses: dict[str, str] = {}
    currentVolumeAttributesClassName: str | None = None


class PersistentVolumeClaim(Obj):
    """core/v1 PersistentVolumeClaim."""

    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: PersistentVolumeClaimSpec = msgspec.field(default_factory=PersistentVolumeClaimSpec)
    status: PersistentVolumeClaimStatus = msgspec.field(default_factory=PersistentVolumeClaimStatus)


class CSIPersistentVolumeSource(Obj):
    """core/v1 CSIPersistentVolumeSource."""

    driver: str = ""
    volumeHandle: str = ""
    readOnly: bool = False
    fsType: str = ""
    volumeAttributes: dict[str, str] = {}
    controllerPublishSecretRef: SecretReference | None = None
    nodeStageSecretRef: SecretReference | None = None
    nodePublishSecretRef: SecretReference | None = None
    controllerExpandSecretRef: SecretReference | None = None
    nodeExpandSecretRef: SecretReference | None = None


class LocalVolumeSource(Obj):
    """core/v1 LocalVolumeSource."""

    path: str = ""
    fsType: str | None = None


class AzureFilePersistentVolumeSource(Obj):
    """core/v1 AzureFilePersistentVolumeSource."""

    secretName: str = ""
    shareName: str = ""
    readOnly: bool = False
    secretNamespace: str | None = None


class CinderPersistentVolumeSource(Obj):
    """core/v1 CinderPersistentVolumeSource."""

    volumeID: str = ""
    fsType: str = ""
    readOnly: bool = False
    secretRef: SecretReference | None = None


class VolumeNodeAffinity(Obj):
    """core/v1 VolumeNodeAffinity."""

    required: NodeSelector | None = None


class PersistentVolumeSpec(Obj):
    """core/v1 PersistentVolumeSpec."""

    capacity: dict[str, Quantity] = {}
    accessModes: list[str] = []
    claimRef: ObjectReference | None = None
    persistentVolumeReclaimPolicy: str = ""
    storageClassName: str = ""
    mountOptions: list[str] = []
    volumeMode: str | None = None
    nodeAffinity: VolumeNodeAffinity | None = None
    csi: CSIPersistentVolumeSource | None = None
    local: LocalVolumeSource | None = None
    hostPath: HostPathVolumeSource | None = None
    nfs: NFSVolumeSource | None = None
    awsElasticBlockStore: AWSElasticBlockStoreVolumeSource | None = None
    azureDisk: AzureDiskVolumeSource | None = None
    azureFile: AzureFilePersistentVolumeSource | None = None
    cephfs: dict[str, Any] | None = None
    cinder: CinderPersistentVolumeSource | None = None
    fc: dict[str, Any] | None = None
    flexVolume: dict[str, Any] | None = None
    flocker: dict[str, Any] | None = None
    gcePersistentDisk: GCEPersistentDiskVolumeSource | None = None
    glusterfs: dict[str, Any] | None = None
    iscsi: dict[str, Any] | None = None
    photonPersistentDisk: dict[str, Any] | None = None
    portworxVolume: PortworxVolumeSource | None = None
    quobyte: dict[str, Any] | None = None
    rbd: dict[str, Any] | None = None
    scaleIO: dict[str, Any] | None = None
    storageos: dict[str, Any] | None = None
    vsphereVolume: VsphereVirtualDiskVolumeSource | None = None


class PersistentVolumeStatus(Obj):
    """core/v1 PersistentVolumeStatus."""

    phase: str = ""


class PersistentVolume(Obj):
    """core/v1 PersistentVolume."""

    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: PersistentVolumeSpec = msgspec.field(default_factory=PersistentVolumeSpec)
    status: PersistentVolumeStatus = msgspec.field(default_factory=PersistentVolumeStatus)


class CSITokenRequest(Obj):
    """storage.k8s.io/v1 TokenRequest of a CSIDriver."""

    audience: str = ""
    expirationSeconds: int | None = None


class CSIDriverSpec(Obj):
    """storage.k8s.io/v1 CSIDriverSpec; None is the API server's business to fill in."""

    attachRequired: bool | None = None
    podInfoOnMount: bool | None = None
    volumeLifecycleModes: list[str] = []
    fsGroupPolicy: str | None = None
    tokenRequests: list[CSITokenRequest] = []
    requiresRepublish: bool | None = None
    seLinuxMount: bool | None = None
    nodeAllocatableUpdatePeriodSeconds: int | None = None
    serviceAccountTokenInSecrets: bool | None = None


class CSIDriver(Obj):
    """storage.k8s.io/v1 CSIDriver."""

    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: CSIDriverSpec = msgspec.field(default_factory=CSIDriverSpec)


class VolumeNodeResources(Obj):
    """storage.k8s.io/v1 VolumeNodeResources."""

    count: int | None = None


class CSINodeDriver(Obj, omit_defaults=False):
    """storage.k8s.io/v1 CSINodeDriver."""

    name: str = ""
    nodeID: str = ""
    topologyKeys: list[str] | None = None
    allocatable: VolumeNodeResources | None = None


class CSINodeSpec(Obj, omit_defaults=False):
    """storage.k8s.io/v1 CSINodeSpec."""

    drivers: list[CSINodeDriver] = []


class CSINode(Obj):
    """storage.k8s.io/v1 CSINode."""

    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: CSINodeSpec = msgspec.field(default_factory=CSINodeSpec)


class VolumeAttachmentSource(Obj):
    """storage.k8s.io/v1 VolumeAttachmentSource."""

    persistentVolumeName: str | None = None


class VolumeAttachmentSpec(Obj):
    """storage.k8s.io/v1 VolumeAttachmentSpec."""

    attacher: str = ""
    nodeName: str = ""
    source: VolumeAttachmentSource = msgspec.field(default_factory=VolumeAttachmentSource)


class VolumeAttachError(Obj):
    """storage.k8s.io/v1 VolumeError."""

    time: datetime | None = None
    message: str = ""
    errorCode: int | None = None


class VolumeAttachmentStatus(Obj):
    """storage.k8s.io/v1 VolumeAttachmentStatus."""

    attached: bool = False
    attachmentMetadata: dict[str, str] = {}
    attachError: VolumeAttachError | None = None
    detachError: VolumeAttachError | None = None


class VolumeAttachment(Obj):
    """storage.k8s.io/v1 VolumeAttachment."""

    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: VolumeAttachmentSpec = msgspec.field(default_factory=VolumeAttachmentSpec)
    status: VolumeAttachmentStatus = msgspec.field(default_factory=VolumeAttachmentStatus)
