"""Portworx. Pure."""

from typing import Final

from pykubelet.api.cloud_volumes import PortworxVolumeSource as Disk
from pykubelet.api.storage import CSIPersistentVolumeSource, PersistentVolume, SecretReference

from .cloud import Cloud, Inline

_DRIVER: Final = "pxd.portworx.com"
#: On a persistent volume: the secret that every call to the driver shows.
_SECRET: Final = "openstorage.io/auth-secret-name"  # noqa: S105 - the name of an annotation
_SECRET_NAMESPACE: Final = "openstorage.io/auth-secret-namespace"  # noqa: S105 - likewise


def _persistent(disk: Disk, pv: PersistentVolume) -> CSIPersistentVolumeSource:
    notes, secret = pv.metadata.annotations, None
    if _SECRET in notes and _SECRET_NAMESPACE in notes:
        secret = SecretReference(name=notes[_SECRET], namespace=notes[_SECRET_NAMESPACE])
    return CSIPersistentVolumeSource(
        driver=_DRIVER,
        volumeHandle=disk.volumeID,
        fsType=disk.fsType,
        controllerPublishSecretRef=secret,
        nodeStageSecretRef=secret,
        nodePublishSecretRef=secret,
        controllerExpandSecretRef=secret,
        nodeExpandSecretRef=secret,
    )


def _inline(disk: Disk, name: str, namespace: str) -> Inline:
    source = CSIPersistentVolumeSource(
        driver=_DRIVER, volumeHandle=disk.volumeID, readOnly=disk.readOnly, fsType=disk.fsType
    )
    mode = "ReadOnlyMany" if disk.readOnly else "ReadWriteOnce"
    return Inline(f"{_DRIVER}-{disk.volumeID}", source, mode)


PORTWORX: Final = Cloud("portworxVolume", "kubernetes.io/portworx-volume", _DRIVER, _persistent, _inline)
