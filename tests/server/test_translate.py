"""Dialogues between a WebSocket client and a runtime's SPDY server, cut anywhere."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.base import spdy
from pykubelet.server.doors import StreamRequest
from pykubelet.server.translate import (
    ProtocolError,
    RemoteCommand,
    Tunnel,
    failure,
    greeting,
)

ALL = StreamRequest(stdin=True, stdout=True, stderr=True)
TTY = StreamRequest(stdin=True, stdout=True, tty=True)
EXIT_7 = b'{"metadata":{},"status":"Failure","reason":"NonZeroExitCode"}'


class Runtime:
    """The other end of a translator: a SPDY server that knows streams by their type."""

    def __init__(self, command: RemoteCommand) -> None:
        self.command = command
        self.spdy = spdy.Connection(client=False)
        self.streams: dict[str, int] = {}
        self.got: dict[str, bytes] = {}
        self.ended: list[str] = []
        self.take()

    def take(self) -> None:
        for event in self.spdy.receive(self.command.to_runtime()):
            match event:
                case spdy.StreamOpened(stream, headers, _):
                    self.streams[headers["streamtype"]] = stream
                    self.got[headers["streamtype"]] = b""
                    self.spdy.reply(stream)
                case spdy.DataReceived(stream, data, fin):
                    kind = next(kind for kind, number in self.streams.items() if number == stream)
                    self.got[kind] += data
                    if fin:
                        self.ended.append(kind)
                case _:
                    pass

    def say(self, kind: str, data: bytes = b"", *, fin: bool = False) -> None:
        self.spdy.send_data(self.streams[kind], data, fin=fin)

    def heard(self) -> list[bytes]:
        """What the client is told of all that was said."""
        return self.command.from_runtime(self.spdy.to_send())


@pytest.mark.parametrize(
    ("streams", "kinds"),
    [
        (ALL, ["error", "stdin", "stdout", "stderr"]),
        (TTY, ["error", "stdin", "stdout", "resize"]),
        (StreamRequest(stdout=True), ["error", "stdout"]),
        (StreamRequest(stdin=True), ["error", "stdin"]),
    ],
)
def test_the_wanted_streams_are_opened(streams: StreamRequest, kinds: list[str]) -> None:
    assert list(Runtime(RemoteCommand(streams)).streams) == kinds


def test_input_sizes_and_the_end_of_input_reach_the_runtime() -> None:
    command = RemoteCommand(TTY)
    runtime = Runtime(command)
    for message in (b"\x00he", b"\x00", b"", b'\x04{"Width":77}', b"\x00llo", b"\xff\x00", b"\x00lost"):
        command.from_client(message)
    runtime.take()
    assert runtime.got == {"error": b"", "stdin": b"hello", "stdout": b"", "resize": b'{"Width":77}'}
    assert runtime.ended == ["stdin"]


def test_what_is_for_nobody_is_passed_over() -> None:
    command = RemoteCommand(StreamRequest(stdout=True))
    runtime = Runtime(command)
    for message in (b"\x00in", b"\x01out", b"\x09?", b"\xff\x00", b"\xff\x01", b"\xff\x04"):
        command.from_client(message)
    runtime.take()
    assert not any(runtime.got.values()) and not runtime.ended


@pytest.mark.parametrize("message", [b"\xff", b"\xff\x05", b"\xff\x00\x00"])
def test_a_close_signal_must_name_a_channel(message: bytes) -> None:
    with pytest.raises(ProtocolError):
        RemoteCommand(ALL).from_client(message)


def test_output_and_outcome_reach_the_client() -> None:
    command = RemoteCommand(ALL)
    runtime = Runtime(command)
    runtime.say("stdout", b"out")
    runtime.say("stderr", b"err")
    runtime.say("error", EXIT_7[:9])
    assert runtime.heard() == [b"\x01out", b"\x02err"]
    runtime.say("stdout", b"!", fin=True)
    runtime.say("error", EXIT_7[9:], fin=True)
    assert runtime.heard() == [b"\x01!"]
    assert not command.finished
    runtime.say("stderr", fin=True)
    assert runtime.heard() == [] and command.finished
    assert command.last_words() == [b"\x03" + EXIT_7]


def test_an_error_stream_without_words_is_a_success() -> None:
    command = RemoteCommand(ALL)
    runtime = Runtime(command)
    runtime.say("error", fin=True)
    runtime.heard()
    [message] = command.last_words()
    assert json.loads(message[1:])["status"] == "Success"


def test_a_cut_is_no_success() -> None:
    command = RemoteCommand(ALL)
    runtime = Runtime(command)
    for stream in runtime.streams.values():
        runtime.spdy.reset(stream)
    runtime.heard()
    assert command.finished
    [message] = command.last_words()
    status = json.loads(message[1:])
    assert (message[0], status["code"], status["reason"]) == (3, 500, "InternalError")


def test_an_outcome_counts_though_the_streams_are_reset() -> None:
    command = RemoteCommand(ALL)
    runtime = Runtime(command)
    runtime.say("error", EXIT_7)
    for stream in runtime.streams.values():
        runtime.spdy.reset(stream)
    runtime.heard()
    assert command.finished and command.last_words() == [b"\x03" + EXIT_7]


def test_input_that_the_command_will_not_read_is_dropped() -> None:
    command = RemoteCommand(ALL)
    runtime = Runtime(command)
    runtime.spdy.reset(runtime.streams["stdin"])
    runtime.heard()
    command.from_client(b"\x00more")
    command.from_client(b"\xff\x00")
    assert command.to_runtime() == b""


def test_pings_are_answered_and_an_endless_outcome_is_cut() -> None:
    command = RemoteCommand(ALL)
    runtime = Runtime(command)
    runtime.spdy.ping(2)
    runtime.say("error", b"x" * 200_000)
    runtime.heard()
    assert command.to_runtime()
    assert len(command.last_words()[0]) == 1 + (64 << 10)


def test_what_is_no_spdy() -> None:
    with pytest.raises(ProtocolError):
        RemoteCommand(ALL).from_runtime(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_the_first_message_tells_that_the_stream_stands() -> None:
    assert [
        greeting(streams) for streams in (ALL, StreamRequest(stderr=True), StreamRequest(stdin=True))
    ] == [
        b"\x01",
        b"\x02",
        b"\x03",
    ]


def test_a_failure_of_our_own() -> None:
    told = failure("no")
    assert told[0] == 3
    assert json.loads(told[1:])["message"] == "Internal error occurred: no"


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = [*sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def told(messages: list[bytes]) -> tuple[bytes, bytes]:
    """Standard output and error."""
    out, err = (b"".join(one[1:] for one in messages if one[0] == channel) for channel in (1, 2))
    return out, err


BLOCKS = st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=70_000)), max_size=6)


@given(BLOCKS, st.lists(st.integers(0, 1 << 20), max_size=12))
def test_no_byte_is_lost_however_the_runtime_cuts(blocks: list[tuple[str, bytes]], cuts: list[int]) -> None:
    command = RemoteCommand(ALL)
    runtime = Runtime(command)
    for kind, data in blocks:
        runtime.say(kind, data)
    for kind in ("stdout", "stderr", "error"):
        runtime.say(kind, EXIT_7 if kind == "error" else b"", fin=True)
    messages: list[bytes] = []
    for piece in pieces(runtime.spdy.to_send(), cuts):
        messages += command.from_runtime(piece)
    assert told(messages) == (
        b"".join(data for kind, data in blocks if kind == "stdout"),
        b"".join(data for kind, data in blocks if kind == "stderr"),
    )
    assert command.finished and command.last_words() == [b"\x03" + EXIT_7]


@given(st.lists(st.binary(max_size=70_000), max_size=6), st.lists(st.integers(0, 6), max_size=3))
def test_no_byte_of_input_is_lost(blocks: list[bytes], takes: list[int]) -> None:
    command = RemoteCommand(ALL)
    runtime = Runtime(command)
    for index, block in enumerate(blocks):
        command.from_client(b"\x00" + block)
        if index in takes:
            runtime.take()
    command.from_client(b"\xff\x00")
    runtime.take()
    assert runtime.got["stdin"] == b"".join(blocks) and runtime.ended == ["stdin"]


@given(st.binary(max_size=400))
def test_noise_of_a_runtime_is_refused_or_means_nothing(data: bytes) -> None:
    command = RemoteCommand(ALL)
    try:
        command.from_runtime(data)
    except ProtocolError:
        return
    assert command.last_words()


@given(st.lists(st.binary(max_size=100), max_size=8))
def test_a_tunnel_changes_nothing(blocks: list[bytes]) -> None:
    tunnel = Tunnel()
    for block in blocks:
        tunnel.from_client(block)
    assert tunnel.to_runtime() == b"".join(blocks)
    assert tunnel.to_runtime() == b""
    assert b"".join(message for block in blocks for message in tunnel.from_runtime(block)) == b"".join(blocks)
    assert not tunnel.finished and tunnel.last_words() == []
