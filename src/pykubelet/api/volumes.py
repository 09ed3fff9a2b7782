"""core/v1 volume sources as a pod names them."""

from typing import Any

import msgspec

from .cloud_volumes import (
    AWSElasticBlockStoreVolumeSource,
    AzureDiskVolumeSource,
    AzureFileVolumeSource,
    CinderVolumeSource,
    GCEPersistentDiskVolumeSource,
    PortworxVolumeSource,
    VsphereVirtualDiskVolumeSource,
)
from .meta import LabelSelector, LocalObjectReference, Obj, ObjectMeta
from .quantity import Quantity


class KeyToPath(Obj):
    """core/v1 KeyToPath."""

    key: str = ""
    path: str = ""
    mode: int | None = None


class EmptyDirVolumeSource(Obj):
    """core/v1 EmptyDirVolumeSource."""

    medium: str = ""
    sizeLimit: Quantity | None = None


class HostPathVolumeSource(Obj):
    """core/v1 HostPathVolumeSource."""

    path: str = ""
    type: str | None = None


class SecretVolumeSource(Obj):
    """core/v1 SecretVolumeSource."""

    secretName: str = ""
    items: list[KeyToPath] = []
    defaultMode: int | None = None
    optional: bool | None = None


class ConfigMapVolumeSource(Obj):
    """core/v1 ConfigMapVolumeSource."""

    name: str = ""
    items: list[KeyToPath] = []
    defaultMode: int | None = None
    optional: bool | None = None


class ObjectFieldSelector(Obj):
    """core/v1 ObjectFieldSelector."""

    apiVersion: str = ""
    fieldPath: str = ""


class ResourceFieldSelector(Obj):
    """core/v1 ResourceFieldSelector."""

    containerName: str = ""
    resource: str = ""
    divisor: Quantity | None = None


class DownwardAPIVolumeFile(Obj):
    """core/v1 DownwardAPIVolumeFile."""

    path: str = ""
    fieldRef: ObjectFieldSelector | None = None
    resourceFieldRef: ResourceFieldSelector | None = None
    mode: int | None = None


class DownwardAPIVolumeSource(Obj):
    """core/v1 DownwardAPIVolumeSource."""

    items: list[DownwardAPIVolumeFile] = []
    defaultMode: int | None = None


class SecretProjection(Obj):
    """core/v1 SecretProjection."""

    name: str = ""
    items: list[KeyToPath] = []
    optional: bool | None = None


class ConfigMapProjection(Obj):
    """core/v1 ConfigMapProjection."""

    name: str = ""
    items: list[KeyToPath] = []
    optional: bool | None = None


class DownwardAPIProjection(Obj):
    """core/v1 DownwardAPIProjection."""

    items: list[DownwardAPIVolumeFile] = []


class ServiceAccountTokenProjection(Obj):
    """core/v1 ServiceAccountTokenProjection."""

    audience: str = ""
    expirationSeconds: int | None = None
    path: str = ""


class ClusterTrustBundleProjection(Obj):
    """core/v1 ClusterTrustBundleProjection."""

    name: str | None = None
    signerName: str | None = None
    labelSelector: LabelSelector | None = None
    optional: bool | None = None
    path: str = ""


class PodCertificateProjection(Obj):
    """core/v1 PodCertificateProjection."""

    signerName: str = ""
    keyType: str = ""
    maxExpirationSeconds: int | None = None
    credentialBundlePath: str = ""
    keyPath: str = ""
    certificateChainPath: str = ""
    userAnnotations: dict[str, str] = {}


class VolumeProjection(Obj):
    """core/v1 VolumeProjection: one source of a projected volume."""

    secret: SecretProjection | None = None
    downwardAPI: DownwardAPIProjection | None = None
    configMap: ConfigMapProjection | None = None
    serviceAccountToken: ServiceAccountTokenProjection | None = None
    clusterTrustBundle: ClusterTrustBundleProjection | None = None
    podCertificate: PodCertificateProjection | None = None


class ProjectedVolumeSource(Obj):
    """core/v1 ProjectedVolumeSource."""

    sources: list[VolumeProjection] = []
    defaultMode: int | None = None


class PersistentVolumeClaimVolumeSource(Obj):
    """core/v1 PersistentVolumeClaimVolumeSource."""

    claimName: str = ""
    readOnly: bool = False


class PersistentVolumeClaimTemplate(Obj):
    """core/v1 PersistentVolumeClaimTemplate; the spec belongs to a controller and is kept as it came."""

    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: dict[str, Any] = {}


class EphemeralVolumeSource(Obj):
    """core/v1 EphemeralVolumeSource."""

    volumeClaimTemplate: PersistentVolumeClaimTemplate | None = None


class CSIVolumeSource(Obj):
    """core/v1 CSIVolumeSource (inline)."""

    driver: str = ""
    readOnly: bool | None = None
    fsType: str | None = None
    volumeAttributes: dict[str, str] = {}
    nodePublishSecretRef: LocalObjectReference | None = None


class NFSVolumeSource(Obj):
    """core/v1 NFSVolumeSource."""

    server: str = ""
    path: str = ""
    readOnly: bool = False


class ImageVolumeSource(Obj):
    """core/v1 ImageVolumeSource."""

    reference: str = ""
    pullPolicy: str = ""


class Volume(Obj):
    """core/v1 Volume. In-tree sources that are gone or rare are kept as they came."""

    name: str = ""
    emptyDir: EmptyDirVolumeSource | None = None
    hostPath: HostPathVolumeSource | None = None
    secret: SecretVolumeSource | None = None
    configMap: ConfigMapVolumeSource | None = None
    downwardAPI: DownwardAPIVolumeSource | None = None
    projected: ProjectedVolumeSource | None = None
    persistentVolumeClaim: PersistentVolumeClaimVolumeSource | None = None
    ephemeral: EphemeralVolumeSource | None = None
    csi: CSIVolumeSource | None = None
    nfs: NFSVolumeSource | None = None
    image: ImageVolumeSource | None = None
    awsElasticBlockStore: AWSElasticBlockStoreVolumeSource | None = None
    azureDisk: AzureDiskVolumeSource | None = None
    azureFile: AzureFileVolumeSource | None = None
    cephfs: dict[str, Any] | None = None
    cinder: CinderVolumeSource | None = None
    fc: dict[str, Any] | None = None
    flexVolume: dict[str, Any] | None = None
    flocker: dict[str, Any] | None = None
    gcePersistentDisk: GCEPersistentDiskVolumeSource | None = None
    gitRepo: dict[str, Any] | None = None
    glusterfs: dict[str, Any] | None = None
    iscsi: dict[str, Any] | None = None
    photonPersistentDisk: dict[str, Any] | None = None
    portworxVolume: PortworxVolumeSource | None = None
    quobyte: dict[str, Any] | None = None
    rbd: dict[str, Any] | None = None
    scaleIO: dict[str, Any] | None = None
    storageos: dict[str, Any] | None = None
    vsphereVolume: VsphereVirtualDiskVolumeSource | None = None


class VolumeMount(Obj):
    """core/v1 VolumeMount."""

    name: str = ""
    readOnly: bool = False
    recursiveReadOnly: str | None = None
    mountPath: str = ""
    subPath: str = ""
    mountPropagation: str | None = None
    subPathExpr: str = ""


class VolumeDevice(Obj):
    """core/v1 VolumeDevice."""

    name: str = ""
    devicePath: str = ""


class VolumeMountStatus(Obj):
    """core/v1 VolumeMountStatus."""

    name: str = ""
    mountPath: str = ""
    readOnly: bool = False
    recursiveReadOnly: str | None = None
