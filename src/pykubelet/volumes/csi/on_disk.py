"""What an earlier life left of CSI volumes, as the disk tells; blocking."""

from collections.abc import Iterator
from typing import Final

from pykubelet.linux import mountinfo

from .. import block_map
from ..plugin import Device, Found
from . import references, traces
from .data_file import DataError, VolumeData
from .means import HEAD, unchanged
from .paths import CsiPaths, unique_name

#: Directories of all volumes beside those that each block volume has.
_SHARED: Final = ("publish", "staging")


def found(paths: CsiPaths, uid: str, name: str, *, block: bool, labels: bool = False) -> Found:
    """What a pod's volume rests on; with *labels*, and with which SELinux label it is mounted.

    :raises OSError: nothing is noted of it.
    :raises VolumeError: what is noted cannot be read.
    """
    directory = paths.block_data(name) if block else paths.pod_volume(uid, name)
    step = "plugin.ConstructBlockVolumeSpec" if block else "plugin.ConstructVolumeSpec"
    text = f"{HEAD}{step} failed loading volume data using [{directory}]: {HEAD}"
    try:
        data = traces.load(directory, text)
    except DataError as error:
        raise unchanged(str(error)) from None
    if data.ephemeral and not block:
        return Found(None)
    label = _label(data, paths.target(uid, name)) if labels and not block else None
    return Found(_device(data, name, block=block, label=label), block)


def devices(paths: CsiPaths, *, labels: bool = False) -> frozenset[Device]:
    """All that is staged, or was begun to be; what cannot be read is told in the log.

    :raises OSError: a directory cannot be read.
    """
    filesystems = [
        _device(data, "", block=False, label=(data.selinux or "") if labels else None)
        for _, data in references.staged(paths)
    ]
    return frozenset([*filesystems, *_blocks(paths)])


def _label(data: VolumeData, target: str) -> str | None:
    """With which label it is mounted at *target*; None when nothing is mounted there (any more)."""
    place = traces.real(target)
    # What covers others comes first.
    at = [mount for mount in mountinfo.read_below(place) if mount.mount_point == place]
    if not at:
        return None
    # The kernel may write a label in another way than it was given.
    return data.selinux or at[0].context


def given(paths: CsiPaths) -> frozenset[tuple[str, str]]:
    """UIDs of pods, and the names of block volumes that a driver or we made something of for them.

    :raises OSError: a directory cannot be read.
    """
    published = references.names(paths.block_published(""))
    own = (escaped for escaped in references.names(paths.devices) if escaped not in _SHARED)
    mapped = [escaped.replace("~", "/") for escaped in own]
    places = [(name, paths.block_published(name)) for name in published]
    places += [(name, paths.block_map(name)) for name in mapped]
    return frozenset((uid, name) for name, place in places for uid in block_map.pods(place))


def _blocks(paths: CsiPaths) -> Iterator[Device]:
    for escaped in references.names(paths.devices):
        name = escaped.replace("~", "/")
        data = references.noted(paths.block_data(name))
        if data is not None:
            yield _device(data, name, block=True)


def _device(data: VolumeData, name: str, *, block: bool, label: str | None = None) -> Device:
    return Device(unique_name(data.driver, data.handle), data.name or name, block, label)
