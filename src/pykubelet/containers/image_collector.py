"""Removes images that nobody uses: when their file system fills, when they are old, and when asked to.

What goes is decided in :mod:`.image_gc`; each removal is in the journal with its cause.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from pykubelet.base.clock import Clock, from_ns
from pykubelet.base.gotext import aggregate, format_duration, format_size
from pykubelet.base.journal import Events, Journal
from pykubelet.base.metrics import Metrics
from pykubelet.cri.door import Runtime
from pykubelet.cri.errors import CriError
from pykubelet.cri.types import Image

from .doors import PullRecords
from .image_gc import (
    DiskUsage,
    ImagePolicy,
    ImageRecord,
    Key,
    detected,
    old_enough,
    removable,
    too_old,
    used_images,
)

log = logging.getLogger(__name__)

#: Seconds between looks.
PERIOD: Final = 300.0

Reason = Literal["age", "space"]


class ImageGCError(Exception):
    """Images were not removed as they should; the text is upstream's. *freed* bytes were."""

    def __init__(self, message: str, freed: int = 0) -> None:
        super().__init__(message)
        self.freed = freed


class _RuntimeConfig(msgspec.Struct):
    """The part of containerd's configuration, as Status tells it, that matters here."""

    sandbox_image: str = msgspec.field(default="", name="sandboxImage")


