"""What an earlier life left of CSI volumes, as the disk tells; blocking."""

import logging
from collections.abc import Iterator

from pykubelet.base.errors import VolumeError

from ..plugin import Device, Found
from . import references, traces
from .data_file import DataError, VolumeData
from .means import HEAD, unchanged
from .paths import CsiPaths, beside, unique_name

log = logging.getLogger(__name__)


def found(paths: CsiPaths, uid: str, name: str, *, block: bool) -> Found:
    """What a pod's volume rests on.

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
    return Found(_device(data, name, block=block), block)


def devices(paths: CsiPaths) -> frozenset[Device]:
    """All that is staged, or was begun to be; what cannot be read is told in the log.

    :raises OSError: a directory cannot be read.
    """
    return frozenset([*_filesystems(paths), *_blocks(paths)])


def _filesystems(paths: CsiPaths) -> Iterator[Device]:
    for driver in references.names(paths.top):
        top = f"{paths.top}/{driver}"
        if top == paths.devices:
            continue
        for name in references.names(top):
            directory = f"{top}/{name}"
            data = _load(directory)
            if data is None:
                continue
            # Otherwise it is of a layout that we do not know how to undo.
            if beside(paths.staging(data.driver, data.handle)) == directory:
                yield _device(data, "", block=False)
            else:
                log.warning("%s is not where its volume is staged: it stays as it is", directory)


def _blocks(paths: CsiPaths) -> Iterator[Device]:
    for escaped in references.names(paths.devices):
        name = escaped.replace("~", "/")
        data = _load(paths.block_data(name))
        if data is not None:
            yield _device(data, name, block=True)


def _load(directory: str) -> VolumeData | None:
    try:
        return traces.load(directory, "")
    except (FileNotFoundError, NotADirectoryError):
        # Of a driver that does not stage; or of no volume at all.
        return None
    except (DataError, VolumeError) as error:
        log.warning("a staged volume cannot be told: %s", error)
        return None


def _device(data: VolumeData, name: str, *, block: bool) -> Device:
    return Device(unique_name(data.driver, data.handle), data.name or name, block)
