"""A limit on how long others may take, that does not count what this process itself slept through.

On a machine with more to do than it has processors for, the event loop may not run for seconds. What
came in meanwhile is seen only then, together with the timer that says it is too late: a plain
``asyncio.timeout`` would fail a probe that was answered within a millisecond, and the container be killed.
"""

import asyncio
from types import TracebackType
from typing import Self

#: Looks at the clock within the limit; more than one of these parts between two looks is not counted.
PARTS = 10
#: Seconds that may go uncounted at most.
SPARED = 10.0


class FairLimit:
    """``asyncio.timeout`` for another's answer: *seconds* in which the event loop ran.

    As there, the body is cancelled and ``TimeoutError`` raised when they are over; None is no limit. By the
    clock it ends after twice as long at the latest, and after at most 10 s more than *seconds*.
    """

    def __init__(self, seconds: float | None) -> None:
        self._left = seconds
        self._timeout = asyncio.timeout(None)
        self._timer: asyncio.Handle | None = None

    def expired(self) -> bool:
        """Whether it was this limit that ended the body."""
        return self._timeout.expired()

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        if self._left is not None:
            now = asyncio.get_running_loop().time()
            self._last, self._end = now, now + self._left + min(self._left, SPARED)
            self._part = self._left / PARTS
            self._wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _wait(self) -> None:
        assert self._left is not None
        when = self._last + min(self._part, self._left)
        self._timer = asyncio.get_running_loop().call_at(when, self._look)

    def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        assert self._left is not None
        self._left -= min(now - self._last, self._part)
        self._last = now
        if self._left > 0 and now < self._end:
            self._wait()
        else:
            # Not at once: what came in before this look is dealt with first.
            self._timer = asyncio.get_running_loop().call_soon(self._timeout.reschedule, now)