def disk_usage(mountpoint: str) -> DiskUsage:
    """The file system at *mountpoint*; of no size if there is none. Blocks.

    :raises OSError: it cannot be looked at.
    """
    try:
        found = os.statvfs(mountpoint)
    except FileNotFoundError:
        return DiskUsage(0, 0)
    return DiskUsage(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


class ImageCollector:
    """Keeps watch over the images of one node."""

    def __init__(
        self,
        runtime: Runtime,
        clock: Clock,
        journal: Journal,
        events: Events,
        metrics: Metrics,
        policy: ImagePolicy,
        *,
        list_images: Callable[[], Awaitable[Sequence[Image]]],
        mounted: Callable[[], Iterable[str]],
        pulled: PullRecords | None = None,
        handlers: bool = False,
        disk: Callable[[str], DiskUsage] = disk_usage,
    ) -> None:
        """*list_images* asks the runtime; *mounted* gives the images that containers have as volumes.

        *handlers*: images are told apart by the handler they were pulled for.
        """
        self._runtime = runtime
        self._clock = clock
        self._journal = journal
        self._events = events
        self._policy = policy
        self._list_images = list_images
        self._mounted = mounted
        self._pulled = pulled
        self._handlers = handlers
        self._disk = disk
        self._counter = metrics.counter(
            "kubelet_image_garbage_collected_total",
            "Total number of images garbage collected by the kubelet, whether through disk usage or image "
            "age.",
            ["reason"],
        )
        self._records: dict[Key, ImageRecord] = {}
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        """Look, and remove, again and again."""
        began, failed = self._clock.now_ns(), False
        while True:
            try:
                await self.collect(began)
                failed = False
            except (CriError, ImageGCError, OSError) as error:
                log.error("image garbage collection failed: %s", error)
                if failed:
                    # Once may be a runtime that has just begun to count.
                    self._events.node_event("Warning", "ImageGCFailed", str(error))
                failed = True
            await self._clock.sleep(PERIOD)

    async def collect(self, began: int) -> None:
        """One look: old images go, then as many as bring the disk under the low threshold.

        *began* is since when images were watched, in nanoseconds since the epoch.

        :raises ImageGCError: not enough could be freed, or a removal failed.
        :raises CriError: the runtime does not tell.
        :raises OSError: the file system cannot be looked at.
        """
        async with self._lock:
            start = self._clock.now()
            candidates = await self._candidates()
            if self._policy.disabled:
                return
            now = self._clock.now_ns()
            old = too_old(candidates, self._policy, now, began)
            gone = await self._remove(old, "age", "it was unused for longer than imageMaximumGCAge")
            if gone.errors:
                age = format_duration(int(self._policy.max_age * 1e9))
                raise ImageGCError(
                    f"wanted to free images older than {age}, encountered errors in image deletion: "
                    f"{aggregate(gone.errors)}",
                    gone.freed,
                )
            await self._free_space([image for image in candidates if image not in old])
            await self._prune(start)

    async def delete_unused_images(self, cause: str = "all unused images were asked to go") -> int:
        """Remove every image that may go; the bytes freed, by the runtime's account of sizes.

        :raises ImageGCError: some could not be removed; the others were.
        :raises CriError: the runtime does not tell what is there.
        """
        async with self._lock:
            start = self._clock.now()
            candidates = old_enough(await self._candidates(), self._policy, self._clock.now_ns())
            gone = await self._remove(candidates, "space", cause)
            await self._prune(start)
            gone.check(sum(image.size for image in candidates))
            return gone.freed

    # --- looking --------------------------------------------------------------

    async def _candidates(self) -> list[ImageRecord]:
        """Look at what is there and used; the images that may go, in the order in which they do."""
        now = self._clock.now_ns()
        images = await self._list_images()
        containers = await self._runtime.list_containers()
        others = {*self._mounted(), *await self._sandbox_images()}
        used = used_images(images, containers, others, handlers=self._handlers)
        self._records = detected(self._records, images, used, now, handlers=self._handlers)
        return removable(self._records, used, self._policy)

    async def _sandbox_images(self) -> tuple[str, ...]:
        """The image of sandboxes, where a runtime that does not pin it tells its name (containerd 1.6)."""
        told = (await self._runtime.status(verbose=True)).info.get("config", "")
        try:
            image = msgspec.json.decode(told, type=_RuntimeConfig).sandbox_image if told else ""
        except msgspec.MsgspecError:
            return ()
        if not image:
            return ()
        found = await self._runtime.image_status(image)
        return (image,) if found is None else (image, found.id)

    # --- removing -------------------------------------------------------------

    async def _free_space(self, candidates: Sequence[ImageRecord]) -> None:
        usage = await self._usage()
        if not usage.capacity:
            message = "invalid capacity 0 on image filesystem"
            self._events.node_event("Warning", "InvalidDiskCapacity", message)
            raise ImageGCError(message)
        if usage.percent < self._policy.high:
            return
        wanted = usage.to_free(self._policy)
        self._journal.record(
            "ImageGarbageCollection",
            f"freeing {wanted} bytes of images",
            cause=f"the image file system is in use to {usage.percent} %, the high threshold is "
            f"{self._policy.high} %",
            capacity=usage.capacity,
            available=usage.available,
            low_threshold=self._policy.low,
        )
        free = old_enough(candidates, self._policy, self._clock.now_ns())
        cause = f"the image file system is in use to {usage.percent} %"
        gone = await self._remove(free, "space", cause, wanted)
        gone.check(wanted)
        if gone.freed < wanted:
            message = (
                f"Insufficient free disk space on the node's image filesystem ({usage.percent}% of "
                f"{format_size(usage.capacity)} used). Failed to free sufficient space by deleting unused "
                f"images (freed {gone.freed} bytes). Investigate disk usage, as it could be used by active "
                "images, logs, volumes, or other data."
            )
            self._events.node_event("Warning", "FreeDiskSpaceFailed", message)
            raise ImageGCError(message, gone.freed)

    async def _usage(self) -> DiskUsage:
        images, _ = await self._runtime.image_fs_info()
        if not images:
            raise ImageGCError("imageFs information is unavailable")
        return await asyncio.to_thread(self._disk, images[0].mountpoint)

    async def _remove(
        self, images: Iterable[ImageRecord], reason: Reason, cause: str, enough: int | None = None
    ) -> "_Gone":
        """Remove *images* in order, until *enough* bytes are freed."""
        gone = _Gone()
        for image in images:
            if enough is not None and gone.freed >= enough:
                break
            try:
                await self._runtime.remove_image(image.id, runtime_handler=image.handler)
            except CriError as error:
                log.error("image %s was not removed: %s", image.id, error)
                gone.errors.append(error)
                continue
            self._records.pop(image.key, None)
            gone.freed += image.size
            self._counter.labels(reason).inc()
            self._journal.record(
                "ImageRemoved",
                f"removed image {image.names[0] if image.names else image.id}",
                cause=cause,
                id=image.id,
                bytes=image.size,
                handler=image.handler or None,
                last_used=from_ns(image.last_used).isoformat() if image.last_used else "never",
                first_seen=from_ns(image.first_detected).isoformat(),
            )
        return gone

    async def _prune(self, start: datetime) -> None:
        """Forget by whom images were pulled that are gone.

        Not when there are none at all: more likely than a node without any is a runtime that has lost
        sight of them, and an image without a record would be everybody's when it is back.
        """
        if self._pulled is not None and self._records:
            await self._pulled.prune({image for image, _ in self._records}, start)


class _Gone:
    """What a round of removals came to."""

    def __init__(self) -> None:
        self.freed = 0
        self.errors: list[CriError] = []

    def check(self, wanted: int) -> None:
        """Raise if a removal failed.

        :raises ImageGCError: so it is.
        """
        if self.errors:
            raise ImageGCError(
                f"wanted to free {wanted} bytes, but freed {self.freed} bytes space with errors in image "
                f"deletion: {aggregate(self.errors)}",
                self.freed,
            )
