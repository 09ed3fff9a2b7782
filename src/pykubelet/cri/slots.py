"""How much goes to the runtime at once: a few slots, whose number follows how well calls flow.

Two pure parts, the queue of who goes next and the tuner of how many may, and one
thin effect, :class:`Slots`, that lets coroutines wait for their turn.
"""

import asyncio
import contextlib
import statistics
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from pykubelet.base.clock import Clock
from pykubelet.cri.door import Turn

#: After so many later tickets went before it, a ticket goes next whatever its rank. More than a full
#: node that starts at once needs (two calls for each pod that goes on), else its order would be lost.
PATIENCE = 600


@dataclass(eq=False, slots=True)
class Ticket:
    """One wish for a slot."""

    pod: str
    ends: bool
    priority: int
    #: The pod has a sandbox already.
    goes_on: bool = False
    number: int = 0
    overtaken: int = 0


class SlotQueue:
    """Who holds a slot and who gets the next one; pure.

    Ends go before starts, then higher priority, then what brings a pod that was begun
    further (a pod is of use once it runs, ten half-made ones are of none), then the pod
    that holds fewest slots, then the pod that was served longest ago, then whoever came
    first.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._issued = 0
        self._served = 0
        self._waiting: list[Ticket] = []
        self._held: dict[Ticket, None] = {}
        self._last_served: dict[str, int] = {}

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def held(self) -> int:
        """How many slots are taken."""
        return len(self._held)

    def add(self, ticket: Ticket) -> None:
        """Queue *ticket*."""
        self._issued += 1
        ticket.number = self._issued
        self._waiting.append(ticket)

    def leave(self, ticket: Ticket) -> None:
        """Give back a slot, or give up waiting; a ticket that is unknown is fine."""
        self._held.pop(ticket, None)
        if ticket in self._waiting:
            self._waiting.remove(ticket)
        self._forget()

    def grant(self) -> list[Ticket]:
        """Those who get a slot now."""
        granted: list[Ticket] = []
        while self._waiting and len(self._held) < self.limit:
            busy: dict[str, int] = {}
            for holder in self._held:
                busy[holder.pod] = busy.get(holder.pod, 0) + 1
            chosen = min(self._waiting, key=lambda ticket: self._rank(ticket, busy))
            self._waiting.remove(chosen)
            for ticket in self._waiting:
                if ticket.number < chosen.number:
                    ticket.overtaken += 1
            self._served += 1
            self._last_served[chosen.pod] = self._served
            self._held[chosen] = None
            granted.append(chosen)
        return granted

    def _rank(self, ticket: Ticket, busy: dict[str, int]) -> tuple[int, ...]:
        if ticket.overtaken >= PATIENCE:
            return (0, ticket.number)
        return (
            1,
            0 if ticket.ends else 1,
            -ticket.priority,
            0 if ticket.goes_on else 1,
            busy.get(ticket.pod, 0),
            self._last_served.get(ticket.pod, 0),
            ticket.number,
        )

    def _forget(self) -> None:
        # Order among pods matters only while somebody waits: this keeps the book small.
        if not self._waiting:
            self._last_served.clear()


@dataclass(slots=True)
class Tuner:
    """How many slots there are, from how long calls took; pure.

    It tries one slot more, or one fewer, and keeps the change when calls per second
    say so: more must gain at least 5 %, fewer may lose as much, since with the same
    flow each single call is quicker. Only calls that ran while all slots were taken
    count, each against the usual time of its kind.
    """

    lowest: int = 2
    highest: int = 8
    limit: int = 4
    _usual: dict[str, float] = field(default_factory=dict)
    _ratios: list[float] = field(default_factory=list)
    _skip: int = 0
    _trying: int = 0
    _next: int = 1
    _flow: float = 0.0

    def observe(self, kind: str, seconds: float, *, full: bool) -> int:
        """Take one call's latency, and whether all slots were taken; returns the limit now."""
        seconds = max(seconds, 0.001)
        usual = self._usual.get(kind, seconds)
        self._usual[kind] = usual + 0.02 * (seconds - usual)
        if not full:
            return self.limit
        if self._skip:
            # It began before the last change.
            self._skip -= 1
            return self.limit
        self._ratios.append(seconds / usual)
        if len(self._ratios) >= 3 * self.limit:
            flow = self.limit / statistics.median(self._ratios)
            self._ratios.clear()
            self._judge(flow)
        return self.limit

    def _judge(self, flow: float) -> None:
        if self._trying:
            worth = self._flow * (1.05 if self._trying > 0 else 0.95)
            if flow < worth:
                self._move(-self._trying)
                self._next, self._trying = -self._trying, 0
                return
        elif not self._fits(self._next):
            self._next = -self._next
        self._flow = flow
        self._trying = self._next if not self._trying else self._trying
        if self._fits(self._trying):
            self._move(self._trying)
        else:
            self._next, self._trying = -self._trying, 0

    def _fits(self, step: int) -> bool:
        return self.lowest <= self.limit + step <= self.highest

    def _move(self, step: int) -> None:
        self._skip = self.limit
        self.limit += step


class Slots:
    """Lets calls wait for their turn."""

    def __init__(self, clock: Clock, tuner: Tuner | None = None) -> None:
        self._clock = clock
        self._tuner = tuner or Tuner()
        self._queue = SlotQueue(self._tuner.limit)
        self._turns: dict[Ticket, asyncio.Future[None]] = {}

    @property
    def limit(self) -> int:
        """How many calls may run at once now."""
        return self._queue.limit

    @property
    def held(self) -> int:
        """How many run now."""
        return self._queue.held

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return self._queue.waiting

    @contextlib.asynccontextmanager
    async def hold(
        self, kind: str, turn: Turn, *, ends: bool = False, goes_on: bool = False
    ) -> AsyncIterator[None]:
        """Hold a slot for one call of *kind*; its latency counts when it went well."""
        ticket = Ticket(turn.pod, ends, turn.priority, goes_on)
        self._queue.add(ticket)
        mine = self._turns[ticket] = asyncio.get_running_loop().create_future()
        try:
            self._serve()
            await mine
            began, full = self._clock.monotonic(), self._queue.held >= self._queue.limit
            yield
            full = full or self._queue.held >= self._queue.limit
            taken = self._clock.monotonic() - began
            self._queue.limit = self._tuner.observe(kind, taken, full=full)
        finally:
            self._turns.pop(ticket, None)
            self._queue.leave(ticket)
            self._serve()

    def _serve(self) -> None:
        for ticket in self._queue.grant():
            turn = self._turns.get(ticket)
            if turn is not None and not turn.done():
                turn.set_result(None)
