"""The admin socket: the local command line's way in, for root (or the daemon's own user) alone."""

import asyncio
import contextlib
import logging
import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec
from aiohttp import web

from pykubelet import KUBELET_VERSION, __version__
from pykubelet.api.codec import encode
from pykubelet.api.core import Pod, ResourceRequirements
from pykubelet.base.clock import Clock
from pykubelet.base.gotext import go_quote

from . import health, tables
from .container_logs import ContainerLogs
from .doors import ApiError, Manifests, NodeApi
from .listener import Listener, ListenError, json_bytes, peer_uid, text
from .manifests import manifest_routes
from .requests import set_user
from .routes import Route, Routes
from .streaming import Streaming
from .upgrade import Upgrades
from .volume_words import trouble, waits

log = logging.getLogger(__name__)

_GET = ("GET",)


class AdminServer:
    """HTTP on the admin socket, from :meth:`start` to :meth:`stop`."""

    def __init__(
        self, path: Path, node: NodeApi, clock: Clock, *, idle: float, manifests: Manifests | None = None
    ) -> None:
        """*idle* is ``streamingConnectionIdleTimeout`` in seconds; without *manifests* none are taken."""
        self._path = path
        self._node = node
        self._clock = clock
        self._upgrades = Upgrades(idle=idle)
        self._logs = ContainerLogs(node, clock)
        streaming = Streaming(node, self._upgrades)
        self.routes = Routes(
            [
                *health.routes(node.health, [check.name for check in node.health()]),
                Route(_GET, "/pods", self._pods, "pods"),
                Route(_GET, "/pods/{namespace}/{pod}", self._pod, "pod"),
                Route(_GET, "/details/{namespace}/{pod}", self._details, "details"),
                Route(_GET, "/explain/pod/{namespace}/{pod}", self._explain_pod, "explain"),
                Route(_GET, "/explain/node", self._explain_node, "explain"),
                Route(_GET, "/configz", self._configz, "configz"),
                Route(_GET, "/version", self._version, "version"),
                Route(_GET, "/metrics", self._metrics, "metrics"),
                *tables.streaming_routes(streaming, self._logs),
                *([] if manifests is None else manifest_routes(manifests)),
            ]
        )
        self._listener: Listener | None = None

    async def start(self) -> None:
        """Listen on the socket, in the place of one that a daemon left behind.

        :raises ListenError: a living daemon has it, or the directory is not to be used.
        """
        binding = asyncio.get_running_loop().run_in_executor(None, _bind, self._path)
        try:
            listening = await asyncio.shield(binding)
        except OSError as error:
            raise ListenError(f"cannot listen on {self._path} (admin): {error.strerror or error}") from error
        except asyncio.CancelledError:
            binding.add_done_callback(_closed)
            raise
        self._listener = Listener("admin", self.routes, guard=self._guard, max_connections=256)
        await self._listener.start_unix(listening)

    async def stop(self) -> None:
        """Listen no more and end all streams; safe without a start."""
        self._upgrades.close()
        await self._logs.close()
        if self._listener is not None:
            await self._listener.stop()
            self._listener = None
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._path.unlink)

    async def _guard(self, request: web.BaseRequest) -> web.StreamResponse | None:
        transport = request.transport
        connection = transport.get_extra_info("socket") if transport is not None else None
        if connection is None or peer_uid(connection) not in (0, os.geteuid()):
            return text(403, "only root may use the admin socket")
        set_user(request, "the local administrator")
        return None

    async def _pods(self, _request: web.BaseRequest, _: Mapping[str, str]) -> web.StreamResponse:
        return json_bytes(tables.pod_list(self._node.pods()))

    async def _pod(self, _request: web.BaseRequest, names: Mapping[str, str]) -> web.StreamResponse:
        pod = self._node.pod(names["namespace"], names["pod"])
        if pod is None:
            raise _not_found(names)
        return json_bytes(encode(msgspec.structs.replace(pod, apiVersion="v1", kind="Pod")))

    async def _details(self, _request: web.BaseRequest, names: Mapping[str, str]) -> web.StreamResponse:
        """A pod with all that is known of it: events, volumes, its worker, pulls."""
        pod = self._node.pod(names["namespace"], names["pod"])
        if pod is None:
            raise _not_found(names)
        uid = pod.metadata.uid
        return json_bytes(
            encode(
                {
                    "node": self._node.node_name,
                    "pod": msgspec.structs.replace(pod, apiVersion="v1", kind="Pod"),
                    "events": list(self._node.events(uid)),
                    "volumes": list(await self._node.volumes(uid)),
                    "worker": self._node.worker(uid),
                    "allocated": _resources(self._node.allocated(pod)),
                    "pulls": list(await self._node.pulls(uid)),
                }
            )
        )

    async def _explain_pod(self, _request: web.BaseRequest, names: Mapping[str, str]) -> web.StreamResponse:
        lines = list(self._node.explain_pod(names["namespace"], names["pod"]))
        if not lines:
            raise _not_found(names)
        pod = self._node.pod(names["namespace"], names["pod"])
        if pod is not None:
            told = await self._node.volumes(pod.metadata.uid)
            lines += [f"now: {waits(each)}" for each in told if each.state != "mounted"]
            troubles = (trouble(each, self._clock.now()) for each in told)
            lines += [f"now: {each}" for each in troubles if each]
            for pull in await self._node.pulls(pod.metadata.uid):
                where = f" [{pull.container}]" if pull.container else ""
                lines.append(f"now{where}: {pull.text}")
        return json_bytes(encode({"lines": list(lines)}))

    async def _explain_node(self, _request: web.BaseRequest, _: Mapping[str, str]) -> web.StreamResponse:
        return json_bytes(encode({"lines": list(self._node.explain_node())}))

    async def _configz(self, _request: web.BaseRequest, _: Mapping[str, str]) -> web.StreamResponse:
        return json_bytes(tables.configz(self._node.config_json()))

    async def _version(self, _request: web.BaseRequest, _: Mapping[str, str]) -> web.StreamResponse:
        versions = {"pykubelet": __version__, "kubelet": KUBELET_VERSION, "node": self._node.node_name}
        return json_bytes(encode(versions))

    async def _metrics(self, _request: web.BaseRequest, _: Mapping[str, str]) -> web.StreamResponse:
        return web.Response(body=self._node.metrics(), headers={"Content-Type": "text/plain"})


def _resources(pod: Pod) -> dict[str, ResourceRequirements | None]:
    """Resources by container; those of the pod as a whole have no name."""
    containers = (*pod.spec.initContainers, *pod.spec.containers)
    return {"": pod.spec.resources, **{each.name: each.resources for each in containers}}


def _not_found(names: Mapping[str, str]) -> ApiError:
    return ApiError(404, f"pods {go_quote(names['pod'])} not found")


def _bind(path: Path) -> socket.socket:
    """A listening socket at *path* that only its owner can reach; blocking.

    :raises OSError: a living daemon has it, or the directory belongs to somebody else.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = os.lstat(path.parent)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise PermissionError(f"{path.parent} is not a directory of this daemon's user")
    os.chmod(path.parent, 0o700)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            listening.bind(str(path))
        except OSError:
            _remove_stale(path)
            listening.bind(str(path))
        os.chmod(path, 0o600)
        listening.listen(64)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def _closed(binding: "asyncio.Future[socket.socket]") -> None:
    """Close what was bound though nobody waited for it any more."""
    if not binding.cancelled() and binding.exception() is None:
        binding.result().close()


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody listens on any more.

    :raises OSError: somebody does, or it is no socket.
    """
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise FileExistsError(f"{path} is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(f"another daemon listens on {path}")
