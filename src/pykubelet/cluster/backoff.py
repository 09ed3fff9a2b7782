"""How long to wait after failures: longer each time, by chance a little differently on every node.

The numbers are those of client-go's reflector: a cluster's nodes do not come back all at once.
"""

import random
from typing import Final

#: Seconds of the first wait and of the longest one (before jitter).
FIRST: Final = 0.8
LONGEST: Final = 30.0
#: A wait is lengthened by up to this part of itself.
_JITTER: Final = 1.0
#: Seconds without a failure after which the next wait is the first one again.
_HEALTHY: Final = 120.0


class Backoff:
    """The waits of one loop."""

    def __init__(self, rng: random.Random, *, first: float = FIRST, longest: float = LONGEST) -> None:
        self._rng = rng
        self._first = first
        self._longest = longest
        self._next = first
        self._last: float | None = None

    def wait(self, now: float) -> float:
        """Seconds to wait for a failure at *now* (monotonic seconds)."""
        if self._last is not None and now - self._last > _HEALTHY:
            self._next = self._first
        base = self._next
        self._next = min(base * 2, self._longest)
        wait = base * (1 + self._rng.random() * _JITTER)
        self._last = now + wait
        return wait
