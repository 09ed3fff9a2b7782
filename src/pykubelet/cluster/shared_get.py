"""Requests for one object that are made by several at the same moment become one."""

import asyncio
from typing import Any, TypeVar, cast

from pykubelet.base.tasks import TaskOwner

from .door import Api
from .errors import ClusterError

T = TypeVar("T")


class SharedGet:
    """Asks for objects; nothing is kept of the answers.

    Who joins a request that is under way may get an answer a moment older than his question.
    """

    def __init__(self, api: Api, name: str) -> None:
        """*name* is that of its tasks."""
        self._api = api
        self._asking: dict[str, asyncio.Task[Any]] = {}
        self._tasks = TaskOwner(name)

    async def close(self) -> None:
        """End what is under way; those who wait are cancelled."""
        await self._tasks.close()

    async def get(self, path: str, kind: type[T]) -> T:
        """The object at *path*.

        :raises ClusterError: it cannot be had.
        """
        task = self._asking.get(path)
        if task is None:
            task = self._tasks.spawn(f"get {path}", self._request(path, kind))
            self._asking[path] = task
            task.add_done_callback(lambda _: self._asking.pop(path, None))
        # One who waits no more must not take the answer from the others.
        got = await asyncio.shield(task)
        if isinstance(got, ClusterError):
            raise got
        return cast("T", got)

    async def _request(self, path: str, kind: type[T]) -> T | ClusterError:
        try:
            return await self._api.get(path, kind)
        except ClusterError as error:
            return error
