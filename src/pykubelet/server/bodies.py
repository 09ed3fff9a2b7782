"""A request's body, read within bounds of size and time."""

import asyncio
from typing import Final

from aiohttp import web
from aiohttp.http import HttpVersion11

from pykubelet.api.machinery import StatusError

#: Seconds in which a body must have come.
PATIENCE: Final = 30.0


async def read_body(request: web.BaseRequest, limit: int, *, patience: float = PATIENCE) -> bytes:
    """The whole body, at most *limit* bytes of it, within *patience* seconds.

    Whoever waits to be asked for it (``Expect: 100-continue``) is asked.

    :raises StatusError: it is larger or slower, or is not sent plainly; the connection then ends.
    """
    problem = None
    if request.headers.get("Content-Encoding", "identity") != "identity":
        problem = StatusError(415, "UnsupportedMediaType", "an encoded body is not read")
    elif (request.content_length or 0) > limit:
        problem = _too_large(limit)
    if problem is not None:
        raise problem
    try:
        async with asyncio.timeout(patience):
            if (
                request.version >= HttpVersion11
                and request.headers.get("Expect", "").lower() == "100-continue"
            ):
                assert request.transport is not None
                request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            data = bytearray()
            while block := await request.content.readany():
                data += block
                if len(data) > limit:
                    raise _too_large(limit)
    except TimeoutError as error:
        text = f"the body did not come within {patience:.0f}s"
        raise StatusError(408, "Timeout", text) from error
    return bytes(data)


def _too_large(limit: int) -> StatusError:
    return StatusError(413, "RequestEntityTooLarge", f"the body is larger than {limit} bytes")
