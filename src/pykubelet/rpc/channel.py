"""gRPC over a Unix socket: one channel, found again by itself after the other side restarts."""

import re

import grpc
import grpc.aio

#: Largest message in both directions, in bytes.
MAX_MESSAGE = 16 * 1024 * 1024

#: Seconds that one attempt to connect is given by default; upstream's for runtimes.
CONNECT_TIME = 5.0

_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 3000),
    ("grpc.default_authority", "localhost"),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    # Two channels to one socket share no back-off.
    ("grpc.use_local_subchannel_pool", 1),
)


def socket_path(endpoint: str) -> str:
    """The path in ``unix:///path``, ``unix:/path`` or a bare absolute path.

    :raises ValueError: the endpoint is not a Unix socket.
    """
    scheme, colon, rest = endpoint.partition(":")
    if not colon and endpoint.startswith("/"):
        return endpoint
    if scheme != "unix" or not colon:
        raise ValueError(f'only support unix socket endpoint, not "{endpoint}"')
    path = rest.removeprefix("//")
    if not path.startswith("/") or "\0" in path:
        raise ValueError(f'endpoint "{endpoint}" names no absolute path')
    return path


def connect(endpoint: str, attempt: float = CONNECT_TIME) -> grpc.aio.Channel:
    """A channel to a Unix socket; connects at the first call, and again when it was cut.

    Back-off 100 ms … 3 s, *attempt* seconds for the other side to speak at one attempt,
    16 MiB messages, no keepalive. Calls fail at once while there is no connection.

    :raises ValueError: the endpoint is not a Unix socket.
    """
    # The core's name for the least time that one attempt is given.
    patience = ("grpc.min_reconnect_backoff_ms", round(attempt * 1000))
    return grpc.aio.insecure_channel(f"unix:{socket_path(endpoint)}", options=(*_OPTIONS, patience))


_CONNECT = re.compile(
    r"unix:(?P<path>/[^:]*): connect(?: failed: addr: \S+ error)?: (?P<why>[^(]*?)(?: \(\d+\))?$"
)
_TOO_LARGE = re.compile(r"Received message larger than max \((?P<sizes>\d+ vs\. \d+)\)")


_CUT = re.compile(r"Stream removed|Socket closed|GOAWAY|Connection reset|Broken pipe|recvmsg|sendmsg")


def explain(code: grpc.StatusCode, details: str) -> tuple[grpc.StatusCode, str]:
    """A failed call's code and details as Go's client has them for what happened on our side.

    What the server itself said passes unchanged.
    """
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and "Deadline Exceeded" in details:
        return code, "context deadline exceeded"
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and (large := _TOO_LARGE.search(details)):
        return code, f"grpc: received message larger than max ({large['sizes']})"
    if code is grpc.StatusCode.UNAVAILABLE and (found := _CONNECT.search(details)):
        dial = f"dial unix {found['path']}: connect: {found['why'].lower()}"
        return code, f'connection error: desc = "transport: Error while dialing: {dial}"'
    # The core calls a stream that died with its connection Unknown at times.
    lost = code is grpc.StatusCode.UNKNOWN and details.startswith("Stream removed")
    if lost or (code is grpc.StatusCode.UNAVAILABLE and _CUT.search(details)):
        return grpc.StatusCode.UNAVAILABLE, "error reading from server: EOF"
    return code, details
