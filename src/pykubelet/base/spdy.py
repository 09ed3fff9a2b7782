"""SPDY/3.1's framing without any I/O: what remote commands and port forwards speak.

:class:`Connection` turns calls into bytes to send and received bytes into events. Source:
the SPDY Protocol, draft 3.1. Kubernetes' servers keep no flow-control windows (a peer's
buffers are bounded by TCP), so data is sent as it comes; window updates are understood.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

VERSION: Final = 3
SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS = 1, 2, 3, 4
PING, GOAWAY, HEADERS, WINDOW_UPDATE = 6, 7, 8, 9
FLAG_FIN: Final = 1
#: Bytes of one data frame that we send, and of a frame and of headers that we take.
MAX_DATA: Final = 32 << 10
MAX_FRAME: Final = 1 << 20
MAX_HEADERS: Final = 256 << 10

#: Status codes of RST_STREAM.
PROTOCOL_ERROR, REFUSED_STREAM, CANCEL = 1, 3, 5

_NAMES: Final = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language "
    "accept-ranges age allow authorization cache-control connection content-base content-encoding "
    "content-language content-length content-location content-md5 content-range content-type date etag "
    "expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since "
    "last-modified location max-forwards pragma proxy-authenticate proxy-authorization range referer "
    "retry-after server te trailer transfer-encoding upgrade user-agent vary via warning "
    "www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie keep-alive origin"
)
_REST: Final = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
    "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
    "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 "
    "Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
    "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age="
    "gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _dictionary() -> bytes:
    """What both sides' header compression starts from."""
    names = [name.replace("_", " ").encode() for name in _NAMES.split()]
    return b"".join(struct.pack(">I", len(name)) + name for name in names) + _REST.encode()


DICTIONARY: Final = _dictionary()


class SpdyError(Exception):
    """The peer broke the protocol; the connection is of no more use."""


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The peer opened a stream; *fin*: it will send nothing on it."""

    stream: int
    headers: Mapping[str, str]
    fin: bool = False


@dataclass(frozen=True, slots=True)
class StreamReplied:
    """The peer accepted our stream, or sent more headers on it."""

    stream: int
    headers: Mapping[str, str]
    fin: bool = False


@dataclass(frozen=True, slots=True)
class DataReceived:
    """Data on a stream; *fin*: the last of it."""

    stream: int
    data: bytes = field(repr=False)
    fin: bool = False


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The peer gave a stream up."""

    stream: int
    status: int


@dataclass(frozen=True, slots=True)
class PingReceived:
    """A ping; one that the peer began is answered already."""

    id: int


@dataclass(frozen=True, slots=True)
class GoAway:
    """The peer takes no more streams after *last*."""

    last: int
    status: int


@dataclass(frozen=True, slots=True)
class SettingsReceived:
    """The peer's settings by their number."""

    values: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class WindowUpdated:
    """The peer would take *delta* more bytes on a stream (0: on the connection)."""

    stream: int
    delta: int


Event = (
    StreamOpened
    | StreamReplied
    | DataReceived
    | StreamReset
    | PingReceived
    | GoAway
    | SettingsReceived
    | WindowUpdated
)


