"""``/exec``, ``/attach``, ``/portForward`` and ``/run``: the ways into a container."""

from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import web

from pykubelet.api.core import Pod

from .doors import ApiError, NodeApi, StreamRequest
from .listener import json_bytes
from .queries import forwarded_ports, stream_request
from .requests import query_of
from .upgrade import Upgrades, is_websocket
from .websocket import WebSockets, tunnelled, wants_translation

#: Bytes of a command line that is taken.
_MAX_COMMAND: Final = 1 << 20
#: Commands run at once by ``/run``: each holds its output in memory.
_MAX_RUNS: Final = 16


class Streaming:
    """Handlers of the streaming routes."""

    def __init__(
        self,
        node: NodeApi,
        upgrades: Upgrades,
        websockets: WebSockets | None = None,
        *,
        count: Callable[[str], None] | None = None,
    ) -> None:
        """*websockets* serves what runtimes do not speak (gate ``ExtendWebSocketsToKubelet``).

        *count* hears the route of each request that it serves.
        """
        self._node = node
        self._upgrades = upgrades
        self._websockets = websockets
        self._count = count or (lambda route: None)
        self._runs = 0

    async def exec(self, request: web.BaseRequest, names: Mapping[str, str]) -> web.StreamResponse:
        """Run a command with its streams."""
        query = query_of(request)
        streams = stream_request(query)
        pod = self._pod(names)
        command = list(query.get("command", ()))
        if sum(map(len, command)) > _MAX_COMMAND:
            raise ApiError(400, "the command is too long")
        self._upgrades.reserve()
        url = await self._node.exec_url(pod, names.get("uid", ""), names["container"], command, streams)
        return await self._remote_command(request, url, streams, "exec")

    async def attach(self, request: web.BaseRequest, names: Mapping[str, str]) -> web.StreamResponse:
        """Join a container's own streams."""
        streams = stream_request(query_of(request))
        pod = self._pod(names)
        self._upgrades.reserve()
        url = await self._node.attach_url(pod, names.get("uid", ""), names["container"], streams)
        return await self._remote_command(request, url, streams, "attach")

    async def _remote_command(
        self, request: web.BaseRequest, url: str, streams: StreamRequest, route: str
    ) -> web.StreamResponse:
        if self._websockets is not None and wants_translation(request):
            self._count(route)
            return await self._websockets.remote_command(request, url, streams)
        return await self._upgrades.serve(request, url)

    async def port_forward(self, request: web.BaseRequest, names: Mapping[str, str]) -> web.StreamResponse:
        """Forward ports."""
        websockets = self._websockets if tunnelled(request) else None
        # Inside a tunnel the ports come with SPDY's streams.
        direct = is_websocket(request) and websockets is None
        ports = forwarded_ports(query_of(request), websocket=direct)
        pod = self._pod(names)
        uid = names.get("uid", "")
        if uid and uid != pod.metadata.uid:
            raise ApiError(404, "pod not found")
        self._upgrades.reserve()
        url = await self._node.port_forward_url(pod, ports)
        if websockets is not None:
            self._count("portforward")
            return await websockets.tunnel(request, url)
        return await self._upgrades.serve(request, url)

    async def run(self, request: web.BaseRequest, names: Mapping[str, str]) -> web.StreamResponse:
        """Run a command and give its output; its words stand between single spaces."""
        pod = self._pod(names)
        words = (query_of(request).get("cmd") or [""])[0].split(" ")
        if self._runs >= _MAX_RUNS:
            raise ApiError(429, "too many commands are being run", retry_after=10)
        self._runs += 1
        try:
            output = await self._node.run_command(pod, names.get("uid", ""), names["container"], words)
        finally:
            self._runs -= 1
        return json_bytes(output)

    def _pod(self, names: Mapping[str, str]) -> Pod:
        pod = self._node.pod(names["namespace"], names["pod"])
        if pod is None:
            raise ApiError(404, "pod does not exist")
        return pod
