"""HTTP hooks against real servers on this host; the others are tested with the starter."""

import ssl

import pytest
import trustme
from aiohttp import web

from pykubelet.api.core import Container, ContainerPort, HTTPGetAction, HTTPHeader, LifecycleHandler
from pykubelet.base.clock import SystemClock
from pykubelet.containers.hooks import HookError, Hooks, hook_headers, hook_port, hook_url
from pykubelet.cri.memory import MemoryRuntime

C = Container(name="c", ports=[ContainerPort(name="web", containerPort=81)])


@pytest.mark.parametrize(
    ("action", "wanted"),
    [
        (HTTPGetAction(path="/a?b=c", port=90), "http://10.0.0.1:90/a?b=c"),
        (HTTPGetAction(path="x", port="web", scheme="HTTPS", host="h"), "https://h:81/x"),
        (HTTPGetAction(path="/", port="8080", host="fd00::1"), "http://[fd00::1]:8080/"),
    ],
)
def test_urls(action, wanted):
    assert str(hook_url(action, C, "10.0.0.1")) == wanted


@pytest.mark.parametrize("port", [0, 65536, "none"])
def test_ports_that_are_none(port):
    with pytest.raises(ValueError, match="port"):
        hook_port(port, C)


def test_headers():
    made = hook_headers(
        HTTPGetAction(httpHeaders=[HTTPHeader(name="accept", value=""), HTTPHeader(name="X", value="1")])
    )
    assert dict(made) == {"X": "1", "User-Agent": "kube-lifecycle/1.36"}


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


async def run(told, make_pod, action):
    hooks = Hooks(MemoryRuntime(SystemClock()), SystemClock(), told)
    await hooks.run(make_pod(), C, "id", LifecycleHandler(httpGet=action), ("127.0.0.1",))


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
    port = await listen()
    await run(told, make_pod, HTTPGetAction(path="/x", port=port, scheme="HTTPS", httpHeaders=[secret]))
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
        HookError, match=r'HTTP lifecycle hook \(/x\) for Container "c" in Pod "web_ns\(uid-1\)" failed'
    ):
        await run(told, make_pod, HTTPGetAction(path="/x", port=1))
