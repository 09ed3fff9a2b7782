"""The connections to the API server as they are replaced."""

import asyncio
import random
from typing import Any

import pytest

from pykubelet.base.clock import LoopClock
from pykubelet.cluster.connections import RETIRE_WATCHES, Line


class Watch:
    """An answer that is read until it is closed."""

    def __init__(self, line: Line) -> None:
        self._ended = asyncio.Event()
        self._line = line

    def close(self) -> None:
        self._ended.set()

    async def read(self) -> None:
        answer: Any = self
        with self._line.used(), self._line.watching(answer):
            await self._ended.wait()


@pytest.mark.looptime
async def test_watches_move_within_the_promised_time_however_many_they_are() -> None:
    line = Line(None, "test")
    clock = LoopClock()
    async with asyncio.TaskGroup() as watches:
        for _ in range(300):
            watches.create_task(Watch(line).read())
        await asyncio.sleep(0)
        began = clock.monotonic()
        await line.wind_down(clock, random.Random(1))
    assert 0 < clock.monotonic() - began <= RETIRE_WATCHES
    assert line.session.closed
