"""Named, owned, guarded tasks, and stages that start and stop in order.

``asyncio.create_task`` is banned elsewhere by lint: a task without an owner can
vanish, or die unseen.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class TaskOwner:
    """Keeps tasks, names them, reports their unexpected end, and ends them all at last."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def spawn(self, name: str, coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run *coro* as a task called *name*; an exception in it is logged here.

        :raises RuntimeError: the owner was closed already.
        """
        if self._closed:
            coro.close()
            raise RuntimeError(f"task owner {self.name} is closed, {name} not started")
        task = asyncio.get_running_loop().create_task(coro, name=f"{self.name}/{name}")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def forever(
        self,
        name: str,
        body: Callable[[], Awaitable[None]],
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> asyncio.Task[None]:
        """Run *body* again and again: an exception is logged, waited out, and it goes on.

        *body* is one whole life of a loop (it normally never returns). The wait
        between lives doubles from 1 s to 30 s.
        """

        async def live() -> None:
            wait = 1.0
            while True:
                try:
                    await body()
                    return
                except Exception:
                    log.exception("%s/%s failed, starts again in %.0fs", self.name, name, wait)
                await pause(wait)
                wait = min(wait * 2, 30.0)

        return self.spawn(name, live())

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            log.error("task %s ended unexpectedly", task.get_name(), exc_info=error)

    @property
    def tasks(self) -> frozenset[asyncio.Task[Any]]:
        """The tasks that live now."""
        return frozenset(self._tasks)

    async def close(self) -> None:
        """Cancel every task and wait until all have ended. Safe to call twice."""
        self._closed = True
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._tasks.difference_update(tasks)


async def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Stage:
    """One long-lived part: started in order, stopped in reverse order.

    ``clean_up`` must be safe to call without ``start``; it runs whatever else failed.
    """

    name: str
    start: Callable[[], Awaitable[None]] = _nothing
    stop: Callable[[], Awaitable[None]] = _nothing
    clean_up: Callable[[], Awaitable[None]] = _nothing


class Stages:
    """An ordered list of stages."""

    def __init__(self, on_start: Callable[[str, float], None] | None = None) -> None:
        self._stages: list[Stage] = []
        self._started: list[Stage] = []
        self._on_start = on_start

    def add(self, stage: Stage) -> None:
        """Append *stage*; it is started by the next :meth:`start`."""
        self._stages.append(stage)

    @property
    def started(self) -> tuple[str, ...]:
        """Names of the stages that run, in the order of their start."""
        return tuple(stage.name for stage in self._started)

    async def start(self) -> None:
        """Start what was added and does not run yet, in order; on an error stop all and raise it.

        After that, or after :meth:`stop`, another call starts all of it again.
        """
        loop = asyncio.get_running_loop()
        try:
            for stage in self._stages[len(self._started) :]:
                began = loop.time()
                # Counted as started first: a start cut half way needs its stop too.
                self._started.append(stage)
                await stage.start()
                if self._on_start is not None:
                    self._on_start(stage.name, loop.time() - began)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop in reverse order, then clean up all; errors are logged, none stops the rest."""
        while self._started:
            stage = self._started.pop()
            try:
                await stage.stop()
            except Exception:
                log.exception("stopping %s failed", stage.name)
        for stage in reversed(self._stages):
            try:
                await stage.clean_up()
            except Exception:
                log.exception("cleaning up %s failed", stage.name)


async def first_of(*awaitables: Coroutine[Any, Any, Any], timeout: float | None = None) -> bool:
    """Wait until one of *awaitables* ends; the others are cancelled. False on time-out."""
    owner = TaskOwner("first_of")
    tasks = [owner.spawn(getattr(a, "__name__", "wait"), a) for a in awaitables]
    try:
        done, _ = await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        return bool(done)
    finally:
        for task in tasks:
            task.cancel()
        # A cancellation of the caller's own must get through this wait.
        await asyncio.gather(*tasks, return_exceptions=True)
