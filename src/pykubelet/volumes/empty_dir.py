"""emptyDir: a directory that lives as long as its pod, on disk or in memory."""

import errno
import logging
import os
from collections.abc import Callable, Iterable
from typing import Final

from pykubelet.api.core import Container, Pod
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volumes import Volume
from pykubelet.base.errors import VolumeError
from pykubelet.base.layout import Layout
from pykubelet.linux import mountinfo, mounts

from . import kinds, local_tree, ownership

log = logging.getLogger(__name__)

_MODE: Final = 0o777
_MEMORY: Final = "Memory"
_HUGE_PAGES: Final = "HugePages"


class EmptyDir:
    """The plug-in; see :class:`~pykubelet.volumes.plugin.Plugin`."""

    name = local_tree.EMPTY_DIR
    kind = kinds.EMPTY_DIR

    def __init__(self, layout: Layout, node_memory: Callable[[], int]) -> None:
        """*node_memory* tells how many bytes of memory pods may use on this node."""
        self._layout = layout
        self._node_memory = node_memory

    def set_up(self, pod: Pod, volume: Volume) -> MountedVolume:
        """Make the directory, and the tmpfs on it for ``Memory``; keep what was fully made before.

        :raises OSError: the kernel refused.
        :raises VolumeError: the medium is unknown or not supported.
        """
        source = volume.emptyDir
        if source is None:
            raise VolumeError(f'volume "{volume.name}" is no emptyDir')
        medium = source.medium
        if medium.startswith(_HUGE_PAGES):
            raise VolumeError(
                f'volume "{volume.name}" of type emptyDir with medium {medium} '
                "is not supported yet by this kubelet"
            )
        if medium not in ("", _MEMORY):
            raise VolumeError(f'unknown storage medium "{medium}"')
        uid = pod.metadata.uid
        path = self._layout.pod_volume(uid, self.name, volume.name)
        mounted = MountedVolume(volume.name, os.fspath(path), selinux_relabel=True)
        in_memory = medium == _MEMORY and _has_tmpfs(os.fspath(path))
        if local_tree.is_marked_ready(self._layout, uid, volume.name) and (
            in_memory if medium == _MEMORY else path.is_dir()
        ):
            return mounted
        local_tree.make_directories(os.fspath(path.parent))
        _make_directory(os.fspath(path))
        if medium == _MEMORY and not in_memory:
            mounts.mount_tmpfs(os.fspath(path), size=memory_size(pod, volume, self._node_memory()))
        self._give_to_group(pod, os.fspath(path))
        local_tree.mark_ready(self._layout, uid, volume.name)
        return mounted

    def tear_down(self, uid: str, volume: str) -> None:
        """Unmount and remove it with all that the pod left there.

        :raises OSError: something is in use.
        """
        local_tree.tear_down(self._layout, uid, self.name, volume)

    @staticmethod
    def _give_to_group(pod: Pod, path: str) -> None:
        context = pod.spec.securityContext
        if context is None or context.fsGroup is None:
            return
        try:
            # The pod's change policy has no word in ephemeral volumes.
            ownership.give_to_group(path, context.fsGroup)
        except OSError as error:
            log.warning("%s could not be given to group %d: %s", path, context.fsGroup, error)


def _make_directory(path: str) -> None:
    try:
        os.mkdir(path, _MODE)
    except FileExistsError:
        if os.path.islink(path) or not os.path.isdir(path):  # noqa: PTH112, PTH114
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
    os.chmod(path, _MODE)


def _has_tmpfs(path: str) -> bool:
    real = os.path.realpath(path)
    try:
        return mountinfo.is_mount_point(mountinfo.read(), real) and mounts.is_memory(real)
    except FileNotFoundError:
        return False


def memory_size(pod: Pod, volume: Volume, node_memory: int) -> int:
    """Bytes that a volume in memory may hold: the node's, the pod's or its own limit, the least."""
    limits = [node_memory, pod_memory_limit(pod)]
    if volume.emptyDir is not None and volume.emptyDir.sizeLimit is not None:
        limits.append(volume.emptyDir.sizeLimit.value())
    return min((limit for limit in limits if limit > 0), default=0)


def pod_memory_limit(pod: Pod) -> int:
    """The memory limit in bytes that the pod's cgroup gets; 0 when it gets none.

    Without a limit of the pod itself every container must have one. Init containers run
    one by one, beside the sidecars that started before them.
    """
    spec = pod.spec
    if spec.resources is not None and "memory" in spec.resources.limits:
        return spec.resources.limits["memory"].value()
    if not all(_limit(container) for container in [*spec.initContainers, *spec.containers]):
        return 0
    sidecars, peak = 0, 0
    for container in spec.initContainers:
        if container.restartPolicy == "Always":
            sidecars += _limit(container)
            peak = max(peak, sidecars)
        else:
            peak = max(peak, sidecars + _limit(container))
    needed = max(peak, sidecars + _sum(spec.containers))
    overhead = spec.overhead.get("memory")
    return needed + (overhead.value() if overhead is not None else 0) if needed else 0


def _limit(container: Container) -> int:
    limit = container.resources.limits.get("memory")
    return limit.value() if limit is not None else 0


def _sum(containers: Iterable[Container]) -> int:
    return sum(_limit(container) for container in containers)
