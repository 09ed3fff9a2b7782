"""OpenStack's Cinder. Pure."""

from typing import Final

from pykubelet.api.cloud_volumes import CinderVolumeSource
from pykubelet.api.storage import CinderPersistentVolumeSource, CSIPersistentVolumeSource, PersistentVolume

from .cloud import Cloud, Inline
from .topology import zonal

_DRIVER: Final = "cinder.csi.openstack.org"


def _source(disk: CinderVolumeSource | CinderPersistentVolumeSource) -> CSIPersistentVolumeSource:
    return CSIPersistentVolumeSource(
        driver=_DRIVER, volumeHandle=disk.volumeID, readOnly=disk.readOnly, fsType=disk.fsType
    )


def _persistent(disk: CinderPersistentVolumeSource, pv: PersistentVolume) -> CSIPersistentVolumeSource:
    return _source(disk)


def _inline(disk: CinderVolumeSource, name: str, namespace: str) -> Inline:
    return Inline(f"{_DRIVER}-{disk.volumeID}", _source(disk))


CINDER: Final = Cloud(
    "cinder",
    "kubernetes.io/cinder",
    _DRIVER,
    _persistent,
    _inline,
    affinity=zonal(f"topology.{_DRIVER}/zone"),
)
