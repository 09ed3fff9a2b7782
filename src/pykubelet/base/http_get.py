"""HTTP GETs of probes and hooks: to whom nobody trusts, over a connection of their own, bounded."""

import errno
import os
import ssl
from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from .fair_limit import FairLimit
from .lookup import HttpResolver, Lookups

#: Requests at most, the redirects within the same host among them.
REQUESTS = 10
#: What Go's client says to a plain answer in place of TLS.
PLAIN_ANSWER = "http: server gave HTTP response to HTTPS client"
_SLOW = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
_SLOW_BODY = "context deadline exceeded (Client.Timeout or context cancellation while reading body)"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PLAIN = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST"})


class BodyError(Exception):
    """The answer began, but its body did not come."""


def unverified() -> ssl.SSLContext:
    """TLS to a server whose certificate does not matter: a pod's IP is in none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context


def make_session(lookups: Lookups, *, connect_timeout: float | None = None) -> aiohttp.ClientSession:
    """A client without proxies, cookies, kept connections, or a limit to them.

    A connection kept open would hide that a container no longer accepts new ones.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            ssl=unverified(),
            force_close=True,
            limit=0,
            resolver=HttpResolver(lookups),
            use_dns_cache=False,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout),
    )


@dataclass(slots=True)
class Get:
    """One GET with all that belongs to it."""

    session: aiohttp.ClientSession
    url: URL
    headers: CIMultiDict[str]
    #: Headers not to be added.
    skip: frozenset[str]
    #: Bytes of the body that are read.
    limit: int
    _reading: bool = False

    async def answer(self, timeout: float | None) -> tuple[int, str]:
        """The last answer's status and body, after at most *timeout* seconds.

        Redirects are followed while they stay on the same host.

        :raises BodyError: the answer came, but not its body.
        :raises aiohttp.ClientError, OSError, ValueError: there was no answer, see :func:`failure`.
        """
        limit = FairLimit(timeout)
        try:
            async with limit:
                return await self._follow()
        except TimeoutError as error:
            if not limit.expired():
                raise
            if self._reading:
                raise BodyError(_SLOW_BODY) from error
            raise TimeoutError(_SLOW) from error

    async def _follow(self) -> tuple[int, str]:
        url, headers = self.url, self.headers
        for _ in range(REQUESTS):
            async with self.session.get(
                url, headers=headers, skip_auto_headers=self.skip, allow_redirects=False
            ) as response:
                location = response.headers.get("Location", "")
                if response.status not in _REDIRECTS or not location:
                    return response.status, await self._body(response.content)
                target = URL(location)
                if target.absolute:
                    # Another host may be meant now than the header named.
                    headers = CIMultiDict((k, v) for k, v in headers.items() if k != "Host")
                target = url.join(target)
                if target.host != self.url.host:
                    return response.status, await self._body(response.content)
                url = target
        raise ValueError(f"stopped after {REQUESTS} redirects")

    async def _body(self, content: aiohttp.StreamReader) -> str:
        self._reading = True
        body = bytearray()
        try:
            while len(body) < self.limit and (part := await content.read(self.limit - len(body))):
                body += part
        except aiohttp.ClientPayloadError as error:
            raise BodyError("unexpected EOF") from error
        except (aiohttp.ClientError, OSError) as error:
            raise BodyError(str(error)) from error
        return body.decode(errors="replace")


def answered_in_plain(error: BaseException) -> bool:
    """Whether a TLS handshake failed because the other side speaks plain HTTP."""
    seen: BaseException | None = error
    while seen is not None:
        # aiohttp's own SSL error has no reason; the one inside it has.
        if getattr(seen, "reason", None) in _PLAIN:
            return True
        inner = getattr(seen, "os_error", None)
        seen = inner if isinstance(inner, BaseException) and inner is not seen else seen.__cause__
    return False


def failure(url: URL, error: Exception) -> str:
    """Why there was no answer from *url*, in the words that Go's client has for it."""
    return f'Get "{url}": {_reason(error)}'


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return no_such_host(error.host)
    if isinstance(error, aiohttp.ClientConnectorError):
        if answered_in_plain(error):
            return PLAIN_ANSWER
        if not isinstance(error, aiohttp.ClientSSLError):
            return dial_failure(error.host, error.port or 0, error.os_error)
    return str(error)


def no_such_host(host: str) -> str:
    """That a name is not known."""
    return f"dial tcp: lookup {host}: no such host"


def dial_failure(host: str, port: int, error: OSError) -> str:
    """Why no connection was made; *host* and *port* say where to."""
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if error.errno is None or error.errno < 0:
        return f"dial tcp {where}: {error.strerror or error}"
    reason = "i/o timeout" if error.errno == errno.ETIMEDOUT else os.strerror(error.errno).lower()
    return f"dial tcp {where}: connect: {reason}"
