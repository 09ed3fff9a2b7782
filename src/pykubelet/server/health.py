"""``/healthz`` and its named checks, in the words of Kubernetes' components."""

import logging
from collections.abc import Callable, Mapping, Sequence

from aiohttp import web

from pykubelet.base.gotext import go_quote

from .doors import HealthCheck
from .listener import plain_error, text
from .routes import ANY, Handler, Route

log = logging.getLogger(__name__)

_ALIVE = (HealthCheck("ping"), HealthCheck("log"))


def report(checks: Sequence[HealthCheck], excluded: Sequence[str]) -> tuple[bool, str]:
    """Whether all is well, and a line for each check; what is wrong is told to the log alone."""
    lines, well = [], True
    for check in checks:
        if check.name in excluded:
            lines.append(f"[+]{check.name} excluded: ok\n")
        elif check.problem:
            well = False
            lines.append(f"[-]{check.name} failed: reason withheld\n")
        else:
            lines.append(f"[+]{check.name} ok\n")
    unknown = sorted(set(excluded) - {check.name for check in checks} - {""})
    if unknown:
        names = ", ".join(go_quote(name) for name in unknown)
        lines.append(f"warn: some health checks cannot be excluded: no matches for {names}\n")
    return well, "".join(lines)


def routes(checks: Callable[[], Sequence[HealthCheck]], names: Sequence[str]) -> list[Route]:
    """``/healthz`` over ``ping``, ``log`` and the node's *checks*, whose *names* get routes of their own."""

    def all_checks() -> Sequence[HealthCheck]:
        return (*_ALIVE, *checks())

    async def one(request: web.BaseRequest, _: Mapping[str, str]) -> web.StreamResponse:
        name = request.path.removeprefix("/healthz/")
        problem = next((check.problem for check in all_checks() if check.name == name), "")
        return plain_error(500, f"internal server error: {problem}") if problem else text(200, "ok")

    named = [Route(ANY, f"/healthz/{name}", one, "healthz") for name in ("ping", "log", *names)]
    return [Route(ANY, "/healthz", _root(all_checks), "healthz"), *named]


def ping_routes() -> list[Route]:
    """What the health port serves: nothing but that the process answers."""

    async def one(_request: web.BaseRequest, _: Mapping[str, str]) -> web.StreamResponse:
        return text(200, "ok")

    return [
        Route(ANY, "/healthz", _root(lambda: _ALIVE[:1]), "healthz"),
        Route(ANY, "/healthz/ping", one, "healthz"),
    ]


def _root(
    checks: Callable[[], Sequence[HealthCheck]],
) -> Handler:
    async def root(request: web.BaseRequest, _: Mapping[str, str]) -> web.StreamResponse:
        found = checks()
        query = request.rel_url.query
        well, lines = report(found, query.getall("exclude", []))
        if not well:
            log.warning("healthz: %s", "; ".join(f"{c.name}: {c.problem}" for c in found if c.problem))
            return plain_error(500, f"{lines}healthz check failed")
        body = f"{lines}healthz check passed\n" if "verbose" in query else "ok"
        return text(200, body, headers={"X-Content-Type-Options": "nosniff"})

    return root
