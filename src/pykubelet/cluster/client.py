"""The client of the API server: requests and watches on aiohttp, JSON straight to structs."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final, Protocol, TypeVar

import aiohttp
import msgspec

from pykubelet.api.codec import InvalidField, decode, encode
from pykubelet.api.machinery import DeleteOptions, Preconditions, RawList, Status, WatchEnvelope
from pykubelet.api.meta import Obj, ObjectMeta

from .door import STRATEGIC_MERGE, Change, Query
from .errors import Refused, Unreachable

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds of a request that was given no time limit.
TIMEOUT: Final = 30.0
#: Bytes of an answer, and of one event of a watch.
_BODY_LIMIT: Final = 256 << 20
_EVENT_LIMIT: Final = 32 << 20
#: Objects asked for at once.
_PAGE: Final = "500"


class Credentials(Protocol):
    """Where the API server is and how it knows us."""

    @property
    def server(self) -> str:
        """The base URL, without a slash at its end."""
        ...

    def tls(self) -> ssl.SSLContext | None:
        """What to connect with now; another object after certificates changed. None for plain HTTP."""
        ...

    async def headers(self) -> Mapping[str, str]:
        """The headers that tell who we are, empty where the certificate does.

        :raises Unreachable: they cannot be had now.
        """
        ...

    def rejected(self) -> None:
        """The server answered 401: what is cached is no good."""
        ...


class _Meta(Obj):
    """What every object has."""

    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)


class ApiClient:
    """Implements ``Api``."""

    def __init__(self, credentials: Credentials, *, user_agent: str, timeout: float = TIMEOUT) -> None:
        """*timeout* in seconds is that of requests that are given none."""
        self._credentials = credentials
        self._agent = user_agent
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._context: ssl.SSLContext | None = None

    async def close(self) -> None:
        """End all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # --- requests -------------------------------------------------------------

    async def get(
        self, path: str, kind: type[T], *, query: Query | None = None, timeout: float | None = None
    ) -> T:
        """See ``Api``."""
        return _decoded(await self._request("GET", path, query=query, timeout=timeout), kind)

    async def list(self, path: str, kind: type[T], *, query: Query | None = None) -> tuple[list[T], str]:
        """See ``Api``."""
        items: list[T] = []
        asked = {"limit": _PAGE, **(query or {})}
        while True:
            page = _decoded(await self._request("GET", path, query=asked), RawList)
            for raw in page.items or ():
                try:
                    items.append(decode(bytes(raw), kind))
                except InvalidField as error:
                    log.warning("an item of %s is left out: %s", path, error)
            if not page.metadata.continue_:
                return items, page.metadata.resourceVersion
            asked = {**asked, "continue": page.metadata.continue_}

    async def create(self, path: str, body: Any, kind: type[T], *, timeout: float | None = None) -> T:
        """See ``Api``."""
        return _decoded(await self._request("POST", path, body=encode(body), timeout=timeout), kind)

    async def update(self, path: str, body: Any, kind: type[T], *, timeout: float | None = None) -> T:
        """See ``Api``."""
        return _decoded(await self._request("PUT", path, body=encode(body), timeout=timeout), kind)

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
        return _decoded(data, kind)

    async def delete(self, path: str, *, grace: int | None = None, uid: str = "") -> None:
        """See ``Api``."""
        options = DeleteOptions(
            gracePeriodSeconds=grace, preconditions=Preconditions(uid=uid) if uid else None
        )
        await self._request("DELETE", path, body=encode(options))

    async def watch(
        self, path: str, kind: type[T], *, query: Query | None = None
    ) -> AsyncGenerator[Change[T], None]:
        """See ``Api``."""
        asked = {**(query or {}), "watch": "true"}
        # The server ends the stream after timeoutSeconds; somewhat later we do.
        limit = float(asked.get("timeoutSeconds", "600")) + self._timeout
        async with self._answer("GET", path, query=asked, timeout=limit) as answer:
            async for line in _lines(answer.content):
                change = _change(line, path, kind)
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
        async with self._answer(
            method, path, query=query, body=body, content_type=content_type, timeout=timeout
        ) as answer:
            return await _read(answer)

    @contextlib.asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout: float | None = None,
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """The answer to a request, if it is no error."""
        headers = {"Accept": "application/json", **await self._credentials.headers()}
        if body is not None:
            headers["Content-Type"] = content_type
        session = await self._connected()
        try:
            async with session.request(
                method,
                self._credentials.server + path,
                params=dict(query or {}),
                data=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=timeout or self._timeout, sock_connect=10),
                allow_redirects=False,
            ) as answer:
                if answer.status >= 300:
                    await self._refuse(answer)
                yield answer
        except (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise Unreachable(f"{method} {path}: {str(error) or type(error).__name__}") from error

    async def _refuse(self, answer: aiohttp.ClientResponse) -> None:
        if answer.status == 401:
            self._credentials.rejected()
        data = await answer.content.read(1 << 20)
        wait = answer.headers.get("Retry-After", "")
        seconds = float(wait) if wait.isdigit() else None
        try:
            status = decode(data, Status)
        except InvalidField:
            status = Status(message=data.decode(errors="replace").strip())
        raise Refused.from_status(status, answer.status, seconds)

    async def _connected(self) -> aiohttp.ClientSession:
        """The session; a new one when the credentials' TLS has changed."""
        context = self._credentials.tls()
        if self._session is None or context is not self._context:
            await self.close()
            self._context = context
            connector = aiohttp.TCPConnector(ssl=context if context is not None else True, limit=0)
            self._session = aiohttp.ClientSession(
                connector=connector, headers={"User-Agent": self._agent}, auto_decompress=True
            )
        return self._session


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > _BODY_LIMIT:
            raise Unreachable("the API server's answer is too long")
        chunks.append(chunk)
    return b"".join(chunks)


def _decoded(data: bytes, kind: type[T]) -> T:
    try:
        return decode(data, kind)
    except InvalidField as error:
        raise Unreachable(f"the API server's answer cannot be read: {error}") from error


async def _lines(stream: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    rest = bytearray()
    async for chunk in stream.iter_any():
        rest += chunk
        if len(rest) > _EVENT_LIMIT:
            raise Unreachable("an event of a watch is too long")
        *whole, last = rest.split(b"\n")
        for line in whole:
            if line:
                yield bytes(line)
        rest = last


def _change(line: bytes, path: str, kind: type[T]) -> Change[T] | None:
    """The event of *line*; None when its object cannot be decoded."""
    envelope = _decoded(line, WatchEnvelope)
    raw = bytes(envelope.object)
    if envelope.type == "ERROR":
        status = _decoded(raw, Status)
        raise Refused.from_status(status, status.code or 500)
    if envelope.type not in {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"}:
        raise Unreachable(f"a watch of {path} brought the unknown event {envelope.type!r}")
    meta = _decoded(raw, _Meta).metadata
    try:
        found = decode(raw, kind)
    except InvalidField as error:
        log.warning("%s %s of %s is left out: %s", envelope.type, meta.name, path, error)
        return None
    return Change(
        envelope.type,  # type: ignore[arg-type]
        found,
        meta.resourceVersion,
        initial_events_end=meta.annotations.get("k8s.io/initial-events-end") == "true",
    )
