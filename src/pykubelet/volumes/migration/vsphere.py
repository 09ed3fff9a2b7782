"""VMware's virtual disks. Pure."""

from typing import Final

from pykubelet.api.cloud_volumes import VsphereVirtualDiskVolumeSource as Disk
from pykubelet.api.storage import CSIPersistentVolumeSource, PersistentVolume

from .cloud import Cloud, Inline
from .topology import zonal_and_regional

_DRIVER: Final = "csi.vsphere.vmware.com"


def _source(disk: Disk) -> CSIPersistentVolumeSource:
    policy = disk.storagePolicyName
    return CSIPersistentVolumeSource(
        driver=_DRIVER,
        volumeHandle=disk.volumePath,
        fsType=disk.fsType,
        volumeAttributes={"storagepolicyname": policy} if policy else {},
    )


def _persistent(disk: Disk, pv: PersistentVolume) -> CSIPersistentVolumeSource:
    return _source(disk)


def _inline(disk: Disk, name: str, namespace: str) -> Inline:
    return Inline(f"{_DRIVER}-{disk.volumePath}", _source(disk))


VSPHERE: Final = Cloud(
    "vsphereVolume",
    "kubernetes.io/vsphere-volume",
    _DRIVER,
    _persistent,
    _inline,
    affinity=zonal_and_regional("topology.csi.vmware.com/zone", "topology.csi.vmware.com/region"),
)
