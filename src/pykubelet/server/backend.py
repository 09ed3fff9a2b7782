"""The runtime's streaming server: which URLs are taken, and the opening of an upgraded connection.

Only this machine is spoken to, and a redirect is never followed or passed on: a bad answer of
a runtime must not send a caller, or this daemon, elsewhere.
"""

import asyncio
import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import unquote, urlsplit

from .doors import ApiError

#: Seconds for reaching the streaming server, and for its answer's head.
CONNECT_TIMEOUT: Final = 10.0
HEAD_TIMEOUT: Final = 35.0
_HEAD_LIMIT: Final = 64 << 10
_BODY_LIMIT: Final = 64 << 10
#: Bytes of the runtime's that are read ahead of what a caller has taken; up to twice as many wait.
_READ_AHEAD: Final = 64 << 10
#: Headers of the caller's that are not the runtime's business.
_KEPT_BACK: Final = frozenset(
    {"authorization", "cookie", "host", "content-length", "transfer-encoding", "expect", "te", "trailer",
     "proxy-authorization", "proxy-connection", "keep-alive"}
)  # fmt: skip
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: [^\r\n]*)?\r\n")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a stream is served: a Unix socket, or a loopback address and port."""

    path: str
    host: str = ""
    port: int = 0
    socket: str = ""

    @property
    def authority(self) -> str:
        """The Host header."""
        if self.socket:
            return "localhost"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_url(url: str) -> Target:
    """What the runtime's *url* names: ``http`` on loopback, or ``http+unix://%2Fpath%2Fof.sock/…``.

    :raises ApiError: 500, it leads elsewhere.
    """
    refused = ApiError(500, "the runtime's streaming URL is not on this machine's loopback")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise refused from error
    path = parts.path or "/"
    path = f"{path}?{parts.query}" if parts.query else path
    if re.search(r"[\x00-\x20\x7f]", path) or parts.username is not None:
        raise refused
    if parts.scheme == "http+unix":
        name = unquote(parts.netloc)
        if name.startswith("/"):
            return Target(path, socket=name)
        raise refused
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname or ""
    try:
        loopback = ip_address(host).is_loopback
    except ValueError as error:
        raise refused from error
    if parts.scheme != "http" or not loopback:
        raise refused
    return Target(path, host=host, port=port or 80)


@dataclass(frozen=True, slots=True)
class Opened:
    """The answer to an upgrade: its *head* as it came."""

    status: int
    head: bytes


class _Reader(asyncio.StreamReader):
    """Gives what came before a connection broke, where asyncio's own would forget it."""

    def set_exception(self, exc: Exception) -> None:
        """See :class:`asyncio.StreamReader`."""
        self.feed_eof()


class Opening(asyncio.Protocol):
    """Reads the head of the answer, then stands aside for whoever takes the transport."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._data = bytearray()
        self._changed = asyncio.Event()
        self.over = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        self._data += data
        if len(self._data) > _HEAD_LIMIT + _BODY_LIMIT and self.transport is not None:
            self.transport.pause_reading()
        self._changed.set()

    def eof_received(self) -> bool:
        """See :class:`asyncio.Protocol`; the other direction stays open."""
        self.over = True
        self._changed.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        self.over = True
        self._changed.set()

    async def head(self) -> Opened:
        """The answer's head.

        :raises ApiError: 500, there is none.
        """
        while (end := self._data.find(b"\r\n\r\n")) < 0:
            if self.over or len(self._data) > _HEAD_LIMIT:
                raise ApiError(500, "the runtime's streaming server gave no answer")
            await self._more()
        head = bytes(self._data[: end + 4])
        found = _STATUS.match(head)
        if found is None:
            raise ApiError(500, "the runtime's streaming server does not speak HTTP")
        return Opened(int(found[1]), head)

    def taken(self) -> bytes:
        """Everything that came so far, the head too."""
        return bytes(self._data)

    def header(self, name: str) -> str:
        """A header of the answer; empty when it has none."""
        found = re.search(rb"(?i)\r\n%b:[ \t]*([^\r\n]*)" % re.escape(name.encode()), self._head())
        return found[1].decode(errors="replace").strip() if found else ""

    def streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """What follows the answer's head, to be read and written with a bounded buffer."""
        assert self.transport is not None
        reader = _Reader(limit=_READ_AHEAD, loop=self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self._loop)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        writer = asyncio.StreamWriter(self.transport, protocol, reader, self._loop)
        self.transport.resume_reading()
        rest = bytes(self._data[len(self._head()) :])
        if rest:
            reader.feed_data(rest)
        if self.over:
            reader.feed_eof()
        return reader, writer

    def _head(self) -> bytes:
        return bytes(self._data[: self._data.find(b"\r\n\r\n") + 4])

    async def body(self, opened: Opened) -> bytes:
        """What follows the head of a refusal, as far as it is short and comes soon."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                length = re.search(rb"(?i)\r\ncontent-length: *([0-9]{1,9})\r\n", opened.head)
                wanted = min(int(length[1]) if length else _BODY_LIMIT, _BODY_LIMIT)
                while not self.over and len(self._data) - len(opened.head) < wanted:
                    await self._more()
        return bytes(self._data[len(opened.head) :])[:_BODY_LIMIT]

    async def _more(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def request_head(method: str, target: Target, headers: Mapping[str, str]) -> bytes:
    """The request that opens the stream: the caller's headers, but none of his credentials."""
    named = headers.get("Connection", "").lower()
    dropped = {name.strip() for name in named.split(",")} - {"upgrade", ""}
    lines = [f"{method} {target.path} HTTP/1.1", f"Host: {target.authority}"]
    for name, value in headers.items():
        if name.lower() in _KEPT_BACK or name.lower() in dropped or name.lower() == "connection":
            continue
        lines.append(f"{name}: {value}")
    lines.append("Connection: Upgrade")
    if method == "POST":
        lines.append("Content-Length: 0")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


async def upgrade(head: bytes, target: Target) -> Opening:
    """A connection to the streaming server that *head* has turned into a stream.

    :raises ApiError: it cannot be reached, or refuses.
    """
    opening = await connect(target)
    assert opening.transport is not None
    try:
        opening.transport.write(head)
        async with asyncio.timeout(HEAD_TIMEOUT):
            opened = await opening.head()
        if opened.status != 101:
            raise _refusal(opened.status, await opening.body(opened))
    except TimeoutError as error:
        opening.transport.abort()
        raise ApiError(500, "the runtime's streaming server did not answer in time") from error
    except BaseException:
        opening.transport.abort()
        raise
    return opening


def _refusal(status: int, body: bytes) -> ApiError:
    """The streaming server's refusal; never one that sends the caller elsewhere."""
    if not 400 <= status < 600:
        return ApiError(500, f"the runtime's streaming server answered with status {status}\n")
    return ApiError(status, body.decode(errors="replace"))


async def connect(target: Target) -> Opening:
    """A connection to the streaming server.

    :raises ApiError: 500, it cannot be reached.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            if target.socket:
                _, opening = await loop.create_unix_connection(Opening, target.socket)
            else:
                _, opening = await loop.create_connection(Opening, target.host, target.port)
    except (OSError, TimeoutError) as error:
        raise ApiError(500, f"the runtime's streaming server cannot be reached: {error}") from error
    return opening
