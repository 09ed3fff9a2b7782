"""Why the attach/detach controller has not attached a volume: asked of the cluster when it matters.

A volume that waits to be attached costs no questions; one is asked when a pod's wait is over, or when
somebody asks why it waits.
"""

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from typing import Final, TypeVar

from pykubelet.base.errors import VolumeError

from .book import Book
from .doors import Attachments
from .plugin import PersistentPlugin
from .state import Wanted

log = logging.getLogger(__name__)

T = TypeVar("T")

#: What is told where nobody attaches.
UNATTENDED: Final = (
    "no controller attaches volumes to this node (enableControllerAttachDetach is false), "
    "and a kubelet cannot attach volumes of CSI drivers itself"
)
#: Seconds for the API server, and a driver that is asked for its limit.
_LIMIT: Final = 30.0
#: Seconds for the API server when somebody waits for the answer.
_SOON: Final = 3.0


class Attaching:
    """Asks about volumes that are not attached yet."""

    def __init__(
        self, book: Book, persistent: Mapping[str, PersistentPlugin], attachments: Attachments
    ) -> None:
        """*persistent* are the plug-ins by their names."""
        self._book = book
        self._attachments = attachments
        self._persistent = persistent

    def waiting(self, uid: str) -> list[Wanted]:
        """Those of the pod's volumes that the controller has not attached yet."""
        return [
            each
            for each in self._book.wants.of(uid)
            if each.resolved is not None
            and each.resolved.attachable
            and not self._book.devices.is_attached(each.unique_name)
        ]

    async def exhausted(self, wanted: Wanted) -> bool:
        """Whether it is not attached since the node has as many volumes as it can."""
        plugin = self._persistent.get(wanted.key.plugin)
        if plugin is None or wanted.resolved is None:
            return False
        try:
            return await _within(_LIMIT, plugin.exhausted(wanted.resolved.spec))
        except VolumeError as error:
            log.warning("whether the node has room for volume %s is not known: %s", wanted.called, error)
            return False

    async def why(self, wanted: Wanted) -> str:
        """What keeps it from being attached, as the cluster tells it; empty when it tells nothing."""
        plugin = self._persistent.get(wanted.key.plugin)
        if plugin is None or wanted.resolved is None:
            return ""
        if not self._attachments.by_controller:
            return UNATTENDED
        try:
            return await _within(_SOON, plugin.unattached(wanted.resolved.spec))
        except VolumeError as error:
            return str(error)

    async def of_pod(self, uid: str) -> Mapping[str, str]:
        """:meth:`why`, of the pod's volumes that are not attached, by their names in its spec."""
        waiting = self.waiting(uid)
        whys = await asyncio.gather(*map(self.why, waiting))
        return {name: why for each, why in zip(waiting, whys, strict=True) if why for name in each.names}


async def _within(limit: float, call: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(limit):
            return await call
    except TimeoutError:
        raise VolumeError(f"its attachment could not be read in {limit:.0f} s", left="unchanged") from None
