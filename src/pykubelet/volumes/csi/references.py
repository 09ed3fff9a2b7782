"""Who has which volume, by what directories and the mount table tell; upstream's layout. Blocking."""

import logging
import os
from collections.abc import Iterator, Sequence

from pykubelet.linux import mountinfo
from pykubelet.linux.mountinfo import Mount

from . import data_file, traces
from .data_file import DataError, VolumeData
from .paths import CsiPaths

log = logging.getLogger(__name__)


def users(paths: CsiPaths, driver: str, handle: str) -> list[str]:
    """Where pods have the volume mounted now.

    Told by the pods' data files, not by the mount table alone: two volumes can show the same
    file system (an export of a server). Where a data file cannot be read, the table must do.

    :raises OSError: a directory or the mount table cannot be read.
    """
    table = mountinfo.read()
    points = {mount.mount_point for mount in table}
    staged = _tree_at(table, traces.real(paths.staging(driver, handle)))
    found = []
    for uid in names(os.fspath(paths.layout.pods)):
        for name in names(paths.pod_volumes(uid)):
            target = traces.real(paths.target(uid, name))
            if target not in points:
                continue
            try:
                data = data_file.load(paths.pod_volume(uid, name))
                is_user = (data.driver, data.handle) == (driver, handle)
            except (OSError, DataError):
                is_user = staged is not None and _tree_at(table, target) == staged
            if is_user:
                found.append(target)
    return found


def staged_at(paths: CsiPaths, target: str) -> VolumeData | None:
    """The staged volume whose file system is mounted at *target*, if there is exactly one.

    :raises OSError: a directory or the mount table cannot be read.
    """
    table = mountinfo.read()
    shown = _tree_at(table, traces.real(target))
    if shown is None:
        return None
    found = [
        data
        for directory, data in staged(paths)
        if _tree_at(table, traces.real(f"{directory}/globalmount")) == shown
    ]
    return found[0] if len(found) == 1 else None


def staged(paths: CsiPaths) -> Iterator[tuple[str, VolumeData]]:
    """The directories of volumes with file systems that are staged, and what is noted there.

    What cannot be read is told in the log.

    :raises OSError: a directory cannot be read.
    """
    for driver in names(paths.top):
        top = f"{paths.top}/{driver}"
        if top == paths.devices:
            continue
        for name in names(top):
            directory = f"{top}/{name}"
            data = noted(directory)
            if data is None:
                continue
            # Otherwise it is of a layout that we do not know how to undo.
            if paths.staged(data.driver, data.handle) == directory:
                yield directory, data
            else:
                log.warning("%s is not where its volume is staged: it stays as it is", directory)


def noted(directory: str) -> VolumeData | None:
    """What is noted in *directory*; None, and perhaps a word in the log, where nothing can be read."""
    try:
        return traces.load(directory, "")
    except (FileNotFoundError, NotADirectoryError):
        # Of a driver that does not stage; or of no volume at all.
        return None
    except DataError as error:
        log.warning("a staged volume cannot be told: %s", error)
        return None


def _tree_at(table: Sequence[Mount], path: str) -> tuple[str, str] | None:
    """What is mounted on *path*: the file system's device, and where in it."""
    at = [mount for mount in table if mount.mount_point == path]
    return (at[-1].device, at[-1].root) if at else None


def names(directory: str) -> list[str]:
    """Names of the directories in *directory* (no links); none where it is missing.

    :raises OSError: it cannot be read.
    """
    try:
        with os.scandir(directory) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []
