"""A listener's table of routes, matched as Go's mux and its REST layer do. Pure.

Each listener has a table of its own: what is not in it is not served there.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

#: What is known to a handler: the request and what its path named.
Handler = Callable[[web.BaseRequest, Mapping[str, str]], Awaitable[web.StreamResponse]]

#: Methods of a route that takes any.
ANY: Final = ("*",)


@dataclass(frozen=True, slots=True)
class Route:
    """One route: *pattern* has ``{name}`` for one step of the path, a ``/`` at its end for all below."""

    methods: tuple[str, ...]
    pattern: str
    handler: Handler = field(compare=False)
    #: Fixed name for metrics: the path itself never becomes a label.
    label: str = "other"

    def match(self, path: str) -> Mapping[str, str] | None:
        """What *path* names; None if it is another route's."""
        if self.pattern.endswith("/") and "{" not in self.pattern:
            return {} if path.startswith(self.pattern) or path == self.pattern[:-1] else None
        wanted, given = self.pattern.split("/"), path.split("/")
        if len(wanted) != len(given):
            return None
        found = {}
        for one, text in zip(wanted, given, strict=True):
            if one.startswith("{"):
                if not text:
                    return None
                found[one[1:-1]] = text
            elif one != text:
                return None
        return found


@dataclass(frozen=True, slots=True)
class Found:
    """What a look into the table gave: a route, or the answer that there is none."""

    route: Route | None
    names: Mapping[str, str] = field(default_factory=dict)
    #: 404 or 405 when no route serves it.
    status: int = 404
    #: The path lies below one that is served, so it is only told to those who may ask.
    known_root: bool = False


class Routes:
    """All routes of one listener, first match first."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        self._roots = {_root(route.pattern) for route in routes}

    def find(self, method: str, path: str) -> Found:
        """The route for *path*; HEAD is not GET, as with Go's REST layer."""
        status = 404
        for route in self.routes:
            names = route.match(path)
            if names is None:
                continue
            if route.methods == ANY or method in route.methods:
                return Found(route, names)
            status = 405
        return Found(None, status=status, known_root=status == 405 or _root(path) in self._roots)


def _root(path: str) -> str:
    return path.lstrip("/").partition("/")[0]
