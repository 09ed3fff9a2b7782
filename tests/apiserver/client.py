"""A small client for tests, of its own: neither the double's nor pykubelet's rules are in it."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import msgspec
from tests.apiserver.resources import Object

STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"


class Refusal(Exception):
    """The server answered with an error."""

    def __init__(self, code: int, status: Object) -> None:
        super().__init__(f"{code} {status.get('reason', '')}: {status.get('message', '')}")
        self.code = code
        self.status = status
        self.reason: str = status.get("reason", "")
        self.message: str = status.get("message", "")


class Client:
    """JSON over HTTP to any API server, by paths."""

    def __init__(
        self, url: str, *, token: str = "", context: ssl.SSLContext | None = None, timeout: float = 30.0
    ) -> None:
        """*timeout* in seconds, of a request that is no watch."""
        self.url = url
        self._headers = {"User-Agent": "apiserver-tests"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._context = context
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Client":
        connector = aiohttp.TCPConnector(ssl=self._context or True, limit=0)
        self._session = aiohttp.ClientSession(
            self.url, connector=connector, headers=self._headers, timeout=aiohttp.ClientTimeout(self._timeout)
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session, for requests that the methods do not make."""
        assert self._session is not None, "use as a context manager"
        return self._session

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """The decoded answer.

        :raises Refusal: the answer is an error.
        """
        data = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": content_type}
        async with self.session.request(method, path, params=query, data=data, headers=headers) as response:
            answer = _decoded(await response.read())
            if response.status >= 400:
                raise Refusal(response.status, answer)
            return answer

    async def get(self, path: str, **query: str) -> Object:
        return await self.request("GET", path, query=query)

    async def list(self, path: str, **query: str) -> Object:
        return await self.request("GET", path, query=query)

    async def create(self, path: str, body: Object) -> Object:
        return await self.request("POST", path, body)

    async def update(self, path: str, body: Object) -> Object:
        return await self.request("PUT", path, body)

    async def patch(self, path: str, body: Any, content_type: str = STRATEGIC) -> Object:
        return await self.request("PATCH", path, body, content_type=content_type)

    async def delete(self, path: str, *, grace: int | None = None, uid: str = "") -> Object:
        """DELETE with a grace period in seconds and a UID as precondition."""
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if uid:
            options["preconditions"] = {"uid": uid}
        return await self.request("DELETE", path, options)

    @contextlib.asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncIterator[AsyncIterator[Object]]:
        """The events of a watch, as ``{"type": …, "object": …}``, within an ``async with``.

        :raises Refusal: the server refuses the watch.
        """
        no_end = aiohttp.ClientTimeout(None)
        params = {"watch": "true", **query}
        async with self.session.get(path, params=params, timeout=no_end, read_bufsize=1 << 22) as response:
            if response.status >= 400:
                raise Refusal(response.status, _decoded(await response.read()))
            yield _events(response)


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Object]:
    async for line in response.content:
        yield msgspec.json.decode(line)


def _decoded(raw: bytes) -> Object:
    try:
        answer: Object = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return {"message": raw.decode(errors="replace")}
    return answer
