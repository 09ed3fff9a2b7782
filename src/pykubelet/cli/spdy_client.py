"""A SPDY connection through the admin socket: opened by an HTTP upgrade, read by one task."""

import asyncio
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from pykubelet.base import spdy
from pykubelet.base.tasks import TaskOwner
from pykubelet.cli.admin_client import Refused, unreachable

_HEAD_LIMIT = 64 << 10
#: Seconds for the answer to the upgrade: the runtime takes its time to start a command.
_OPEN_TIMEOUT = 60.0


class Lost(click.ClickException):
    """The connection ended before its work was done."""


class SpdyClient:
    """One SPDY connection. *on_event* hears everything but pings; it must not block for long."""

    def __init__(self, socket: Path, on_event: Callable[[spdy.Event], None]) -> None:
        self._socket = socket
        self._on_event = on_event
        self._connection = spdy.Connection(client=True)
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._tasks = TaskOwner("spdy")
        #: Set once the peer will send nothing more.
        self.ended = asyncio.Event()

    async def open(self, path: str, protocols: tuple[str, ...]) -> str:
        """Ask for *path* to be upgraded; the stream protocol that was chosen (may be empty).

        :raises Refused: the daemon says no.
        :raises click.ClickException: it cannot be reached.
        """
        try:
            self._reader, self._writer = await asyncio.open_unix_connection(
                str(self._socket), limit=_HEAD_LIMIT
            )
        except OSError as error:
            raise unreachable(self._socket, error) from error
        offered = "".join(f"X-Stream-Protocol-Version: {protocol}\r\n" for protocol in protocols)
        self._writer.write(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
            f"{offered}Content-Length: 0\r\n\r\n".encode()
        )
        try:
            async with asyncio.timeout(_OPEN_TIMEOUT):
                head = await self._reader.readuntil(b"\r\n\r\n")
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise Lost(f"the daemon did not answer: {error}") from error
        status = re.match(rb"HTTP/1\.[01] ([0-9]{3})", head)
        code = int(status[1]) if status else 0
        if code != 101:
            raise Refused(code, await self._body(head))
        chosen = re.search(rb"(?i)\r\nx-stream-protocol-version: *([^\r\n]*)", head)
        self._tasks.spawn("read", self._read())
        return chosen[1].decode(errors="replace").strip() if chosen else ""

    async def _body(self, head: bytes) -> str:
        length = re.search(rb"(?i)\r\ncontent-length: *([0-9]{1,7})\r\n", head)
        try:
            async with asyncio.timeout(5.0):
                body = await self._reader.readexactly(int(length[1]) if length else 0)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return ""
        return body.decode(errors="replace")

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(1 << 16):
                for event in self._connection.receive(data):
                    self._on_event(event)
                self._flush()
        except (OSError, spdy.SpdyError):
            pass
        finally:
            self.ended.set()

    async def stream(self, headers: Mapping[str, str], *, fin: bool = False) -> int:
        """Open a stream; its number."""
        number = self._connection.open_stream(headers, fin=fin)
        await self.drain()
        return number

    async def send(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        """Send data, and wait while the peer is slow.

        :raises ConnectionError: it is gone.
        """
        self._connection.send_data(stream, data, fin=fin)
        await self.drain()

    def say(self, stream: int, data: bytes) -> None:
        """Send a short message without waiting."""
        self._connection.send_data(stream, data)
        self._flush()

    async def drain(self) -> None:
        """Send what is to be sent.

        :raises ConnectionError: the peer is gone.
        """
        self._flush()
        await self._writer.drain()

    def _flush(self) -> None:
        data = self._connection.to_send()
        if data:
            self._writer.write(data)

    async def close(self) -> None:
        """End the connection."""
        await self._tasks.close()
        if hasattr(self, "_writer"):
            self._writer.close()
