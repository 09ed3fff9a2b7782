"""When an image may be pulled: the registry's token bucket, and the back-off after failures."""

from dataclasses import dataclass


class TokenBucket:
    """At most *rate* takes a second on average, *burst* at once; a rate of 0 sets no limit."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Take a token at *now* (monotonic seconds); False if none is there."""
        if self._rate <= 0:
            return True
        if self._at is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@dataclass(frozen=True, slots=True)
class _Failure:
    at: float
    wait: float
    text: str


class PullBackoff:
    """Waits after failed pulls by key, doubling from *first* to *last* seconds, with the last error's text.

    A key is forgotten when nothing failed for twice the longest wait.
    """

    def __init__(self, first: float, last: float) -> None:
        self._first = first
        self._last = last
        self._failures: dict[str, _Failure] = {}

    def waits(self, key: str, now: float) -> str | None:
        """The text of the failure that *key* still waits out at *now*; None when it may be tried."""
        failure = self._failures.get(key)
        if failure is None or now - failure.at >= failure.wait:
            return None
        return failure.text

    def failed(self, key: str, now: float, text: str) -> float:
        """Note a failure; returns the wait in seconds."""
        known = self._failures.get(key)
        stale = known is None or now - known.at > 2 * self._last
        wait = self._first if known is None or stale else min(known.wait * 2, self._last)
        self._failures[key] = _Failure(now, wait, text)
        return wait

    def forget_stale(self, now: float) -> None:
        """Drop what failed so long ago that it no longer counts."""
        old = [key for key, failure in self._failures.items() if now - failure.at > 2 * self._last]
        for key in old:
            del self._failures[key]

    def __len__(self) -> int:
        return len(self._failures)
