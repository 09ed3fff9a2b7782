"""Which pods still have a volume mounted, by what the disk tells; upstream's layout. Blocking."""

import contextlib
import os

from pykubelet.linux import mountinfo

from . import data_file, traces
from .data_file import DataError
from .paths import CsiPaths


def users(paths: CsiPaths, driver: str, handle: str) -> list[str]:
    """Where pods have the volume mounted now.

    Told by the pods' data files, not by the mount table alone: two volumes can show the same
    file system (an export of a server).

    :raises OSError: a directory or the mount table cannot be read.
    """
    table = {mount.mount_point for mount in mountinfo.read()}
    found = []
    for uid in names(os.fspath(paths.layout.pods)):
        for name in names(paths.pod_volumes(uid)):
            target = traces.real(paths.target(uid, name))
            if target not in table:
                continue
            with contextlib.suppress(OSError, DataError):
                data = data_file.load(paths.pod_volume(uid, name))
                if (data.driver, data.handle) == (driver, handle):
                    found.append(target)
    return found


def names(directory: str) -> list[str]:
    """Names of the directories in *directory* (no links); none where it is missing.

    :raises OSError: it cannot be read.
    """
    try:
        with os.scandir(directory) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []
