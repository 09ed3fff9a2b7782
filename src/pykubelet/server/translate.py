"""A remote command's WebSocket messages (``v5.channel.k8s.io``) turned into SPDY and back. Pure.

API servers since 1.36 pass a client's WebSocket on as it is, runtimes' streaming servers
know the last version of its messages only over SPDY. :class:`RemoteCommand` stands between
them: it does no I/O, holds nothing back but the command's outcome, and is told by its owner
when to take more. Source: KEP-4006; the channels are those of ``k8s.io/streaming``'s ``wsstream``.
"""

from typing import Final, Protocol

import msgspec

from pykubelet.base import spdy

from .doors import StreamRequest

#: What the WebSocket speaks, and what is asked of the runtime.
WEBSOCKET_PROTOCOL: Final = "v5.channel.k8s.io"
SPDY_PROTOCOL: Final = "v4.channel.k8s.io"
#: First byte of a message: the channel that it belongs to, or that the channel named next has ended.
STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
CLOSE: Final = 255
#: Bytes of the outcome that are kept.
_MAX_OUTCOME: Final = 64 << 10
_SUCCESS: Final = {"metadata": {}, "status": "Success"}


class Translator(Protocol):
    """Both directions of one stream; what is to be sent to the runtime is fetched after each step."""

    @property
    def finished(self) -> bool:
        """Whether nothing more will come from the runtime that the client could want."""
        ...

    def from_client(self, message: bytes) -> None:
        """Take a binary message.

        :raises ProtocolError: it makes no sense, the connection is of no more use.
        """
        ...

    def from_runtime(self, data: bytes) -> list[bytes]:
        """Take bytes of the runtime's; the messages for the client.

        :raises ProtocolError: they make no sense.
        """
        ...

    def to_runtime(self) -> bytes:
        """Bytes for the runtime, handed out once."""
        ...

    def last_words(self) -> list[bytes]:
        """The messages that end the stream once the runtime says no more."""
        ...


class ProtocolError(Exception):
    """One side broke the protocol."""


def failure(message: str) -> bytes:
    """An internal error on the error channel, as the API machinery words it."""
    status = {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {message}",
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    }
    return bytes([ERROR]) + msgspec.json.encode(status)


def greeting(streams: StreamRequest) -> bytes:
    """An empty message on the first channel that can bring something: the stream stands."""
    return bytes([STDOUT if streams.stdout else STDERR if streams.stderr else ERROR])


class RemoteCommand:
    """An exec or attach with the wanted *streams*; implements :class:`Translator`."""

    def __init__(self, streams: StreamRequest) -> None:
        self._spdy = spdy.Connection(client=True)
        self._error = self._spdy.open_stream({"streamtype": "error"})
        self._inputs: dict[int, int] = {}
        self._outputs: dict[int, int] = {}
        if streams.stdin:
            self._inputs[STDIN] = self._spdy.open_stream({"streamtype": "stdin"})
        if streams.stdout:
            self._outputs[self._spdy.open_stream({"streamtype": "stdout"})] = STDOUT
        if streams.stderr and not streams.tty:
            self._outputs[self._spdy.open_stream({"streamtype": "stderr"})] = STDERR
        if streams.tty:
            self._inputs[RESIZE] = self._spdy.open_stream({"streamtype": "resize"})
        self._open = {self._error, *self._outputs}
        self._outcome = bytearray()
        #: The error stream ended by itself: without words that is a success.
        self._told = False

    @property
    def finished(self) -> bool:
        """See :class:`Translator`."""
        return not self._open

    def to_runtime(self) -> bytes:
        """See :class:`Translator`."""
        return self._spdy.to_send()

    def from_client(self, message: bytes) -> None:
        """See :class:`Translator`; what is for nobody is passed over, as upstream does."""
        if not message:
            return
        channel = message[0]
        if channel == CLOSE:
            self._closed_by_client(message[1:])
        elif channel in self._inputs and len(message) > 1:
            self._spdy.send_data(self._inputs[channel], message[1:])

    def _closed_by_client(self, named: bytes) -> None:
        if len(named) != 1 or named[0] > RESIZE:
            raise ProtocolError("a close signal must name one channel")
        # The size of the terminal is no input that could end.
        if named[0] == STDIN and STDIN in self._inputs:
            self._spdy.send_data(self._inputs.pop(STDIN), b"", fin=True)

    def from_runtime(self, data: bytes) -> list[bytes]:
        """See :class:`Translator`."""
        try:
            events = self._spdy.receive(data)
        except spdy.SpdyError as error:
            raise ProtocolError(str(error)) from error
        messages = []
        for event in events:
            match event:
                case spdy.DataReceived(stream, block, fin):
                    if stream == self._error:
                        self._outcome += block[: _MAX_OUTCOME - len(self._outcome)]
                    elif stream in self._outputs and block:
                        messages.append(bytes([self._outputs[stream]]) + block)
                    if fin:
                        self._ended(stream)
                case spdy.StreamReplied(stream, _, True):
                    self._ended(stream)
                case spdy.StreamReset(stream, _):
                    self._reset(stream)
                case _:
                    pass
        return messages

    def _ended(self, stream: int) -> None:
        if stream == self._error:
            self._told = True
        self._open.discard(stream)

    def _reset(self, stream: int) -> None:
        self._open.discard(stream)
        for channel, number in list(self._inputs.items()):
            if number == stream:
                # Nobody reads it any more: what still comes is dropped.
                del self._inputs[channel]

    def last_words(self) -> list[bytes]:
        """The command's outcome on the error channel, as the runtime worded it."""
        if self._outcome:
            return [bytes([ERROR]) + bytes(self._outcome)]
        if self._told:
            return [bytes([ERROR]) + msgspec.json.encode(_SUCCESS)]
        return [failure("the connection to the container runtime ended before the command did")]


class Tunnel:
    """A WebSocket whose messages are pieces of a SPDY connection; implements :class:`Translator`."""

    finished = False

    def __init__(self) -> None:
        self._out = bytearray()

    def from_client(self, message: bytes) -> None:
        """See :class:`Translator`."""
        self._out += message

    def from_runtime(self, data: bytes) -> list[bytes]:
        """See :class:`Translator`."""
        return [data] if data else []

    def to_runtime(self) -> bytes:
        """See :class:`Translator`."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def last_words(self) -> list[bytes]:
        """See :class:`Translator`."""
        return []
