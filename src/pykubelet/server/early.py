"""What a caller sends before its upgrade is answered belongs to the new protocol, not to HTTP.

aiohttp's parser stops behind a request for a WebSocket, but takes what follows a request for
any other protocol (SPDY) for the next request. :class:`UpgradeParser` stands before it and
stops there too: aiohttp then keeps the bytes, bounded by its read buffer, for whoever takes
the connection, and reads them as HTTP after all when the upgrade is refused.
"""

from collections.abc import Sequence
from typing import Any, Final, cast

from aiohttp.web_protocol import RequestHandler

_HEAD_END: Final = b"\r\n\r\n"


class UpgradeParser:
    """aiohttp's request parser, fed so that it never reads past a head that asks for an upgrade."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser
        #: The last bytes fed: the end of a head may be cut in two.
        self._before = b""

    def feed_data(self, data: bytes) -> tuple[Sequence[Any], bool, bytes]:
        """Messages that *data* completed, whether HTTP ended there, and what follows.

        :raises HttpProcessingError: it is no HTTP.
        """
        messages: list[Any] = []
        while True:
            piece, data = self._cut(data)
            found, upgraded, rest = self._parser.feed_data(piece)
            messages += found
            if upgraded or (found and found[-1][0].upgrade):
                return messages, True, bytes(rest) + data
            if not data:
                return messages, False, b""

    def _cut(self, data: bytes) -> tuple[bytes, bytes]:
        """*data* up to the next place where a head may end, and the rest."""
        seen = self._before + data
        end = seen.find(_HEAD_END)
        size = len(data) if end < 0 else end + len(_HEAD_END) - len(self._before)
        self._before = seen[-3:] if end < 0 else b""
        return data[:size], data[size:]

    def set_upgraded(self, value: bool) -> None:
        """The upgrade was refused: what follows is HTTP."""
        self._parser.set_upgraded(value)

    def message_consumed(self) -> None:
        """See aiohttp's parser."""
        self._parser.message_consumed()

    def pause_reading(self) -> None:
        """See aiohttp's parser."""
        self._parser.pause_reading()


def stop_at_upgrades(handler: RequestHandler) -> None:
    """Put an :class:`UpgradeParser` before the parser of a new connection."""
    handler._parser = cast("Any", UpgradeParser(handler._parser))
