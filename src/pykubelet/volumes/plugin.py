"""What a kind of volume must be able to do."""

from typing import Protocol

from pykubelet.api.core import Pod
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volumes import Volume


class Plugin(Protocol):
    """One kind of volume. Both operations block, and can be repeated after an end at any point."""

    @property
    def name(self) -> str:
        """Upstream's name, as in ``kubernetes.io/empty-dir``."""
        ...

    @property
    def kind(self) -> str:
        """The field of the API's Volume that asks for it."""
        ...

    def set_up(self, pod: Pod, volume: Volume) -> MountedVolume:
        """Make the volume ready for the pod's containers; what is ready stays as it is.

        :raises OSError: the kernel refused.
        :raises VolumeError: it cannot be had.
        """
        ...

    def tear_down(self, uid: str, volume: str) -> None:
        """Take away what :meth:`set_up` made; what is gone already is fine.

        :raises OSError: something is in use.
        """
        ...
