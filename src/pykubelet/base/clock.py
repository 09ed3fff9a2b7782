"""Time as it is handed to every part that waits or stamps: real, or moved by hand.

Wall time is an int of nanoseconds since the epoch (what CRI speaks) or an aware
UTC ``datetime`` (what the API speaks); waiting uses the monotonic clock in seconds.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The time of one node."""

    def now_ns(self) -> int:
        """Wall time in nanoseconds since the epoch."""
        ...

    def now(self) -> datetime:
        """Wall time as an aware UTC datetime."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait for *seconds*; zero or less only yields to the loop."""
        ...


def from_ns(ns: int) -> datetime:
    """Nanoseconds since the epoch as an aware UTC datetime (microseconds kept)."""
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).replace(microsecond=ns % 1_000_000_000 // 1000)


def to_ns(moment: datetime) -> int:
    """An aware datetime as nanoseconds since the epoch, without float rounding."""
    whole = moment.replace(microsecond=0)
    return round(whole.timestamp()) * 1_000_000_000 + moment.microsecond * 1000


class SystemClock:
    """The machine's own clock."""

    def now_ns(self) -> int:
        """See :class:`Clock`."""
        return time.time_ns()

    def now(self) -> datetime:
        """See :class:`Clock`."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """See :class:`Clock`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See :class:`Clock`."""
        await asyncio.sleep(max(0.0, seconds))


class LoopClock:
    """A clock that follows the running event loop's time.

    Under a loop with virtual time (tests, hollow nodes) wall time moves with it.
    """

    def __init__(self, start_ns: int = 1_700_000_000_000_000_000) -> None:
        self._start_ns = start_ns
        self._zero: float | None = None

    def now_ns(self) -> int:
        """See :class:`Clock`."""
        return self._start_ns + int(self.monotonic() * 1e9)

    def now(self) -> datetime:
        """See :class:`Clock`."""
        return from_ns(self.now_ns())

    def monotonic(self) -> float:
        """See :class:`Clock`."""
        now = asyncio.get_running_loop().time()
        if self._zero is None:
            self._zero = now
        return now - self._zero

    async def sleep(self, seconds: float) -> None:
        """See :class:`Clock`."""
        await asyncio.sleep(max(0.0, seconds))


class ManualClock:
    """A clock that stands still until a test moves it; for synchronous cores."""

    def __init__(self, start_ns: int = 1_700_000_000_000_000_000) -> None:
        self._ns = start_ns
        self._zero = start_ns

    def advance(self, seconds: float) -> None:
        """Move time forward by *seconds*."""
        self._ns += int(seconds * 1e9)

    def now_ns(self) -> int:
        """See :class:`Clock`."""
        return self._ns

    def now(self) -> datetime:
        """See :class:`Clock`."""
        return from_ns(self._ns)

    def monotonic(self) -> float:
        """See :class:`Clock`."""
        return (self._ns - self._zero) / 1e9

    async def sleep(self, seconds: float) -> None:
        """Move time forward by *seconds* and yield once to the loop."""
        self.advance(max(0.0, seconds))
        await asyncio.sleep(0)
