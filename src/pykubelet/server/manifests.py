"""``/manifests/``: static pods that are pushed. Who may is decided by ``attributes.py`` and the guard."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web

from pykubelet.api.codec import encode
from pykubelet.api.machinery import Status, StatusError
from pykubelet.api.pushed import PushedManifests

from .bodies import PATIENCE, read_body
from .doors import Manifests
from .listener import json_bytes
from .requests import user_of
from .routes import Handler, Route

log = logging.getLogger(__name__)

#: Bodies that are read at the same time: each may be as large as is allowed.
_AT_ONCE: Final = 4

_Method = Callable[[web.BaseRequest, Mapping[str, str]], Awaitable[web.Response]]


def manifest_routes(manifests: Manifests, *, patience: float = PATIENCE) -> list[Route]:
    """List, read, put and delete; a body has *patience* seconds to come."""
    routes = ManifestRoutes(manifests, patience)
    one = "/manifests/{name}"
    return [
        Route(("GET",), one, _answered(routes.read), "manifests"),
        Route(("PUT",), one, _answered(routes.put), "manifests"),
        Route(("DELETE",), one, _answered(routes.delete), "manifests"),
        Route(("GET",), "/manifests/", _answered(routes.list_all), "manifests"),
    ]


class ManifestRoutes:
    """The handlers; errors leave them as :class:`StatusError`."""

    def __init__(self, manifests: Manifests, patience: float) -> None:
        self._manifests = manifests
        self._patience = patience
        self._reading = 0

    async def list_all(self, request: web.BaseRequest, _: Mapping[str, str]) -> web.Response:
        """``GET /manifests/``."""
        if request.path.rstrip("/") != "/manifests":
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        return json_bytes(encode(PushedManifests(manifests=list(self._manifests.manifests()))) + b"\n")

    async def read(self, _: web.BaseRequest, names: Mapping[str, str]) -> web.Response:
        """``GET /manifests/{name}``: the very bytes that were pushed."""
        data = await self._manifests.read(names["name"])
        return web.Response(body=data, content_type="application/yaml")

    async def put(self, request: web.BaseRequest, names: Mapping[str, str]) -> web.Response:
        """``PUT /manifests/{name}``."""
        if self._reading >= _AT_ONCE:
            raise StatusError(429, "TooManyRequests", "other manifests are being pushed, try again")
        self._reading += 1
        try:
            data = await read_body(request, self._manifests.limit, patience=self._patience)
            view, new = await self._manifests.put(names["name"], data, user_of(request))
        finally:
            self._reading -= 1
        return _json(201 if new else 200, view)

    async def delete(self, request: web.BaseRequest, names: Mapping[str, str]) -> web.Response:
        """``DELETE /manifests/{name}``."""
        await self._manifests.delete(names["name"], user_of(request))
        return _json(200, Status(apiVersion="v1", kind="Status", status="Success"))


def _answered(method: _Method) -> Handler:
    async def answer(request: web.BaseRequest, names: Mapping[str, str]) -> web.StreamResponse:
        try:
            return await method(request, names)
        except StatusError as error:
            response = _json(error.status.code, error.status)
            if error.status.code == 429:
                response.headers["Retry-After"] = "1"
            if not request.content.is_eof():
                # What is left of the body is not waited for.
                response.force_close()
            return response

    return answer


def _json(status: int, body: Any) -> web.Response:
    return web.Response(status=status, body=encode(body) + b"\n", content_type="application/json")
