"""core/v1 sources of cloud providers' volumes, which were part of Kubernetes until CSI drivers took over."""

from .meta import LocalObjectReference, Obj


class AWSElasticBlockStoreVolumeSource(Obj):
    """core/v1 AWSElasticBlockStoreVolumeSource."""

    volumeID: str = ""
    fsType: str = ""
    partition: int = 0
    readOnly: bool = False


class AzureDiskVolumeSource(Obj):
    """core/v1 AzureDiskVolumeSource."""

    diskName: str = ""
    diskURI: str = ""
    cachingMode: str | None = None
    fsType: str | None = None
    readOnly: bool | None = None
    kind: str | None = None


class AzureFileVolumeSource(Obj):
    """core/v1 AzureFileVolumeSource, of a pod."""

    secretName: str = ""
    shareName: str = ""
    readOnly: bool = False


class CinderVolumeSource(Obj):
    """core/v1 CinderVolumeSource, of a pod."""

    volumeID: str = ""
    fsType: str = ""
    readOnly: bool = False
    secretRef: LocalObjectReference | None = None


class GCEPersistentDiskVolumeSource(Obj):
    """core/v1 GCEPersistentDiskVolumeSource."""

    pdName: str = ""
    fsType: str = ""
    partition: int = 0
    readOnly: bool = False


class PortworxVolumeSource(Obj):
    """core/v1 PortworxVolumeSource."""

    volumeID: str = ""
    fsType: str = ""
    readOnly: bool = False


class VsphereVirtualDiskVolumeSource(Obj):
    """core/v1 VsphereVirtualDiskVolumeSource."""

    volumePath: str = ""
    fsType: str = ""
    storagePolicyName: str = ""
    storagePolicyID: str = ""
