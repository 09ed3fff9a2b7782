"""Endpoints, and errors in the words of Go's client."""

import asyncio

import grpc
import pytest

from pykubelet.rpc.channel import connect, explain, socket_path

_DIAL = 'connection error: desc = "transport: Error while dialing: dial unix /a.sock: connect: '


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [
        ("unix:///run/a.sock", "/run/a.sock"),
        ("unix:/run/a.sock", "/run/a.sock"),
        ("/run/a.sock", "/run/a.sock"),
    ],
)
def test_socket_path(endpoint, path):
    assert socket_path(endpoint) == path


@pytest.mark.parametrize("endpoint", ["", "a.sock", "unix://a.sock", "unix:", "http://a", "unix:///a\0b"])
def test_no_socket_path(endpoint):
    with pytest.raises(ValueError, match="endpoint"):
        socket_path(endpoint)


@pytest.mark.parametrize(
    ("code", "details", "text"),
    [
        (
            grpc.StatusCode.UNAVAILABLE,
            "failed to connect to all addresses; last error: FAILED_PRECONDITION: unix:/a.sock: "
            "connect failed: addr: unix:/a.sock error: No such file or directory",
            _DIAL + 'no such file or directory"',
        ),
        (
            grpc.StatusCode.UNAVAILABLE,
            "failed to connect to all addresses; last error: UNKNOWN: unix:/a.sock: "
            "connect: Connection refused (111)",
            _DIAL + 'connection refused"',
        ),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", "error reading from server: EOF"),
        (grpc.StatusCode.UNAVAILABLE, "the runtime's own", "the runtime's own"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", "context deadline exceeded"),
        (
            grpc.StatusCode.DEADLINE_EXCEEDED,
            "removed (Deadline Exceeded)",
            "context deadline exceeded",
        ),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "timeout 1s exceeded", "timeout 1s exceeded"),
        (grpc.StatusCode.NOT_FOUND, "Socket closed", "Socket closed"),
    ],
)
def test_explain(code, details, text):
    assert explain(code, details) == (code, text)


def test_a_stream_that_died_is_unavailable():
    assert explain(grpc.StatusCode.UNKNOWN, "Stream removed") == (
        grpc.StatusCode.UNAVAILABLE,
        "error reading from server: EOF",
    )


@pytest.fixture
async def mute(tmp_path):
    """A socket at which connections are taken and nothing is ever said."""
    ended = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    server = await asyncio.start_unix_server(listen, tmp_path / "mute.sock")
    yield str(tmp_path / "mute.sock")
    ended.set()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    ("attempt", "timeout", "code"),
    [(0.2, 30, grpc.StatusCode.UNAVAILABLE), (30, 0.5, grpc.StatusCode.DEADLINE_EXCEEDED)],
)
async def test_a_silent_server_is_given_the_time_of_one_attempt(mute, attempt, timeout, code):
    channel = connect(mute, attempt)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary("/a.B/C")(b"", timeout=timeout)
    await channel.close(None)
    assert caught.value.code() is code
