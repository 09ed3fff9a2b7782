"""The API client and its credentials on real connections: retries, rotation, TLS, broken answers."""

import asyncio
import gzip
import random
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from pykubelet.api.meta import ObjectMeta
from pykubelet.api.objects import ConfigMap
from pykubelet.base.clock import SystemClock
from pykubelet.base.metrics import Metrics
from pykubelet.base.proxies import Proxy
from pykubelet.cluster.access import Access, Pem
from pykubelet.cluster.client import ApiClient
from pykubelet.cluster.connections import make_socket
from pykubelet.cluster.credentials import FileCredentials
from pykubelet.cluster.errors import Refused, Unreachable
from pykubelet.cluster.tls import TlsMaterialError

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


async def test_an_object_and_what_is_sent() -> None:
    seen: list[web.BaseRequest] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        body = gzip.compress(b'{"metadata":{"name":"a"},"data":{"k":"v"}}')
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    metrics = Metrics()
    async with serving(handler) as url, client_of(Access(url + "/base"), metrics=metrics) as (client, _):
        found = await client.get(PATH + "/a%2Fb", ConfigMap, query={"x": "a=b,c"})
        assert found.data == {"k": "v"}
    assert seen[0].raw_path == "/base" + PATH + "/a%2Fb?x=a%3Db%2Cc"
    assert seen[0].headers["User-Agent"] == AGENT
    assert seen[0].headers["Accept-Encoding"] == "gzip"
    host = url.removeprefix("http://")
    told = metrics.render().decode()
    assert f'rest_client_requests_total{{code="200",host="{host}",method="GET"}} 1' in told
    assert f'rest_client_request_duration_seconds_count{{host="{host}",verb="GET"}} 1' in told


async def test_pages_and_a_page_that_has_gone_stale() -> None:
    asked: list[dict[str, str]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        asked.append(query)
        if query.get("continue") == "stale":
            return web.json_response({"code": 410, "reason": "Expired"}, status=410)
        if query["limit"] == "0":
            return web.json_response({"metadata": {"resourceVersion": "9"}, "items": [OBJECT, OBJECT]})
        return web.json_response(
            {"metadata": {"continue": "stale", "resourceVersion": "5"}, "items": [OBJECT]}
        )

    async with serving(handler) as url, client_of(Access(url)) as (client, _):
        items, version = await client.list(PATH, ConfigMap, query={"resourceVersion": "4"})
    assert len(items) == 2
    assert version == "9"
    assert "resourceVersion" not in asked[1]


async def test_retry_after_is_respected_and_bounded() -> None:
    codes = [429, 503, 500, 200]

    async def handler(request: web.Request) -> web.StreamResponse:
        code = codes.pop(0)
        if code == 200:
            return web.json_response(OBJECT)
        return web.json_response({"code": code, "message": "wait"}, status=code, headers={"Retry-After": "0"})

    async with serving(handler) as url, client_of(Access(url)) as (client, _):
        assert (await client.get(PATH, ConfigMap)).data == {"k": "v"}
        codes[:] = [503] * 30
        with pytest.raises(Refused) as refused:
            await client.get(PATH, ConfigMap)
        assert refused.value.code == 503
        assert len(codes) == 30 - 11


async def test_an_error_without_retry_after_or_with_too_long_a_one_is_raised_at_once() -> None:
    headers: dict[str, str] = {}
    count = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        return web.Response(status=503, text="down", headers=headers)

    async with serving(handler) as url, client_of(Access(url)) as (client, _):
        with pytest.raises(Refused, match="down"):
            await client.get(PATH, ConfigMap)
        headers["Retry-After"] = "60"
        with pytest.raises(Refused) as refused:
            await client.get(PATH, ConfigMap, timeout=5)
    assert refused.value.retry_after == 60
    assert count == 2


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b"[]", b'{"metadata": 7}', b"\xff\xfe"])
async def test_an_answer_that_is_none(body: bytes) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body)

    async with serving(handler) as url, client_of(Access(url)) as (client, _):
        with pytest.raises(Unreachable):
            await client.get(PATH, ConfigMap)


async def test_nobody_there_and_nobody_answering() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        raise AssertionError

    async with serving(handler) as url, client_of(Access(url)) as (client, _):
        with pytest.raises(Unreachable):
            await client.get(PATH, ConfigMap, timeout=0.1)
        under_way = asyncio.get_running_loop().create_task(client.get(PATH, ConfigMap))
        await asyncio.sleep(0.1)
        await client.close_connections()
        with pytest.raises(Unreachable):
            await under_way
        cancelled = asyncio.get_running_loop().create_task(client.get(PATH, ConfigMap))
        await asyncio.sleep(0.05)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
    async with client_of(Access("http://127.0.0.1:1")) as (client, _):
        with pytest.raises(Unreachable):
            await client.get(PATH, ConfigMap)
        await client.close()
        with pytest.raises(Unreachable, match="closed"):
            await client.get(PATH, ConfigMap)


