"""``/containerLogs``: a container's log, streamed as it is read."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Mapping
from typing import Final

from aiohttp import web

from pykubelet.api.podinfo import find_container
from pykubelet.base.clock import Clock
from pykubelet.base.gotext import go_quote
from pykubelet.base.tasks import TaskOwner

from .doors import ApiError, NodeApi
from .queries import log_request
from .requests import query_of

log = logging.getLogger(__name__)

#: Logs read at once.
MAX_READERS: Final = 128
#: Seconds after which an answer ends whatever there would be to come: upstream's write limit.
LONGEST: Final = 4 * 3600.0
#: Seconds in which a followed log's first block may turn out to be an error.
_FIRST: Final = 0.25


class ContainerLogs:
    """Handler of ``/containerLogs/{namespace}/{pod}/{container}``."""

    def __init__(self, node: NodeApi, clock: Clock, *, limit: int = MAX_READERS) -> None:
        self._node = node
        self._clock = clock
        self._limit = limit
        self._readers = 0
        self._tasks = TaskOwner("container-logs")

    async def handle(self, request: web.BaseRequest, names: Mapping[str, str]) -> web.StreamResponse:
        """Answer one request."""
        wanted = log_request(query_of(request), self._clock.now_ns())
        pod = self._node.pod(names["namespace"], names["pod"])
        if pod is None:
            raise ApiError(404, f"pod {go_quote(names['pod'])} does not exist")
        container = names["container"]
        if find_container(pod, container) is None:
            raise ApiError(404, f"container {go_quote(container)} not found in pod {go_quote(names['pod'])}")
        if self._readers >= self._limit:
            raise ApiError(429, "too many logs are being read", retry_after=10)
        self._readers += 1
        try:
            blocks = await self._node.logs(pod, container, wanted)
            async with contextlib.aclosing(blocks):
                return await self._send(request, blocks, follow=wanted.follow)
        finally:
            self._readers -= 1

    async def _send(
        self, request: web.BaseRequest, blocks: AsyncGenerator[bytes, None], *, follow: bool
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        # An error before the first byte still becomes a proper answer; a followed log that has
        # nothing to say yet gets its head soon, so that the caller knows it is being followed.
        first = self._tasks.spawn("first", _first(blocks))
        try:
            await asyncio.wait({first}, timeout=_FIRST if follow else None)
            if first.done():
                _told(first.result())
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(LONGEST):
                    await response.prepare(request)
                    await self._copy(response, first, blocks)
        finally:
            if not first.done():
                first.cancel()
                # A cancellation of our own must get through this wait.
                await asyncio.wait({first})
        return response

    async def _copy(
        self,
        response: web.StreamResponse,
        first: asyncio.Task[bytes | ApiError | None],
        blocks: AsyncGenerator[bytes, None],
    ) -> None:
        try:
            block = _told(await first)
            while block is not None:
                if block:
                    await response.write(block)
                block = await _next(blocks)
        except ApiError as error:
            # Too late for a status: the text goes where the log would have gone on.
            await response.write(error.message.encode())
        await response.write_eof()

    async def close(self) -> None:
        """End what is under way."""
        await self._tasks.close()


async def _first(blocks: AsyncGenerator[bytes, None]) -> bytes | ApiError | None:
    """The first block, or why there is none: an answer for the caller, no failure of this task."""
    try:
        return await _next(blocks)
    except ApiError as error:
        return error


def _told(block: bytes | ApiError | None) -> bytes | None:
    if isinstance(block, ApiError):
        raise block
    return block


async def _next(blocks: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(blocks, None)
