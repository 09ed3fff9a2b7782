"""``/debug/``, ``/statusz``, ``/flagz`` and ``/checkpoint``."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.server.conftest import Answer, FakeNode, http

from pykubelet.api.core import Pod
from pykubelet.base.clock import ManualClock
from pykubelet.server import zpages
from pykubelet.server.doors import ApiError
from pykubelet.server.listener import Listener
from pykubelet.server.routes import Route, Routes
from pykubelet.server.tables import checkpoint_routes, debug_routes


class Site:
    def __init__(self, routes: list[Route]) -> None:
        self.listener = Listener("debug", Routes(routes))

    async def __aenter__(self) -> "Site":
        await self.listener.start_tcp("127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.listener.stop()

    async def ask(self, path: str, method: str = "GET", body: str = "") -> Answer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port)
        if not body:
            return await http(reader, writer, method, path)
        # The body is sent behind the head that ``http`` writes.
        asking = http(reader, writer, method, path, Content_Length=str(len(body)))
        asyncio.get_running_loop().call_later(0.02, writer.write, body.encode())
        return await asking


@pytest.fixture
def level() -> Iterator[Callable[[], int]]:
    log = logging.getLogger("pykubelet")
    before = log.level
    yield lambda: log.level
    log.setLevel(before)


async def test_the_verbosity_is_changed(level: Callable[[], int]) -> None:
    async with Site(debug_routes(profiling=True, flags=True)) as site:
        answer = await site.ask("/debug/flags/v", "PUT", "5")
        assert (answer.status, answer.text) == (200, "successfully set klog.logging.verbosity to 5\n")
        assert level() == logging.DEBUG
        await site.ask("/debug/flags/v", "PUT", "2")
        assert level() == logging.INFO
        answer = await site.ask("/debug/flags/v", "PUT", "high")
        assert answer.status == 400 and 'parsing "high"' in answer.text
        assert (await site.ask("/debug/flags/v", "PUT", "9" * 100)).status == 400
        answer = await site.ask("/debug/flags/v")
        assert (answer.status, answer.text) == (406, "unsupported http method\n")


async def test_profiles() -> None:
    async with Site(debug_routes(profiling=True, flags=True)) as site:
        assert "pytest" in (await site.ask("/debug/pprof/cmdline")).text
        assert (await site.ask("/debug/pprof/")).status == 200
        assert (await site.ask("/debug/pprof/heap")).status == 404


async def test_what_is_switched_off_says_so() -> None:
    async with Site(debug_routes(profiling=False, flags=False)) as site:
        answer = await site.ask("/debug/pprof/heap", "POST")
        assert (answer.status, answer.text) == (405, "profiling endpoint is disabled.\n")
        answer = await site.ask("/debug/flags/v")
        assert (answer.status, answer.text) == (405, "flags endpoint is disabled.\n")


async def test_zpages() -> None:
    clock = ManualClock()
    routes = [
        Route(("GET",), "/statusz", zpages.statusz(clock, ["/pods", "/debug/flags/v", "/debug/pprof/"])),
        Route(("GET",), "/flagz", zpages.flagz({"v": "2", "config": "/c"})),
    ]
    clock.advance(3723.5)
    async with Site(routes) as site:
        status = (await site.ask("/statusz")).text
        assert status.startswith("\nkubelet statusz\nWarning: This endpoint is not meant")
        assert "\nStarted: Tue Nov 14 22:13:20 UTC 2023\nUp: 1 hr 02 min 03 sec\n" in status
        assert status.endswith("\nPaths: /debug /pods\n")
        flags = (await site.ask("/flagz")).text
        assert flags.startswith("\nkubelet flagz\n") and flags.endswith("\nconfig=/c\nv=2\n")


CHECKPOINTS = "/var/lib/kubelet/checkpoints"


class Checkpoints:
    async def checkpoint(self, pod: Pod, container: str, timeout: int) -> str:
        if timeout == 13:
            raise ApiError(500, "not supported")
        return f"{CHECKPOINTS}/{pod.metadata.name}-{container}-{timeout}.tar"


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("web-node1/main", 200, f'{{"items":["{CHECKPOINTS}/web-node1-main-0.tar"]}}'),
        (
            "web-node1/main?timeout=1&timeout=7",
            200,
            '{"items":["/var/lib/kubelet/checkpoints/web-node1-main-7.tar"]}',
        ),
        ("none/main", 404, "pod does not exist"),
        ("web-node1/none", 404, "container none does not exist"),
        ("web-node1/main?timeout=soon", 404, "cannot parse value of timeout parameter"),
        ("web-node1/main?timeout=13", 500, "checkpointing of default/web-node1/main failed (not supported)"),
    ],
)
async def test_checkpoints(path: str, status: int, body: str) -> None:
    async with Site(checkpoint_routes(FakeNode(), Checkpoints())) as site:
        answer = await site.ask(f"/checkpoint/default/{path}", "POST")
        assert (answer.status, answer.text) == (status, body)


async def test_on_the_port(start_server: Any, client_tls: Callable[..., ssl.SSLContext]) -> None:
    async def ask(server: Any, path: str) -> Answer:
        port = server.listener("kubelet").port
        return await http(
            *await asyncio.open_connection("127.0.0.1", port, ssl=client_tls("jane")), "GET", path
        )

    server = await start_server()
    assert " /debug /exec " in (await ask(server, "/statusz")).text
    assert (await ask(server, "/flagz")).status == 404
    assert (await ask(server, "/logs/")).status == 404
    assert (await ask(server, "/debug/pprof/cmdline")).status == 200
    off = await start_server(
        enableSystemLogHandler=False, enableProfilingHandler=False, featureGates={"ComponentStatusz": False}
    )
    assert (await ask(off, "/logs/x")).text == "logs endpoint is disabled.\n"
    assert (await ask(off, "/debug/pprof/heap")).text == "profiling endpoint is disabled.\n"
    assert (await ask(off, "/statusz")).status == 404
    none = await start_server(enableDebuggingHandlers=False)
    assert (await ask(none, "/statusz")).status == 404
    assert (await ask(none, "/debug/pprof/heap")).text == "Debug endpoints are disabled.\n"
