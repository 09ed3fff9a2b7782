"""The kubelet's ports: 10250 with TLS and access control, 10255 and 10248 plain."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from aiohttp import web

from pykubelet.base.clock import Clock
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner
from pykubelet.config.types import KubeletConfiguration

from . import tables
from .access import Authenticator
from .attributes import attributes, forbidden
from .certificates import ensure_self_signed
from .container_logs import ContainerLogs
from .doors import Authorizer, NodeApi
from .listener import Listener, ListenError, text
from .routes import Routes
from .streaming import Streaming
from .tls import ReloadingTls, TlsSettings
from .upgrade import Upgrades

log = logging.getLogger(__name__)

#: Seconds between tries to open the health port, which the daemon can live without.
HEALTHZ_RETRY = 5.0
_LONG_RUNNING = frozenset({"exec", "attach", "portForward"})
_METHODS = frozenset({"OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT"})


class KubeletServer:
    """Serves a node on its ports, from :meth:`start` to :meth:`stop`."""

    def __init__(
        self,
        config: KubeletConfiguration,
        cert_dir: Path,
        node: NodeApi,
        authorizer: Authorizer,
        clock: Clock,
        *,
        hostname: str,
        addresses: Sequence[str] = (),
        metrics: Metrics | None = None,
    ) -> None:
        """*hostname* and IP *addresses* go into a self-signed certificate in *cert_dir*."""
        self._config = config
        self._cert_dir = cert_dir
        self._node = node
        self._authorizer = authorizer
        self._hostname = hostname
        self._addresses = tuple(addresses)
        idle = config.streamingConnectionIdleTimeout.seconds
        self._upgrades = Upgrades(idle=idle)
        self._logs = ContainerLogs(node, clock)
        self._streaming = Streaming(node, self._upgrades)
        self._tasks = TaskOwner("server")
        self._tls: ReloadingTls | None = None
        self._authenticator: Authenticator | None = None
        self._listeners: dict[str, Listener] = {}
        counter = (metrics or Metrics()).counter(
            "kubelet_http_requests_total",
            "Number of the http requests received since the server started",
            ["method", "path", "server_type", "long_running"],
        )

        def count(server: str, method: str, label: str) -> None:
            known = method if method in _METHODS else "other"
            counter.labels(known, label, server, "true" if label in _LONG_RUNNING else "false").inc()

        self._count = count

    def listener(self, name: str) -> Listener | None:
        """The running listener ``kubelet``, ``readonly`` or ``healthz``."""
        return self._listeners.get(name)

    async def start(self) -> None:
        """Listen where the configuration says.

        :raises ListenError: the port or the read-only port is not to be had.
        :raises TlsError: certificate, key or client CA are no good.
        :raises OSError: the self-signed certificate cannot be written.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        config = self._config
        if config.enableServer:
            await self._start_main()
            if config.readOnlyPort > 0:
                listener = self._new("readonly", tables.read_only_routes(self._node))
                await listener.start_tcp(config.address, config.readOnlyPort)
        if config.healthzPort > 0:
            self._tasks.spawn("healthz", self._serve_healthz())

    async def _start_main(self) -> None:
        config = self._config
        ca_file = config.authentication.x509.clientCAFile
        certificate, key = await self._certificate()
        self._tls = ReloadingTls(
            TlsSettings(
                certificate,
                key,
                Path(ca_file) if ca_file else None,
                config.tlsMinVersion,
                tuple(config.tlsCipherSuites),
            )
        )
        context = await self._tls.start()
        self._authenticator = Authenticator(
            anonymous=config.authentication.anonymous.enabled, still_trusted=self._tls.still_trusted
        )
        routes = tables.main_routes(
            self._node,
            self._streaming,
            self._logs,
            debugging=config.enableDebuggingHandlers,
            system_logs=config.enableSystemLogHandler,
        )
        listener = self._new("kubelet", routes, guarded=True)
        await listener.start_tcp(config.address, config.port, context)

    async def _certificate(self) -> tuple[Path, Path]:
        config = self._config
        if config.tlsCertFile and config.tlsPrivateKeyFile:
            return Path(config.tlsCertFile), Path(config.tlsPrivateKeyFile)
        return await asyncio.to_thread(ensure_self_signed, self._cert_dir, self._hostname, self._addresses)

    def _new(self, name: str, routes: Routes, *, guarded: bool = False) -> Listener:
        kind = "readonly" if name == "readonly" else "readwrite"
        listener = Listener(
            name,
            routes,
            guard=self._guard if guarded else None,
            count=lambda method, label: self._count(kind, method, label),
        )
        self._listeners[name] = listener
        return listener

    async def _serve_healthz(self) -> None:
        config = self._config
        while True:
            listener = Listener("healthz", tables.healthz_routes(), max_connections=64)
            try:
                await listener.start_tcp(config.healthzBindAddress, config.healthzPort)
            except ListenError as error:
                log.error("%s; next try in %.0f s", error, HEALTHZ_RETRY)
                await asyncio.sleep(HEALTHZ_RETRY)
                continue
            self._listeners["healthz"] = listener
            return

    async def _guard(self, request: web.BaseRequest) -> web.StreamResponse | None:
        assert self._authenticator is not None
        transport = request.transport
        tls = transport.get_extra_info("ssl_object") if transport is not None else None
        user = self._authenticator.user(cast("ssl.SSLObject | None", tls))
        if user is None:
            return text(401, "Unauthorized")
        asked = attributes(user, request.method, request.path, self._node.node_name)
        for one in asked:
            try:
                if await self._authorizer.allows(one):
                    return None
            except Exception:
                log.exception("authorization failed")
                return text(
                    500,
                    f"Authorization error (user={user.name}, verb={one.verb}, "
                    f"resource={one.resource}, subresource={one.subresource})",
                )
        return text(403, forbidden(asked))

    async def stop(self) -> None:
        """Listen no more and end all streams; safe without a start."""
        await self._tasks.close()
        self._upgrades.close()
        await self._logs.close()
        for listener in self._listeners.values():
            with contextlib.suppress(Exception):
                await listener.stop()
        self._listeners.clear()
        if self._tls is not None:
            await self._tls.stop()
            self._tls = None
