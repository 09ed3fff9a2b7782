"""The whole way over HTTPS against the API server double: bootstrap, then the node's own certificate."""

import asyncio
from pathlib import Path
from random import Random

import msgspec
from tests.apiserver.server import ApiServer

from pykubelet.base.clock import SystemClock
from pykubelet.base.journal import NullJournal
from pykubelet.base.metrics import Metrics
from pykubelet.cluster import kubeconfig, paths
from pykubelet.cluster.access import Access
from pykubelet.cluster.bootstrap import Bootstrap
from pykubelet.cluster.certificate_manager import CertificateManager
from pykubelet.cluster.certificate_requests import CLIENT
from pykubelet.cluster.client import ApiClient
from pykubelet.cluster.credentials import FileCredentials
from pykubelet.cluster.reviews import TokenReviews
from pykubelet.cluster.rotation import client_template

CLOCK = SystemClock()


class Way:
    """One client of the API server, closed at the end."""

    def __init__(self, access: Access) -> None:
        self._credentials = FileCredentials(access, CLOCK, check_period=0.05)
        self.api = ApiClient(self._credentials, user_agent="tests")

    async def __aenter__(self) -> ApiClient:
        await self._credentials.start()
        return self.api

    async def __aexit__(self, *_: object) -> None:
        await self.api.close()
        await self._credentials.stop()


def bootstrap_of(server: ApiServer, directory: Path) -> Bootstrap:
    path = server.write_kubeconfig(
        directory / "bootstrap.conf", "system:bootstrap:abc", "system:bootstrappers"
    )
    return Bootstrap(
        directory / "kubelet.conf", path, directory / "pki", "n1",
        clock=CLOCK, random=Random(1), journal=NullJournal(),
    )  # fmt: skip


async def test_bootstrap_without_rotation(tmp_path: Path) -> None:
    async with ApiServer(tls=True, anonymous=False) as server:
        bootstrap = await asyncio.to_thread(bootstrap_of, server, tmp_path)
        await bootstrap.obtain(Way)
        own = await asyncio.to_thread(kubeconfig.load, tmp_path / "kubelet.conf")
        token = server.users.token("jane", "dev")
        async with Way(own) as api:
            found = await TokenReviews(api, CLOCK, Random(1)).review(token)
        assert found is not None
        assert (found.username, found.groups[:1]) == ("jane", ["dev"])
        assert server.signer.signed[0].startswith("node-csr-")


async def test_with_rotation_the_first_certificate_comes_in_the_background(tmp_path: Path) -> None:
    async with ApiServer(tls=True, anonymous=False) as server:
        bootstrap = await asyncio.to_thread(bootstrap_of, server, tmp_path)
        access = await bootstrap.access()
        rotated = asyncio.Event()
        async with Way(access.request) as first:
            manager = CertificateManager(
                CLIENT, bootstrap.store, lambda: client_template("n1"), lambda _: first,
                clock=CLOCK, random=Random(1), metrics=Metrics(), journal=NullJournal(),
                on_rotated=lambda _: rotated.set(),
            )  # fmt: skip
            await manager.start()
            async with asyncio.timeout(10):
                await rotated.wait()
            await manager.stop()
        async with Way(access.own) as own:
            await own.get(paths.core("namespaces", "", "default"), msgspec.Raw)
        # A valid kubeconfig now: the next start needs no bootstrap.
        assert not (await bootstrap.access()).request.token
