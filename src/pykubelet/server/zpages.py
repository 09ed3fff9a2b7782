"""``/statusz`` and ``/flagz``: the daemon about itself, as text for people; never as objects of the API."""

import platform
from collections.abc import Mapping, Sequence

from aiohttp import web

from pykubelet import KUBELET_VERSION
from pykubelet.base.clock import Clock

from .listener import text
from .routes import Handler

_HEADER = """
kubelet %s
Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility \
guarantees and is for debugging purposes only.
"""


def flagz(flags: Mapping[str, str]) -> Handler:
    """The command line's flags by name, with their values."""
    lines = "".join(f"{name}={value}\n" for name, value in sorted(flags.items()))

    async def answer(_request: web.BaseRequest, _: Mapping[str, str]) -> web.StreamResponse:
        return text(200, _HEADER % "flagz" + lines)

    return answer


def statusz(clock: Clock, paths: Sequence[str]) -> Handler:
    """Start, age, versions, and the first steps of all *paths* served; counts from now on."""
    started = clock.now_ns()
    began = clock.now()
    roots = sorted({"/" + path.split("/")[1] for path in paths if path.strip("/")})

    async def answer(_request: web.BaseRequest, _: Mapping[str, str]) -> web.StreamResponse:
        age = max(0, clock.now_ns() - started) // 1_000_000_000
        return text(
            200,
            _HEADER % "statusz" + f"\nStarted: {began:%a %b %e %H:%M:%S UTC %Y}\n"
            f"Up: {age // 3600} hr {age // 60 % 60:02d} min {age % 60:02d} sec\n"
            f"Python version: {platform.python_version()}\n"
            f"Binary version: {KUBELET_VERSION.removeprefix('v')}\n\n"
            f"Paths: {' '.join(roots)}\n",
        )

    return answer
