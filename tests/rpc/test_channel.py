"""Endpoints, and errors in the words of Go's client."""

import grpc
import pytest

from pykubelet.rpc.channel import explain, socket_path

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
