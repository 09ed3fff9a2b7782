"""Attempts by exec, HTTP, TCP and gRPC against real servers on this machine."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest
import trustme
from aiohttp import web

from pykubelet.api.core import (
    Container,
    ContainerPort,
    EnvVar,
    EnvVarSource,
    ExecAction,
    GRPCAction,
    HTTPGetAction,
    HTTPHeader,
    Probe,
    TCPSocketAction,
)
from pykubelet.cri.errors import Code, CriError
from pykubelet.cri.types import ExecResult
from pykubelet.probes.handlers import OUTPUT_LIMIT, Handlers
from pykubelet.probes.types import Finding, Found, ProbeError
from pykubelet.rpc._gen import health_pb2

LOCAL = "127.0.0.1"
WEB = Container(name="web", ports=[ContainerPort(name="http", containerPort=8080)])


class Runner:
    """Answers exec_sync as it was told to, and remembers what was asked."""

    def __init__(self, answer=None) -> None:
        self.answer = answer or ExecResult(b"", b"", 0)
        self.asked = []

    async def exec_sync(self, container_id, command, timeout=0):
        self.asked.append((container_id, list(command), timeout))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
async def handlers() -> AsyncIterator[Handlers]:
    made = Handlers(Runner(), "1.36")
    yield made
    await made.close()


@contextlib.asynccontextmanager
async def serving(handler, tls: ssl.SSLContext | None = None):
    """An HTTP server; gives its port."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, LOCAL, 0, ssl_context=tls)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def http(handlers, port, *, timeout=1, **action) -> Finding:
    probe = Probe(httpGet=HTTPGetAction(port=port, **action), timeoutSeconds=timeout)
    return await handlers.attempt(probe, WEB, "c1", LOCAL)


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind((LOCAL, 0))
        return sock.getsockname()[1]


# --- exec ---------------------------------------------------------------------


async def execute(answer, command=("check",), env=(), timeout=3):
    runner = Runner(answer)
    probe = Probe(exec=ExecAction(command=list(command)), timeoutSeconds=timeout)
    finding = await Handlers(runner, "1.36").attempt(probe, Container(name="c", env=list(env)), "c1", "")
    return finding, runner.asked


async def test_an_exit_code_of_zero_is_success_and_all_output_is_kept() -> None:
    finding, asked = await execute(ExecResult(b"out", b"err", 0))
    assert finding == Finding(Found.SUCCESS, "outerr")
    assert asked == [("c1", ["check"], 3.0)]


async def test_another_exit_code_is_a_failure_with_bounded_output() -> None:
    finding, _ = await execute(ExecResult(b"x" * 20_000, b"", 2))
    assert finding.found is Found.FAILURE
    assert finding.output == "x" * OUTPUT_LIMIT


async def test_a_command_that_takes_too_long_is_a_failure() -> None:
    finding, _ = await execute(
        CriError(Code.DeadlineExceeded, "ExecSync", "late"), ["sh", "-c", 'echo "a"\nsleep 9'], timeout=1
    )
    assert finding == Finding(
        Found.FAILURE, 'command timed out: "sh -c echo \\"a\\"\\nsleep 9" timed out after 1s'
    )


async def test_a_runtime_that_cannot_run_it_says_nothing_of_the_container() -> None:
    with pytest.raises(ProbeError, match="code = Unavailable desc = gone"):
        await execute(CriError(Code.Unavailable, "ExecSync", "gone"))


async def test_only_literal_variables_are_expanded() -> None:
    env = [EnvVar(name="FILE", value="/ok"), EnvVar(name="IP", valueFrom=EnvVarSource())]
    _, asked = await execute(None, ["test", "-e", "$(FILE)", "[$(IP)]", "$(OTHER)", "$$(FILE)"], env)
    assert asked[0][1] == ["test", "-e", "/ok", "[]", "$(OTHER)", "$(FILE)"]


async def test_a_probe_without_a_mechanism_is_an_error(handlers) -> None:
    with pytest.raises(ProbeError, match="missing probe handler"):
        await handlers.attempt(Probe(), WEB, "c1", LOCAL)


# --- http ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "finding"),
    [
        (200, Finding(Found.SUCCESS, "body")),
        (204, Finding(Found.SUCCESS, "")),
        (304, Finding(Found.WARNING, "Probe terminated redirects, Response body: ")),
        (302, Finding(Found.WARNING, "Probe terminated redirects, Response body: body")),
        (400, Finding(Found.FAILURE, "HTTP probe failed with statuscode: 400")),
        (503, Finding(Found.FAILURE, "HTTP probe failed with statuscode: 503")),
    ],
)
async def test_the_status_code_decides(handlers, status, finding) -> None:
    async def answer(request):
        return web.Response(status=status, text="body" if status not in (204, 304) else None)

    async with serving(answer) as port:
        assert await http(handlers, port) == finding


