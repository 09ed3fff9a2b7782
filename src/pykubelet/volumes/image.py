"""image: made of an image that is pulled with the containers' own; the runtime mounts it."""

from pykubelet.api.core import Pod
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volumes import Volume
from pykubelet.base.errors import VolumeError

from . import kinds


class ImageVolume:
    """The plug-in; see :class:`~pykubelet.volumes.plugin.Plugin`. Nothing of it lies on the host."""

    name = "kubernetes.io/image"
    kind = kinds.IMAGE

    def set_up(self, pod: Pod, volume: Volume) -> MountedVolume:
        """Nothing has to be made.

        :raises VolumeError: the volume is of another kind.
        """
        source = volume.image
        if source is None:
            raise VolumeError(f'volume "{volume.name}" is no image')
        return MountedVolume(volume.name, read_only=True, selinux_relabel=True, image=source.reference)

    def tear_down(self, uid: str, volume: str) -> None:
        """Nothing was made."""
