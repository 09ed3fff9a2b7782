import asyncio
import json
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.server.conftest import Answer, FakeNode, http

from pykubelet.config import KubeletConfiguration
from pykubelet.server import AlwaysDeny, ApiError, HealthCheck, KubeletServer, ListenError, TlsError
from pykubelet.server.access import certificate_user, check_standalone_auth
from pykubelet.server.doors import Attributes
from pykubelet.server.listener import Listener, text
from pykubelet.server.routes import Route, Routes
from pykubelet.server.tables import healthz_routes, main_routes, read_only_routes
from pykubelet.server.tls import ReloadingTls

ClientTls = Callable[..., ssl.SSLContext]


async def ask(server: KubeletServer, tls: ssl.SSLContext, path: str, method: str = "GET") -> Answer:
    listener = server.listener("kubelet")
    assert listener is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=tls)
    return await http(reader, writer, method, path)


class Recorder:
    """Allows what it is told to, and remembers what it was asked."""

    def __init__(self, *allowed: str, error: bool = False) -> None:
        self.asked: list[Attributes] = []
        self._allowed = allowed
        self._error = error

    async def allows(self, attributes: Attributes) -> bool:
        self.asked.append(attributes)
        if self._error:
            raise RuntimeError("the cluster is away")
        return attributes.subresource in self._allowed


# --- access -------------------------------------------------------------------


async def test_without_certificate_nobody_gets_in(start_server: Any, client_tls: ClientTls) -> None:
    server = await start_server()
    answer = await ask(server, client_tls(), "/pods")
    assert (answer.status, answer.text) == (401, "Unauthorized")


async def test_a_client_certificate_names_user_and_groups(start_server: Any, client_tls: ClientTls) -> None:
    recorder = Recorder("proxy")
    server = await start_server(recorder)
    answer = await ask(server, client_tls("jane", "system:masters"), "/pods")
    assert answer.status == 200
    assert [one.subresource for one in recorder.asked] == ["pods", "proxy"]
    user = recorder.asked[0].user
    assert (user.name, user.groups) == ("jane", ("system:masters", "system:authenticated"))


async def test_a_certificate_of_another_authority_gets_nowhere(
    start_server: Any, client_tls: ClientTls
) -> None:
    server = await start_server()
    with pytest.raises((ssl.SSLError, ConnectionError, IndexError)):
        await ask(server, client_tls("jane", ca=trustme.CA()), "/pods")


async def test_anonymous_when_it_is_allowed_and_denied_by_name(
    start_server: Any, client_tls: ClientTls
) -> None:
    config = KubeletConfiguration()
    config.authentication.anonymous.enabled = True
    config.authentication.x509.clientCAFile = ""
    server = await start_server(AlwaysDeny(), authentication=config.authentication)
    answer = await ask(server, client_tls(), "/exec/default/web-node1/main", "POST")
    assert answer.status == 403
    assert answer.text == (
        "Forbidden (user=system:anonymous, verb=create, resource=nodes, subresource(s)=[proxy])\n"
    )


async def test_an_authorizer_that_fails_is_500_and_lets_nobody_in(
    start_server: Any, client_tls: ClientTls, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start_server(Recorder(error=True))
    answer = await ask(server, client_tls("jane"), "/pods")
    assert answer.status == 500
    assert answer.text == "Authorization error (user=jane, verb=get, resource=nodes, subresource=pods)"
    assert "away" in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ((), None),
        (((("organizationName", "g"),),), None),
        (((("commonName", "u"),), (("organizationName", "g"),)), "u"),
    ],
)
def test_user_of_a_certificate(subject: object, expected: str | None) -> None:
    certificate = {"subject": subject, "notAfter": "Jan  1 00:00:00 2030 GMT"}
    user = certificate_user(certificate, now=0.0)
    assert (user and user.name) == expected
    assert certificate_user(certificate, now=4e9) is None


def test_webhooks_need_a_cluster_and_each_field_is_named() -> None:
    config = KubeletConfiguration()
    reasons = check_standalone_auth(config, "")
    assert [reason.partition(" ")[0] for reason in reasons] == [
        "authentication.webhook.enabled",
        "authorization.mode",
    ]
    assert check_standalone_auth(config, "/etc/kubeconfig") == []
    config.authentication.webhook.enabled = False
    config.authorization.mode = "AlwaysAllow"
    assert check_standalone_auth(config, "") == []


