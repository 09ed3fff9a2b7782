"""The double without sockets: HTTP over wires of memory, for tests in virtual time.

A real client and the double's HTTP speak over transports that hand bytes over in the loop. The
wires fail as a network does: nobody listens, connections are reset, or bytes vanish on the way.
"""

import asyncio
import errno
import ssl
from collections.abc import Callable
from datetime import datetime
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.client_proto import ResponseHandler
from tests.apiserver.server import ApiServer

#: Seconds after which TCP ends a connection whose other side is silent (see ``cluster.connections``).
SILENCE = 45.0
#: The port in the double's URL; nobody listens there.
PORT = 6443


class End(asyncio.Transport):
    """One end of a wire."""

    def __init__(self, network: "Network") -> None:
        super().__init__()
        self._network = network
        self._loop = asyncio.get_running_loop()
        self._protocol: Any = None
        self._peer: End | None = None
        self._closing = False
        self._lost = False
        self._paused = False
        self._waiting: list[bytes] = []

    def connect(self, protocol: asyncio.BaseProtocol, peer: "End") -> None:
        """Begin to carry bytes between *protocol* and the protocol of *peer*."""
        self._protocol, self._peer = protocol, peer
        protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing and self._peer is not None and not self._network.swallows:
            self._loop.call_soon(self._peer.deliver, bytes(data))

    def deliver(self, data: bytes) -> None:
        """Take bytes from the other end."""
        if self._lost or self._closing:
            return
        if self._paused:
            self._waiting.append(data)
        else:
            self._protocol.data_received(data)

    def close(self) -> None:
        self._end(None)

    def abort(self) -> None:
        self._end(ConnectionResetError(errno.ECONNRESET, "reset by the other end"))

    def _end(self, told: Exception | None) -> None:
        if self._closing:
            return
        self._closing = True
        self._loop.call_soon(self.lose, None)
        if self._peer is not None and not self._network.swallows:
            self._loop.call_soon(self._peer.lose, told)

    def lose(self, error: Exception | None) -> None:
        """The connection is gone."""
        if self._lost:
            return
        self._lost = self._closing = True
        self._network.forget(self)
        self._protocol.connection_lost(error)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            self.deliver(data)

    def is_reading(self) -> bool:
        return not self._paused

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing waits to be written."""

    def get_write_buffer_size(self) -> int:
        return 0


class Network:
    """The wires between clients and one server."""

    def __init__(self) -> None:
        #: Makes the server's protocol of a new connection; None while nobody listens.
        self.accept: Callable[[], asyncio.BaseProtocol] | None = None
        #: Whether bytes vanish on the way, as behind a broken switch.
        self.swallows = False
        #: Connections tried, whatever became of them.
        self.tried = 0
        #: Connections in the order in which they were made: so they fail, in each run of a test.
        self._ends: dict[End, None] = {}

    def connector(self, context: ssl.SSLContext | None = None) -> aiohttp.BaseConnector:
        """What a client connects with."""
        return _Connector(self)

    async def connect(self, protocol: asyncio.BaseProtocol) -> None:
        """Join a client's *protocol* to the server.

        :raises OSError: nobody listens.
        """
        self.tried += 1
        while self.swallows:
            await asyncio.sleep(1)
        if self.accept is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        ours, theirs = End(self), End(self)
        self._ends |= {ours: None, theirs: None}
        theirs.connect(self.accept(), ours)
        ours.connect(protocol, theirs)

    def forget(self, end: End) -> None:
        """It carries nothing any more."""
        self._ends.pop(end, None)

    def reset(self) -> None:
        """Reset every connection; new ones are taken."""
        for end in list(self._ends):
            end.lose(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def partition(self) -> None:
        """Let everything vanish from now on; TCP notices after a while."""
        self.swallows = True
        before = list(self._ends)

        def notice() -> None:
            if self.swallows:
                for end in before:
                    end.lose(TimeoutError(errno.ETIMEDOUT, "Connection timed out"))

        asyncio.get_running_loop().call_later(SILENCE, notice)

    def heal(self) -> None:
        """Carry bytes again; what vanished stays lost."""
        self.swallows = False


class _Connector(aiohttp.BaseConnector):
    """Connects over a network of memory."""

    def __init__(self, network: Network) -> None:
        super().__init__(limit=0)
        self._network = network

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> ResponseHandler:
        handler = ResponseHandler(self._loop)
        try:
            async with asyncio.timeout(timeout.sock_connect):
                await self._network.connect(handler)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError("Connection timeout to the double") from error
        except OSError as error:
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error
        return handler


class MemoryApiServer(ApiServer):
    """The double behind a :class:`Network` instead of a socket; its clients use ``network.connector``."""

    def __init__(self, now: Callable[[], datetime], **options: Any) -> None:
        """*now* is wall time; *options* as of ``ApiServer``."""
        super().__init__(now=now, **options)
        self.port = PORT
        self.network = Network()

    async def __aenter__(self) -> "MemoryApiServer":
        self._server = web.Server(self._http.handle, handler_cancellation=True, access_log=None)
        await self.up()
        return self

    async def __aexit__(self, *error: object) -> None:
        self.faults.clear()
        await self.down()
        if self._server is not None:
            await self._server.shutdown(0.5)

    async def up(self) -> None:
        """See ``ApiServer``."""
        self.network.accept = self._server

    async def down(self) -> None:
        """See ``ApiServer``."""
        self.network.accept = None
        await self.drop_connections()

    async def drop_connections(self) -> None:
        """See ``ApiServer``."""
        self.network.reset()
        for _ in range(3):
            await asyncio.sleep(0)
