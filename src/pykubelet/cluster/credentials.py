"""How this node is known to the API server, kept fresh: certificates, tokens, exec plug-ins.

Files are looked at every few seconds, tokens read anew each minute and after a 401. A new
TLS context is a new object: the client sees it and moves its connections over.
"""

import asyncio
import base64
import contextlib
import logging
import os
import ssl
from collections.abc import Callable, Mapping
from typing import Final

from multidict import CIMultiDict

from pykubelet.base.clock import Clock
from pykubelet.base.files import read_limited
from pykubelet.base.metrics import Metrics
from pykubelet.base.proxies import Proxy, proxy_from_environment
from pykubelet.base.tasks import TaskOwner

from . import tls
from .access import Access
from .errors import Unreachable
from .exec_plugin import ExecCredential, ExecPlugin
from .tls import KeyPair, TlsMaterialError

log = logging.getLogger(__name__)

#: Seconds between looks at the certificates' files.
CHECK_PERIOD: Final = 5.0
#: Seconds after which a token file is read anew.
_TOKEN_AGE: Final = 50.0
_TOKEN_LIMIT: Final = 1 << 20


class FileCredentials:
    """Implements ``Credentials`` for what a kubeconfig says."""

    def __init__(
        self,
        access: Access,
        clock: Clock,
        *,
        environ: Mapping[str, str] | None = None,
        metrics: Metrics | None = None,
        check_period: float = CHECK_PERIOD,
        pair_comes_later: bool = False,
    ) -> None:
        """*environ* names proxies and is what exec plug-ins inherit; *check_period* in seconds.

        *pair_comes_later*: the client certificate's file may be missing yet, as while it is being
        requested. Nothing is sent until it is there: nobody is to see this node as anonymous.

        :raises ValueError: the environment names a proxy that cannot be used.
        """
        environ = os.environ if environ is None else environ
        self._access = access
        self._clock = clock
        self._period = check_period
        self._pair_comes_later = pair_comes_later
        self._proxy = access.proxy or proxy_from_environment(access.server, environ)
        # As client-go: a plug-in is not asked where the kubeconfig itself tells who we are.
        told = access.token or access.token_file or access.username or access.certificate
        self._plugin: ExecPlugin | None = None
        if access.exec is not None and not told:
            self._plugin = ExecPlugin(access.exec, clock, environ=environ, metrics=metrics)
        self._tls: ssl.SSLContext | None = None
        self._seen: tuple[tls.Stamp, ...] = ()
        self._trouble = ""
        self._headers: CIMultiDict[str] | None = None
        self._from_plugin: ExecCredential | None = None
        self._token_read: float | None = None
        self._token = access.token
        self._changed = asyncio.Event()
        self._rebuilding = asyncio.Lock()
        self._asking = asyncio.Lock()
        self._followers: list[Callable[[], None]] = []
        self._tasks = TaskOwner("credentials")

    # --- life -----------------------------------------------------------------

    async def start(self) -> None:
        """Read the certificates and keep looking at them. An exec plug-in is run when it is needed.

        :raises TlsMaterialError: certificate, key or CA cannot be used.
        """
        if not self._access.server.startswith("https:"):
            return
        self._seen = await asyncio.to_thread(tls.stamps, self._access)
        try:
            pair = await asyncio.to_thread(tls.read_pair, self._access)
            self._tls = await asyncio.to_thread(tls.build, self._access, pair)
        except TlsMaterialError as error:
            if not self._pair_comes_later or not error.missing_pair:
                raise
        if self._seen:
            self._tasks.forever("watch-files", self._watch_files, pause=self._clock.sleep)

    async def stop(self) -> None:
        """Look no more."""
        await self._tasks.close()

    def changed(self) -> None:
        """The files were changed just now: look at once."""
        self._changed.set()

    def follow(self, told: Callable[[], None]) -> None:
        """Call *told* whenever :meth:`tls` has become another object."""
        self._followers.append(told)

    # --- what the client asks -------------------------------------------------

    @property
    def server(self) -> str:
        """See ``Credentials``."""
        return self._access.server

    @property
    def server_name(self) -> str:
        """See ``Credentials``."""
        return self._access.server_name

    @property
    def proxy(self) -> Proxy | None:
        """See ``Credentials``."""
        return self._proxy

    @property
    def compression(self) -> bool:
        """See ``Credentials``."""
        return self._access.compression

    def tls(self) -> ssl.SSLContext | None:
        """See ``Credentials``."""
        return self._tls

    async def headers(self) -> Mapping[str, str]:
        """See ``Credentials``; the same object as long as nothing changed.

        :raises Unreachable: an exec plug-in failed, or the token file cannot be read.
        """
        if self._tls is None and self._access.server.startswith("https:"):
            raise Unreachable("the client certificate is not there yet")
        if self._plugin is not None:
            await self._ask(self._plugin)
        elif self._access.token_file is not None:
            await self._read_token()
        if self._headers is None:
            self._headers = self._compose()
        return self._headers

    def rejected(self, sent: Mapping[str, str]) -> None:
        """See ``Credentials``."""
        if sent is not self._headers:
            return
        self._token_read = None
        if self._plugin is not None and self._from_plugin is not None:
            self._plugin.rejected(self._from_plugin)
        self._changed.set()

    def _compose(self) -> CIMultiDict[str]:
        found = CIMultiDict(self._access.impersonation)
        if self._token:
            found["Authorization"] = f"Bearer {self._token}"
        elif self._access.username or self._access.password:
            pair = f"{self._access.username}:{self._access.password}".encode()
            found["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        return found

    # --- tokens ---------------------------------------------------------------

    async def _read_token(self) -> None:
        now = self._clock.monotonic()
        path = self._access.token_file
        if path is None or (self._token_read is not None and now - self._token_read < _TOKEN_AGE):
            return
        try:
            token = (await asyncio.to_thread(read_limited, path, _TOKEN_LIMIT)).decode("ascii").strip()
            if not token or not token.isprintable():
                raise ValueError("it holds no token")
        except (OSError, ValueError) as error:
            if isinstance(error, UnicodeDecodeError):
                error = ValueError("it holds no token")
            if not self._token:
                raise Unreachable(f"failed to read token file {path}: {error}") from None
            log.warning("unable to read token file %s anew: %s", path, error)
            token = self._token
        self._token_read = now
        if token != self._token:
            self._token, self._headers = token, None

    async def _ask(self, plugin: ExecPlugin) -> None:
        credential = await plugin.credential()
        if credential is not self._from_plugin:
            async with self._asking:
                await self._take(credential)

    async def _take(self, credential: ExecCredential) -> None:
        if credential is self._from_plugin:
            return
        if credential.certificate or (self._from_plugin is not None and self._from_plugin.certificate):
            pair = KeyPair(credential.certificate, credential.key) if credential.certificate else None
            try:
                await self._rebuild(pair)
            except TlsMaterialError as error:
                raise Unreachable(f"exec plugin: {error}") from error
        self._from_plugin = credential
        self._token, self._headers = credential.token, None

    # --- certificates ---------------------------------------------------------

    async def _watch_files(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._period):
                    await self._changed.wait()
            self._changed.clear()
            seen = await asyncio.to_thread(tls.stamps, self._access)
            if seen == self._seen:
                continue
            try:
                await self._rebuild(await self._pair())
            except TlsMaterialError as error:
                # Half of a pair may be written yet: it is looked at again, and told of once.
                if str(error) != self._trouble:
                    log.warning("changed client certificate files are not taken: %s", error)
                self._trouble = str(error)
                continue
            self._seen, self._trouble = seen, ""
            log.info("the API client's certificate files were read anew")

    async def _pair(self) -> KeyPair | None:
        found = self._from_plugin
        if found is not None and found.certificate:
            return KeyPair(found.certificate, found.key)
        return await asyncio.to_thread(tls.read_pair, self._access)

    async def _rebuild(self, pair: KeyPair | None) -> None:
        async with self._rebuilding:
            self._tls = await asyncio.to_thread(tls.build, self._access, pair)
        for told in self._followers:
            told()
