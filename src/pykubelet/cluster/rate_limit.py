"""How many requests a client may make: a bucket of tokens that fills at a steady rate."""

from typing import Final

from pykubelet.base.clock import Clock

#: What client-go takes where a configuration says 0.
_DEFAULT_QPS: Final = 5.0
_DEFAULT_BURST: Final = 10


class Bucket:
    """The tokens; pure. It may owe some: who took one in advance waits until it would have been there.

    As each one takes its token when it comes, nobody overtakes another.
    """

    def __init__(self, qps: float, burst: int, now: float) -> None:
        """*qps* tokens come each second, at most *burst* lie ready; *now* in monotonic seconds."""
        self._qps = qps
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at = now

    def take(self, now: float) -> float:
        """Take a token; seconds until it may be used."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._qps) - 1
        self._at = now
        return max(0.0, -self._tokens / self._qps)

    def give_back(self) -> None:
        """A token was not used after all."""
        self._tokens = min(self._burst, self._tokens + 1)


class RateLimit:
    """Lets requests through at the rate that a configuration gives."""

    def __init__(self, qps: float, burst: int, clock: Clock) -> None:
        """Zero means client-go's default (5 each second, 10 at once), a negative *qps* no limit."""
        self._clock = clock
        self._bucket: Bucket | None = None
        if qps >= 0:
            self._bucket = Bucket(qps or _DEFAULT_QPS, burst or _DEFAULT_BURST, clock.monotonic())

    async def wait(self) -> None:
        """Wait for one's turn; first come, first served."""
        if self._bucket is None:
            return
        seconds = self._bucket.take(self._clock.monotonic())
        if seconds <= 0:
            return
        try:
            await self._clock.sleep(seconds)
        except BaseException:
            self._bucket.give_back()
            raise
