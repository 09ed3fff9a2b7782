"""Azure's managed disks. Pure."""

from typing import Final

from pykubelet.api.cloud_volumes import AzureDiskVolumeSource as Disk
from pykubelet.api.storage import CSIPersistentVolumeSource, PersistentVolume

from .cloud import Cloud, Inline, UntranslatableError

_DRIVER: Final = "disk.csi.azure.com"
_MANAGED: Final = "Managed"


def _source(disk: Disk) -> CSIPersistentVolumeSource:
    if disk.kind is not None and disk.kind.lower() != _MANAGED.lower():
        # Disks in blob storage; the API server fills in "Shared" where nothing is said.
        raise UntranslatableError(f"kind({disk.kind}) is not supported in csi migration")
    attributes = {"kind": _MANAGED}
    if disk.cachingMode is not None:
        attributes["cachingmode"] = disk.cachingMode
    if disk.fsType is not None:
        attributes["fstype"] = disk.fsType
    return CSIPersistentVolumeSource(
        driver=_DRIVER,
        volumeHandle=disk.diskURI,
        readOnly=bool(disk.readOnly),
        fsType=disk.fsType or "",
        volumeAttributes=attributes,
    )


def _persistent(disk: Disk, pv: PersistentVolume) -> CSIPersistentVolumeSource:
    return _source(disk)


def _inline(disk: Disk, name: str, namespace: str) -> Inline:
    source = _source(disk)
    if not disk.cachingMode:
        source.volumeAttributes.pop("cachingmode", None)
    return Inline(disk.diskURI, source)


AZURE_DISK: Final = Cloud("azureDisk", "kubernetes.io/azure-disk", _DRIVER, _persistent, _inline)
