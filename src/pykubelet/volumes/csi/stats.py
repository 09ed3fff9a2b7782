"""How full volumes are, as their drivers tell."""

import asyncio
from datetime import datetime
from typing import Final
from weakref import WeakValueDictionary

from prometheus_client import Histogram

from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volume_usage import VolumeUsage
from pykubelet.base.errors import VolumeError

from . import traces
from .capabilities import Capability
from .client import VolumeStats
from .data_file import DataError
from .errors import CsiError
from .means import HEAD, Means, capabilities, unchanged
from .paths import beside

#: Volumes that one driver is asked about at once.
_AT_ONCE: Final = 4


class DriverStats:
    """Implements :class:`~pykubelet.volumes.usage.DriverUsage`; *health*: the condition is asked for too.

    *durations* takes how long each driver took.
    """

    def __init__(self, means: Means, durations: Histogram, *, health: bool = False) -> None:
        self._means = means
        self._durations = durations
        self._health = health
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._volumes: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

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
        turn = self._turns.setdefault(data.driver, asyncio.Semaphore(_AT_ONCE))
        # Several pods may have the volume: drivers refuse two calls about it at once.
        alone = self._volumes.setdefault((data.driver, data.handle), asyncio.Lock())
        async with alone, turn:
            began = means.clock.monotonic()
            try:
                return await self._ask(data.driver, data.handle, path)
            finally:
                self._durations.labels(data.driver).observe(means.clock.monotonic() - began)

    async def _ask(self, driver: str, handle: str, path: str) -> VolumeUsage | None:
        client = self._means.client(driver, "")
        can = await capabilities(client, "")
        if Capability.GET_VOLUME_STATS not in can:
            return None
        condition = self._health and Capability.VOLUME_CONDITION in can
        try:
            told = await client.node_get_volume_stats(handle, path, condition=condition)
        except CsiError as error:
            raise VolumeError(str(error), left="unchanged") from error
        return usage_of(told, self._means.clock.now())


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
