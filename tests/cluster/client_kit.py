"""A client with its credentials, and a server in the same process for it to ask."""

import random
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from pykubelet.base.clock import SystemClock
from pykubelet.cluster.access import Access
from pykubelet.cluster.client import ApiClient
from pykubelet.cluster.credentials import FileCredentials

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


PATH = "/api/v1/namespaces/ns/configmaps"


AGENT = "kubelet/v1.36.2 (linux/amd64) kubernetes/0000000"


OBJECT = {"metadata": {"name": "a", "uid": "u", "resourceVersion": "7"}, "data": {"k": "v"}}


@asynccontextmanager
async def serving(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncGenerator[str, None]:
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"{'https' if context else 'http'}://{'localhost' if context else '127.0.0.1'}:{port}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client_of(access: Access, **more: Any) -> AsyncGenerator[tuple[ApiClient, FileCredentials], None]:
    credentials = FileCredentials(access, SystemClock(), environ={}, check_period=0.05)
    await credentials.start()
    client = ApiClient(credentials, user_agent=AGENT, rng=random.Random(1), **more)
    credentials.follow(client.credentials_changed)
    try:
        yield client, credentials
    finally:
        await client.close()
        await credentials.stop()
