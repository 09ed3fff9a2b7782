"""Small readings of a request that several handlers share."""

from typing import Final

from aiohttp import web

from .queries import Query

#: Where the guard leaves the name of who asks.
_USER: Final = web.RequestKey("user", str)


def set_user(request: web.BaseRequest, name: str) -> None:
    """Keep who asks for the handlers."""
    request[_USER] = name


def user_of(request: web.BaseRequest) -> str:
    """Who asks; empty where nobody was asked."""
    return str(request.get(_USER, ""))


def query_of(request: web.BaseRequest) -> Query:
    """The query's values by name, in order."""
    found: dict[str, list[str]] = {}
    for name, value in request.rel_url.query.items():
        found.setdefault(name, []).append(value)
    return found
