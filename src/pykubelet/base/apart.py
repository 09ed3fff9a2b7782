"""Blocking calls on threads of their own, given up when they take too long.

A path on a server that is gone can hold a call for ever. Such a call must neither take a
thread from others nor keep the daemon from ending, as those of the usual pools would.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")

#: Calls under way at once, those that hang among them.
_LIMIT: Final = 64
#: Seconds in which one of so many calls ends, unless they hang.
_PATIENCE: Final = 30.0


class Apart:
    """Runs blocking calls; with one *name* for all its threads."""

    def __init__(self, name: str, limit: int = _LIMIT, *, patience: float | None = _PATIENCE) -> None:
        """*patience*: seconds that a call waits when there are *limit* others; None: without bound."""
        self._name = name
        self._limit = limit
        self._patience = patience
        self._free = asyncio.Semaphore(limit)

    async def run(self, work: Callable[[], T], *, seconds: float | None = None) -> T:
        """The result of *work*, for which *seconds* are waited; after that it goes on unheeded.

        :raises TimeoutError: it took too long, or too many calls hang already.
        """
        try:
            async with asyncio.timeout(seconds) as limit:
                await self._turn()
                return await self._begin(work)
        except TimeoutError:
            if limit.expired():
                raise TimeoutError(f"nothing came back within {seconds:g} s") from None
            raise

    async def _turn(self) -> None:
        """Take one of the places: many calls at once are no sign that one hangs."""
        try:
            async with asyncio.timeout(self._patience) as limit:
                await self._free.acquire()
        except TimeoutError:
            if limit.expired():
                raise TimeoutError(f"{self._limit} calls are under way already") from None
            raise

    def _begin(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        try:
            return call_apart(self._name, work, self._free.release)
        except TimeoutError:
            self._free.release()
            raise


def call_apart(name: str, work: Callable[[], T], ended: Callable[[], object]) -> "asyncio.Future[T]":
    """What *work* will have returned or raised on a thread called *name*.

    *ended* is called on the loop when it is through, whether anybody waits still or not.

    :raises TimeoutError: there are too many threads.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        ended()
        if done.done():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def body() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as caught:  # noqa: BLE001 - whatever it is, it goes to who waits
            error = caught
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            return

    # A daemon thread: nothing waits for it at the end of the process.
    try:
        threading.Thread(target=body, name=name, daemon=True).start()
    except RuntimeError as error:
        raise TimeoutError(f"there are too many threads: {error}") from error
    return done
