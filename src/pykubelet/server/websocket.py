"""WebSockets that end here: what a client says in them is told to the runtime over SPDY.

Framing, pings and the closing handshake are aiohttp's; what the messages mean is decided in
:mod:`pykubelet.server.translate`. Each direction reads on only when the other side has taken
what came before, so that a slow reader holds its sender back through bounded buffers.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web
from multidict import CIMultiDict

from pykubelet.base.tasks import first_of

from .backend import Opening, parse_url, request_head, upgrade
from .doors import ApiError, StreamRequest
from .translate import (
    SPDY_PROTOCOL,
    WEBSOCKET_PROTOCOL,
    ProtocolError,
    RemoteCommand,
    Translator,
    Tunnel,
    failure,
    greeting,
)
from .upgrade import Upgrades, is_websocket

log = logging.getLogger(__name__)

_TUNNEL_PREFIX: Final = "SPDY/3.1+"
_TUNNEL_SUFFIX: Final = ".k8s.io"
_BLOCK: Final = 32 << 10
#: Bytes of a client's message that are taken; clients send some 32 KiB.
_MAX_MESSAGE: Final = 4 << 20
#: Seconds that a client gets to take the last messages and to close.
_FLUSH: Final = 10.0


def offered(request: web.BaseRequest) -> list[str]:
    """The protocols that a WebSocket's client offers; empty for any other request."""
    if not is_websocket(request):
        return []
    names = ",".join(request.headers.getall("Sec-WebSocket-Protocol", []))
    return [name.strip() for name in names.split(",") if name.strip()]


def wants_translation(request: web.BaseRequest) -> bool:
    """Whether a remote command's streams are to come in messages that runtimes do not know."""
    return WEBSOCKET_PROTOCOL in offered(request)


def tunnelled(request: web.BaseRequest) -> list[str]:
    """The SPDY protocols that a client would speak inside its WebSocket."""
    return [
        name.removeprefix(_TUNNEL_PREFIX)
        for name in offered(request)
        if name.startswith(_TUNNEL_PREFIX) and name.endswith(_TUNNEL_SUFFIX)
    ]


class WebSockets:
    """Serves WebSockets; they count among all upgraded connections."""

    def __init__(self, upgrades: Upgrades, *, idle: float) -> None:
        """*idle* is in seconds, 0 for no limit."""
        self._upgrades = upgrades
        self._idle = idle

    async def remote_command(
        self, request: web.BaseRequest, url: str, streams: StreamRequest
    ) -> web.StreamResponse:
        """Serve an exec or attach; returns when it is over.

        The WebSocket is opened before the runtime is asked, so its refusal comes on the error channel.

        :raises ApiError: the URL leads elsewhere, or there are too many streams.
        """
        target = parse_url(url)
        head = request_head("POST", target, _spdy_headers([SPDY_PROTOCOL]))
        with self._upgrades.opening():
            socket = _websocket([WEBSOCKET_PROTOCOL])
            await socket.prepare(request)
            await socket.send_bytes(greeting(streams))
            try:
                opening = await upgrade(head, target)
                if opening.header("X-Stream-Protocol-Version") != SPDY_PROTOCOL:
                    _abort(opening)
                    raise ApiError(500, f"the runtime's streaming server does not speak {SPDY_PROTOCOL}")
            except ApiError as error:
                await _finish(request, socket, [failure(error.message.strip())])
                return socket
        await self._carry(request, socket, opening, RemoteCommand(streams))
        return socket

    async def tunnel(self, request: web.BaseRequest, url: str) -> web.StreamResponse:
        """Serve a SPDY connection inside a WebSocket; returns when it is over.

        :raises ApiError: the URL leads elsewhere, the runtime refuses, or there are too many streams.
        """
        target = parse_url(url)
        head = request_head("POST", target, _spdy_headers(tunnelled(request)))
        with self._upgrades.opening():
            opening = await upgrade(head, target)
            try:
                chosen = opening.header("X-Stream-Protocol-Version")
                socket = _websocket([_TUNNEL_PREFIX + chosen] if chosen else [])
                await socket.prepare(request)
            except BaseException:
                _abort(opening)
                raise
        await self._carry(request, socket, opening, Tunnel())
        return socket

    async def _carry(
        self,
        request: web.BaseRequest,
        socket: web.WebSocketResponse,
        opening: Opening,
        translator: Translator,
    ) -> None:
        reader, writer = opening.streams()
        loop = asyncio.get_running_loop()
        code = WSCloseCode.OK

        def active() -> None:
            if self._idle > 0:
                limit.reschedule(loop.time() + self._idle)

        async def to_runtime() -> None:
            await _send(writer, translator.to_runtime())
            # A runtime that went away is noticed by the other direction, once all it said was told.
            while (message := await socket.receive()).type is WSMsgType.BINARY:
                active()
                translator.from_client(message.data)
                await _send(writer, translator.to_runtime())

        async def to_client() -> None:
            while not translator.finished and (data := await reader.read(_BLOCK)):
                active()
                for message in translator.from_runtime(data):
                    await socket.send_bytes(message)
                if not writer.is_closing():
                    writer.write(translator.to_runtime())
            for message in translator.last_words():
                await socket.send_bytes(message)

        async def guarded(direction: Callable[[], Awaitable[None]]) -> None:
            nonlocal code
            try:
                await direction()
            except ConnectionError:
                log.debug("a stream's client is gone")
            except ProtocolError as error:
                log.info("a stream is closed: %s", error)
                code = WSCloseCode.PROTOCOL_ERROR

        cut = writer.transport.abort if request.transport is None else request.transport.abort
        with self._upgrades.opened(cut):
            try:
                async with asyncio.timeout(self._idle or None) as limit:
                    await first_of(guarded(to_runtime), guarded(to_client))
            except TimeoutError:
                log.debug("a stream is closed: nothing came for %.1f s", self._idle)
                code = WSCloseCode.GOING_AWAY
            finally:
                # What was taken from the client still goes out, but not forever.
                writer.close()
                loop.call_later(_FLUSH, writer.transport.abort)
            await _finish(request, socket, [], code)


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    if not writer.is_closing():
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            await writer.drain()


def _spdy_headers(protocols: list[str]) -> Mapping[str, str]:
    """What asks a streaming server for SPDY with one of *protocols*."""
    return CIMultiDict(
        [("Upgrade", "SPDY/3.1"), *(("X-Stream-Protocol-Version", protocol) for protocol in protocols)]
    )


def _websocket(protocols: list[str]) -> web.WebSocketResponse:
    return web.WebSocketResponse(
        protocols=protocols, compress=False, max_msg_size=_MAX_MESSAGE, timeout=_FLUSH
    )


async def _finish(
    request: web.BaseRequest,
    socket: web.WebSocketResponse,
    messages: list[bytes],
    code: WSCloseCode = WSCloseCode.OK,
) -> None:
    """Send *messages*, then close as the protocol asks; whoever does not take part is cut off."""
    try:
        async with asyncio.timeout(_FLUSH):
            with contextlib.suppress(ConnectionError):
                for message in messages:
                    await socket.send_bytes(message)
                await socket.close(code=code)
    except TimeoutError:
        log.debug("a client did not take the end of its stream")
        if request.transport is not None:
            request.transport.abort()


def _abort(opening: Opening) -> None:
    if opening.transport is not None:
        opening.transport.abort()
