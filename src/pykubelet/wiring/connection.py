"""The way to the API server: credentials, bootstrapped and rotated if asked for, a client for each purpose.

Heartbeats, the lease and events have clients of their own, so that none of them waits for the others.
"""

import asyncio
import contextlib
import platform
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pykubelet import KUBELET_VERSION
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Journal
from pykubelet.base.metrics import Metrics
from pykubelet.cluster.access import Access
from pykubelet.cluster.bootstrap import Bootstrap
from pykubelet.cluster.certificate_manager import CertificateManager
from pykubelet.cluster.certificate_requests import CLIENT
from pykubelet.cluster.certificate_watch import ClientCertificateWatch
from pykubelet.cluster.client import TIMEOUT, ApiClient
from pykubelet.cluster.credentials import FileCredentials
from pykubelet.cluster.kubeconfig import load as load_kubeconfig
from pykubelet.cluster.rotation import client_template
from pykubelet.config import Loaded

_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def user_agent() -> str:
    """How the clients name themselves: as the kubelet that they stand for."""
    machine = platform.machine()
    system = f"{platform.system().lower()}/{_MACHINES.get(machine, machine)}"
    return f"kubelet/{KUBELET_VERSION} ({system}) kubernetes/0000000"


@dataclass(frozen=True, slots=True)
class Tools:
    """What all clients are made with."""

    clock: Clock
    rng: random.Random
    metrics: Metrics
    journal: Journal

    def credentials(self, access: Access, *, pair_comes_later: bool = False) -> FileCredentials:
        """Credentials by *access*; to be started."""
        return FileCredentials(access, self.clock, metrics=self.metrics, pair_comes_later=pair_comes_later)

    def client(
        self, credentials: FileCredentials, *, timeout: float = TIMEOUT, qps: float = -1, burst: int = 0
    ) -> ApiClient:
        """A client that follows *credentials*; *timeout* in seconds."""
        client = ApiClient(
            credentials,
            user_agent=user_agent(),
            timeout=timeout,
            qps=qps,
            burst=burst,
            clock=self.clock,
            rng=self.rng,
            metrics=self.metrics,
        )
        credentials.follow(client.credentials_changed)
        return client

    @contextlib.asynccontextmanager
    async def client_by(self, access: Access) -> AsyncGenerator[ApiClient, None]:
        """A client for a while."""
        credentials = self.credentials(access)
        await credentials.start()
        client = self.client(credentials)
        try:
            yield client
        finally:
            await client.close()
            await credentials.stop()


class Connection:
    """The clients of one node."""

    def __init__(
        self, loaded: Loaded, tools: Tools, credentials: FileCredentials, rotation: "_Rotation | None" = None
    ) -> None:
        config = loaded.config
        self.credentials = credentials
        self._rotation = rotation
        heartbeat = min(config.nodeStatusUpdateFrequency.seconds, float(config.nodeLeaseDurationSeconds))
        self.api = tools.client(credentials, qps=config.kubeAPIQPS, burst=config.kubeAPIBurst)
        self.events = tools.client(credentials, qps=config.eventRecordQPS, burst=config.eventBurst)
        self.heartbeat = tools.client(credentials, timeout=heartbeat)
        self.lease = tools.client(credentials, timeout=heartbeat)

    async def start(self) -> None:
        """Read the credentials and keep them fresh.

        :raises TlsMaterialError: certificate, key or CA cannot be used.
        """
        if self._rotation is not None:
            await self._rotation.start()
        await self.credentials.start()

    async def stop(self) -> None:
        """End all connections."""
        for client in (self.api, self.events, self.heartbeat, self.lease):
            await client.close()
        await self.credentials.stop()
        if self._rotation is not None:
            await self._rotation.stop()


class _Rotation:
    """The client certificate's manager, and the client that it asks with while there is no certificate."""

    def __init__(
        self, tools: Tools, bootstrap: Bootstrap, node: str, first: Access, own: FileCredentials,
        initial: tuple[bytes, bytes] | None, give_up: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._first = tools.credentials(first, pair_comes_later=True)
        self._asker, self._own = tools.client(self._first), tools.client(own)
        self.manager = CertificateManager(
            CLIENT,
            bootstrap.store,
            lambda: client_template(node),
            lambda pair: self._asker if pair is None else self._own,
            clock=tools.clock,
            random=tools.rng,
            metrics=tools.metrics,
            journal=tools.journal,
            on_rotated=lambda pair: own.changed(),
            initial=initial,
        )
        self._watch = ClientCertificateWatch(self.manager, tools.clock, tools.journal, give_up)

    async def start(self) -> None:
        await self._first.start()
        await self.manager.start()
        await self._watch.start()

    async def stop(self) -> None:
        await self._watch.stop()
        await self.manager.stop()
        await self._asker.close()
        await self._own.close()
        await self._first.stop()


async def connect(loaded: Loaded, node: str, tools: Tools, give_up: Callable[[str], None]) -> Connection:
    """Find the way to the API server that the flags name; bootstrap it if there is none yet.

    *give_up* ends the daemon: its client certificate is gone for good. Without rotation a bootstrap is
    waited for here, up to an hour.

    :raises BootstrapError: there is no way.
    :raises KubeconfigError: the kubeconfig cannot be used.
    """
    flags = loaded.flags
    bootstrap = Bootstrap(
        Path(flags.kubeconfig),
        Path(flags.bootstrapKubeconfig) if flags.bootstrapKubeconfig else None,
        Path(flags.certDir),
        node,
        clock=tools.clock,
        random=tools.rng,
        journal=tools.journal,
    )
    if loaded.config.rotateCertificates:
        way = await bootstrap.access()
        own = tools.credentials(way.own, pair_comes_later=True)
        rotation = _Rotation(tools, bootstrap, node, way.request, own, way.initial, give_up)
        return Connection(loaded, tools, own, rotation)
    await bootstrap.obtain(tools.client_by)
    access = await asyncio.to_thread(load_kubeconfig, Path(flags.kubeconfig))
    return Connection(loaded, tools, tools.credentials(access))
