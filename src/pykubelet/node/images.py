"""The images that a node tells it has: the biggest, so that the scheduler can prefer nodes that hold them."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from pykubelet.api.node import ContainerImage
from pykubelet.base.clock import Clock
from pykubelet.base.tasks import TaskOwner
from pykubelet.cri.door import ImageService
from pykubelet.cri.errors import CriError
from pykubelet.cri.types import Image

log = logging.getLogger(__name__)

#: Names told of one image.
MAX_NAMES: Final = 5
#: Seconds between looks at the runtime's images.
PERIOD: Final = 30.0
#: Seconds that one look may take.
LOOK_TIMEOUT: Final = 60.0


def reported_images(images: Sequence[Image], limit: int) -> list[ContainerImage]:
    """The biggest *limit* images (-1 for all), digests before tags.

    Images of one size are told in the order of their IDs: a list that differed at every
    look would be reported at every look.
    """
    ordered = sorted(images, key=lambda image: (-image.size, image.id))
    return [
        ContainerImage(names=[*image.repo_digests, *image.repo_tags][:MAX_NAMES], sizeBytes=image.size)
        for image in (ordered if limit < 0 else ordered[:limit])
    ]


class ImageList:
    """The images that the runtime has, as last seen."""

    def __init__(self, runtime: ImageService, clock: Clock) -> None:
        self._runtime = runtime
        self._clock = clock
        self._tasks = TaskOwner("image-list")
        #: None until the first look.
        self.images: tuple[Image, ...] | None = None

    async def start(self) -> None:
        """Begin to look."""
        self._tasks.forever("poll", self._poll, pause=self._clock.sleep)

    async def stop(self) -> None:
        """Look no more."""
        await self._tasks.close()

    async def _poll(self) -> None:
        while True:
            await self._look()
            await self._clock.sleep(PERIOD)

    async def look(self) -> tuple[Image, ...]:
        """Ask the runtime now, and keep what it says.

        :raises CriError: it does not say.
        """
        images = tuple(await self._runtime.list_images())
        self.images = images
        return images

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(LOOK_TIMEOUT):
                await self.look()
        except (CriError, TimeoutError) as error:
            # What was seen before is still more true than nothing.
            log.warning("the runtime's images cannot be listed: %s", str(error) or "no answer in time")
