"""What must hold for a pod's volumes of cloud providers (pkg/apis/core/validation)."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from .cloud_volumes import AzureDiskVolumeSource, CinderVolumeSource
from .fielderrors import FieldErrors

_CACHING: Final = ("None", "ReadOnly", "ReadWrite")
_MANAGED: Final = "Managed"
_KINDS: Final = ("Dedicated", _MANAGED, "Shared")
#: What a disk's address begins with, by whether the disk is a managed one, and its whole form.
_ADDRESSES: Final = {
    True: (
        "/subscriptions/",
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
    ),
    False: ("https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"),
}
#: The highest number of a partition.
_PARTITIONS: Final = 255

_Check = Callable[[Any, str, FieldErrors], None]


def _needs(*fields: str) -> _Check:
    """A check that these fields of a source have values."""

    def check(source: Any, at: str, errors: FieldErrors) -> None:
        for field in fields:
            if not getattr(source, field):
                errors.required(f"{at}.{field}")

    return check


def _partitioned(field: str) -> _Check:
    """A check of a disk that *field* names, and of its partition."""
    named = _needs(field)

    def check(source: Any, at: str, errors: FieldErrors) -> None:
        named(source, at, errors)
        if not 0 <= source.partition <= _PARTITIONS:
            text = f"must be between 1 and {_PARTITIONS}, inclusive"
            errors.invalid(f"{at}.partition", source.partition, text)

    return check


def _azure_disk(source: AzureDiskVolumeSource, at: str, errors: FieldErrors) -> None:
    _needs("diskName", "diskURI")(source, at, errors)
    if source.cachingMode is not None:
        errors.one_of(f"{at}.cachingMode", source.cachingMode, _CACHING)
    if source.kind is None:
        return
    errors.one_of(f"{at}.kind", source.kind, _KINDS)
    start, form = _ADDRESSES[source.kind == _MANAGED]
    if not source.diskURI.startswith(start):
        errors.one_of(f"{at}.diskURI", source.diskURI, (form,))


def _cinder(source: CinderVolumeSource, at: str, errors: FieldErrors) -> None:
    _needs("volumeID")(source, at, errors)
    if source.secretRef is not None and not source.secretRef.name:
        errors.required(f"{at}.secretRef.name")


#: The checks by the kind of volume.
CLOUD_CHECKS: Final[Mapping[str, _Check]] = {
    "awsElasticBlockStore": _partitioned("volumeID"),
    "azureDisk": _azure_disk,
    "azureFile": _needs("secretName", "shareName"),
    "cinder": _cinder,
    "gcePersistentDisk": _partitioned("pdName"),
    "portworxVolume": _needs("volumeID"),
    "vsphereVolume": _needs("volumePath"),
}
