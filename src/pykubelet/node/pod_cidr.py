"""The runtime is told the range of its pods' IPs whenever that changes (CRI UpdateRuntimeConfig)."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from pykubelet.base.clock import Clock
from pykubelet.base.journal import Journal
from pykubelet.base.tasks import TaskOwner
from pykubelet.cri.door import RuntimeService
from pykubelet.cri.errors import CriError

log = logging.getLogger(__name__)

#: Seconds until the runtime is told again after it could not be.
RETRY: Final = 10.0


class PodCidr:
    """Keeps the runtime informed, in a task of its own: a slow runtime delays nobody."""

    def __init__(self, runtime: RuntimeService, clock: Clock, journal: Journal) -> None:
        self._runtime = runtime
        self._clock = clock
        self._journal = journal
        self._tasks = TaskOwner("pod-cidr")
        self._wanted = ""
        self._told = ""
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """Begin to tell."""
        self._tasks.forever("tell", self._tell_forever, pause=self._clock.sleep)

    async def stop(self) -> None:
        """Tell no more."""
        await self._tasks.close()

    @property
    def cidr(self) -> str:
        """What the runtime was told last; empty when it was told nothing."""
        return self._told

    def want(self, cidrs: Sequence[str]) -> None:
        """*cidrs* is what the Node (``spec.podCIDRs``) or the configuration says; none changes nothing."""
        text = ",".join(filter(None, cidrs))
        if text and text != self._wanted:
            self._wanted = text
            self._changed.set()

    async def _tell_forever(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._told != self._wanted:
                if not await self._tell(self._wanted):
                    await self._clock.sleep(RETRY)

    async def _tell(self, cidr: str) -> bool:
        try:
            await self._runtime.update_runtime_config(cidr)
        except CriError as error:
            log.error("the runtime cannot be told the pod CIDR %s: %s", cidr, error)
            return False
        before, self._told = self._told, cidr
        self._journal.record(
            "PodCIDRChanged", f"the runtime was told that pods get IPs of {cidr}", before=before, cidr=cidr
        )
        return True
