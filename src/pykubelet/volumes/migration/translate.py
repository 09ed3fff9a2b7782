"""A volume of a cloud provider as its CSI driver has it. Pure."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from msgspec.structs import replace

from pykubelet.api.meta import ObjectMeta
from pykubelet.api.storage import PersistentVolume, PersistentVolumeSpec
from pykubelet.base.errors import VolumeError

from ..spec import VolumeSpec
from .aws_ebs import AWS_EBS
from .azure_disk import AZURE_DISK
from .azure_file import AZURE_FILE
from .cinder import CINDER
from .cloud import Cloud, UntranslatableError
from .gce_pd import GCE_PD
from .portworx import PORTWORX
from .vsphere import VSPHERE

_ALL: Final[tuple[Cloud[Any, Any], ...]] = (
    AWS_EBS,
    AZURE_DISK,
    AZURE_FILE,
    CINDER,
    GCE_PD,
    PORTWORX,
    VSPHERE,
)
#: What is translated, by the field of Volume and of PersistentVolumeSpec.
CLOUDS: Final[Mapping[str, Cloud[Any, Any]]] = MappingProxyType({cloud.kind: cloud for cloud in _ALL})


def translate(spec: VolumeSpec, namespace: str) -> VolumeSpec:
    """The volume of a pod in *namespace* with the CSI source in its place; others come back as they are.

    What a pod names by itself gets a persistent volume that no API server has.

    :raises VolumeError: the driver has no such volume.
    """
    found = spec.kinds
    cloud = CLOUDS.get(found[0]) if len(found) == 1 else None
    if cloud is None:
        return spec
    try:
        pv = _own(cloud, spec, namespace) if spec.pv is None else _persistent(cloud, spec.pv)
    except UntranslatableError as error:
        raise VolumeError(f"failed to translate in-tree pv to CSI: {error}", left="unchanged") from error
    return dataclasses.replace(spec, pv=pv, migrated_from=cloud.kind)


def _persistent(cloud: Cloud[Any, Any], pv: PersistentVolume) -> PersistentVolume:
    fields: dict[str, Any] = {
        cloud.kind: None,
        "csi": cloud.persistent(getattr(pv.spec, cloud.kind), pv),
        "nodeAffinity": cloud.affinity(pv),
        "accessModes": cloud.access_modes(pv.spec.accessModes),
    }
    return replace(pv, spec=replace(pv.spec, **fields))


def _own(cloud: Cloud[Any, Any], spec: VolumeSpec, namespace: str) -> PersistentVolume:
    volume = spec.volume
    found = cloud.inline(getattr(volume, cloud.kind), volume.name, namespace)
    return PersistentVolume(
        metadata=ObjectMeta(name=found.name),
        spec=PersistentVolumeSpec(csi=found.source, accessModes=[found.access_mode], volumeMode="Filesystem"),
    )