async def test_a_watch_whose_events_come_in_pieces() -> None:
    text = b"".join(
        b'{"type":"%s","object":{"metadata":{"name":"a","resourceVersion":"%d"%s}}}\n' % (kind, number, more)
        for number, (kind, more) in enumerate(
            [
                (b"ADDED", b""),
                (b"MODIFIED", b""),
                (b"DELETED", b""),
                (b"BOOKMARK", b',"annotations":{"k8s.io/initial-events-end":"true"}'),
            ]
        )
    )

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.query["watch"] == "true"
        answer = web.StreamResponse()
        await answer.prepare(request)
        for start in range(0, len(text), 50):
            await answer.write(text[start : start + 50])
            await asyncio.sleep(0)
        # An object that does not fit is left out, an error is raised.
        await answer.write(b'{"type":"ADDED","object":{"data":[1]}}\n')
        await answer.write(b'{"type":"ERROR","object":{"code":410,"reason":"Expired","message":"old"}}\n')
        return answer

    seen = []
    async with serving(handler) as url, client_of(Access(url)) as (client, _):
        with pytest.raises(Refused) as refused:
            async for change in client.watch(PATH, ConfigMap):
                seen += [(change.kind, change.resource_version, change.initial_events_end)]
    assert refused.value.expired
    assert seen == [
        ("ADDED", "0", False),
        ("MODIFIED", "1", False),
        ("DELETED", "2", False),
        ("BOOKMARK", "3", True),
    ]


BROKEN = b'{"metadata":{"name":"b","namespace":"ns","uid":"ub","resourceVersion":"9"},"data":[1]}'


def _known(*names: str) -> Callable[[Any], ConfigMap | None]:
    """What is known of the objects of these names."""
    known = {name: ConfigMap(metadata=ObjectMeta(name=name), data={"last": "known"}) for name in names}
    return lambda named: known.get(named.metadata.name)


@pytest.mark.parametrize("names", [(), ("b",)])
async def test_what_cannot_be_decoded_in_a_list(names: tuple[str, ...], caplog: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        good = b'{"metadata":{"name":"a"},"data":{"k":"v"}}'
        items = [good, BROKEN, b'{"metadata":[]}', b'"b"']
        return web.Response(body=b'{"metadata":{"resourceVersion":"9"},"items":[%s]}' % b",".join(items))

    async with serving(handler) as url, client_of(Access(url)) as (client, _):
        items, version = await client.list(PATH, ConfigMap, last_known=_known(*names))
    assert version == "9"
    assert [(item.metadata.name, item.data) for item in items] == [
        ("a", {"k": "v"}),
        *((name, {"last": "known"}) for name in names),
    ]
    lines = [message for message in caplog.messages if "ns/b" in message]
    done = "stays as it is on this node" if names else "is left out"
    assert lines == [f"ConfigMap ns/b cannot be read and {done}: data: Expected `object`, got `array`"]


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", "DELETED"])
@pytest.mark.parametrize("names", [(), ("b",)])
async def test_what_cannot_be_decoded_in_a_watch(kind: str, names: tuple[str, ...]) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b'{"type":"%s","object":%s}\n' % (kind.encode(), BROKEN))

    async with serving(handler) as url, client_of(Access(url)) as (client, _):
        changes = [change async for change in client.watch(PATH, ConfigMap, last_known=_known(*names))]
    assert [(c.kind, c.object.data, c.resource_version) for c in changes] == [
        (kind, {"last": "known"}, "9") for _ in names
    ]


@pytest.mark.parametrize("event", [b"nonsense\n", b'{"type":"HELLO","object":{}}\n', b'{"type":'])
async def test_a_watch_that_brings_nonsense(event: bytes) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(event)
        if request.transport is not None and not event.endswith(b"\n"):
            request.transport.abort()
        return answer

    async with serving(handler) as url, client_of(Access(url)) as (client, _):
        with pytest.raises(Unreachable):
            async for _change in client.watch(PATH, ConfigMap):
                pass


# --- who we are ---------------------------------------------------------------


