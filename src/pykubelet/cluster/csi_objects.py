"""What CSI reads of the cluster: CSIDrivers by a watch, attachments and secrets when they are needed."""

import asyncio
import random
from collections.abc import Callable
from typing import Final, TypeVar

from pykubelet.api.objects import Secret
from pykubelet.api.storage import CSIDriver, VolumeAttachment
from pykubelet.base.clock import Clock
from pykubelet.base.errors import VolumeError

from .door import Api, Change
from .errors import ClusterError, Refused
from .paths import core, group
from .reflector import Reflector

T = TypeVar("T")

_GROUP: Final = "storage.k8s.io/v1"
#: Seconds that a question waits for the first list of CSIDrivers.
_LIST_WAIT: Final = 10.0


class CsiObjectReader:
    """Implements volumes' ``CsiObjects``."""

    def __init__(
        self, api: Api, clock: Clock, rng: random.Random, *, on_driver: Callable[[str], None]
    ) -> None:
        """*on_driver* hears the name of a CSIDriver that came, changed or went."""
        self._api = api
        self._on_driver = on_driver
        self._reflector = Reflector(
            api,
            group(_GROUP, "csidrivers"),
            CSIDriver,
            clock,
            rng,
            on_change=self._changed,
            # They are asked for by name, and have no namespace.
            key=lambda found: found.metadata.name,
        )

    async def start(self) -> None:
        """Begin to watch the CSIDrivers."""
        await self._reflector.start()

    async def stop(self) -> None:
        """End the watch."""
        await self._reflector.stop()

    async def driver(self, name: str) -> CSIDriver | None:
        """See ``CsiObjects``."""
        try:
            async with asyncio.timeout(_LIST_WAIT):
                await self._reflector.synced.wait()
        except TimeoutError:
            text = f'csidriver.storage.k8s.io "{name}": CSI drivers have not been read yet'
            raise VolumeError(text, left="unchanged") from None
        return self._reflector.get(name)

    def cached_driver(self, name: str) -> CSIDriver | None:
        """See ``CsiObjects``."""
        return self._reflector.get(name)

    async def attachment(self, name: str) -> VolumeAttachment | None:
        """See ``CsiObjects``."""
        try:
            return await self._api.get(group(_GROUP, "volumeattachments", "", name), VolumeAttachment)
        except ClusterError as error:
            if isinstance(error, Refused) and error.not_found:
                return None
            raise VolumeError(str(error), left="unchanged") from error

    async def secret(self, namespace: str, name: str) -> Secret:
        """See ``CsiObjects``."""
        try:
            return await self._api.get(core("secrets", namespace, name), Secret)
        except ClusterError as error:
            raise VolumeError(str(error), left="unchanged") from error

    def _changed(self, change: Change[CSIDriver]) -> None:
        self._on_driver(change.object.metadata.name)
