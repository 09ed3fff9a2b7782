"""HTTP hooks against real servers on this host; the others are tested with the starter."""

import asyncio
import ssl

import pytest
import trustme
from aiohttp import web

from pykubelet.api.core import Container, HTTPGetAction, HTTPHeader, LifecycleHandler, SleepAction
from pykubelet.base.clock import SystemClock
from pykubelet.base.metrics import Metrics
from pykubelet.containers.hooks import HookError, Hooks
from pykubelet.cri.memory import MemoryRuntime

C = Container(name="c")


@pytest.fixture
async def server():
    seen = []

    async def answer(request):
        seen.append((request.path, request.headers.get("Authorization"), request.headers["User-Agent"]))
        if request.path == "/away":
            raise web.HTTPFound("/there")
        return web.Response(status=500)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()

    async def listen(context=None):
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        return site._server.sockets[0].getsockname()[1]

    yield listen, seen
    await runner.cleanup()


async def run(told, make_pod, action, metrics=None):
    hooks = Hooks(MemoryRuntime(SystemClock()), SystemClock(), told, told, metrics or Metrics())
    await hooks.run(make_pod(), C, "id", "preStop", LifecycleHandler(httpGet=action), ("127.0.0.1",))


async def test_any_answer_is_good_and_redirects_are_followed(server, told, make_pod):
    listen, seen = server
    await run(told, make_pod, HTTPGetAction(path="/away", port=await listen()))
    assert [path for path, _, _ in seen] == ["/away", "/there"]


async def test_a_certificate_is_not_verified(server, told, make_pod):
    listen, seen = server
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("elsewhere").configure_cert(context)
    await run(told, make_pod, HTTPGetAction(path="/x", port=await listen(context), scheme="HTTPS"))
    assert seen[0][0] == "/x"
    assert not told.events


async def test_https_answered_in_plain_is_tried_again_without_credentials(server, told, make_pod):
    listen, seen = server
    secret = HTTPHeader(name="Authorization", value="secret")
    port, metrics = await listen(), Metrics()
    action = HTTPGetAction(path="/x", port=port, scheme="HTTPS", httpHeaders=[secret])
    await run(told, make_pod, action, metrics)
    assert b"\nkubelet_lifecycle_handler_http_fallbacks_total 1.0\n" in metrics.render()
    assert seen == [("/x", None, "kube-lifecycle/1.36")]
    assert told.events == [
        (
            "Warning",
            "LifecycleHTTPFallback",
            f"request to HTTPS lifecycle hook 127.0.0.1:{port} got HTTP response, retry with HTTP succeeded",
            "",
        )
    ]


async def test_nobody_there(told, make_pod):
    with pytest.raises(
        HookError,
        match=r'HTTP lifecycle hook \(/x\) for Container "c" in Pod "web_ns\(uid-1\)" failed - error: '
        r'Get "http://127.0.0.1:1/x": dial tcp 127.0.0.1:1: connect: connection refused',
    ):
        await run(told, make_pod, HTTPGetAction(path="/x", port=1))


async def test_a_sleep_that_is_cut_short_is_counted_and_none_at_all_is_fine(told, make_pod):
    metrics = Metrics()
    hooks = Hooks(MemoryRuntime(SystemClock()), SystemClock(), told, told, metrics)

    async def sleep(seconds):
        hook = LifecycleHandler(sleep=SleepAction(seconds=seconds))
        await hooks.run(make_pod(), C, "id", "preStop", hook, ())

    await sleep(0)
    assert b"kubelet_sleep_action_terminated_early_total 0.0" in metrics.render()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(sleep(60), 0.01)
    assert b"kubelet_sleep_action_terminated_early_total 1.0" in metrics.render()
