"""One question to a manifest URL: redirects, headers, limits, and words for what went wrong.

What the given headers hold is secret: they go to nobody but the host that the URL names, and no
message here repeats them. Nor does one repeat a URL's password or query, which may be a signature.
"""

import asyncio
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urljoin, urlsplit, urlunsplit

import aiohttp
from multidict import CIMultiDict

from pykubelet import __version__
from pykubelet.base.lookup import HttpResolver, Lookups
from pykubelet.base.proxies import proxy_from_environment

#: Seconds that an answer may take, with all redirects and to its last byte.
TIMEOUT: Final = 10.0
#: Redirects that are followed, as Go's client does.
_MAX_REDIRECTS: Final = 10
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class FetchError(Exception):
    """The URL gave nothing; one line that names it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said; *data* is None if that is still what it was (304)."""

    data: bytes | None
    #: What tells this content from others, for the next question; empty if the server tells nothing.
    etag: str = ""
    #: When the content was last changed, in nanoseconds since the epoch, if the server tells.
    changed_at: int | None = None


def shown_url(url: str) -> str:
    """The URL as it may be told: no password, no query."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        user = "" if host == parts.netloc else f"{parts.username or ''}:xxxxx@"
        return urlunsplit((parts.scheme, user + host, parts.path, "..." if parts.query else "", ""))
    except ValueError:
        return "(a URL that cannot be read)"


def may_have_headers(first: str, url: str) -> bool:
    """Whether a redirect's *url* still gets the headers that were given for the URL *first*.

    Only the same host or one below it does, and never in clear text what began encrypted.
    """
    begin, now = urlsplit(first), urlsplit(url)
    if begin.scheme == "https" and now.scheme != "https":
        return False
    host, other = (begin.hostname or "").lower(), (now.hostname or "").lower()
    return other == host or other.endswith(f".{host}")


def tls_context() -> ssl.SSLContext:
    """What HTTPS is spoken with: the machine's own CAs, TLS 1.2 and later; blocking."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    return context


def make_session(context: ssl.SSLContext) -> aiohttp.ClientSession:
    """A session without a memory: no cookies, no connection kept for the next question."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, force_close=True, resolver=HttpResolver(Lookups())),
        cookie_jar=aiohttp.DummyCookieJar(),
        # The environment's proxies are read as Go reads them, not as aiohttp does.
        trust_env=False,
        # What is packed could grow beyond any limit; it is not asked for.
        auto_decompress=False,
    )


async def fetch(
    session: aiohttp.ClientSession,
    url: str,
    headers: Mapping[str, Sequence[str]],
    *,
    limit: int,
    etag: str = "",
) -> Answer:
    """Ask *url* for its content, at most *limit* bytes of it.

    *etag* is that of the content which is known already.

    :raises FetchError: no answer, or none that can be used.
    """
    given = CIMultiDict((name, value) for name, values in headers.items() for value in values)
    own = {"User-Agent": f"pykubelet/{__version__}", "Accept-Encoding": "identity"}
    if etag:
        own["If-None-Match"] = etag
    shown = shown_url(url)
    try:
        async with asyncio.timeout(TIMEOUT):
            at = url
            for _ in range(_MAX_REDIRECTS + 1):
                if not may_have_headers(url, at):
                    # From here on others choose the way, also one that leads back.
                    given = CIMultiDict()
                sent = CIMultiDict(given)
                for name, value in own.items():
                    sent.setdefault(name, value)
                found = await _ask(session, at, sent, limit, known=bool(etag))
                if isinstance(found, Answer):
                    return found
                at = urljoin(at, found)
            raise FetchError(f'Get "{shown}": stopped after {_MAX_REDIRECTS} redirects')
    except TimeoutError as error:
        raise FetchError(f'Get "{shown}": no whole answer within {TIMEOUT:.0f}s') from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise FetchError(f'Get "{shown}": {_reason(error)}') from error


async def _ask(
    session: aiohttp.ClientSession, url: str, headers: CIMultiDict[str], limit: int, *, known: bool
) -> Answer | str:
    """The answer of one server, or where it sends us."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise FetchError(f'Get "{shown_url(url)}": unsupported protocol scheme "{parts.scheme}", or no host')
    try:
        proxy = proxy_from_environment(url, os.environ)
    except ValueError as error:
        raise FetchError(f'Get "{shown_url(url)}": {error}') from error
    if "Authorization" in headers:
        # It goes before the URL's user; the client would refuse to have both.
        url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    auth = aiohttp.BasicAuth(proxy.username, proxy.password) if proxy and proxy.username else None
    async with session.get(
        url, headers=headers, allow_redirects=False, proxy=proxy.url if proxy else None, proxy_auth=auth
    ) as answer:
        if answer.status in _REDIRECTS:
            where = answer.headers.get("Location", "")
            if not where:
                raise FetchError(f'Get "{shown_url(url)}": {answer.status} response missing Location header')
            return where
        if answer.status == 304 and known:
            return Answer(None)
        data = await _body(answer, limit)
        if answer.status != 200:
            raise FetchError(f"{shown_url(url)}: {answer.status} {answer.reason}")
        return Answer(data, answer.headers.get("ETag", ""), _changed_at(answer.headers.get("Last-Modified")))


async def _body(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    data = bytearray()
    async for block in answer.content.iter_any():
        data += block
        if len(data) > limit:
            raise FetchError(
                f"{shown_url(str(answer.url))}: the read limit is reached: larger than {limit} bytes"
            )
    return bytes(data)


def _changed_at(text: str | None) -> int | None:
    try:
        return None if text is None else int(parsedate_to_datetime(text).timestamp() * 1e9)
    except (ValueError, OverflowError):
        return None


def _reason(error: BaseException) -> str:
    """The error in words that repeat neither headers nor a URL's secrets."""
    if isinstance(error, aiohttp.ClientConnectorError):
        # Host, port and the system's reason; of certificates what is wrong with them.
        return str(error)
    if isinstance(error, aiohttp.ClientResponseError):
        # Its message repeats what the server sent.
        return "malformed HTTP response"
    if isinstance(error, aiohttp.InvalidURL):
        return "no URL"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
