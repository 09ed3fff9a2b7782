"""Which routes each listener serves; the whole surface of the server in one place."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web

from pykubelet.api.codec import encode
from pykubelet.api.core import Pod, PodList
from pykubelet.base.metrics import CONTENT_TYPE

from . import debugging, health
from .checkpoint import checkpoint
from .container_logs import ContainerLogs
from .doors import Checkpoints, NodeApi
from .listener import json_bytes, plain_error
from .routes import ANY, Handler, Route, Routes
from .streaming import Streaming
from .system_logs import SystemLogs

_GET, _POST, _BOTH = ("GET",), ("POST",), ("GET", "POST")
_CONTAINER = "/{namespace}/{pod}/{container}"
_CONTAINER_UID = "/{namespace}/{pod}/{uid}/{container}"
#: The paths of 10250 that no switch but ``enableDebuggingHandlers`` takes away.
ALWAYS_SERVED = (
    "/attach", "/configz", "/containerLogs", "/exec", "/healthz", "/metrics", "/metrics/probes", "/pods",
    "/portForward", "/run", "/runningpods",
)  # fmt: skip
#: What answers 405 where it is not served, so that people learn why.
_DEBUG = ("/run/", "/exec/", "/attach/", "/portForward/", "/containerLogs/", "/runningpods/", "/logs/")


def pod_list(pods: Sequence[Pod]) -> bytes:
    """A PodList as the API writes it; without pods its items are null."""
    items = [msgspec.structs.replace(pod, apiVersion="", kind="") for pod in pods]
    return encode(PodList(items=items or None)) + b"\n"


def configz(config: Mapping[str, Any]) -> bytes:
    """The document of ``/configz``: the configuration without its type and what is secret in it."""
    shown = {key: value for key, value in config.items() if key not in ("kind", "apiVersion")}
    if headers := shown.get("staticPodURLHeader"):
        shown["staticPodURLHeader"] = {name: ["<masked>"] for name in headers}
    return msgspec.json.encode({"kubeletconfig": shown})


def streaming_routes(streaming: Streaming, logs: ContainerLogs) -> list[Route]:
    """The ways into containers, for callers with full rights."""
    return [
        Route(_GET, f"/containerLogs{_CONTAINER}", logs.handle, "containerLogs"),
        Route(_BOTH, f"/exec{_CONTAINER}", streaming.exec, "exec"),
        Route(_BOTH, f"/exec{_CONTAINER_UID}", streaming.exec, "exec"),
        Route(_BOTH, f"/attach{_CONTAINER}", streaming.attach, "attach"),
        Route(_BOTH, f"/attach{_CONTAINER_UID}", streaming.attach, "attach"),
        Route(_BOTH, "/portForward/{namespace}/{pod}", streaming.port_forward, "portForward"),
        Route(_BOTH, "/portForward/{namespace}/{pod}/{uid}", streaming.port_forward, "portForward"),
    ]


def main_routes(
    node: NodeApi,
    streaming: Streaming,
    logs: ContainerLogs,
    *,
    enabled: bool,
    more: Sequence[Route] = (),
    pushed: Sequence[Route] = (),
) -> Routes:
    """Port 10250. *enabled* is ``enableDebuggingHandlers``; *more* is served only with it.

    *pushed* has a switch of its own.
    """
    routes = [*open_routes(node), *pushed]
    if not enabled:
        return Routes([*routes, *_disabled()])
    return Routes(
        [
            *routes,
            Route(_GET, "/configz", _configz(node), "configz"),
            Route(_GET, "/runningpods/", _running(node), "runningpods"),
            Route(_POST, f"/run{_CONTAINER}", streaming.run, "run"),
            Route(_POST, f"/run{_CONTAINER_UID}", streaming.run, "run"),
            *streaming_routes(streaming, logs),
            *more,
        ]
    )


def system_log_routes(system_logs: SystemLogs | None, *, enabled: bool) -> list[Route]:
    """The node's own logs; *enabled* is ``enableSystemLogHandler``."""
    if not enabled:
        return [Route(ANY, "/logs/", _refuse("logs endpoint is disabled."), "logs")]
    return [] if system_logs is None else [Route(_GET, "/logs/", system_logs.handle, "logs")]


def debug_routes(*, profiling: bool, flags: bool) -> list[Route]:
    """``/debug/``: *profiling* is ``enableProfilingHandler``, *flags* ``enableDebugFlagsHandler``."""
    refused = _refuse("profiling endpoint is disabled.")
    return [
        Route(_GET, "/debug/pprof/", debugging.profile, "pprof")
        if profiling
        else Route(ANY, "/debug/pprof/", refused, "pprof"),
        Route(
            ANY,
            "/debug/flags/v",
            debugging.verbosity() if flags else _refuse("flags endpoint is disabled."),
            "debug",
        ),
    ]


def checkpoint_routes(node: NodeApi, checkpoints: Checkpoints) -> list[Route]:
    """Images of containers."""
    return [Route(_POST, f"/checkpoint{_CONTAINER}", checkpoint(node, checkpoints), "checkpoint")]


def read_only_routes(node: NodeApi) -> Routes:
    """Port 10255: only what may be read by anybody who reaches it."""
    get_only = [
        route if route.methods == _GET else Route(_GET, route.pattern, route.handler, route.label)
        for route in open_routes(node)
    ]
    return Routes([*get_only, *_disabled()])


def healthz_routes() -> Routes:
    """Port 10248: that the process answers, and nothing else."""
    return Routes(health.ping_routes())


def open_routes(node: NodeApi) -> list[Route]:
    """What both 10250 and the read-only port serve."""
    return [
        *health.routes(node.health, [check.name for check in node.health()]),
        Route(_GET, "/pods", _pods(node), "pods"),
        Route(ANY, "/metrics", _metrics(node.metrics), "metrics"),
        Route(ANY, "/metrics/probes", _metrics(node.probe_metrics), "metrics/probes"),
    ]


def _disabled() -> list[Route]:
    return [
        Route(ANY, pattern, _refuse("Debug endpoints are disabled."), pattern.strip("/"))
        for pattern in (*_DEBUG, "/debug/pprof/")
    ]


def _refuse(message: str) -> Handler:
    async def refuse(_request: web.BaseRequest, _: Mapping[str, str]) -> web.StreamResponse:
        return plain_error(405, message)

    return refuse


def _pods(node: NodeApi) -> Handler:
    async def pods(_request: web.BaseRequest, _: Mapping[str, str]) -> web.StreamResponse:
        return json_bytes(pod_list(node.listed_pods()))

    return pods


def _running(node: NodeApi) -> Handler:
    async def running(_request: web.BaseRequest, _: Mapping[str, str]) -> web.StreamResponse:
        return json_bytes(pod_list(node.running_pods()))

    return running


def _configz(node: NodeApi) -> Handler:
    async def answer(_request: web.BaseRequest, _: Mapping[str, str]) -> web.StreamResponse:
        return json_bytes(configz(node.config_json()))

    return answer


def _metrics(render: Callable[[], bytes]) -> Handler:
    async def metrics(_request: web.BaseRequest, _: Mapping[str, str]) -> web.StreamResponse:
        return web.Response(body=render(), headers={"Content-Type": CONTENT_TYPE})

    return metrics
