"""A grace period in force: it can only shrink, and whoever waits it out hears of that at once."""

import asyncio

from pykubelet.base.clock import Clock

from .grace import rest_after


class GraceHolder:
    """Seconds of grace, counted from :meth:`begin`, or from the moment they were shortened."""

    def __init__(self, clock: Clock, seconds: int) -> None:
        self._clock = clock
        self._seconds = seconds
        self._since: float | None = None
        self._shortened = asyncio.Event()

    @property
    def seconds(self) -> int:
        """The grace that was last set."""
        return self._seconds

    def begin(self) -> None:
        """The time runs from now; a second call (a kill that is tried again) changes nothing."""
        if self._since is None:
            self._since = self._clock.monotonic()

    def shorten(self, seconds: int) -> bool:
        """From now on only *seconds* are left; False when no more than that are left anyway."""
        now = self._clock.monotonic()
        if self._since is None:
            if seconds >= self._seconds:
                return False
            self._seconds = seconds
        else:
            if now + seconds >= self._since + self._seconds:
                return False
            self._seconds, self._since = seconds, now
        self._shortened.set()
        self._shortened = asyncio.Event()
        return True

    def left(self) -> float:
        """Seconds that are left, not below zero."""
        if self._since is None:
            return float(self._seconds)
        return max(0.0, self._since + self._seconds - self._clock.monotonic())

    def rest(self) -> int:
        """Whole seconds left as upstream counts them: begun seconds are not taken off; may be negative."""
        elapsed = 0.0 if self._since is None else self._clock.monotonic() - self._since
        return rest_after(self._seconds, elapsed)

    async def shortened(self) -> None:
        """Wait until the grace is shortened."""
        await self._shortened.wait()
