"""What is made around a driver's block device, and its removal. Blocking."""

import logging
import os
import stat

from pykubelet.linux import mountinfo, removetree

from .. import errors
from . import traces
from .paths import CsiPaths

log = logging.getLogger(__name__)


def users(paths: CsiPaths, name: str) -> list[str]:
    """Where the volume's device still is for a pod: our own files for it, and the driver's mounts.

    :raises OSError: it cannot be looked at.
    """
    mapped = [
        path
        for path in _entries(paths.block_map(name))
        if stat.S_ISBLK(mode := os.lstat(path).st_mode) or stat.S_ISCHR(mode)
    ]
    table = {mount.mount_point for mount in mountinfo.read()}
    return mapped + [path for path in _entries(paths.block_published(name)) if traces.real(path) in table]


def remove(paths: CsiPaths, name: str) -> None:
    """Remove all directories of a volume that no pod has any more, with the data file.

    Whatever a driver left behind stays, and is told in the log: it must not keep the volume
    from being detached.

    :raises OSError: our own notes cannot be removed.
    """
    for path in (paths.block_published(name), paths.block_staging(name)):
        try:
            traces.remove_entry(path)
        except OSError as error:
            log.warning("%s is left after its volume: %s", path, errors.reason(error))
    # The data file last: while anything is mounted here, the volume is to be found again by it.
    removetree.remove_tree(paths.block_map(name))
    removetree.remove_tree(paths.block(name))


def remove_staging(paths: CsiPaths, name: str) -> None:
    """Remove what a driver left where a block volume was staged.

    :raises OSError: something is mounted there, or it is otherwise refused.
    """
    removetree.remove_tree(paths.block_staging(name))


def _entries(directory: str) -> list[str]:
    try:
        return [f"{directory}/{name}" for name in sorted(os.listdir(directory))]
    except FileNotFoundError:
        return []
