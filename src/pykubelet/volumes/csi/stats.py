"""How full volumes are, as their drivers tell."""

from datetime import datetime

from pykubelet.api.mounted import MountedVolume
from pykubelet.base.errors import VolumeError

from ..usage import VolumeUsage
from . import traces
from .capabilities import Capability
from .client import VolumeStats
from .data_file import DataError
from .errors import CsiError
from .means import HEAD, Means, capabilities, unchanged
from .paths import beside


class DriverStats:
    """Implements :class:`~pykubelet.volumes.usage.DriverUsage`; *health*: the condition is asked for too."""

    def __init__(self, means: Means, *, health: bool = False) -> None:
        self._means = means
        self._health = health

    async def usage(self, uid: str, volume: MountedVolume) -> VolumeUsage | None:
        """What the driver tells of the pod's volume; None when it tells nothing of any volume.

        :raises VolumeError: it cannot tell now.
        """
        means, paths = self._means, self._means.paths
        if volume.device_path:
            name = volume.device_path.rpartition("/")[2]
            directory, path = paths.block_data(name), f"{paths.block_map(name)}/{uid}"
        else:
            directory, path = beside(volume.host_path), volume.host_path
        try:
            data = await means.off_loop(lambda: traces.load(directory, HEAD))
        except (FileNotFoundError, DataError) as error:
            raise unchanged(str(error)) from None
        client = means.client(data.driver, "")
        can = await capabilities(client, "")
        if Capability.GET_VOLUME_STATS not in can:
            return None
        condition = self._health and Capability.VOLUME_CONDITION in can
        try:
            told = await client.node_get_volume_stats(data.handle, path, condition=condition)
        except CsiError as error:
            raise VolumeError(str(error), left="unchanged") from error
        return usage_of(told, means.clock.now())


def usage_of(told: VolumeStats, now: datetime) -> VolumeUsage:
    """A driver's answer; what it leaves out is zero, as upstream has it. Pure."""
    return VolumeUsage(
        now,
        used_bytes=told.size.used,
        capacity_bytes=told.size.total,
        available_bytes=told.size.available,
        inodes=told.inodes.total,
        inodes_used=told.inodes.used,
        inodes_free=told.inodes.available,
        abnormal=told.condition.abnormal if told.condition is not None else None,
        message=told.condition.message if told.condition is not None else "",
    )
