"""Places in a volume on which a container mounts something else: made beforehand.

The volume is mounted read-only, so that the runtime could not make them.
"""

import os
import posixpath
from typing import Final

from pykubelet.api.core import Container, Pod
from pykubelet.base.errors import VolumeError
from pykubelet.linux import safeopen

from . import errors

_MODE: Final = 0o755


def places(pod: Pod, volume: str) -> tuple[str, ...]:
    """Directories below *volume*, relative to it, on which containers of *pod* mount; pure.

    What is mounted below such a place in turn is left out: it is not in this volume.

    :raises VolumeError: a mount path leads out of the container's root.
    """
    spec = pod.spec
    found: dict[str, None] = {}
    for container in [*spec.initContainers, *spec.containers, *spec.ephemeralContainers]:
        found.update(dict.fromkeys(_in_container(container, volume)))
    return tuple(found)


def _in_container(container: Container, volume: str) -> list[str]:
    paths = sorted(posixpath.normpath(mount.mountPath) for mount in container.volumeMounts)
    found: list[str] = []
    for mount in container.volumeMounts:
        top = posixpath.normpath(mount.mountPath)
        if mount.name != volume:
            continue
        if top == ".." or top.startswith("../"):
            raise VolumeError(f"invalid container mount point {top}")
        outer: list[str] = []
        for path in paths:
            inside = path.startswith(f"{top}/")
            if inside and not any(path.startswith(f"{nearer}/") for nearer in outer):
                outer.append(path)
        found += [path[len(top) + 1 :] for path in outer]
    return found


def make(directory: int, pod: Pod, volume: str) -> None:
    """Make what :func:`places` says below *directory*, leaving what is there. Blocking.

    :raises VolumeError: a place cannot be made.
    """
    for place in places(pod, volume):
        try:
            os.close(safeopen.make_directories(directory, place, _MODE))
        except (OSError, ValueError) as error:
            text = errors.told("mkdir", place, error) if isinstance(error, OSError) else str(error)
            raise VolumeError(f"unable to create nested volume mountpoints: {text}") from error
