"""How a node comes by its first client certificate: from a bootstrap kubeconfig to one of its own.

With rotation the certificate is asked for in the background (``CertificateManager``), without it is
waited for here. Each step leaves files from which a restart goes on.
"""

import asyncio
import base64
import contextlib
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, Final

import yaml
from cryptography import x509

from pykubelet.base.clock import Clock
from pykubelet.base.files import read_limited, write_atomic
from pykubelet.base.journal import Journal

from . import certificate_requests as requests
from . import kubeconfig as kubeconfigs
from .access import Access, Pem
from .certificate_requests import CLIENT, NotIssued, Submitted
from .certificate_store import CertificateStore, StoreError, parse_pair
from .door import Api
from .errors import ClusterError, Refused
from .kubeconfig import KubeconfigError
from .rotation import client_template

log = logging.getLogger(__name__)

#: The files' prefix in the certificate directory.
CLIENT_PREFIX: Final = "kubelet-client"
#: The key of a request that is not answered yet.
_PENDING_KEY: Final = "kubelet-client.key.tmp"
#: Seconds that the API server may take to come up, and between tries; the latter with a share of jitter.
_SERVER_WAIT, _SERVER_AGAIN, _JITTER = 60.0, 2.0, 0.2
#: Seconds that the request may take to be signed.
_SIGNED_WAIT: Final = 3600.0
_LIMIT: Final = 1 << 20


class BootstrapError(Exception):
    """The node has no way to the API server; the text says why, and tells no secret."""


@dataclass(frozen=True, slots=True)
class ClientAccess:
    """By what a node whose client certificate rotates reaches the API server."""

    #: To ask for the first certificate with.
    request: Access
    #: Bears the stored certificate, whichever it is at the time.
    own: Access
    #: Chain and key (PEM) to begin with, from a kubeconfig that holds them itself.
    initial: tuple[bytes, bytes] | None = field(default=None, repr=False)


class Bootstrap:
    """The way from the files that an installer left to a client certificate."""

    def __init__(
        self,
        kubeconfig: Path,
        bootstrap_kubeconfig: Path | None,
        cert_dir: Path,
        node: str,
        *,
        clock: Clock,
        random: Random,
        journal: Journal,
    ) -> None:
        """*kubeconfig* is the node's own, made if it is not there; *node* is the node's name."""
        self._kubeconfig = kubeconfig
        self._bootstrap = bootstrap_kubeconfig
        self._cert_dir = cert_dir
        self._node = node
        self._clock = clock
        self._random = random
        self._journal = journal
        self.store = CertificateStore(CLIENT_PREFIX, cert_dir)

    # --- with rotation --------------------------------------------------------

    async def access(self) -> ClientAccess:
        """The ways to the API server for a certificate that rotates; the kubeconfig is written if needed.

        :raises BootstrapError: neither kubeconfig serves.
        """
        return await asyncio.to_thread(self._access, self._clock.now())

    def _access(self, now: datetime) -> ClientAccess:
        reason = self._problem(now) if self._bootstrap is not None else ""
        if self._bootstrap is None or not reason:
            own = _load(self._kubeconfig)
            return ClientAccess(own, with_certificate(own, self.store.current_path), inline_pair(own))
        request = self._load_bootstrap(self._bootstrap, reason)
        self._write(request)
        return ClientAccess(request, with_certificate(request, self.store.current_path))

    def _problem(self, now: datetime) -> str:
        """Why the kubeconfig does not serve, in words; empty when it does.

        :raises BootstrapError: nobody can tell.
        """
        try:
            self._kubeconfig.stat()
        except FileNotFoundError:
            reason = "there is none"
        except OSError as error:
            raise BootstrapError(f"error reading existing kubeconfig {self._kubeconfig}: {error}") from error
        else:
            reason = unusable(self._kubeconfig, now)
        if reason:
            log.info("%s is made from the bootstrap kubeconfig: %s", self._kubeconfig, reason)
        else:
            log.info("%s is valid, no bootstrap is needed", self._kubeconfig)
        return reason

    def _load_bootstrap(self, path: Path, reason: str) -> Access:
        """The way that the bootstrap kubeconfig tells; *reason* is why it is needed.

        :raises BootstrapError: it cannot be used. An installer removes it once a node has joined, so the
            text says what became of the node's own kubeconfig.
        """
        try:
            return kubeconfigs.load(path)
        except KubeconfigError as error:
            raise BootstrapError(
                f"unable to load bootstrap kubeconfig: {error}; "
                f"it is needed because {self._kubeconfig} cannot be used: {reason}"
            ) from error

    def _write(self, access: Access) -> None:
        try:
            self._kubeconfig.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            text = kubeconfig_text(access, self.store.current_path.absolute())
            write_atomic(self._kubeconfig, text, mode=0o600)
        except OSError as error:
            raise BootstrapError(f"unable to write kubeconfig {self._kubeconfig}: {error}") from error
        self._journal.record(
            "KubeconfigWritten", f"{self._kubeconfig} points to {self.store.current_path}", cause="bootstrap"
        )

    # --- without --------------------------------------------------------------

    async def obtain(self, api_for: Callable[[Access], AbstractAsyncContextManager[Api]]) -> None:
        """Ask for a certificate with the bootstrap kubeconfig unless the kubeconfig serves, and wait for it.

        *api_for* gives the client for one access, for as long as it is needed.
        Takes a minute at most until the API server has the request, and an hour until it is signed.

        :raises BootstrapError: it was not had.
        """
        if self._bootstrap is None:
            return
        reason = await asyncio.to_thread(self._problem, self._clock.now())
        if not reason:
            return
        access = await asyncio.to_thread(self._load_bootstrap, self._bootstrap, reason)
        try:
            key = await asyncio.to_thread(self._key)
            async with api_for(access) as api:
                chain = await self._signed(api, key)
            await asyncio.to_thread(self.store.update, chain, key, self._clock.now())
        except (OSError, ValueError, ClusterError, NotIssued, StoreError) as error:
            raise BootstrapError(f"unable to get a client certificate: {error}") from error
        await asyncio.to_thread(self._finish, access)

    def _key(self) -> bytes:
        """The key to ask with: the stored pair's, that of a request under way, or a new one."""
        with contextlib.suppress(StoreError):
            pair = self.store.current()
            if pair is not None:
                return pair.key
        path = self._cert_dir / _PENDING_KEY
        with contextlib.suppress(OSError, ValueError):
            key = read_limited(path, _LIMIT)
            requests.load_key(key)
            return key
        self._cert_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        key = requests.new_key()
        # On disk before anybody hears of it: after a crash the request is found again by its key.
        write_atomic(path, key, mode=0o600)
        return key

    async def _signed(self, api: Api, key: bytes) -> bytes:
        template = client_template(self._node)
        wanted = requests.usages(CLIENT, key)
        name = requests.digested_name(key, template, wanted)
        request = await asyncio.to_thread(requests.signing_request, key, template)

        async def submit() -> Submitted:
            return await requests.submit(
                api, request, CLIENT.signer, wanted, name=name, now=self._clock.now()
            )

        submitted = await self._when_up(submit)
        log.info("waiting for certificate signing request %s to be signed", submitted.name)
        return await requests.wait_issued(api, submitted, self._clock, _SIGNED_WAIT)

    async def _when_up(self, submit: Callable[[], Awaitable[Submitted]]) -> Submitted:
        """*submit*, again while the API server is not there or not well yet."""
        until = self._clock.monotonic() + _SERVER_WAIT
        while True:
            try:
                return await submit()
            except ClusterError as error:
                said_no = isinstance(error, Refused) and not error.passing
                if said_no or self._clock.monotonic() >= until:
                    raise
                log.info("the API server is not ready: %s", error)
            await self._clock.sleep(_SERVER_AGAIN * (1 + _JITTER * self._random.random()))

    def _finish(self, access: Access) -> None:
        self._write(access)
        try:
            (self._cert_dir / _PENDING_KEY).unlink(missing_ok=True)
        except OSError as error:
            log.warning("the key of the request that was signed cannot be removed: %s", error)