# --- what is served -----------------------------------------------------------


def surface(routes: Routes) -> set[str]:
    return {f"{','.join(route.methods)} {route.pattern}" for route in routes.routes}


def test_routes_of_each_listener(node: FakeNode) -> None:
    streaming: Any = type("S", (), dict.fromkeys(("exec", "attach", "port_forward", "run", "handle")))()
    main = surface(main_routes(node, streaming, streaming, enabled=True))
    health = {"/healthz", "/healthz/ping", "/healthz/log", "/healthz/syncloop"}
    assert surface(healthz_routes()) == {"* /healthz", "* /healthz/ping"}
    assert main == {
        *(f"* {path}" for path in health),
        "GET /pods",
        "* /metrics",
        "* /metrics/probes",
        "GET /configz",
        "GET /runningpods/",
        "POST /run/{namespace}/{pod}/{container}",
        "POST /run/{namespace}/{pod}/{uid}/{container}",
        "GET /containerLogs/{namespace}/{pod}/{container}",
        "GET,POST /exec/{namespace}/{pod}/{container}",
        "GET,POST /exec/{namespace}/{pod}/{uid}/{container}",
        "GET,POST /attach/{namespace}/{pod}/{container}",
        "GET,POST /attach/{namespace}/{pod}/{uid}/{container}",
        "GET,POST /portForward/{namespace}/{pod}",
        "GET,POST /portForward/{namespace}/{pod}/{uid}",
    }
    read_only = read_only_routes(node)
    served = {route.pattern for route in read_only.routes if route.methods == ("GET",)}
    assert served == health | {"/pods", "/metrics", "/metrics/probes"}
    for path in (
        "/exec/a/b/c",
        "/run/a/b/c",
        "/containerLogs/a/b/c",
        "/logs/x",
        "/debug/pprof/",
        "/attach/a",
    ):
        found = read_only.find("POST", path).route
        assert found is not None and found.methods == ("*",)


async def test_pods_configz_and_unknown_paths(
    start_server: Any, client_tls: ClientTls, node: FakeNode
) -> None:
    server = await start_server()
    tls = client_tls("jane")
    pods = json.loads((await ask(server, tls, "/pods")).body)
    assert [pods["kind"], pods["apiVersion"], pods["items"][0]["metadata"]["name"]] == [
        "PodList",
        "v1",
        "web-node1",
    ]
    known, node.known = node.known, []
    assert json.loads((await ask(server, tls, "/pods")).body)["items"] is None
    node.known = known
    assert json.loads((await ask(server, tls, "/configz")).body) == {"kubeletconfig": {"port": 1}}
    nothing = await ask(server, client_tls(), "/nothing")
    assert (nothing.status, nothing.text) == (404, "404 page not found\n")
    below = await ask(server, tls, "/pods/x")
    assert (below.status, below.text) == (404, "404: Page Not Found")
    assert (await ask(server, client_tls(), "/pods/x")).status == 401
    method = await ask(server, tls, "/pods", "POST")
    assert (method.status, method.text) == (405, "405: Method Not Allowed")
    assert (
        await ask(server, tls, "/run/default/web-node1/main?cmd=a%20%20b", "POST")
    ).text == "['a', '', 'b']"
    assert (await ask(server, tls, "/run/default/web-node1/main", "GET")).status == 405


async def test_debugging_handlers_switched_off(start_server: Any, client_tls: ClientTls) -> None:
    server = await start_server(enableDebuggingHandlers=False)
    tls = client_tls("jane")
    for path in ("/exec/a/b/c", "/run/a/b/c", "/runningpods/", "/containerLogs/a/b/c", "/logs/"):
        answer = await ask(server, tls, path)
        assert (answer.status, answer.text) == (405, "Debug endpoints are disabled.\n")
    assert (await ask(server, tls, "/configz")).status == 404
    assert (await ask(server, tls, "/pods")).status == 200


