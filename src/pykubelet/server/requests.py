"""Small readings of a request that several handlers share."""

from aiohttp import web

from .queries import Query


def query_of(request: web.BaseRequest) -> Query:
    """The query's values by name, in order."""
    found: dict[str, list[str]] = {}
    for name, value in request.rel_url.query.items():
        found.setdefault(name, []).append(value)
    return found
