"""Work for the API server, by key: one piece per key at a time, few at once, what matters first.

A piece that failed waits longer each time. When it was the server that failed (it cannot
be reached, it is overloaded), everything waits, and a single piece then tries for all:
neither an outage nor its end makes a storm.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from pykubelet.base.clock import Clock
from pykubelet.base.tasks import TaskOwner

from .backoff import Backoff
from .errors import ClusterError, Refused, Unreachable

log = logging.getLogger(__name__)

#: Seconds of the longest wait (before jitter) of a piece of work that failed, and of all when the server did.
LONGEST_WAIT: Final = 60.0
LONGEST_OUTAGE_WAIT: Final = 5.0
#: Seconds too few to wait for: timers are not that exact.
_NEAR: Final = 0.001
#: Seconds of the first wait.
_FIRST_WAIT: Final = 0.5


@dataclass(slots=True, eq=False)
class _Item:
    key: str
    #: Monotonic second from which it may be done; None while nothing more is asked for.
    due: float | None = None
    urgent: bool = False
    running: bool = False
    #: Discarded while it runs.
    unwanted: bool = False
    #: Not before this, after a failure; the more failures, the further back it stands.
    not_before: float = 0.0
    failures: int = 0
    backoff: Backoff | None = None


class WorkQueue:
    """Calls *work* with each key that was added, again when it raises ``ClusterError``."""

    def __init__(
        self,
        name: str,
        work: Callable[[str], Awaitable[bool]],
        clock: Clock,
        rng: random.Random,
        *,
        at_once: int = 6,
    ) -> None:
        """*work* answers whether the API server was asked anything: if not, nothing is known of it.

        *at_once* is how many pieces are worked on at a time.
        """
        self._name = name
        self._work = work
        self._clock = clock
        self._rng = rng
        self._at_once = at_once
        self._items: dict[str, _Item] = {}
        self._running = 0
        #: While the server fails: how it is waited for, and until when.
        self._outage: Backoff | None = None
        self._closed_until = 0.0
        self._wake = asyncio.Event()
        self._tasks = TaskOwner(name)

    async def start(self) -> None:
        """Begin to work on what was added."""
        self._tasks.forever("queue", self._run)

    async def stop(self) -> None:
        """End; what is not done yet is left."""
        await self._tasks.close()

    def __len__(self) -> int:
        """How many keys wait or are worked on."""
        return len(self._items)

    def __contains__(self, key: object) -> bool:
        """Whether *key* waits to be worked on (again)."""
        item = self._items.get(key) if isinstance(key, str) else None
        return item is not None and item.due is not None

    def add(self, key: str, *, delay: float = 0.0, urgent: bool = False, fresh: bool = False) -> None:
        """Work on *key* after at most *delay* seconds, or when its wait after a failure is over.

        *urgent* goes before all that is not. *fresh*: it is another matter than the one that failed.
        """
        item = self._items.setdefault(key, _Item(key))
        item.unwanted = False
        if fresh:
            _forgive(item)
        due = self._clock.monotonic() + delay
        item.due = max(item.not_before, due if item.due is None else min(item.due, due))
        item.urgent = item.urgent or urgent
        self._wake.set()

    def discard(self, key: str) -> None:
        """Do not work on *key* any more; what runs runs to its end."""
        item = self._items.get(key)
        if item is None:
            return
        item.due, item.unwanted = None, True
        if not item.running:
            del self._items[key]

    # --- the loop -------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            now = self._clock.monotonic()
            soon = now + _NEAR
            while self._running < self._room(soon) and (item := self._next(soon)) is not None:
                item.running, item.due = True, None
                self._running += 1
                self._tasks.spawn(item.key, self._do(item))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause(now)):
                    await self._wake.wait()

    def _room(self, now: float) -> int:
        if self._outage is None:
            return self._at_once
        return 1 if now >= self._closed_until else 0

    def _next(self, now: float) -> _Item | None:
        ready = [i for i in self._items.values() if not i.running and i.due is not None and i.due <= now]
        return min(ready, key=lambda item: (item.failures, not item.urgent, item.due), default=None)

    def _pause(self, now: float) -> float | None:
        """Seconds until something may be done; None if only the end of what runs, or news, can tell."""
        if self._running >= (1 if self._outage is not None else self._at_once):
            return None
        dues = [item.due for item in self._items.values() if not item.running and item.due is not None]
        if not dues:
            return None
        return max(0.0, max(min(dues), self._closed_until) - now)

    async def _do(self, item: _Item) -> None:
        urgent, item.urgent = item.urgent, False
        try:
            asked = await self._work(item.key)
        except ClusterError as error:
            item.urgent = item.urgent or urgent
            self._failed(item, error)
        except Exception:
            log.exception("%s: %s failed unexpectedly", self._name, item.key)
            self._wait_longer(item, 0.0, LONGEST_WAIT)
        else:
            if asked:
                self._answered()
            _forgive(item)
        finally:
            item.running = False
            self._running -= 1
            if item.due is None:
                del self._items[item.key]
            self._wake.set()

    def _failed(self, item: _Item, error: ClusterError) -> None:
        wish = (error.retry_after or 0.0) if isinstance(error, Refused) else 0.0
        asked = min(wish, LONGEST_WAIT)
        if not _of_the_server(error):
            self._answered()
            self._wait_longer(item, asked, LONGEST_WAIT)
            return
        if self._outage is None:
            log.warning("%s: waiting for the API server, %d to do: %s", self._name, len(self), error)
            self._outage = Backoff(self._rng, first=_FIRST_WAIT, longest=LONGEST_OUTAGE_WAIT)
        now = self._clock.monotonic()
        self._closed_until = now + max(asked, self._outage.wait(now))
        self._wait_longer(item, asked, LONGEST_OUTAGE_WAIT)

    def _wait_longer(self, item: _Item, asked: float, longest: float) -> None:
        now = self._clock.monotonic()
        if item.backoff is None:
            item.backoff = Backoff(self._rng, first=_FIRST_WAIT, longest=LONGEST_WAIT)
        item.failures += 1
        item.not_before = now + max(asked, min(longest, item.backoff.wait(now)))
        if not item.unwanted:
            item.due = item.not_before

    def _answered(self) -> None:
        """The server works."""
        if self._outage is not None:
            log.info("%s: the API server answers again, %d to do", self._name, len(self))
        self._outage, self._closed_until = None, 0.0


def _forgive(item: _Item) -> None:
    item.not_before, item.failures, item.backoff = 0.0, 0, None


def _of_the_server(error: ClusterError) -> bool:
    """Whether the failure says something about the server rather than about what was asked of it."""
    if isinstance(error, Refused):
        return error.code in {401, 429, 503, 504}
    return isinstance(error, Unreachable)
