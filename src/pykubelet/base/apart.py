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


class Apart:
    """Runs blocking calls; with one *name* for all its threads."""

    def __init__(self, name: str, limit: int = _LIMIT) -> None:
        self._name = name
        self._limit = limit
        self._under_way = 0

    async def run(self, work: Callable[[], T], *, seconds: float | None = None) -> T:
        """The result of *work*, for which *seconds* are waited; after that it goes on unheeded.

        :raises TimeoutError: it took too long, or too many calls hang already.
        """
        if self._under_way >= self._limit:
            raise TimeoutError(f"{self._under_way} calls are under way already")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            self._under_way -= 1
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
        threading.Thread(target=body, name=self._name, daemon=True).start()
        self._under_way += 1
        try:
            async with asyncio.timeout(seconds) as limit:
                return await done
        except TimeoutError:
            if limit.expired():
                raise TimeoutError(f"nothing came back within {seconds:g} s") from None
            raise