async def test_a_token_file_is_read_anew_after_a_401(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old\n")
    good, seen = "old", []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        if seen[-1] != f"Bearer {good}":
            return web.json_response({"code": 401, "reason": "Unauthorized"}, status=401)
        return web.json_response(OBJECT)

    async with serving(handler) as url, client_of(Access(url, token_file=path)) as (client, _):
        await client.get(PATH, ConfigMap)
        path.write_text("new")
        await client.get(PATH, ConfigMap)
        assert seen == ["Bearer old"] * 2
        good = "new"
        await client.get(PATH, ConfigMap)
        assert seen[2:] == ["Bearer old", "Bearer new"]
        # Where nothing fresh is to be had, it is not tried again.
        good = "other"
        with pytest.raises(Refused) as refused:
            await client.get(PATH, ConfigMap)
        assert refused.value.unauthorized
        assert len(seen) == 5
        # A file that is gone leaves the last token.
        path.unlink()
        good = "new"
        await client.get(PATH, ConfigMap)


async def test_basic_and_impersonation() -> None:
    seen: list[Any] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append((request.headers["Authorization"], request.headers.getall("Impersonate-Group")))
        return web.json_response(OBJECT)

    groups = (("Impersonate-User", "j"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b"))
    async with serving(handler) as url:
        access = Access(url, username="u", password="p", impersonation=groups)
        async with client_of(access) as (client, _):
            await client.get(PATH, ConfigMap)
    assert seen == [("Basic dTpw", ["a", "b"])]


async def test_a_token_file_without_a_token(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("")
    async with client_of(Access("http://127.0.0.1:1", token_file=tmp_path / "token")) as (client, _):
        with pytest.raises(Unreachable, match="token file"):
            await client.get(PATH, ConfigMap)


# --- TLS ----------------------------------------------------------------------


class Pki:
    """A CA, a server's context that wants client certificates, and a client's files."""

    def __init__(self, folder: Path, host: str = "localhost") -> None:
        self.ca = trustme.CA()
        self.pair, self.ca_file = folder / "client.pem", folder / "ca.crt"
        self.ca.cert_pem.write_to_path(str(self.ca_file))
        self.issue("one")
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(host).configure_cert(self.server)
        self.ca.configure_trust(self.server)
        self.server.verify_mode = ssl.CERT_REQUIRED

    def issue(self, name: str, **more: Any) -> None:
        made = self.ca.issue_cert(f"{name}.example", common_name=name, **more)
        new = self.pair.with_suffix(".new")
        new.write_bytes(made.cert_chain_pems[0].bytes() + made.private_key_pem.bytes())
        new.rename(self.pair)

    def access(self, url: str) -> Access:
        return Access(
            url, ca=Pem(path=self.ca_file), certificate=Pem(path=self.pair), key=Pem(path=self.pair)
        )


def _who(request: web.Request) -> str:
    assert request.transport is not None
    subject = request.transport.get_extra_info("peercert")["subject"]
    return next(value for pairs in subject for key, value in pairs if key == "commonName")


async def test_a_new_certificate_takes_new_connections_and_loses_nothing(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    seen: list[str] = []
    release = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(_who(request))
        if request.query.get("watch"):
            answer = web.StreamResponse()
            await answer.prepare(request)
            await answer.write(b'{"type":"ADDED","object":{"metadata":{"resourceVersion":"1"}}}\n')
            await asyncio.sleep(30)
        if request.path.endswith("slow"):
            await release.wait()
        return web.json_response(OBJECT)

    spawn = asyncio.get_running_loop().create_task
    async with serving(handler, pki.server) as url, client_of(pki.access(url)) as (client, credentials):
        changes = []

        async def watch() -> None:
            async for change in client.watch(PATH, ConfigMap):
                changes[:] = [*changes, change]

        watching = spawn(watch())
        slow = spawn(client.get(PATH + "/slow", ConfigMap))
        while len(seen) < 2 or not changes:
            await asyncio.sleep(0.01)
        before = credentials.tls()
        pki.issue("two")
        credentials.changed()
        async with asyncio.timeout(5):
            while credentials.tls() is before:
                await asyncio.sleep(0.01)
            # The watch ends of itself, as if the server had ended it; the slow request goes on.
            await watching
        assert not slow.done()
        await client.get(PATH, ConfigMap)
        release.set()
        assert (await slow).data == {"k": "v"}
        assert seen == ["one", "one", "two"]


async def test_half_a_rotation_keeps_the_certificate_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pki = Pki(tmp_path)

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response({"metadata": {"name": _who(request)}})

    async with serving(handler, pki.server) as url, client_of(pki.access(url)) as (client, _):
        pki.pair.write_text("half")
        await asyncio.sleep(0.3)
        assert (await client.get(PATH, ConfigMap)).metadata.name == "one"
        assert caplog.text.count("are not taken") == 1
        pki.issue("two")
        async with asyncio.timeout(5):
            while (await client.get(PATH, ConfigMap)).metadata.name != "two":
                await asyncio.sleep(0.02)


async def test_a_certificate_that_is_still_to_come(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    pki.pair.unlink()

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response({"metadata": {"name": _who(request)}})

    async with serving(handler, pki.server) as url:
        with pytest.raises(TlsMaterialError):
            await FileCredentials(pki.access(url), SystemClock(), environ={}).start()
        credentials = FileCredentials(pki.access(url), SystemClock(), environ={}, pair_comes_later=True)
        await credentials.start()
        client = ApiClient(credentials, user_agent=AGENT)
        with pytest.raises(Unreachable, match="not there yet"):
            await client.get(PATH, ConfigMap)
        pki.issue("one")
        credentials.changed()
        async with asyncio.timeout(5):
            while credentials.tls() is None:
                await asyncio.sleep(0.01)
        assert (await client.get(PATH, ConfigMap)).metadata.name == "one"
        await client.close()
        await credentials.stop()


async def test_data_in_memory(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    pki.issue("short")

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response({"metadata": {"name": _who(request)}})

    async with serving(handler, pki.server) as url:
        pem = Pem(data=pki.pair.read_bytes())
        access = Access(url, ca=Pem(data=pki.ca_file.read_bytes()), certificate=pem, key=pem)
        async with client_of(access) as (client, _):
            assert (await client.get(PATH, ConfigMap)).metadata.name == "short"


async def test_whom_we_trust(tmp_path: Path) -> None:
    pki = Pki(tmp_path, host="kubernetes")

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response(OBJECT)

    async with serving(handler, pki.server) as url:
        access = pki.access(url)
        async with client_of(access) as (client, _):
            with pytest.raises(Unreachable):
                await client.get(PATH, ConfigMap)
        async with client_of(replace(access, server_name="kubernetes")) as (client, _):
            await client.get(PATH, ConfigMap)
        async with client_of(replace(access, ca=None)) as (client, _):
            with pytest.raises(Unreachable):
                await client.get(PATH, ConfigMap)
        async with client_of(replace(access, ca=None, insecure=True)) as (client, _):
            await client.get(PATH, ConfigMap)


async def test_material_that_is_no_good(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    good = pki.access("https://localhost:1")
    bad = Pem(data=b"-----BEGIN PRIVATE KEY-----\ns3cr3t\n-----END PRIVATE KEY-----\n")
    for access in (
        replace(good, ca=Pem(path=tmp_path / "nothing")),
        replace(good, ca=Pem(data=b"x")),
        replace(good, certificate=Pem(path=tmp_path / "nothing")),
        replace(good, key=bad),
    ):
        with pytest.raises(TlsMaterialError) as told:
            await FileCredentials(access, SystemClock(), environ={}).start()
        assert "s3cr3t" not in str(told.value)


async def test_through_a_proxy(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    asked: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response(OBJECT)

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(head)
        port = int(head.split()[1].rpartition(":")[2])
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

        await asyncio.gather(copy(reader, back), copy(there, writer))

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    async with server, serving(handler, pki.server) as url:
        through = Proxy(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "u", "p")
        async with client_of(replace(pki.access(url), proxy=through)) as (client, _):
            await client.get(PATH, ConfigMap)
    assert asked[0].startswith("CONNECT localhost:")
    assert "Proxy-Authorization: Basic dTpw" in asked[0]


def test_sockets_notice_a_dead_peer() -> None:
    import socket

    made = make_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1)))
    with made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000


async def test_writes_say_what_they_are() -> None:
    seen: list[Any] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, request.headers["Content-Type"], await request.json()))
        return web.json_response(OBJECT)

    made = ConfigMap(metadata=ObjectMeta(name="a"))
    async with serving(handler) as url, client_of(Access(url)) as (client, _):
        await client.create(PATH, made, ConfigMap)
        await client.update(PATH + "/a", made, ConfigMap)
        await client.patch(PATH + "/a", {"data": {}}, ConfigMap)
        await client.delete(PATH + "/a", grace=0, uid="u")
    assert [(method, kind) for method, kind, _ in seen] == [
        ("POST", "application/json"),
        ("PUT", "application/json"),
        ("PATCH", "application/strategic-merge-patch+json"),
        ("DELETE", "application/json"),
    ]
    assert seen[3][2]["preconditions"] == {"uid": "u"}
