"""Reading query strings: log options, streams, ports. Pure; what is wrong becomes an ``ApiError``."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

from pykubelet.base.clock import to_ns
from pykubelet.base.gotext import go_quote

from .doors import ApiError, LogRequest, StreamRequest

#: A query's values by name, in order.
Query = Mapping[str, Sequence[str]]

_UNDECODABLE: Final = '{"message": "Unable to decode query."}'
_INVALID: Final = '{"message": "Invalid request."}'
_INT: Final = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(\.\d{1,9})?\d*([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _one(query: Query, name: str) -> str:
    values = query.get(name)
    return values[0] if values else ""


def _int(query: Query, name: str) -> int | None:
    text = _one(query, name)
    if name not in query or not text:
        return None
    number = int(text) if _INT.fullmatch(text) else 1 << 64
    if not -(1 << 63) <= number < 1 << 63:
        raise ApiError(400, _UNDECODABLE)
    return number


def _bool(query: Query, name: str) -> bool:
    """As the API's own parameter codec: anything but these spellings of false is true."""
    return name in query and _one(query, name).lower() not in ("false", "0")


def _time(query: Query, name: str) -> int | None:
    """Nanoseconds since the epoch."""
    text = _one(query, name)
    if not text:
        return None
    parts = _TIME.fullmatch(text)
    try:
        if parts is None:
            raise ValueError(text)
        whole = datetime.fromisoformat(f"{parts[1].upper()}{parts[3].upper().replace('Z', '+00:00')}")
        return to_ns(whole) + int((parts[2] or ".")[1:].ljust(9, "0") or 0)
    except (ValueError, OverflowError) as error:
        raise ApiError(400, _UNDECODABLE) from error


def log_request(query: Query, now_ns: int) -> LogRequest:
    """PodLogOptions of a query; ``sinceSeconds`` counts back from *now_ns*.

    :raises ApiError: 400 if a value cannot be read, 422 if it makes no sense.
    """
    values = dict(query)
    legacy = _one(query, "tail")
    if legacy:
        values["tailLines"] = [legacy]
        if legacy == "all":
            del values["tailLines"]
    tail, limit = _int(values, "tailLines"), _int(values, "limitBytes")
    seconds, since = _int(values, "sinceSeconds"), _time(values, "sinceTime")
    stream = _stream(values, tail)
    wrong = (
        (tail is not None and tail < 0)
        or (limit is not None and limit < 1)
        or (seconds is not None and (since is not None or seconds < 1))
    )
    if wrong:
        raise ApiError(422, _INVALID)
    if seconds is not None:
        since = now_ns - seconds * 1_000_000_000
    return LogRequest(
        follow=_bool(values, "follow"),
        previous=_bool(values, "previous"),
        tail_lines=tail,
        since=max(0, since or 0),
        limit_bytes=limit,
        timestamps=_bool(values, "timestamps"),
        stream=stream,
    )


def _stream(query: Query, tail: int | None) -> Literal["stdout", "stderr"] | None:
    match _one(query, "stream"):
        case "" | "All":
            return None
        case "Stdout" if tail is None:
            return "stdout"
        case "Stderr" if tail is None:
            return "stderr"
        case _:
            raise ApiError(422, _INVALID)


def stream_request(query: Query) -> StreamRequest:
    """Streams that exec or attach asks for; a flag counts when its value is exactly ``1``.

    :raises ApiError: 400, none is asked for.
    """
    tty = _one(query, "tty") == "1"
    wanted = StreamRequest(
        stdin=_one(query, "input") == "1",
        stdout=_one(query, "output") == "1",
        stderr=_one(query, "error") == "1" and not tty,
        tty=tty,
    )
    if not (wanted.stdin or wanted.stdout or wanted.stderr):
        raise ApiError(400, "you must specify at least 1 of stdin, stdout, stderr")
    return wanted


def forwarded_ports(query: Query, *, websocket: bool) -> list[int]:
    """Ports of a port-forward; over SPDY they come with its streams, so the query says none.

    :raises ApiError: 400, a WebSocket without or with a bad ``port``.
    """
    if not websocket:
        return []
    texts = query.get("port", ())
    if not texts:
        raise ApiError(400, 'query parameter "port" is required')
    ports = []
    for text in texts:
        if not text:
            raise ApiError(400, 'query parameter "port" cannot be empty')
        for part in text.split(","):
            if not re.fullmatch(r"[0-9]+", part, re.ASCII):
                raise ApiError(
                    400,
                    f"unable to parse {go_quote(text)} as a port: "
                    f"strconv.ParseUint: parsing {go_quote(part)}: invalid syntax",
                )
            if len(part) > 20 or int(part) > 65535:
                raise ApiError(
                    400,
                    f"unable to parse {go_quote(text)} as a port: "
                    f"strconv.ParseUint: parsing {go_quote(part)}: value out of range",
                )
            if int(part) < 1:
                raise ApiError(400, f"port {go_quote(text)} must be > 0")
            ports.append(int(part))
    return ports