async def test_health(start_server: Any, client_tls: ClientTls, node: FakeNode) -> None:
    server = await start_server()
    tls = client_tls("jane")
    assert (await ask(server, tls, "/healthz")).text == "ok"
    assert (await ask(server, tls, "/healthz?verbose")).text == (
        "[+]ping ok\n[+]log ok\n[+]syncloop ok\nhealthz check passed\n"
    )
    node.checks = [HealthCheck("syncloop", "sync Loop took longer than expected")]
    bad = await ask(server, tls, "/healthz")
    assert (bad.status, bad.text) == (
        500,
        "[+]ping ok\n[+]log ok\n[-]syncloop failed: reason withheld\nhealthz check failed\n",
    )
    assert (await ask(server, tls, "/healthz?exclude=syncloop")).text == "ok"
    one = await ask(server, tls, "/healthz/syncloop")
    assert (one.status, one.text) == (500, "internal server error: sync Loop took longer than expected\n")
    assert (await ask(server, tls, "/healthz/ping")).text == "ok"
    assert (await ask(server, tls, "/healthz/other")).status == 404


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_the_plain_ports(start_server: Any) -> None:
    read_only, health = free_port(), free_port()
    server = await start_server(readOnlyPort=read_only, healthzPort=health)
    while server.listener("healthz") is None:
        await asyncio.sleep(0)

    async def plain(port: int, path: str, method: str = "GET") -> Answer:
        return await http(*await asyncio.open_connection("127.0.0.1", port), method, path)

    assert (await plain(read_only, "/pods")).status == 200
    assert (await plain(read_only, "/pods", "POST")).status == 405
    assert (await plain(read_only, "/exec/a/b/c", "POST")).text == "Debug endpoints are disabled.\n"
    assert (await plain(read_only, "/configz")).status == 404
    assert (await plain(health, "/healthz?verbose")).text == "[+]ping ok\nhealthz check passed\n"
    for path in ("/pods", "/metrics", "/debug/pprof/", "/healthz/syncloop", "/"):
        assert (await plain(health, path)).status == 404


async def test_a_taken_port_is_named(start_server: Any) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ListenError, match=f"127.0.0.1:{port} .kubelet.: Address already in use"):
            await start_server(port=port)


# --- certificates -------------------------------------------------------------


async def test_self_signed_once_and_for_good(start_server: Any, tmp_path: Path) -> None:
    for _ in range(2):
        server = await start_server(tlsCertFile="", tlsPrivateKeyFile="", address="127.0.0.1")
        pem = (tmp_path / "pki" / "kubelet.crt").read_text()
        assert (tmp_path / "pki" / "kubelet.key").stat().st_mode & 0o777 == 0o600
        tls = ssl.create_default_context(cadata=pem)
        tls.check_hostname = False
        assert (await ask(server, tls, "/pods")).status == 401
    assert (tmp_path / "pki" / "kubelet.crt").read_text() == pem
    (tmp_path / "pki" / "kubelet.key").write_text("broken")
    await start_server(tlsCertFile="", tlsPrivateKeyFile="")
    assert (tmp_path / "pki" / "kubelet.crt").read_text() != pem


