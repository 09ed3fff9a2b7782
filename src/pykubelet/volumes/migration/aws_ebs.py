"""Amazon's Elastic Block Store. Pure."""

import re
from typing import Final
from urllib.parse import unquote

from pykubelet.api.cloud_volumes import AWSElasticBlockStoreVolumeSource as Disk
from pykubelet.api.storage import CSIPersistentVolumeSource, PersistentVolume
from pykubelet.base.gotext import go_quote

from .cloud import Cloud, Inline, UntranslatableError
from .topology import zonal

_DRIVER: Final = "ebs.csi.aws.com"
#: ``aws://ZONE/ID``; the zone may be missing, and is not needed.
_ADDRESS: Final = re.compile(r"aws://[^/?#]*([^?#]*).*", re.DOTALL)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}")
_ID: Final = re.compile(r"vol-[^/]*")


def volume_id(named: str) -> str:
    """What Amazon calls the volume that a source calls *named*: ``vol-ID``, or an address that ends in it.

    :raises UntranslatableError: it is an address of something else.
    """
    address = _ADDRESS.fullmatch(named)
    if address is None:
        return named
    problem = "failed to translate Kubernetes ID to EBS Volume ID "
    bad = _BAD_ESCAPE.search(named)
    if _CONTROL.search(named):
        why = "net/url: invalid control character in URL"
    else:
        why = f"invalid URL escape {go_quote(bad[0])}" if bad is not None else ""
    if why:
        raise UntranslatableError(f"{problem}Invalid disk name ({named}): parse {go_quote(named)}: {why}")
    found = unquote(address[1]).strip("/")
    if _ID.fullmatch(found) is None:
        raise UntranslatableError(f"{problem}Invalid format for AWS volume ({named})")
    return found


def _source(disk: Disk) -> CSIPersistentVolumeSource:
    return CSIPersistentVolumeSource(
        driver=_DRIVER,
        volumeHandle=volume_id(disk.volumeID),
        readOnly=disk.readOnly,
        fsType=disk.fsType,
        volumeAttributes={"partition": str(disk.partition)},
    )


def _persistent(disk: Disk, pv: PersistentVolume) -> CSIPersistentVolumeSource:
    return _source(disk)


def _inline(disk: Disk, name: str, namespace: str) -> Inline:
    source = _source(disk)
    return Inline(f"{_DRIVER}-{source.volumeHandle}", source)


AWS_EBS: Final = Cloud(
    "awsElasticBlockStore",
    "kubernetes.io/aws-ebs",
    _DRIVER,
    _persistent,
    _inline,
    affinity=zonal(f"topology.{_DRIVER}/zone"),
)
