"""A manifest server on loopback, for tests of the source that asks a URL."""

import asyncio
from contextlib import asynccontextmanager

from aiohttp import web


class UrlServer:
    """Answers what it is told to, and keeps what it was asked."""

    def __init__(self):
        self.url = ""
        self.asked = []
        self.respond = None
        self.body = b""
        self.etag = ""
        self.status = 200
        self.headers = {}

    async def handle(self, request):
        self.asked.append(request)
        if self.respond is not None:
            return await self.respond(request)
        if self.etag and request.headers.get("If-None-Match") == self.etag:
            return web.Response(status=304)
        headers = {**self.headers, **({"ETag": self.etag} if self.etag else {})}
        return web.Response(body=self.body, status=self.status, headers=headers)


@asynccontextmanager
async def url_server(tls=None):
    """A running server."""
    made = UrlServer()
    server = web.Server(made.handle, access_log=None)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    made.url = f"http{'s' if tls else ''}://127.0.0.1:{port}"
    try:
        yield made
    finally:
        await server.shutdown(0)
        listening.close()
        await listening.wait_closed()
