"""The client of the API server: requests and watches on aiohttp, JSON straight to structs.

Requests wait their turn, are made again when the server asks for it (``Retry-After``), and
once more with fresh credentials after a 401; all that within the request's own time limit.
"""

import asyncio
import base64
import contextlib
import random
import ssl
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlencode, urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from pykubelet.api.codec import encode
from pykubelet.api.machinery import DeleteOptions, Preconditions, RawList
from pykubelet.base.clock import Clock, SystemClock
from pykubelet.base.metrics import Metrics
from pykubelet.base.proxies import Proxy

from .answers import body_of, change_of, decoded, item_of, refusal_of, split_lines
from .client_metrics import ClientMetrics
from .connections import Connections, Line
from .door import STRATEGIC_MERGE, Change, LastKnown, Query
from .errors import NotAsked, Refused, Unreachable
from .rate_limit import RateLimit

T = TypeVar("T")

#: Seconds of a request that was given no time limit.
TIMEOUT: Final = 30.0
#: Seconds until a connection stands.
_CONNECT: Final = 10.0
#: Objects asked for at once, and pages read.
_PAGE: Final = "500"
#: How often a request is made again because the server asks for it.
_RETRIES: Final = 10
#: What aiohttp raises before anything of a request was sent.
_NO_CONNECTION: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)

_Listing = tuple[list[T], str]


class Credentials(Protocol):
    """Where the API server is and how it knows us."""

    @property
    def server(self) -> str:
        """The base URL, without a slash at its end."""
        ...

    @property
    def server_name(self) -> str:
        """The name that the server's certificate must bear; empty for the URL's host."""
        ...

    @property
    def proxy(self) -> Proxy | None:
        """What to connect through."""
        ...

    @property
    def compression(self) -> bool:
        """Whether answers may come compressed."""
        ...

    def tls(self) -> ssl.SSLContext | None:
        """What to connect with now; another object after certificates changed. None for plain HTTP."""
        ...

    async def headers(self) -> Mapping[str, str]:
        """The headers that tell who we are, empty where the certificate does.

        Awaited before :meth:`tls` is read: it may make another context.

        :raises Unreachable: they cannot be had now.
        """
        ...

    def rejected(self, sent: Mapping[str, str]) -> None:
        """The server answered 401 to the headers *sent* (the object that :meth:`headers` gave)."""
        ...


