"""emptyDir: a directory that lives as long as its pod, on disk or in memory."""

from collections.abc import Callable, Iterable
from typing import Final

from pykubelet.api.core import Container, Pod
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volumes import Volume
from pykubelet.base.errors import VolumeError
from pykubelet.base.layout import Layout

from . import kinds, local_tree
from .identity import group_of

MEMORY: Final = "Memory"
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
        if medium not in ("", MEMORY):
            raise VolumeError(f'unknown storage medium "{medium}"')
        memory = memory_size(pod, volume, self._node_memory()) if medium == MEMORY else None
        path = local_tree.set_up(
            self._layout, pod.metadata.uid, self.name, volume.name, memory=memory, group=group_of(pod)
        )
        return MountedVolume(volume.name, path, selinux_relabel=True)

    def tear_down(self, uid: str, volume: str) -> None:
        """Unmount and remove it with all that the pod left there.

        :raises OSError: something is in use.
        """
        local_tree.tear_down(self._layout, uid, self.name, volume)


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