async def test_what_a_probe_sends(handlers) -> None:
    seen = []

    async def answer(request):
        seen.append(request)
        return web.Response()

    async with serving(answer) as port:
        await http(handlers, port, path="healthz?full=1")
        await http(
            handlers,
            port,
            httpHeaders=[
                HTTPHeader(name="host", value="shop.example"),
                HTTPHeader(name="x-a", value="1"),
                HTTPHeader(name="x-a", value="2"),
                HTTPHeader(name="Accept", value=""),
                HTTPHeader(name="user-agent", value="me"),
            ],
        )
    plain, custom = seen
    assert plain.method == "GET"
    assert plain.path_qs == "/healthz?full=1"
    assert plain.headers["User-Agent"] == "kube-probe/1.36"
    assert plain.headers["Accept"] == "*/*"
    assert plain.headers["Connection"].lower() == "close"
    assert "Accept-Encoding" not in plain.headers
    assert plain.host == f"{LOCAL}:{port}"
    assert custom.host == "shop.example"
    assert custom.headers.getall("X-A") == ["1", "2"]
    assert custom.headers["User-Agent"] == "me"
    assert "Accept" not in custom.headers


async def test_redirects_are_followed_on_the_same_host_only(handlers) -> None:
    hosts = []

    async def answer(request):
        hosts.append((request.path, request.host))
        place = {"/a": "/b", "/b": f"http://{LOCAL}:{port}/c", "/out": "http://elsewhere.test/"}
        if request.path in place:
            return web.Response(status=302, headers={"Location": place[request.path]}, text="moved")
        return web.Response(text="arrived")

    named = [HTTPHeader(name="Host", value="shop.example")]
    async with serving(answer) as port:
        assert await http(handlers, port, path="/a", httpHeaders=named) == Finding(Found.SUCCESS, "arrived")
        assert await http(handlers, port, path="/out") == Finding(
            Found.WARNING, "Probe terminated redirects, Response body: moved"
        )
    assert hosts[:3] == [("/a", "shop.example"), ("/b", "shop.example"), ("/c", f"{LOCAL}:{port}")]


async def test_a_circle_of_redirects_ends(handlers) -> None:
    asked = []

    async def answer(request):
        asked.append(request.path)
        return web.Response(status=301, headers={"Location": "/again"})

    async with serving(answer) as port:
        finding = await http(handlers, port)
    assert finding.found is Found.FAILURE
    assert finding.output.endswith("stopped after 10 redirects")
    assert len(asked) == 10


async def test_of_a_body_no_more_than_the_limit_is_read(handlers) -> None:
    async def answer(request):
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            for _ in range(10_000):
                await response.write(b"z" * 1000)
        return response

    async with serving(answer) as port:
        finding = await http(handlers, port, timeout=10)
    assert finding == Finding(Found.SUCCESS, "z" * OUTPUT_LIMIT)