def _load(path: Path) -> Access:
    try:
        return kubeconfigs.load(path)
    except KubeconfigError as error:
        raise BootstrapError(str(error)) from error


def unusable(path: Path, now: datetime) -> str:
    """Why the kubeconfig *path* gives no valid client certificate, in words; empty when it does. Blocking."""
    try:
        access = kubeconfigs.load(path)
        if access.certificate is None or access.key is None:
            return "it names no client certificate"
        chain = access.certificate.read()
        parse_pair(chain, access.key.read(), (path, path))
        certificates = x509.load_pem_x509_certificates(chain)
    except (KubeconfigError, StoreError, OSError, ValueError) as error:
        return str(error)
    expired = [one.not_valid_after_utc for one in certificates if one.not_valid_after_utc < now]
    return f"a certificate of it has expired: {expired[0]}" if expired else ""


def with_certificate(access: Access, path: Path) -> Access:
    """*access* with the certificate and key in *path* instead of what it told of us. Pure."""
    pem = Pem(path=path)
    return replace(
        access, certificate=pem, key=pem, token="", token_file=None, username="", password="", exec=None,
        impersonation=(),
    )  # fmt: skip


def inline_pair(access: Access) -> tuple[bytes, bytes] | None:
    """The chain and key that stand in the kubeconfig itself. Pure."""
    certificate, key = access.certificate, access.key
    if certificate is None or key is None or not (certificate.data and key.data):
        return None
    return certificate.data, key.data


def kubeconfig_text(access: Access, pem: Path) -> str:
    """A kubeconfig for *access*' cluster with certificate and key in *pem*, as upstream writes it. Pure."""
    cluster: dict[str, Any] = {"server": access.server}
    if access.ca is not None and access.ca.path is not None:
        cluster["certificate-authority"] = str(access.ca.path)
    elif access.ca is not None:
        cluster["certificate-authority-data"] = base64.b64encode(access.ca.data).decode()
    if access.insecure:
        cluster["insecure-skip-tls-verify"] = True
    # Upstream forgets these two; without them the node would not find its API server again.
    if access.server_name:
        cluster["tls-server-name"] = access.server_name
    if access.proxy is not None and not access.proxy.password:
        cluster["proxy-url"] = access.proxy.url
    user = {"client-certificate": str(pem), "client-key": str(pem)}
    context = {"cluster": "default-cluster", "namespace": "default", "user": "default-auth"}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "clusters": [{"cluster": cluster, "name": "default-cluster"}],
            "contexts": [{"context": context, "name": "default-context"}],
            "current-context": "default-context",
            "kind": "Config",
            "users": [{"name": "default-auth", "user": user}],
        },
        width=1 << 20,
    )
