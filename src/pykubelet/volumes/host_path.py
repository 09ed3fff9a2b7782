"""hostPath: a path of the node, given to containers as it is."""

import contextlib
import os
import stat
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from pykubelet.api.core import Pod
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volumes import Volume
from pykubelet.base.errors import VolumeError

from . import errors, kinds

#: What each type demands of the path: the test, and how the text calls it.
_DEMANDS: Final[Mapping[str, tuple[Callable[[int], bool], str]]] = MappingProxyType(
    {
        "Directory": (stat.S_ISDIR, "directory"),
        "DirectoryOrCreate": (stat.S_ISDIR, "directory"),
        "File": (stat.S_ISREG, "file"),
        "FileOrCreate": (stat.S_ISREG, "file"),
        "Socket": (stat.S_ISSOCK, "socket file"),
        "CharDevice": (stat.S_ISCHR, "character device"),
        "BlockDevice": (stat.S_ISBLK, "block device"),
    }
)


class HostPath:
    """The plug-in; see :class:`~pykubelet.volumes.plugin.Plugin`."""

    name = "kubernetes.io/host-path"
    kind = kinds.HOST_PATH

    def set_up(self, pod: Pod, volume: Volume) -> MountedVolume:
        """Check the path's type, making it where the type says so; nothing is mounted.

        :raises VolumeError: the path is not what the volume's type demands.
        """
        source = volume.hostPath
        if source is None:
            raise VolumeError(f'volume "{volume.name}" is no hostPath')
        path = source.path
        if ".." in path.split("/"):
            raise VolumeError(f"invalid HostPath `{path}`: must not contain '..'")
        if source.type:
            check_type(path, source.type)
        return MountedVolume(volume.name, path)

    def tear_down(self, uid: str, volume: str) -> None:
        """Nothing was made that is ours to take away."""


def check_type(path: str, kind: str) -> None:
    """See that *path* is of the hostPath type *kind*; links are followed. Blocking.

    :raises VolumeError: it is not, with upstream's text.
    """
    demand = _DEMANDS.get(kind)
    if demand is None:
        raise VolumeError(f"{kind} is an invalid volume type")
    mode = _mode_of(path)
    if mode is None and kind.endswith("OrCreate"):
        _create(path, kind)
        return
    fits, called = demand
    if mode is None or not fits(mode):
        raise VolumeError(f"hostPath type check failed: {path} is not a {called}")


def _mode_of(path: str) -> int | None:
    with contextlib.suppress(OSError):
        return os.stat(path).st_mode
    return None


def _create(path: str, kind: str) -> None:
    if kind == "DirectoryOrCreate":
        try:
            os.makedirs(path, 0o755, exist_ok=True)
        except OSError as error:
            raise VolumeError(errors.told("mkdir", path, error)) from error
        return
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    except OSError as error:
        raise VolumeError(errors.told("open", path, error)) from error
