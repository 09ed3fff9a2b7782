"""A cluster to test against: the double, or a real API server, behind one set of methods.

``PYKUBELET_TEST_KUBECONFIG`` names the kubeconfig of an admin of a real cluster.
"""

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.apiserver import kubeconfig
from tests.apiserver.client import MERGE, Client, Refusal
from tests.apiserver.faults import Faults
from tests.apiserver.resources import Object
from tests.apiserver.server import ADMIN, ApiServer

VARIABLE = "PYKUBELET_TEST_KUBECONFIG"
#: Seconds that a cluster may take to do what it does by itself.
PATIENCE = 20.0


class Cluster(Client):
    """An API server as its admin sees it, with a namespace of the test's own.

    The methods of ``Client`` take any path; what a test makes outside of its
    namespace it hands to :meth:`later`, to be deleted at the end.
    """

    #: The faults that can be switched on; None where there are none.
    faults: Faults | None = None

    def __init__(self, credentials: kubeconfig.Credentials) -> None:
        super().__init__(credentials.server, token=credentials.token, context=credentials.context())
        self.credentials = credentials
        self.namespace = f"contract-{secrets.token_hex(4)}"
        self._made: list[str] = []
        #: TLS of a client that shows no certificate; None for plain HTTP.
        anonymous = replace(credentials, certificate=b"", key=b"")
        self.context_without_certificate = anonymous.context()

    def path(self, plural: str, name: str = "", subresource: str = "") -> str:
        """The path of a core resource in the test's namespace."""
        parts = ["/api/v1/namespaces", self.namespace, plural, name, subresource]
        return "/".join(part for part in parts if part)

    def later(self, path: str) -> str:
        """Delete *path* when the test is over; answers it."""
        self._made.append(path)
        return path

    def write_kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig of the admin."""
        return kubeconfig.write(path, self.credentials)

    async def set_up(self) -> None:
        """Make the namespace, and wait until pods can be made in it."""
        await self.create("/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        await self.until(self.path("serviceaccounts", "default"), lambda account: True)

    async def clean_up(self) -> None:
        """Delete what the test made."""
        pods = await self.list(self.path("pods"))
        made = [self.path("pods", pod["metadata"]["name"]) for pod in pods["items"]]
        for path in [*made, *self._made, f"/api/v1/namespaces/{self.namespace}"]:
            with contextlib.suppress(Refusal):
                await self.delete(path, grace=0)
            with contextlib.suppress(Refusal):
                await self.patch(path, {"metadata": {"finalizers": None}}, MERGE)

    async def until(self, path: str, holds: Callable[[Object], Any]) -> Object:
        """The object at *path*, as soon as it is there and *holds*.

        :raises TimeoutError: that takes too long.
        """
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(Refusal):
                    found = await self.get(path)
                    if holds(found):
                        return found
                await asyncio.sleep(0.05)


class DoubleCluster(Cluster):
    """The double. Certificates are approved by hand, as there is no controller to know nodes by."""

    def __init__(self, server: ApiServer) -> None:
        super().__init__(server.credentials(*ADMIN))
        self.server = server
        self.faults = server.faults


class RealCluster(Cluster):
    """A real API server."""

    def __init__(self, path: Path) -> None:
        super().__init__(kubeconfig.read(path))


@contextlib.asynccontextmanager
async def a_cluster() -> AsyncIterator[Cluster]:
    """The real cluster when the variable is set, else the double."""
    async with contextlib.AsyncExitStack() as stack:
        path = os.environ.get(VARIABLE)
        cluster: Cluster
        if path:
            cluster = RealCluster(Path(path))
        else:
            cluster = DoubleCluster(
                await stack.enter_async_context(ApiServer(service_accounts=True, approve="manual"))
            )
        await stack.enter_async_context(cluster)
        try:
            await cluster.set_up()
            yield cluster
        finally:
            await cluster.clean_up()
