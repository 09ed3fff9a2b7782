"""``/debug/``: the log's verbosity, and of Go's profiles the one that a Python process has."""

import asyncio
import logging
import re
import sys
from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import web

from pykubelet.base.gotext import go_quote

from .listener import plain_error, text
from .routes import Handler

#: The verbosity from which details of no interest to most are logged.
_DETAILS: Final = 4
_BODY: Final = 64
_BODY_TIMEOUT: Final = 10.0


def set_verbosity(level: int) -> None:
    """Log details from verbosity 4 on, below that what an operator wants to know."""
    logging.getLogger("pykubelet").setLevel(logging.DEBUG if level >= _DETAILS else logging.INFO)


def verbosity(change: Callable[[int], None] = set_verbosity) -> Handler:
    """``PUT /debug/flags/v``: *change* hears the number that is the body."""

    async def answer(request: web.BaseRequest, _: Mapping[str, str]) -> web.StreamResponse:
        if request.method != "PUT":
            return plain_error(406, "unsupported http method")
        body = b""
        async with asyncio.timeout(_BODY_TIMEOUT):
            while len(body) <= _BODY and (block := await request.content.read(_BODY + 1)):
                body += block
        given = body[:_BODY].decode(errors="replace")
        if len(body) > _BODY or not re.fullmatch(r"[+-]?[0-9]{1,9}", given, re.ASCII):
            reason = f"strconv.ParseInt: parsing {go_quote(given)}: invalid syntax"
            return plain_error(400, f"failed set klog.logging.verbosity {given}: {reason}")
        change(int(given))
        return plain_error(200, f"successfully set klog.logging.verbosity to {given}")

    return answer


async def profile(request: web.BaseRequest, _: Mapping[str, str]) -> web.StreamResponse:
    """``/debug/pprof/``: only ``cmdline`` has a meaning here."""
    match request.path.removeprefix("/debug/pprof").strip("/"):
        case "":
            return text(200, "cmdline\n")
        case "cmdline":
            return text(200, "\0".join(sys.orig_argv))
        case _:
            return plain_error(404, "Unknown profile")
