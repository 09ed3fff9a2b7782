"""Google's persistent disks. Pure."""

from typing import Final

from pykubelet.api.cloud_volumes import GCEPersistentDiskVolumeSource as Disk
from pykubelet.api.storage import CSIPersistentVolumeSource, PersistentVolume

from .cloud import Cloud, Inline, UntranslatableError
from .topology import DELIMITER, OLD_ZONE, ZONE, zonal

_DRIVER: Final = "pd.csi.storage.gke.io"
#: What the driver finds out by itself: the project, and the zone of a volume that does not name it.
_UNSPECIFIED: Final = "UNSPECIFIED"


def region_of(zones: list[str]) -> str:
    """The region that all of *zones* (``LOCALE-REGION-ZONE``) lie in.

    :raises UntranslatableError: there is no such.
    """
    regions = set()
    for zone in zones:
        parts = zone.split("-")
        if len(parts) != 3:
            form = "zone in unexpected format, expected: {locale}-{region}-{zone}, got: "
            raise UntranslatableError(f"failed to get region from zones: {form}{zone}")
        regions.add("-".join(parts[:2]))
    if len(regions) != 1:
        told = " ".join(f"{region}:{{}}" for region in sorted(regions))
        text = "failed to get region from zones: multiple or no regions gotten from zones, got: "
        raise UntranslatableError(f"{text}map[{told}]")
    return regions.pop()


def _handle(disk: Disk, place: str) -> str:
    return f"projects/{_UNSPECIFIED}/{place}/disks/{disk.pdName}"


def _source(disk: Disk, place: str) -> CSIPersistentVolumeSource:
    return CSIPersistentVolumeSource(
        driver=_DRIVER,
        volumeHandle=_handle(disk, place),
        readOnly=disk.readOnly,
        fsType=disk.fsType,
        volumeAttributes={"partition": str(disk.partition) if disk.partition else ""},
    )


def _persistent(disk: Disk, pv: PersistentVolume) -> CSIPersistentVolumeSource:
    labels = pv.metadata.labels
    zones = (labels.get(OLD_ZONE) or labels.get(ZONE, "")).split(DELIMITER)
    place = f"zones/{zones[0] or _UNSPECIFIED}" if len(zones) == 1 else f"regions/{region_of(zones)}"
    return _source(disk, place)


def _inline(disk: Disk, name: str, namespace: str) -> Inline:
    source = _source(disk, f"zones/{_UNSPECIFIED}")
    mode = "ReadOnlyMany" if disk.readOnly else "ReadWriteOnce"
    return Inline(f"{_DRIVER}-{disk.pdName}", source, mode)


def access_modes(modes: list[str]) -> list[str]:
    """The one mode that the driver takes of a volume's: its predecessor checked none of them."""
    if not modes:
        return modes
    told = {"ReadWriteOnce" if mode == "ReadWriteMany" else mode for mode in modes}
    only_read = "ReadOnlyMany" in told and "ReadWriteOnce" not in told
    return ["ReadOnlyMany" if only_read else "ReadWriteOnce"]


GCE_PD: Final = Cloud(
    "gcePersistentDisk",
    "kubernetes.io/gce-pd",
    _DRIVER,
    _persistent,
    _inline,
    affinity=zonal("topology.gke.io/zone"),
    access_modes=access_modes,
)
