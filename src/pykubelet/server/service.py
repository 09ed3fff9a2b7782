"""The kubelet's ports: 10250 with TLS and access control, 10255 and 10248 plain."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from aiohttp import web

from pykubelet.base.clock import Clock
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner
from pykubelet.config.gates import FeatureGates
from pykubelet.config.types import KubeletConfiguration

from . import tables, zpages
from .access import Authenticator, is_anonymous
from .attributes import attributes, forbidden, needs_name
from .certificates import ensure_self_signed
from .container_logs import ContainerLogs
from .doors import (
    Authorizer,
    Checkpoints,
    Manifests,
    NodeApi,
    NodeLogs,
    ServingCertificate,
    TokenAuthenticator,
)
from .listener import Listener, ListenError, text
from .manifests import manifest_routes
from .requests import set_user
from .routes import Route, Routes
from .streaming import Streaming
from .system_logs import SystemLogs
from .tls import GivenFiles, ReloadingTls, TlsSettings, shortcomings
from .upgrade import Upgrades
from .websocket import WebSockets

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
        tokens: TokenAuthenticator | None = None,
        serving: ServingCertificate | None = None,
        node_logs: NodeLogs | None = None,
        checkpoints: Checkpoints | None = None,
        flags: Mapping[str, str] | None = None,
        manifests: Manifests | None = None,
    ) -> None:
        """*hostname* and IP *addresses* go into a self-signed certificate in *cert_dir*.

        *tokens* looks at bearer tokens; without it they are ignored. *serving* is the certificate that
        the cluster signs; without it the configuration's files or the self-signed one are served with.
        Without *node_logs*, *checkpoints*, *manifests* and *flags* (the command line's, by name) their
        routes are missing.
        """
        self._config = config
        self._cert_dir = cert_dir
        self._node = node
        self._authorizer = authorizer
        self._hostname = hostname
        self._addresses = tuple(addresses)
        self._tokens = tokens
        self._serving = serving
        self._node_logs = node_logs
        self._checkpoints = checkpoints
        self._flags = flags
        self._manifests = manifests
        self._clock = clock
        idle = config.streamingConnectionIdleTimeout.seconds
        self._upgrades = Upgrades(idle=idle)
        self._logs = ContainerLogs(node, clock)
        metrics = metrics or Metrics()
        self._gates = FeatureGates(config.featureGates)
        translated = self._gates.enabled("ExtendWebSocketsToKubelet")
        self._streaming = Streaming(
            node,
            self._upgrades,
            WebSockets(self._upgrades, idle=idle) if translated else None,
            count=_websocket_counter(metrics),
        )
        self._tasks = TaskOwner("server")
        self._tls: ReloadingTls | None = None
        self._authenticator: Authenticator | None = None
        self._listeners: dict[str, Listener] = {}
        counter = metrics.counter(
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

    def certificate_changed(self) -> None:
        """There is another certificate to serve with: take it from the next connection on."""
        if self._tls is not None:
            self._tls.look_again()

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
        for shortcoming in shortcomings(config.tlsCipherSuites, config.tlsCurvePreferences or ()):
            log.warning("%s", shortcoming)
        self._tls = ReloadingTls(
            TlsSettings(
                self._serving or await self._given_certificate(),
                Path(ca_file) if ca_file else None,
                config.tlsMinVersion,
                tuple(config.tlsCipherSuites),
            )
        )
        context = await self._tls.start()
        self._authenticator = Authenticator(
            anonymous=config.authentication.anonymous.enabled,
            still_trusted=self._tls.still_trusted,
            tokens=self._tokens,
        )
        routes = tables.main_routes(
            self._node,
            self._streaming,
            self._logs,
            enabled=config.enableDebuggingHandlers,
            more=self._more_routes(),
            pushed=[] if self._manifests is None else manifest_routes(self._manifests),
        )
        listener = self._new("kubelet", routes, guarded=True)
        await listener.start_tcp(config.address, config.port, context)

    def _more_routes(self) -> list[Route]:
        """What is served with ``enableDebuggingHandlers`` and depends on switches of its own."""
        config = self._config
        queries = config.enableSystemLogQuery and self._gates.enabled("NodeLogQuery")
        logs = None if self._node_logs is None else SystemLogs(self._node_logs, queries=queries)
        routes = tables.system_log_routes(logs, enabled=config.enableSystemLogHandler)
        routes += tables.debug_routes(
            profiling=config.enableProfilingHandler, flags=config.enableDebugFlagsHandler
        )
        if self._checkpoints is not None and self._gates.enabled("ContainerCheckpoint"):
            routes += tables.checkpoint_routes(self._node, self._checkpoints)
        if self._flags is not None and self._gates.enabled("ComponentFlagz"):
            routes.append(Route(("GET",), "/flagz", zpages.flagz(self._flags), "flagz"))
        if self._gates.enabled("ComponentStatusz"):
            paths = [*tables.ALWAYS_SERVED, *(route.pattern for route in routes)]
            routes.append(Route(("GET",), "/statusz", zpages.statusz(self._clock, paths), "statusz"))
        return routes

    async def _given_certificate(self) -> GivenFiles:
        config = self._config
        if config.tlsCertFile and config.tlsPrivateKeyFile:
            return GivenFiles(Path(config.tlsCertFile), Path(config.tlsPrivateKeyFile))
        made = await asyncio.to_thread(ensure_self_signed, self._cert_dir, self._hostname, self._addresses)
        return GivenFiles(*made)

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
        user = await self._authenticator.user(
            cast("ssl.SSLObject | None", tls), request.headers.get("Authorization", "")
        )
        if user is None:
            return text(401, "Unauthorized")
        if needs_name(request.path) and is_anonymous(user):
            return text(401, "Unauthorized")
        set_user(request, user.name)
        asked = attributes(user, request.method, request.path, self._node.node_name)
        for one in asked:
            try:
                if await self._authorizer.allows(one):
                    return None
            except Exception as error:
                # While the API server is away this is every request's: the trace only for those who debug.
                log.error(
                    "authorization failed: %s: %s",
                    type(error).__name__,
                    error,
                    exc_info=log.isEnabledFor(logging.DEBUG),
                )
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


def _websocket_counter(metrics: Metrics) -> Callable[[str], None]:
    counter = metrics.counter(
        "kubelet_websocket_streaming_requests_total",
        "Total number of WebSocket streaming requests (exec/attach/portforward) received by the kubelet",
        ["subresource"],
    )
    return lambda subresource: counter.labels(subresource).inc()
