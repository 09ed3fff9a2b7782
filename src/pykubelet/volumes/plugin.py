"""What a kind of volume must be able to do."""

from typing import Protocol

from pykubelet.api.core import Pod
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volumes import Volume

from .content_volume import Content


class Remover(Protocol):
    """The part that all kinds have."""

    @property
    def name(self) -> str:
        """Upstream's name, as in ``kubernetes.io/empty-dir``."""
        ...

    @property
    def kind(self) -> str:
        """The field of the API's Volume that asks for it."""
        ...

    def tear_down(self, uid: str, volume: str) -> None:
        """Take away what was made; what is gone already is fine. Blocks, and can be repeated.

        :raises OSError: something is in use.
        """
        ...


class Plugin(Remover, Protocol):
    """A kind of volume that is made once, from the pod's spec alone."""

    def set_up(self, pod: Pod, volume: Volume) -> MountedVolume:
        """Make the volume ready for the pod's containers; what is ready stays as it is.

        Blocks, and can be repeated after an end at any point.

        :raises OSError: the kernel refused.
        :raises VolumeError: it cannot be had.
        """
        ...


class ContentPlugin(Remover, Protocol):
    """A kind of volume whose contents are gathered first, and renewed while pods use it."""

    async def gather(self, pod: Pod, volume: Volume) -> Content:
        """Fetch what goes into the volume.

        :raises VolumeError: it cannot be had now.
        """
        ...

    def set_up(self, pod: Pod, volume: Volume, content: Content) -> tuple[MountedVolume, bool]:
        """Let the volume hold *content*; whether that changed anything.

        Blocks, and can be repeated after an end at any point.

        :raises OSError: the kernel refused; the old contents stay.
        :raises VolumeError: it cannot be had.
        """
        ...

    def gone(self, uid: str) -> None:
        """A volume of that pod was torn down; called on the event loop."""
        ...
