"""Upgraded connections: taken from the HTTP server and tied to the runtime's, byte for byte.

The only file that knows how a connection is taken out of aiohttp's hands: its parser's
left-over bytes are fetched through ``set_parser`` (and its queue of requests looked at),
then the transport gets a protocol of ours; ``connection_lost`` is told to aiohttp at the
end. A contract test holds this.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

from aiohttp import web

from .backend import parse_url, request_head, upgrade
from .doors import ApiError
from .listener import text

log = logging.getLogger(__name__)

#: Upgraded connections at once.
MAX_STREAMS: Final = 256
#: Seconds that the last bytes get to leave after one end has closed.
_FLUSH: Final = 10.0
#: Seconds of silence after which a stream is over once one end will send nothing more: a caller that
#: went away looks just like one that only finished sending, and runtimes do not always hang up on it.
HALF_CLOSED_IDLE: Final = 5.0
#: Bytes that may wait to be written before the other end is no longer read.
_HIGH_WATER: Final = 256 << 10


class _Gone(web.StreamResponse):
    """What a handler returns for a connection that is no longer HTTP's."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is to be sent."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is to be sent."""


class _Tail:
    """Takes the bytes that aiohttp had read past the request's head."""

    def __init__(self) -> None:
        self.data = bytearray()

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """Nothing to do."""


class _End(asyncio.Protocol):
    """One end of a relay: what comes in goes out at the other."""

    def __init__(self, relay: "_Relay", transport: asyncio.Transport) -> None:
        self._relay = relay
        self.transport = transport
        self.other: _End
        self.read_all = False
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self._relay.active()
        if not self.other.lost:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        self.read_all = True
        other = self.other
        if other.lost:
            return False
        if self.other.read_all or not other.transport.can_write_eof():
            self._relay.close()
            return False
        other.transport.write_eof()
        self._relay.half_closed()
        # TLS has no half-closed state here: its transport closes whatever is answered.
        return self.transport.can_write_eof()

    def pause_writing(self) -> None:
        if not self.other.lost:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if not self.other.lost:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._relay.close()


class _Relay:
    """Two ends tied together until both are closed, or nothing came for *idle* seconds."""

    def __init__(self, client: asyncio.Transport, server: asyncio.Transport, idle: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle = idle
        self._last = self._loop.time()
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None
        self.done = asyncio.Event()
        self.client, self.server = _End(self, client), _End(self, server)
        self.client.other, self.server.other = self.server, self.client

    def start(self) -> None:
        for end in (self.client, self.server):
            end.transport.set_write_buffer_limits(high=_HIGH_WATER)
            end.transport.set_protocol(end)
        if self._idle > 0:
            self._timer = self._loop.call_later(self._idle, self._look)

    def half_closed(self) -> None:
        if self._closing:
            return
        self._idle = min(self._idle or HALF_CLOSED_IDLE, HALF_CLOSED_IDLE)
        self.active()
        self._cancel_timer()
        self._timer = self._loop.call_later(self._idle, self._look)

    def active(self) -> None:
        self._last = self._loop.time()

    def _look(self) -> None:
        left = self._last + self._idle - self._loop.time()
        if left <= 0:
            log.debug("a stream is closed: nothing came for %.1f s", self._idle)
            self.close()
        else:
            self._timer = self._loop.call_later(left, self._look)

    def close(self) -> None:
        """Let both ends send what they still have, then end; by force when they take too long."""
        if not self._closing:
            self._closing = True
            self._cancel_timer()
            for end in (self.client, self.server):
                if not end.lost:
                    end.transport.close()
            self._timer = self._loop.call_later(_FLUSH, self.abort)
        if self.client.lost and self.server.lost:
            self._cancel_timer()
            self.done.set()

    def abort(self) -> None:
        """End both at once."""
        self._closing = True
        self._cancel_timer()
        for end in (self.client, self.server):
            if not end.lost:
                end.transport.abort()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def wants_upgrade(request: web.BaseRequest) -> bool:
    """Whether the caller asks for another protocol on this connection."""
    tokens = {token.strip().lower() for token in request.headers.get("Connection", "").split(",")}
    return "upgrade" in tokens and bool(request.headers.get("Upgrade"))


def is_websocket(request: web.BaseRequest) -> bool:
    """Whether it asks for a WebSocket."""
    return wants_upgrade(request) and request.headers.get("Upgrade", "").strip().lower() == "websocket"


class Upgrades:
    """All upgraded connections of a server."""

    def __init__(
        self, *, idle: float, limit: int = MAX_STREAMS, gauge: Callable[[int], None] | None = None
    ) -> None:
        """*idle* is in seconds, 0 for no limit; *gauge* hears how many there are."""
        self._idle = idle
        self._limit = limit
        self._gauge = gauge or (lambda number: None)
        self._aborts: set[Callable[[], None]] = set()
        self._opening = 0

    @property
    def open(self) -> int:
        """How many connections are tied now."""
        return len(self._aborts)

    def reserve(self) -> None:
        """Refuse early, before the runtime is asked for anything.

        :raises ApiError: 429, there are too many.
        """
        if self.open + self._opening >= self._limit:
            raise ApiError(429, "too many streams", retry_after=60)

    async def serve(self, request: web.BaseRequest, url: str) -> web.StreamResponse:
        """Tie the caller's connection to *url*; returns when it is over.

        :raises ApiError: the URL leads elsewhere, or nobody answers there.
        """
        if not wants_upgrade(request):
            return text(500, "Upgrade request required\n", headers={"X-Content-Type-Options": "nosniff"})
        target = parse_url(url)
        with self.opening():
            opening = await upgrade(request_head(request.method, target, request.headers), target)
        assert opening.transport is not None
        return await self._tie(request, opening.transport, opening.taken(), over=opening.over)

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """Count a stream that is about to be opened.

        :raises ApiError: 429, there are too many.
        """
        self.reserve()
        self._opening += 1
        try:
            yield
        finally:
            self._opening -= 1

    @contextlib.contextmanager
    def opened(self, abort: Callable[[], None]) -> Iterator[None]:
        """Count an open stream; *abort* ends it at once and may be called after its end."""
        self._aborts.add(abort)
        self._gauge(self.open)
        try:
            yield
        finally:
            self._aborts.discard(abort)
            self._gauge(self.open)

    async def _tie(
        self, request: web.BaseRequest, server: asyncio.Transport, first: bytes, *, over: bool
    ) -> web.StreamResponse:
        protocol, transport = request.protocol, request.transport
        if transport is None:
            server.abort()
            return _Gone()
        client = transport
        tail = _Tail()
        protocol.set_parser(cast("Any", tail))
        if protocol._messages:
            # What was sent before our answer was taken for another request: the stream is spoilt.
            log.info("a caller sent data before its upgrade was answered, it is cut off")
            server.abort()
            client.abort()
            return _Gone()
        relay = _Relay(client, server, self._idle)
        relay.start()
        client.write(first)
        if tail.data:
            server.write(bytes(tail.data))
        for end in (client, server):
            end.resume_reading()
        if over:
            relay.server.eof_received()
        with self.opened(relay.abort):
            try:
                await relay.done.wait()
            finally:
                relay.abort()
                protocol.connection_lost(None)
        return _Gone()

    def close(self) -> None:
        """End all of them."""
        for abort in list(self._aborts):
            abort()
