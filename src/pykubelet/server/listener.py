"""One listener: sockets, limits against abuse, and the way from a request to its route.

HTTP itself is aiohttp's low-level server; routing is our own table, so that what a port
serves can be read off it.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from .doors import ApiError
from .early import stop_at_upgrades
from .routes import Found, Routes

log = logging.getLogger(__name__)

#: Connections of one listener.
MAX_CONNECTIONS: Final = 1000
#: Seconds in which a new connection must have sent its first request's head.
FIRST_REQUEST: Final = 30.0
_HANDSHAKE: Final = 15.0
_IDLE: Final = 90.0
#: A head of at most about 1 MiB.
_LINE, _FIELD, _FIELDS = 128 << 10, 16 << 10, 56
#: Seconds in which a caller must have taken an ordinary answer.
SEND: Final = 300.0
#: Seconds that answers under way get when the listener stops.
_STOP: Final = 2.0

#: Asked before a route is used: None lets the request through.
Guard = Callable[[web.BaseRequest], Awaitable[web.StreamResponse | None]]


class ListenError(Exception):
    """Nobody can listen there; the text names the address."""


def text(status: int, body: str, *, headers: dict[str, str] | None = None) -> web.Response:
    """A plain answer."""
    return web.Response(status=status, text=body, content_type="text/plain", headers=headers)


def plain_error(status: int, message: str) -> web.Response:
    """An error as Go's ``http.Error`` writes it."""
    return text(status, f"{message}\n", headers={"X-Content-Type-Options": "nosniff"})


def json_bytes(body: bytes) -> web.Response:
    """A JSON answer."""
    return web.Response(body=body, content_type="application/json")


def of_error(error: ApiError) -> web.Response:
    """The answer that an ``ApiError`` stands for."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return text(error.status, error.message, headers=headers)


class _Server(web.Server):
    """aiohttp's server with a cap on connections and on how long they may say nothing."""

    def __init__(
        self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], limit: int, patience: float
    ) -> None:
        super().__init__(
            handler,
            # A client that went away ends the work that was done for it.
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=_IDLE,
            max_line_size=_LINE,
            max_field_size=_FIELD,
            max_headers=_FIELDS,
            lingering_time=1.0,
        )
        self._limit = limit
        self._patience = patience
        self._silent: dict[RequestHandler, asyncio.TimerHandle] = {}

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """See :class:`web.Server`."""
        super().connection_made(handler, transport)
        stop_at_upgrades(handler)
        if len(self.connections) > self._limit:
            log.warning("more than %d connections, a new one is refused", self._limit)
            transport.abort()
            return
        loop = asyncio.get_running_loop()
        self._silent[handler] = loop.call_later(self._patience, transport.abort)

    def spoke(self, handler: RequestHandler) -> None:
        """The connection sent a request: from now on its idle time counts."""
        timer = self._silent.pop(handler, None)
        if timer is not None:
            timer.cancel()

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """See :class:`web.Server`."""
        self.spoke(handler)
        super().connection_lost(handler, exc)


class Listener:
    """A port or Unix socket with its routes."""

    def __init__(
        self,
        name: str,
        routes: Routes,
        *,
        guard: Guard | None = None,
        count: Callable[[str, str], None] | None = None,
        max_connections: int = MAX_CONNECTIONS,
        first_request: float = FIRST_REQUEST,
        patience: float = SEND,
    ) -> None:
        """*count* hears method and route label of each request; *patience* is for sending an answer."""
        self._patience = patience
        self.name = name
        self.routes = routes
        self._guard = guard
        self._count = count or (lambda method, label: None)
        self._server = _Server(self._handle, max_connections, first_request)
        self._listening: asyncio.Server | None = None

    async def start_tcp(self, address: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Listen on *address* and *port*.

        :raises ListenError: that is not possible.
        """
        loop = asyncio.get_running_loop()
        shown = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        try:
            listening = _bound(address, port)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ListenError(f"cannot listen on {shown} ({self.name}): {reason}") from error
        listening.setblocking(False)
        try:
            self._listening = await loop.create_server(
                self._server,
                sock=listening,
                ssl=tls,
                ssl_handshake_timeout=_HANDSHAKE if tls else None,
                ssl_shutdown_timeout=_STOP if tls else None,
                start_serving=False,
            )
        except BaseException:
            listening.close()
            raise
        # Apart: a start that is cut here has something to stop.
        await self._listening.start_serving()

    async def start_unix(self, listening: socket.socket) -> None:
        """Listen on a bound Unix socket, which is closed with the listener."""
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_unix_server(self._server, sock=listening, start_serving=False)
        await self._listening.start_serving()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._listening is not None
        number: int = self._listening.sockets[0].getsockname()[1]
        return number

    async def stop(self) -> None:
        """Listen no more, end what is under way."""
        if self._listening is not None:
            self._listening.close()
        await self._server.shutdown(_STOP)
        if self._listening is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP):
                    await self._listening.wait_closed()
            self._listening = None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._server.spoke(request.protocol)
        found = self.routes.find(request.method, request.path)
        label = found.route.label if found.route is not None else "other"
        self._count(request.method, label)
        try:
            response = await self._answer(request, found)
        except ApiError as error:
            response = of_error(error)
        except web.HTTPException:
            raise
        except ConnectionError:
            raise
        except Exception:
            log.exception("%s: %s %s failed", self.name, request.method, label)
            response = plain_error(500, "Internal Server Error")
        if isinstance(response, web.Response):
            await self._send(request, response)
        return response

    async def _send(self, request: web.BaseRequest, response: web.Response) -> None:
        """Send the answer; who does not take it in time is cut off.

        :raises ConnectionError: that, or the caller is gone.
        """
        try:
            async with asyncio.timeout(self._patience):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError as error:
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("the answer was not taken in time") from error

    async def _answer(self, request: web.BaseRequest, found: Found) -> web.StreamResponse:
        if self._guard is not None and (found.route is not None or found.known_root):
            refusal = await self._guard(request)
            if refusal is not None:
                return refusal
        if found.route is not None:
            return await found.route.handler(request, found.names)
        if found.status == 405:
            return text(405, "405: Method Not Allowed")
        return (
            text(404, "404: Page Not Found") if found.known_root else plain_error(404, "404 page not found")
        )


def _bound(address: str, port: int) -> socket.socket:
    """A listening socket; a wildcard of either family means both, as in Go."""
    if address in ("", "0.0.0.0", "::") and socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return socket.create_server(
                ("::", port), family=socket.AF_INET6, backlog=128, dualstack_ipv6=True
            )
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=128)


def peer_uid(connection: socket.socket) -> int:
    """User ID of the process at the other end of a Unix socket."""
    _pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)
