"""Removes surplus dead containers of pods in which one has just died."""

import asyncio
import logging
from collections.abc import Callable

from pykubelet.base.journal import Journal, PodRef
from pykubelet.base.tasks import TaskOwner
from pykubelet.cri.errors import CriError
from pykubelet.observe.types import ObservedPod

from .doors import ContainerStarter
from .trim import removable

log = logging.getLogger(__name__)


class Trimmer:
    """Takes the UIDs of pods, looks at each once, and removes what is too much."""

    def __init__(
        self,
        starter: ContainerStarter,
        journal: Journal,
        *,
        cached: Callable[[str], ObservedPod | None],
        content_removable: Callable[[str], bool],
        keep: int,
    ) -> None:
        """*keep* dead instances of each container stay, but at least one."""
        self._starter = starter
        self._journal = journal
        self._cached = cached
        self._content_removable = content_removable
        self._keep = keep
        self._wanted: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._tasks = TaskOwner("trim")

    def start(self) -> None:
        """Begin to trim."""
        self._tasks.forever("loop", self._loop)

    async def stop(self) -> None:
        """Trim no more."""
        await self._tasks.close()

    def request(self, uid: str) -> None:
        """Look at that pod soon."""
        self._wanted[uid] = None
        self._wake.set()

    async def _loop(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._wanted:
                uid = next(iter(self._wanted))
                del self._wanted[uid]
                await self._trim(uid)

    async def _trim(self, uid: str) -> None:
        observed = self._cached(uid)
        if observed is None:
            return
        surplus = removable(observed, keep=self._keep, remove_all=self._content_removable(uid))
        for status in surplus:
            try:
                await self._starter.remove_container(status)
            except (CriError, OSError) as error:
                log.warning("dead container %s of pod %s was not removed: %s", status.name, uid, error)
                continue
            self._journal.record(
                "ContainerRemoved",
                f"removed dead instance {status.restart_count} of {status.name}",
                pod=PodRef(observed.namespace, observed.name, uid),
                container=status.name,
                cause="a newer instance has died, only the newest dead ones stay",
                id=status.id,
            )