async def test_a_body_that_comes_in_pieces_is_read_whole(handlers) -> None:
    async def answer(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for part in (b"one ", b"two ", b"three"):
            await response.write(part)
            await asyncio.sleep(0.005)
        return response

    async with serving(answer) as port:
        assert (await http(handlers, port)).output == "one two three"


async def test_a_server_that_takes_too_long_is_a_failure(handlers) -> None:
    async def answer(request):
        await asyncio.sleep(30)

    async with serving(answer) as port:
        finding = await http(handlers, port)
    assert finding == Finding(
        Found.FAILURE,
        f'Get "http://{LOCAL}:{port}/": context deadline exceeded '
        "(Client.Timeout exceeded while awaiting headers)",
    )


@pytest.mark.parametrize(("ends", "text"), [(True, "unexpected EOF"), (False, "while reading body")])
async def test_an_answer_whose_body_does_not_come_says_nothing_of_the_container(handlers, ends, text) -> None:
    async def answer(reader, writer):
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
        await writer.drain()
        if not ends:
            while await reader.read(1000):
                pass
        writer.close()

    async with await asyncio.start_server(answer, LOCAL, 0) as server:
        with pytest.raises(ProbeError, match=text) as raised:
            await http(handlers, server.sockets[0].getsockname()[1])
    assert raised.value.state == "failure"


async def test_a_port_nobody_listens_on_is_a_failure_in_upstreams_words(handlers, closed_port) -> None:
    assert await http(handlers, closed_port) == Finding(
        Found.FAILURE,
        f'Get "http://{LOCAL}:{closed_port}/": dial tcp {LOCAL}:{closed_port}: connect: connection refused',
    )


async def test_a_server_that_hangs_up_is_a_failure(handlers) -> None:
    async def hang_up(reader, writer):
        await reader.readline()
        writer.close()

    server = await asyncio.start_server(hang_up, LOCAL, 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await http(handlers, port) == Finding(Found.FAILURE, f'Get "http://{LOCAL}:{port}/": EOF')


async def test_https_asks_for_no_good_certificate(handlers) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("another.name").configure_cert(context)

    async def answer(request):
        return web.Response(text=request.scheme)

    async with serving(answer, context) as port:
        assert await http(handlers, port, scheme="HTTPS") == Finding(Found.SUCCESS, "https")


async def test_without_an_ip_nothing_is_probed_instead_of_the_node(handlers) -> None:
    for probe in (
        Probe(httpGet=HTTPGetAction(port=80)),
        Probe(tcpSocket=TCPSocketAction(port=80)),
        Probe(grpc=GRPCAction(port=80)),
    ):
        with pytest.raises(ProbeError, match="no IP"):
            await handlers.attempt(probe, WEB, "c1", "")


# --- tcp ----------------------------------------------------------------------


async def test_a_connection_is_enough_for_tcp(handlers, closed_port) -> None:
    met = asyncio.Event()

    async def meet(reader, writer):
        assert await reader.read() == b""
        writer.close()
        met.set()

    async with await asyncio.start_server(meet, LOCAL, 0) as server:
        port = server.sockets[0].getsockname()[1]
        found = await handlers.attempt(Probe(tcpSocket=TCPSocketAction(port=port)), WEB, "c1", LOCAL)
        await met.wait()
    assert found == Finding(Found.SUCCESS)
    refused = Probe(tcpSocket=TCPSocketAction(port=closed_port, host="localhost"))
    finding = await handlers.attempt(refused, WEB, "c1", "192.0.2.1")
    assert finding.found is Found.FAILURE
    assert finding.output.endswith(f":{closed_port}: connect: connection refused")
    refused = Probe(tcpSocket=TCPSocketAction(port=closed_port))
    assert await handlers.attempt(refused, WEB, "c1", LOCAL) == Finding(
        Found.FAILURE, f"dial tcp {LOCAL}:{closed_port}: connect: connection refused"
    )


# --- grpc ---------------------------------------------------------------------


@contextlib.asynccontextmanager
async def health_server(answer):
    """A gRPC server whose health service answers by *answer(request, context)*."""
    server = grpc.aio.server()
    if answer is not None:
        method = grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=health_pb2.HealthCheckRequest.FromString,
            response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
        )
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method})]
        )
    port = server.add_insecure_port(f"{LOCAL}:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


async def grpc_probe(handlers, port, service=None) -> Finding:
    probe = Probe(grpc=GRPCAction(port=port, service=service), timeoutSeconds=1)
    return await handlers.attempt(probe, WEB, "c1", LOCAL)


async def test_grpc_health_answers(handlers) -> None:
    asked = []

    async def answer(request, context):
        asked.append((request.service, dict(context.invocation_metadata())["user-agent"].split()[0]))
        if request.service == "odd":
            await context.abort(grpc.StatusCode.NOT_FOUND, "what?")
        status = {"": 1, "down": 2, "late": 1}[request.service]
        if request.service == "late":
            await asyncio.sleep(30)
        return health_pb2.HealthCheckResponse(status=status)

    async with health_server(answer) as port:
        assert await grpc_probe(handlers, port) == Finding(Found.SUCCESS, "service healthy")
        assert await grpc_probe(handlers, port, "down") == Finding(
            Found.FAILURE, 'service unhealthy (responded with "NOT_SERVING")'
        )
        assert await grpc_probe(handlers, port, "odd") == Finding(
            Found.FAILURE, "error: health rpc probe failed: rpc error: code = NotFound desc = what?"
        )
        assert await grpc_probe(handlers, port, "late") == Finding(
            Found.FAILURE, "timeout: health rpc did not complete within 1s"
        )
    assert asked[0] == ("", "kube-probe/1.36")


async def test_a_server_without_the_health_service(handlers) -> None:
    async with health_server(None) as port:
        finding = await grpc_probe(handlers, port)
    assert finding.found is Found.FAILURE
    assert finding.output.startswith(
        "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): "
    )


async def test_grpc_without_a_server_times_out(handlers, closed_port) -> None:
    assert await grpc_probe(handlers, closed_port) == Finding(
        Found.FAILURE,
        f'timeout: failed to connect service "{LOCAL}:{closed_port}" within 1s: context deadline exceeded',
    )
