"""When dead containers are collected: once a minute, and soon after something of an unknown pod was found.

What is collected is decided in ``containers.gc``. The first collection waits for the room
``pods`` to know all pods of the node.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from pykubelet.base.clock import Clock
from pykubelet.base.journal import Events
from pykubelet.containers.gc import ContainerGC
from pykubelet.pods.crashloop import CrashLoop

#: Seconds between collections: at most, and at least.
PERIOD, REST = 60.0, 2.0


class ContainerCollection:
    """The loop of collections; forgets old back-offs of containers on the way."""

    def __init__(
        self,
        gc: ContainerGC,
        crash_loop: CrashLoop,
        clock: Clock,
        events: Events,
        *,
        first_pass: Callable[[float], Awaitable[None]],
        sources_ready: Callable[[], bool],
    ) -> None:
        """*first_pass* waits until all pods of the node were seen, at most the given seconds."""
        self._gc = gc
        self._crash_loop = crash_loop
        self._clock = clock
        self._events = events
        self._first_pass = first_pass
        self._sources_ready = sources_ready
        self._wanted = asyncio.Event()

    def request(self) -> None:
        """Collect soon."""
        self._wanted.set()

    async def run(self) -> None:
        """Collect again and again."""
        # What an earlier life left goes as soon as it is known which pods are wanted.
        await self._first_pass(PERIOD)
        while True:
            self._wanted.clear()
            try:
                await self._gc.collect(sources_ready=self._sources_ready())
            except RuntimeError as error:
                self._events.node_event("Warning", "ContainerGCFailed", str(error))
            self._crash_loop.collect(self._clock.now_ns())
            await self._clock.sleep(REST)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PERIOD - REST):
                    await self._wanted.wait()