class ApiClient:
    """Implements ``Api``."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        user_agent: str,
        timeout: float = TIMEOUT,
        qps: float = -1,
        burst: int = 0,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """*timeout* in seconds is that of requests that are given none.

        *qps* requests are made each second and *burst* at once; 0 means client-go's 5 and 10,
        a negative *qps* no limit.
        """
        self._credentials = credentials
        self._timeout = timeout
        self._clock: Clock = clock or SystemClock()
        self._limit = RateLimit(qps, burst, self._clock)
        self._metrics = ClientMetrics(metrics or Metrics(), urlsplit(credentials.server).netloc)
        self._connections = Connections(
            credentials.tls,
            user_agent,
            self._clock,
            rng or random.Random(),  # noqa: S311
        )

    async def close(self) -> None:
        """End all connections."""
        await self._connections.close()

    async def close_connections(self) -> None:
        """Close all connections now, as after failed heartbeats: what is under way is ``Unreachable``."""
        await self._connections.drop()

    def credentials_changed(self) -> None:
        """Move to new connections if the TLS context has changed; running watches follow within seconds."""
        self._connections.refresh()

    # --- requests -------------------------------------------------------------

    async def get(
        self, path: str, kind: type[T], *, query: Query | None = None, timeout: float | None = None
    ) -> T:
        """See ``Api``."""
        return decoded(await self._request("GET", path, query=query, timeout=timeout), kind)

    async def list(
        self, path: str, kind: type[T], *, query: Query | None = None, last_known: LastKnown[T] | None = None
    ) -> tuple[list[T], str]:
        """See ``Api``."""
        asked = {"limit": _PAGE, **(query or {})}
        try:
            return await self._pages(path, kind, asked, last_known)
        except Refused as error:
            if not error.expired or asked["limit"] == "0":
                raise
        # The list went stale between two pages: all of it at once, then.
        return await self._pages(path, kind, {**asked, "limit": "0"}, last_known)

    async def _pages(
        self, path: str, kind: type[T], asked: dict[str, str], last_known: LastKnown[T] | None
    ) -> _Listing[T]:
        items = []
        while True:
            page = decoded(await self._request("GET", path, query=asked), RawList)
            for raw in page.items or ():
                item = item_of(bytes(raw), kind, last_known)
                if item is not None:
                    items.append(item)
            if not page.metadata.continue_:
                return items, page.metadata.resourceVersion
            # Which version the rest is of stands in the token.
            asked = {key: value for key, value in asked.items() if not key.startswith("resourceVersion")}
            asked["continue"] = page.metadata.continue_

    async def create(self, path: str, body: Any, kind: type[T], *, timeout: float | None = None) -> T:
        """See ``Api``."""
        return decoded(await self._request("POST", path, body=encode(body), timeout=timeout), kind)

    async def update(self, path: str, body: Any, kind: type[T], *, timeout: float | None = None) -> T:
        """See ``Api``."""
        return decoded(await self._request("PUT", path, body=encode(body), timeout=timeout), kind)

    async def patch(
        self,
        path: str,
        body: Any,
        kind: type[T],
        *,
        content_type: str = STRATEGIC_MERGE,
        timeout: float | None = None,
    ) -> T:
        """See ``Api``."""
        data = await self._request(
            "PATCH", path, body=encode(body), content_type=content_type, timeout=timeout
        )
        return decoded(data, kind)

    async def delete(self, path: str, *, grace: int | None = None, uid: str = "") -> None:
        """See ``Api``."""
        options = DeleteOptions(
            gracePeriodSeconds=grace, preconditions=Preconditions(uid=uid) if uid else None
        )
        await self._request("DELETE", path, body=encode(options))

    async def watch(
        self, path: str, kind: type[T], *, query: Query | None = None, last_known: LastKnown[T] | None = None
    ) -> AsyncGenerator[Change[T], None]:
        """See ``Api``."""
        asked = {**(query or {}), "watch": "true"}
        # The server ends the stream after timeoutSeconds; somewhat later we do.
        limit = float(asked.get("timeoutSeconds", "600")) + self._timeout
        await self._turn("GET")
        async with self._answer("GET", path, query=asked, timeout=limit) as (answer, line):
            with line.watching(answer), _ended_by_us(line):
                async with contextlib.aclosing(split_lines(answer.content)) as lines:
                    async for text in lines:
                        change = change_of(text, path, kind, last_known)
                        if change is not None:
                            yield change

    # --- the wire -------------------------------------------------------------

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout: float | None = None,
    ) -> bytes:
        """The body of the answer, within *timeout* whatever waits and repetitions it takes."""
        limit = timeout or self._timeout
        ends = self._clock.monotonic() + limit
        retries = 0
        try:
            async with asyncio.timeout(limit):
                while True:
                    await self._turn(method)
                    began = self._clock.monotonic()
                    try:
                        async with self._answer(
                            method, path, query=query, body=body, content_type=content_type, timeout=limit
                        ) as (answer, _):
                            return await body_of(answer)
                    except Refused as error:
                        wait = error.retry_after
                        left = ends - self._clock.monotonic()
                        if wait is None or not error.passing or wait >= left or retries >= _RETRIES:
                            raise
                        retries += 1
                        self._metrics.retried(method, error.code)
                    finally:
                        self._metrics.took(method, self._clock.monotonic() - began)
                    await self._clock.sleep(wait)
        except TimeoutError as error:
            raise Unreachable(f"{method} {path}: no answer within {limit:g}s") from error

    async def _turn(self, method: str) -> None:
        began = self._clock.monotonic()
        await self._limit.wait()
        self._metrics.limited(method, self._clock.monotonic() - began)

    @contextlib.asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout: float,
    ) -> AsyncGenerator[tuple[aiohttp.ClientResponse, Line], None]:
        """The answer to a request, if it is no error; made twice if fresh credentials may help."""
        who = await self._credentials.headers()
        line = self._connections.line()
        async with contextlib.AsyncExitStack() as stack:
            answer = await stack.enter_async_context(
                self._sent(line, who, method, path, query, body, content_type, timeout)
            )
            if answer.status == 401:
                self._credentials.rejected(who)
                fresh, again = await self._credentials.headers(), self._connections.line()
                if fresh is not who or again is not line:
                    answer.release()
                    line = again
                    answer = await stack.enter_async_context(
                        self._sent(line, fresh, method, path, query, body, content_type, timeout)
                    )
            if answer.status >= 300:
                raise await refusal_of(answer)
            yield answer, line

    @contextlib.asynccontextmanager
    async def _sent(
        self,
        line: Line,
        who: Mapping[str, str],
        method: str,
        path: str,
        query: Query | None,
        body: bytes | None,
        content_type: str,
        timeout: float,
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """One request on *line*, whatever the answer is."""
        headers = CIMultiDict(who)
        headers["Accept"] = "application/json"
        headers["Accept-Encoding"] = "gzip" if self._credentials.compression else "identity"
        if body is not None:
            headers["Content-Type"] = content_type
        proxy = self._credentials.proxy
        url = f"{self._credentials.server}{path}" + (f"?{urlencode(query)}" if query else "")
        counted = False
        try:
            with line.used():
                async with line.session.request(
                    method,
                    URL(url, encoded=True),
                    data=body,
                    headers=headers,
                    timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=_CONNECT),
                    allow_redirects=False,
                    server_hostname=self._credentials.server_name or None,
                    proxy=proxy.url if proxy is not None else None,
                    proxy_headers=_proxy_headers(proxy),
                ) as answer:
                    counted = True
                    self._metrics.request(method, str(answer.status))
                    yield answer
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if not counted:
                self._metrics.request(method, "<error>")
            what = NotAsked if isinstance(error, _NO_CONNECTION) else Unreachable
            raise what(f"{method} {path}: {_why(error)}") from error


def _why(error: Exception) -> str:
    """What failed, in the words of any attempt: aiohttp names the URL, which no two watches share."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"no connection within {_CONNECT:g}s"
    return str(error) or type(error).__name__


def _proxy_headers(proxy: Proxy | None) -> Mapping[str, str] | None:
    """How we are known to the proxy."""
    if proxy is None or not proxy.username:
        return None
    pair = f"{proxy.username}:{proxy.password}".encode()
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair).decode()}"}


@contextlib.contextmanager
def _ended_by_us(line: Line) -> Iterator[None]:
    """A watch that breaks because its line is retired has simply ended."""
    try:
        yield
    except (aiohttp.ClientError, OSError):
        if not line.retired:
            raise
