import contextlib
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.base import spdy

headers = st.dictionaries(
    st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=20), st.text(max_size=50), max_size=6
)


def test_the_dictionary_is_the_one_of_the_protocol() -> None:
    assert len(spdy.DICTIONARY) == 1423
    assert zlib.adler32(spdy.DICTIONARY) == 0xE3C6A7C2


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return [*pieces, data[at:]]


calls = st.one_of(
    st.tuples(st.just("open"), headers, st.booleans()),
    st.tuples(st.just("data"), st.binary(max_size=100_000), st.booleans()),
    st.tuples(st.just("reset"), st.integers(1, 11)),
    st.tuples(st.just("reply"), headers, st.booleans()),
    st.tuples(st.just("goaway"), st.integers(0, 2)),
    st.tuples(st.just("settings"), st.dictionaries(st.integers(1, 8), st.integers(0, 2**32 - 1), max_size=4)),
    st.tuples(st.just("window"), st.integers(1, 2**31 - 1)),
)


@given(st.lists(calls, max_size=12), st.lists(st.integers(1, 5000), max_size=8), st.booleans())
def test_what_one_side_says_the_other_hears_however_it_is_cut(
    said: list[tuple[object, ...]], sizes: list[int], client: bool
) -> None:
    one, other = spdy.Connection(client=client), spdy.Connection(client=not client)
    expected: list[object] = []
    for call in said:
        match call:
            case ("open", fields, fin):
                stream = one.open_stream(fields, fin=fin)
                expected.append(spdy.StreamOpened(stream, fields, fin))
            case ("data", data, fin):
                one.send_data(7, data, fin=fin)
                expected.append(("data", data, fin))
            case ("reset", status):
                one.reset(7, status)
                expected.append(spdy.StreamReset(7, status))
            case ("reply", fields, fin):
                one.reply(8, fields, fin=fin)
                expected.append(spdy.StreamReplied(8, fields, fin))
            case ("goaway", status):
                one.go_away(status)
                expected.append(spdy.GoAway(0, status))
            case ("settings", values):
                one.settings(values)
                expected.append(spdy.SettingsReceived(values))
            case ("window", delta):
                one.window_update(7, delta)
                expected.append(spdy.WindowUpdated(7, delta))
    heard: list[object] = []
    for piece in cut(one.to_send(), sizes):
        heard += other.receive(piece)
    assert joined(heard) == joined(expected)
    assert one.to_send() == b""


def joined(events: list[object]) -> list[object]:
    """Data frames of one sending become one again."""
    out: list[object] = []
    for event in events:
        if isinstance(event, tuple):
            out.append(("data", event[1], event[2]))
        elif isinstance(event, spdy.DataReceived):
            out.append(("data", event.data, event.fin))
        else:
            out.append(event)
    merged: list[object] = []
    for event in out:
        last = merged[-1] if merged else None
        if (
            isinstance(event, tuple) and isinstance(last, tuple) and not last[2]
        ):  # an unfinished stream goes on
            merged[-1] = ("data", last[1] + event[1], event[2])
        else:
            merged.append(event)
    return merged


@given(st.binary(max_size=300), st.booleans())
def test_noise_is_an_error_or_nothing(noise: bytes, control: bool) -> None:
    connection = spdy.Connection(client=True)
    data = b"\x80\x03" + noise if control else noise
    with contextlib.suppress(spdy.SpdyError):
        connection.receive(data)


def test_a_ping_of_the_peer_is_answered_and_the_answer_to_ours_is_not() -> None:
    client, server = spdy.Connection(client=True), spdy.Connection(client=False)
    client.ping(1)
    assert server.receive(client.to_send()) == [spdy.PingReceived(1)]
    assert client.receive(server.to_send()) == [spdy.PingReceived(1)]
    assert client.to_send() == b""


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (struct.pack(">II", 1, spdy.MAX_FRAME + 1), "too large"),
        (struct.pack(">HHI", 0x8002, 1, 0), "version 2"),
        (struct.pack(">HHI", 0x8003, 1, 4) + b"abcd", "too short"),
        (struct.pack(">II", 0, 0), "stream 0"),
        (struct.pack(">HHI", 0x8003, 1, 10) + struct.pack(">IIBB", 1, 0, 0, 0), "cannot open stream 1"),
        (struct.pack(">HHI", 0x8003, 2, 8) + struct.pack(">I", 1) + b"junk", "decompressed"),
        (struct.pack(">HHI", 0x8003, 4, 4) + struct.pack(">I", 9), "cut short"),
    ],
)
def test_what_breaks_the_protocol_is_named(frame: bytes, words: str) -> None:
    with pytest.raises(spdy.SpdyError, match=words):
        spdy.Connection(client=True).receive(frame)


def test_headers_that_unpack_to_too_much_are_refused() -> None:
    server = spdy.Connection(client=False)
    client = spdy.Connection(client=True)
    client.open_stream({"bomb": "0" * (spdy.MAX_HEADERS + 1)})
    with pytest.raises(spdy.SpdyError, match="too large"):
        server.receive(client.to_send())


def test_large_data_goes_in_bounded_frames_and_only_the_last_closes() -> None:
    one, other = spdy.Connection(client=True), spdy.Connection(client=False)
    one.send_data(1, b"x" * (3 * spdy.MAX_DATA + 1), fin=True)
    frames = other.receive(one.to_send())
    assert [len(frame.data) for frame in frames] == [*[spdy.MAX_DATA] * 3, 1]  # type: ignore[union-attr]
    assert [frame.fin for frame in frames] == [False, False, False, True]  # type: ignore[union-attr]
