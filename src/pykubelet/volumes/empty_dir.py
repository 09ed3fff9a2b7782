"""emptyDir: a directory that lives as long as its pod, on disk, in memory or in huge pages."""

from collections.abc import Callable

from pykubelet.api.core import Pod
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volumes import Volume
from pykubelet.base.errors import VolumeError
from pykubelet.base.layout import Layout

from . import kinds, local_tree
from .identity import group_of
from .medium import medium_of


class EmptyDir:
    """The plug-in; see :class:`~pykubelet.volumes.plugin.Plugin`."""

    name = local_tree.EMPTY_DIR
    kind = kinds.EMPTY_DIR

    def __init__(self, layout: Layout, node_memory: Callable[[], int]) -> None:
        """*node_memory* tells how many bytes of memory pods may use on this node."""
        self._layout = layout
        self._node_memory = node_memory

    def set_up(self, pod: Pod, volume: Volume) -> MountedVolume:
        """Make the directory, and mount its medium on it; keep what was fully made before.

        :raises OSError: the kernel refused.
        :raises VolumeError: the medium is unknown, or the pod asks for no such huge pages.
        """
        if volume.emptyDir is None:
            raise VolumeError(f'volume "{volume.name}" is no emptyDir')
        medium = medium_of(pod, volume, self._node_memory())
        path = local_tree.set_up(
            self._layout, pod.metadata.uid, self.name, volume.name, medium=medium, group=group_of(pod)
        )
        return MountedVolume(volume.name, path, selinux_relabel=True)

    def tear_down(self, uid: str, volume: str) -> None:
        """Unmount and remove it with all that the pod left there.

        :raises OSError: something is in use.
        """
        local_tree.tear_down(self._layout, uid, self.name, volume)
