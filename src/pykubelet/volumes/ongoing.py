"""Work that goes on when nobody waits for it any more, and that the next who asks for it joins.

Checking a large file system takes longer than any single wait: cut off and begun anew each
time, it would never be done.
"""

import asyncio
from collections.abc import Awaitable, Callable

from pykubelet.base.tasks import TaskOwner


class Ongoing:
    """Named works; one of a name at a time."""

    def __init__(self, name: str) -> None:
        self._tasks = TaskOwner(name)
        self._works: dict[str, asyncio.Task[Exception | None]] = {}

    async def run(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for *work*, or for that of the name that is under way; what it raised is raised here.

        A waiter that is cancelled leaves the work alone.
        """
        task = self._works.get(name)
        if task is None:
            task = self._works[name] = self._tasks.spawn(name, _outcome(work))
            task.add_done_callback(lambda _: self._works.pop(name, None))
        error = await asyncio.shield(task)
        if error is not None:
            raise error

    async def over(self, name: str) -> None:
        """Wait until no work of that name is under way, however it ends."""
        if (task := self._works.get(name)) is not None:
            await asyncio.shield(task)


async def _outcome(work: Callable[[], Awaitable[None]]) -> Exception | None:
    """What *work* raised; nobody may be there to take it."""
    try:
        await work()
    except Exception as error:  # noqa: BLE001 - whatever it is, it goes to who waits
        return error
    return None
