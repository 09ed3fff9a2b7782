"""The connections to the API server: they die with the other end, and are replaced without losing a request.

When the TLS context changes, new requests go over new connections. Requests under way end on
the old ones; watches there, which would stay for minutes, are ended within a few seconds and
are begun again by their owners where they stopped.
"""

import asyncio
import contextlib
import logging
import random
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Final

import aiohttp

from pykubelet.base.clock import Clock
from pykubelet.base.tasks import TaskOwner

from .errors import Unreachable

log = logging.getLogger(__name__)

#: Seconds after which an idle connection is asked for a sign of life, between askings, and how many.
_KEEPALIVE: Final = (15, 15, 3)
#: Milliseconds after which a connection ends on which nothing that was sent is acknowledged.
_USER_TIMEOUT: Final = 30_000
#: Seconds that an unused connection is kept.
_IDLE: Final = 55.0
#: Seconds within which the watches on old connections are ended, spread by chance.
RETIRE_WATCHES: Final = 3.0

_AddrInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]


def make_socket(address: _AddrInfo) -> socket.socket:
    """A socket whose half-open connections end within some 45 s."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    idle, interval, count = _KEEPALIVE
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, count)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT)
    return made


def make_connector(context: ssl.SSLContext | None) -> aiohttp.BaseConnector:
    """What a line's connections are made with."""
    return aiohttp.TCPConnector(
        ssl=context if context is not None else True,
        limit=0,
        keepalive_timeout=_IDLE,
        socket_factory=make_socket,
    )


class Line:
    """Connections made with one TLS context."""

    def __init__(self, context: ssl.SSLContext | None, agent: str) -> None:
        """*agent* is the User-Agent of every request."""
        self.context = context
        self.retired = False
        # The environment's proxies are read as Go reads them, not as aiohttp does.
        self.session = aiohttp.ClientSession(
            connector=make_connector(context),
            headers={"User-Agent": agent},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        self._using = 0
        self._watches: set[aiohttp.ClientResponse] = set()
        self._unused = asyncio.Event()

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Keeps the line open while a request is under way."""
        self._using += 1
        try:
            yield
        finally:
            self._using -= 1
            if self._using == 0:
                self._unused.set()

    @contextlib.contextmanager
    def watching(self, answer: aiohttp.ClientResponse) -> Iterator[None]:
        """Counts *answer* among what is ended when the line is retired."""
        self._watches.add(answer)
        if self.retired:
            answer.close()
        try:
            yield
        finally:
            self._watches.discard(answer)

    async def wind_down(self, clock: Clock, rng: random.Random) -> None:
        """End the watches soon, everything else when it is done."""
        self.retired = True
        watches = list(self._watches)
        for answer in watches:
            await clock.sleep(rng.random() * RETIRE_WATCHES / len(watches))
            answer.close()
        while self._using:
            self._unused.clear()
            await self._unused.wait()
        await self.session.close()


class Connections:
    """The line that new requests take, and the old ones that wind down."""

    def __init__(
        self, context: Callable[[], ssl.SSLContext | None], agent: str, clock: Clock, rng: random.Random
    ) -> None:
        """*context* tells what to connect with now."""
        self._context = context
        self._agent = agent
        self._clock = clock
        self._rng = rng
        self._line: Line | None = None
        self._tasks = TaskOwner("connections")
        self._old: set[Line] = set()
        self._closed = False

    def line(self) -> Line:
        """The line for a new request.

        :raises Unreachable: all was closed for good.
        """
        if self._closed:
            raise Unreachable("the API client is closed")
        self.refresh()
        if self._line is None:
            self._line = Line(self._context(), self._agent)
        return self._line

    def refresh(self) -> None:
        """Retire the line if the TLS context is another one by now."""
        line = self._line
        if line is not None and line.context is not self._context():
            log.info("the API client's TLS has changed: new connections are made")
            self._line = None
            self._old.add(line)
            self._tasks.spawn("wind-down", self._wind_down(line))

    async def _wind_down(self, line: Line) -> None:
        try:
            await line.wind_down(self._clock, self._rng)
        finally:
            self._old.discard(line)

    async def drop(self) -> None:
        """Close every connection now, also those in use: their requests fail."""
        lines = {*self._old, *([self._line] if self._line is not None else [])}
        self._line = None
        for line in lines:
            await line.session.close()

    async def close(self) -> None:
        """Close everything for good."""
        self._closed = True
        await self.drop()
        await self._tasks.close()