class Connection:
    """One side of a SPDY connection."""

    def __init__(self, *, client: bool) -> None:
        self._client = client
        self._next = 1 if client else 2
        self._buffer = bytearray()
        self._out = bytearray()
        self._deflate = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, 15, 9, 0, DICTIONARY)
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._last_peer = 0

    # --- sending --------------------------------------------------------------

    def to_send(self) -> bytes:
        """Bytes that are to be sent; they are handed out once."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def open_stream(self, headers: Mapping[str, str], *, fin: bool = False) -> int:
        """Begin a stream; its number.

        :raises SpdyError: all numbers are used up.
        """
        stream = self._next
        if stream > 0x7FFFFFFF:
            raise SpdyError("no stream numbers are left")
        self._next += 2
        body = struct.pack(">IIBB", stream, 0, 0, 0) + self._pack(headers)
        self._control(SYN_STREAM, FLAG_FIN if fin else 0, body)
        return stream

    def reply(self, stream: int, headers: Mapping[str, str] | None = None, *, fin: bool = False) -> None:
        """Accept the peer's stream."""
        body = struct.pack(">I", stream) + self._pack(headers or {})
        self._control(SYN_REPLY, FLAG_FIN if fin else 0, body)

    def send_data(self, stream: int, data: bytes, *, fin: bool = False) -> None:
        """Send *data* on a stream, in frames of a bounded size; *fin* closes our side of it."""
        view = memoryview(data)
        while True:
            part, view = view[:MAX_DATA], view[MAX_DATA:]
            last = not view
            self._out += struct.pack(">II", stream, ((FLAG_FIN if fin and last else 0) << 24) | len(part))
            self._out += part
            if last:
                return

    def reset(self, stream: int, status: int = CANCEL) -> None:
        """Give a stream up."""
        self._control(RST_STREAM, 0, struct.pack(">II", stream, status))

    def ping(self, number: int) -> None:
        """Send a ping."""
        self._control(PING, 0, struct.pack(">I", number))

    def go_away(self, status: int = 0) -> None:
        """Say that no more streams of the peer are taken."""
        self._control(GOAWAY, 0, struct.pack(">II", self._last_peer, status))

    def settings(self, values: Mapping[int, int]) -> None:
        """Tell our settings."""
        entries = b"".join(struct.pack(">II", key & 0xFFFFFF, value) for key, value in values.items())
        self._control(SETTINGS, 0, struct.pack(">I", len(values)) + entries)

    def window_update(self, stream: int, delta: int) -> None:
        """Take *delta* more bytes on a stream."""
        self._control(WINDOW_UPDATE, 0, struct.pack(">II", stream, delta))

    def _control(self, kind: int, flags: int, body: bytes) -> None:
        self._out += struct.pack(">HHI", 0x8000 | VERSION, kind, (flags << 24) | len(body)) + body

    def _pack(self, headers: Mapping[str, str]) -> bytes:
        plain = struct.pack(">I", len(headers)) + b"".join(
            struct.pack(">I", len(text)) + text
            for name, value in headers.items()
            for text in (name.lower().encode(), value.encode())
        )
        return self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    # --- receiving ------------------------------------------------------------

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes of the peer's; the events that they complete.

        :raises SpdyError: it broke the protocol.
        """
        self._buffer += data
        events: list[Event] = []
        at = 0
        while len(self._buffer) - at >= 8:
            first, second = struct.unpack_from(">II", self._buffer, at)
            length = second & 0xFFFFFF
            if length > MAX_FRAME:
                raise SpdyError(f"a frame of {length} bytes is too large")
            if len(self._buffer) - at - 8 < length:
                break
            body = bytes(self._buffer[at + 8 : at + 8 + length])
            at += 8 + length
            event = self._frame(first, second >> 24, body)
            if event is not None:
                events.append(event)
        del self._buffer[:at]
        return events

    def _frame(self, first: int, flags: int, body: bytes) -> Event | None:
        fin = bool(flags & FLAG_FIN)
        if not first & 0x80000000:
            if first == 0:
                raise SpdyError("data on stream 0")
            return DataReceived(first, body, fin)
        if (first >> 16) & 0x7FFF != VERSION:
            raise SpdyError(f"version {(first >> 16) & 0x7FFF} instead of {VERSION}")
        try:
            return self._control_frame(first & 0xFFFF, fin, body)
        except struct.error as error:
            raise SpdyError("a control frame is too short") from error

    def _control_frame(self, kind: int, fin: bool, body: bytes) -> Event | None:
        match kind:
            case 1:
                stream, _associated, _priority, _slot = struct.unpack_from(">IIBB", body)
                self._opened(stream)
                return StreamOpened(stream, self._unpack(body[10:]), fin)
            case 2 | 8:
                (stream,) = struct.unpack_from(">I", body)
                return StreamReplied(stream & 0x7FFFFFFF, self._unpack(body[4:]), fin)
            case 3:
                stream, status = struct.unpack_from(">II", body)
                return StreamReset(stream & 0x7FFFFFFF, status)
            case 4:
                (count,) = struct.unpack_from(">I", body)
                if count > len(body) // 8:
                    raise SpdyError("settings are cut short")
                pairs = [struct.unpack_from(">II", body, 4 + 8 * index) for index in range(count)]
                return SettingsReceived({key & 0xFFFFFF: value for key, value in pairs})
            case 6:
                (number,) = struct.unpack_from(">I", body)
                if (number % 2 == 1) is not self._client:
                    self.ping(number)
                return PingReceived(number)
            case 7:
                last, status = struct.unpack_from(">II", body)
                return GoAway(last & 0x7FFFFFFF, status)
            case 9:
                stream, delta = struct.unpack_from(">II", body)
                return WindowUpdated(stream & 0x7FFFFFFF, delta & 0x7FFFFFFF)
            case _:
                # Unknown kinds of control frames are to be passed over.
                return None

    def _opened(self, stream: int) -> None:
        if stream == 0 or (stream % 2 == 1) is self._client or stream <= self._last_peer:
            raise SpdyError(f"the peer cannot open stream {stream}")
        self._last_peer = stream

    def _unpack(self, packed: bytes) -> Mapping[str, str]:
        try:
            plain = self._inflate.decompress(packed, MAX_HEADERS)
        except zlib.error as error:
            raise SpdyError("headers cannot be decompressed") from error
        if self._inflate.unconsumed_tail:
            raise SpdyError("headers are too large")
        found: dict[str, str] = {}
        at = 4
        (count,) = struct.unpack_from(">I", plain)
        for _ in range(count):
            texts = []
            for _ in range(2):
                (length,) = struct.unpack_from(">I", plain, at)
                if at + 4 + length > len(plain):
                    raise SpdyError("headers are cut short")
                texts.append(plain[at + 4 : at + 4 + length].decode(errors="replace"))
                at += 4 + length
            found[texts[0]] = texts[1]
        return found