async def test_a_bad_certificate_file_is_named(start_server: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.crt"
    bad.write_text("nothing")
    with pytest.raises(TlsError, match=r"bad\.crt"):
        await start_server(tlsCertFile=str(bad))


async def test_certificate_and_client_ca_are_read_anew(
    start_server: Any, client_tls: ClientTls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ReloadingTls.__init__.__kwdefaults__, "period", 0.02)
    server = await start_server()
    assert (await ask(server, client_tls("jane"), "/pods")).status == 200
    # A connection that is open while the authority changes must not go on as that user.
    listener = server.listener("kubelet")
    kept = await asyncio.open_connection("127.0.0.1", listener.port, ssl=client_tls("jane"))
    kept[1].write(b"GET /pods HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await kept[0].readuntil(b"\r\n\r\n")
    assert b"200 OK" in head
    await kept[0].readexactly(int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
    other = trustme.CA()
    pair = other.issue_cert("127.0.0.1")
    pair.private_key_pem.write_to_path(str(tmp_path / "tls.key"))
    pair.cert_chain_pems[0].write_to_path(str(tmp_path / "tls.crt"))
    other.cert_pem.write_to_path(str(tmp_path / "ca.crt"))

    def trusting() -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=other.cert_pem.bytes().decode())
        other.issue_cert("c@example.org", common_name="joe").configure_cert(context)
        return context

    async with asyncio.timeout(10):
        while True:
            try:
                if (await ask(server, trusting(), "/pods")).status == 200:
                    break
            except (ssl.SSLError, ConnectionError, IndexError):
                await asyncio.sleep(0.01)
    old = client_tls("jane")
    old.load_verify_locations(cadata=other.cert_pem.bytes().decode())
    with pytest.raises((ssl.SSLError, ConnectionError, IndexError)):
        await ask(server, old, "/pods")
    answer = await http(*kept, "GET", "/pods")
    assert answer.status == 401


# --- logs ---------------------------------------------------------------------


async def test_logs_are_streamed(start_server: Any, client_tls: ClientTls, node: FakeNode) -> None:
    server = await start_server()
    node.blocks = [b"one\n", b"", b"two\n"]
    answer = await ask(server, client_tls("jane"), "/containerLogs/default/web-node1/main?tailLines=3")
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, "text/plain", b"one\ntwo\n")
    assert node.asked[0].tail_lines == 3


@pytest.mark.parametrize(
    ("path", "status", "text_"),
    [
        ("default/none/main", 404, 'pod "none" does not exist'),
        ("default/web-node1/none", 404, 'container "none" not found in pod "web-node1"'),
        ("default/web-node1/main?tailLines=-1", 422, '{"message": "Invalid request."}'),
        ("default/web-node1/main?tailLines=x", 400, '{"message": "Unable to decode query."}'),
        ("default/web-node1/main", 400, "it waits"),
        ("default/web-node1/main?follow=true", 400, "it waits"),
    ],
)
async def test_logs_that_are_refused(
    start_server: Any, client_tls: ClientTls, node: FakeNode, path: str, status: int, text_: str
) -> None:
    server = await start_server()
    node.log_error = ApiError(400, "it waits")
    answer = await ask(server, client_tls("jane"), f"/containerLogs/{path}")
    assert (answer.status, answer.text) == (status, text_)


async def test_an_old_client_gets_its_log_up_to_the_connections_end(
    start_server: Any, client_tls: ClientTls, node: FakeNode
) -> None:
    server = await start_server()
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", server.listener("kubelet").port, ssl=client_tls("jane")
    )
    writer.write(b"GET /containerLogs/default/web-node1/main HTTP/1.0\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.0 200")
    assert answer.endswith(b"\r\n\r\nhello\n")


async def test_a_followed_log_begins_at_once_and_ends_with_its_reader(
    start_server: Any, client_tls: ClientTls, node: FakeNode
) -> None:
    server = await start_server()
    node.blocks, node.log_hangs = [b"first\n"], True
    listener = server.listener("kubelet")
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=client_tls("jane"))
    writer.write(b"GET /containerLogs/default/web-node1/main?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"first\n")
    assert not node.log_closed.is_set()
    writer.transport.abort()
    async with asyncio.timeout(5):
        await node.log_closed.wait()


# --- limits -------------------------------------------------------------------


async def hello(_request: Any, _names: Any) -> Any:
    return text(200, "hello")


async def test_too_many_connections_and_silent_ones_are_ended() -> None:
    listener = Listener("test", Routes([Route(("GET",), "/", hello)]), max_connections=2, first_request=0.05)
    await listener.start_tcp("127.0.0.1", 0)
    try:
        pairs = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(3)]
        async with asyncio.timeout(5):
            for reader, _ in reversed(pairs):
                with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                    await reader.readexactly(1)
        for _, writer in pairs:
            writer.close()
        answer = await http(*await asyncio.open_connection("127.0.0.1", listener.port), "GET", "/")
        assert answer.text == "hello"
    finally:
        await listener.stop()


async def test_a_head_that_is_too_large_is_refused() -> None:
    listener = Listener("test", Routes([Route(("GET",), "/", hello)]))
    await listener.start_tcp("127.0.0.1", 0)
    try:
        pair = await asyncio.open_connection("127.0.0.1", listener.port)
        answer = await http(*pair, "GET", "/", X_Large="x" * (17 << 10))
        assert answer.status == 400
        pair = await asyncio.open_connection("127.0.0.1", listener.port)
        fields = {f"X_{index}": "x" for index in range(60)}
        assert (await http(*pair, "GET", "/", **fields)).status == 400
    finally:
        await listener.stop()


async def test_who_does_not_take_an_answer_is_cut_off() -> None:
    async def large(_request: Any, _names: Any) -> Any:
        return text(200, "x" * (32 << 20))

    listener = Listener("test", Routes([Route(("GET",), "/", large)]), patience=0.1)
    await listener.start_tcp("127.0.0.1", 0)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(5):
            while listener._server.connections or not listener._server.requests_count:
                await asyncio.sleep(0.005)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(32 << 20)
        writer.close()
    finally:
        await listener.stop()
