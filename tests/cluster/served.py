"""pykubelet's own client on an API server's double, for tests of what goes over the wire."""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tests.apiserver import ApiServer

from pykubelet.base.clock import SystemClock
from pykubelet.cluster.access import Access
from pykubelet.cluster.client import ApiClient
from pykubelet.cluster.credentials import FileCredentials


@asynccontextmanager
async def connected() -> AsyncGenerator[tuple[ApiServer, ApiClient], None]:
    """The double, and a client of it."""
    async with ApiServer() as server:
        credentials = FileCredentials(Access(server.url), SystemClock(), environ={})
        client = ApiClient(credentials, user_agent="kubelet/test", rng=random.Random(1))
        try:
            yield server, client
        finally:
            await client.close()
