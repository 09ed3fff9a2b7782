"""Threads for looks at file systems that may never answer, such as those of a server that died.

Each look has a thread of its own, that nobody waits for at the daemon's end. A look that takes
too long is given up, not ended: its thread stays until the kernel answers, one for each target, and
only so many stay. Long before that it makes room for others' looks.
"""

import asyncio
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from pykubelet.base.apart import call_apart

T = TypeVar("T")

#: Seconds after which a look at a path is slow: of those at once most are back after milliseconds.
SLOW: Final = 1.0


class PatientThreads:
    """At most *at_once* looks run, and at most *given_up* are slow, or waited for no more."""

    def __init__(
        self,
        name: str,
        *,
        at_once: int,
        given_up: int,
        slow_after: float | None = None,
        on_back: Callable[[Hashable], object] = lambda target: None,
    ) -> None:
        """*slow_after*: seconds after which a look is slow, and none of *at_once* any more.

        None: it never is, until it is given up; so for work that may take its time.

        *on_back* hears, on the loop, the target of a look that was slow or given up, and came back.
        """
        self._name = name
        self._slow_after = slow_after
        self._on_back = on_back
        self._turns: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()
        self._slots = asyncio.Semaphore(at_once)
        self._most_given_up = given_up
        self._hanging: set[Hashable] = set()
        #: Those among them whose caller was cancelled: that is no sign that they will not come back.
        self._cut: dict[Hashable, asyncio.Future[Any]] = {}

    @property
    def hanging(self) -> frozenset[Hashable]:
        """What is looked at by threads that are slow, or were given up and did not come back."""
        return frozenset(self._hanging)

    async def run(self, target: Hashable, work: Callable[[], T], limit: float | None) -> T:
        """What *work* returns or raises, off the loop; it looks at *target*, one look after the other.

        *limit* is in seconds; with None nothing but the caller's end cuts the wait.

        :raises TimeoutError: it took more than *limit*; or, at once, an earlier look at *target* or
            too many other ones still hang. One whose caller was cancelled is waited for, as long.
        """
        # Who comes second must not hang too: it waits for what becomes of the first one.
        async with self._turns.setdefault(target, asyncio.Lock()):
            if (cut := self._cut.get(target)) is not None:
                await asyncio.wait([cut], timeout=limit)
                self._cut.pop(target, None)
            if target in self._hanging:
                raise TimeoutError("an earlier look still hangs")
            return await self._look(target, work, limit)

    async def _look(self, target: Hashable, work: Callable[[], T], limit: float | None) -> T:
        self._see_room()
        brisk = min((each for each in (limit, self._slow_after) if each is not None), default=None)
        async with self._slots:
            # Others may have come to hang meanwhile.
            self._see_room()
            answer = call_apart(self._name, work, partial(self._ended, target))
            # Nobody complains of an error that came too late to be seen.
            answer.add_done_callback(_heed)
            await self._come(target, answer, brisk)
        if not answer.done():
            await self._come(target, answer, None if limit is None or brisk is None else limit - brisk)
        if not answer.done():
            raise TimeoutError(f"nothing came back within {limit:g} s")
        return answer.result()

    def _see_room(self) -> None:
        if len(self._hanging) >= self._most_given_up:
            raise TimeoutError(f"{len(self._hanging)} other looks hang")

    async def _come(self, target: Hashable, answer: "asyncio.Future[Any]", seconds: float | None) -> None:
        """Wait for the answer; what is not there by then hangs."""
        try:
            await asyncio.wait([answer], timeout=seconds)
        except asyncio.CancelledError:
            if not answer.done():
                self._cut[target] = answer
            raise
        finally:
            if not answer.done():
                self._hanging.add(target)

    def _ended(self, target: Hashable) -> None:
        self._cut.pop(target, None)
        if target in self._hanging:
            self._hanging.discard(target)
            self._on_back(target)


def _heed(answer: "asyncio.Future[Any]") -> None:
    if not answer.cancelled():
        answer.exception()
