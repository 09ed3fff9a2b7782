"""Threads for looks at file systems that may never answer, such as those of a server that died.

Each look has a thread of its own, that nobody waits for at the daemon's end. A look that takes
too long is given up, not ended: its thread stays until the kernel answers, one for each target, and
only so many stay.
"""

import asyncio
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from pykubelet.base.apart import call_apart

T = TypeVar("T")


class PatientThreads:
    """At most *at_once* looks run, and at most *given_up* are waited for no more."""

    def __init__(
        self,
        name: str,
        *,
        at_once: int,
        given_up: int,
        on_back: Callable[[Hashable], object] = lambda target: None,
    ) -> None:
        """*on_back* hears, on the loop, the target of a look that was given up and came back."""
        self._name = name
        self._on_back = on_back
        self._turns: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()
        self._slots = asyncio.Semaphore(at_once)
        self._most_given_up = given_up
        self._hanging: set[Hashable] = set()
        #: Those among them whose caller was cancelled: that is no sign that they will not come back.
        self._cut: dict[Hashable, asyncio.Future[Any]] = {}

    @property
    def hanging(self) -> frozenset[Hashable]:
        """What is looked at by threads that were given up and did not come back."""
        return frozenset(self._hanging)

    async def run(self, target: Hashable, work: Callable[[], T], limit: float | None) -> T:
        """What *work* returns or raises, off the loop; it looks at *target*, one look after the other.

        *limit* is in seconds; with None nothing but the caller's end cuts the wait.

        :raises TimeoutError: it took more than *limit*; or, at once, an earlier look at *target* or
            too many other ones still hang. One whose caller was cancelled is waited for, as long.
        """
        # Who comes second must not hang too: it waits for what becomes of the first one.
        async with self._turns.setdefault(target, asyncio.Lock()):
            return await self._look(target, work, limit)

    async def _look(self, target: Hashable, work: Callable[[], T], limit: float | None) -> T:
        if (cut := self._cut.get(target)) is not None:
            await asyncio.wait([cut], timeout=limit)
            self._cut.pop(target, None)
        if target in self._hanging:
            raise TimeoutError("an earlier look still hangs")
        if len(self._hanging) >= self._most_given_up:
            raise TimeoutError(f"{len(self._hanging)} other looks hang")
        async with self._slots:
            answer = call_apart(self._name, work, partial(self._ended, target))
            try:
                async with asyncio.timeout(limit) as wait:
                    return await asyncio.shield(answer)
            except TimeoutError:
                if wait.expired():
                    raise TimeoutError(f"nothing came back within {limit:g} s") from None
                raise
            except asyncio.CancelledError:
                if not answer.done():
                    self._cut[target] = answer
                raise
            finally:
                if not answer.done():
                    self._hanging.add(target)
                    answer.add_done_callback(_heed)

    def _ended(self, target: Hashable) -> None:
        self._cut.pop(target, None)
        if target in self._hanging:
            self._hanging.discard(target)
            self._on_back(target)


def _heed(answer: "asyncio.Future[Any]") -> None:
    """Take what came too late, so that nobody complains of an error that nobody saw."""
    if not answer.cancelled():
        answer.exception()
