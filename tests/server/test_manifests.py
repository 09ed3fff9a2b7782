"""Manifests pushed over port 10250: who may, what is answered, and what abuse comes to."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.server.conftest import Answer, FakeNode, http, short_path
from tests.server.test_service import ClientTls
from tests.server.test_webhook import Tokens, anonymous

from pykubelet.base.clock import ManualClock, SystemClock
from pykubelet.base.journal import NullJournal
from pykubelet.pods.sources import PushSource
from pykubelet.server import AdminServer, AlwaysDeny, KubeletServer
from pykubelet.server.doors import Attributes
from pykubelet.server.listener import Listener
from pykubelet.server.manifests import manifest_routes
from pykubelet.server.routes import Routes
from pykubelet.server.webhook import WebhookTokens

__all__ = ["short_path"]

POD = b"apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: a, image: 'i:1'}]}\n"
WEB = "/manifests/web"
METHODS = [("PUT", WEB), ("DELETE", WEB), ("GET", WEB), ("GET", "/manifests/")]


class Only:
    """Lets one verb pass, and remembers what it was asked."""

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self.asked: list[Attributes] = []

    async def allows(self, attributes: Attributes) -> bool:
        self.asked.append(attributes)
        return (attributes.verb, attributes.subresource) == (self.verb, "proxy")


@pytest.fixture
async def pushed(tmp_path: Path) -> AsyncIterator[PushSource]:
    made = PushSource(tmp_path / "pushed", "node1", NullJournal(), NullJournal())
    await made.load()
    yield made
    await made.close()


async def ask(
    server: KubeletServer, tls: ssl.SSLContext, method: str, path: str, body: bytes = b"", **headers: str
) -> Answer:
    listener = server.listener("kubelet")
    assert listener is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=tls)
    return await http(reader, writer, method, path, body, **headers)


async def test_put_get_list_and_delete(start_server: Any, client_tls: ClientTls, pushed: PushSource) -> None:
    only = Only("create")
    server = await start_server(only, manifests=pushed)
    tls = client_tls("jane", "ops")
    made = await ask(server, tls, "PUT", "/manifests/web", POD)
    assert (made.status, made.headers["Content-Type"]) == (201, "application/json")
    (pod,) = json.loads(made.body)["pods"]
    assert (pod["name"], pod["namespace"], len(pod["uid"])) == ("web-node1", "default", 32)
    assert (await ask(server, tls, "PUT", "/manifests/web", POD.replace(b"i:1", b"i:2"))).status == 200
    listed = json.loads((await ask(server, tls, "GET", "/manifests/")).body)["manifests"]
    assert [one["name"] for one in listed] == ["web"]
    assert json.loads((await ask(server, tls, "GET", "/manifests")).body)["manifests"] == listed
    again = await ask(server, tls, "GET", "/manifests/web")
    assert again.body == POD.replace(b"i:1", b"i:2")
    gone = await ask(server, tls, "DELETE", "/manifests/web")
    assert (gone.status, json.loads(gone.body)["status"]) == (200, "Success")
    assert (await ask(server, tls, "DELETE", "/manifests/web")).status == 404
    asked = {(one.verb, one.resource, one.subresource, one.user.name) for one in only.asked}
    assert asked == {("create", "nodes", "proxy", "jane")}


async def test_what_is_refused_is_a_status_that_names_the_field(
    start_server: Any, client_tls: ClientTls, pushed: PushSource
) -> None:
    server = await start_server(manifests=pushed)
    tls = client_tls("jane")
    unsound = await ask(server, tls, "PUT", "/manifests/web", POD.replace(b"i:1", b""))
    status = json.loads(unsound.body)
    assert (unsound.status, status["kind"], status["reason"], status["code"]) == (
        422,
        "Status",
        "Invalid",
        422,
    )
    assert status["details"]["causes"][0]["field"] == "spec.containers[0].image"
    unread = await ask(server, tls, "PUT", "/manifests/web", b"{")
    assert (unread.status, json.loads(unread.body)["reason"]) == (400, "BadRequest")
    packed = await ask(server, tls, "PUT", "/manifests/web", POD, Content_Encoding="gzip")
    assert packed.status == 415
    assert (await ask(server, tls, "POST", "/manifests/web", POD)).status == 405
    assert (await ask(server, tls, "PUT", "/manifests/", POD)).status == 405


@pytest.mark.parametrize(("method", "path"), METHODS)
async def test_anonymous_never_gets_in(
    start_server: Any, client_tls: ClientTls, pushed: PushSource, method: str, path: str
) -> None:
    """Not with AlwaysAllow, not with anonymous allowed, not by a name that was put into a certificate."""
    only = Only("create")
    tokens = WebhookTokens(Tokens(), ManualClock(), ttl=120)
    open_server = await start_server(authentication=anonymous(), manifests=pushed)
    assert (await ask(open_server, client_tls(), "GET", "/pods")).status == 200
    guarded = await start_server(only, manifests=pushed, tokens=tokens)
    for server, tls in (
        (open_server, client_tls()),
        (open_server, client_tls("system:anonymous")),
        (open_server, client_tls("jane", "system:unauthenticated")),
        (guarded, client_tls()),
    ):
        answer = await ask(server, tls, method, path, POD if method == "PUT" else b"")
        assert (answer.status, answer.text) == (401, "Unauthorized")
    bad = await ask(guarded, client_tls(), method, path, Authorization="Bearer bad")
    assert bad.status == 401
    # A token that nobody looks at makes nobody known.
    assert (await ask(open_server, client_tls(), method, path, Authorization="Bearer good")).status == 401
    assert pushed.manifests() == [] and only.asked == []
    await tokens.close()


@pytest.mark.parametrize(
    "path",
    [
        "/%6danifests/web",
        "/manifests/%77eb",
        "/manifests%2Fweb",
        "//manifests/web",
        "/./manifests/web",
        "/pods/../manifests/web",
        "/manifests/web?x=/healthz",
        "/manifests/web#/healthz",
        "http://other/manifests/web",
    ],
)
async def test_no_way_of_writing_the_path_lets_anonymous_in(
    start_server: Any, client_tls: ClientTls, pushed: PushSource, path: str
) -> None:
    server = await start_server(authentication=anonymous(), manifests=pushed)
    answer = await ask(server, client_tls(), "PUT", path, POD)
    assert answer.status in (400, 401, 404), answer
    assert pushed.manifests() == []


@pytest.mark.parametrize(("method", "path"), METHODS)
async def test_every_method_needs_create(
    start_server: Any, client_tls: ClientTls, pushed: PushSource, method: str, path: str
) -> None:
    for verb in ("get", "update", "delete"):
        server = await start_server(Only(verb), manifests=pushed)
        answer = await ask(server, client_tls("jane"), method, path, POD if method == "PUT" else b"")
        assert answer.status == 403
        assert "verb=create" in answer.text
    denied = await start_server(AlwaysDeny(), manifests=pushed)
    assert (await ask(denied, client_tls("jane"), method, path)).status == 403


async def test_a_bearer_token_may_push(start_server: Any, client_tls: ClientTls, pushed: PushSource) -> None:
    tokens = WebhookTokens(Tokens(), ManualClock(), ttl=120)
    server = await start_server(Only("create"), manifests=pushed, tokens=tokens)
    put = await ask(server, client_tls(), "PUT", "/manifests/web", POD, Authorization="Bearer good")
    assert put.status == 201
    await tokens.close()


async def test_without_the_switch_nothing_is_served(start_server: Any, client_tls: ClientTls) -> None:
    server = await start_server()
    assert (await ask(server, client_tls("jane"), "PUT", "/manifests/web", POD)).status == 404


async def test_it_has_a_switch_of_its_own(
    start_server: Any, client_tls: ClientTls, pushed: PushSource
) -> None:
    server = await start_server(manifests=pushed, enableDebuggingHandlers=False, readOnlyPort=0)
    assert (await ask(server, client_tls("jane"), "PUT", "/manifests/web", POD)).status == 201


@pytest.mark.parametrize(
    "path",
    [
        "/manifests/../escape",
        "/manifests/..%2Fescape",
        "/manifests/%2e%2e%2fescape",
        "/manifests/..",
        "/manifests/a/b",
        "/manifests//escape",
        "//manifests/escape",
        "/manifests/%2Ftmp%2Fescape",
        "/manifests/a%00b",
        "/manifests/Escape",
        "/manifests/." + "x" * 250,
        "/manifests/" + "x" * 5000,
    ],
)
async def test_paths_lead_nowhere_else(
    start_server: Any, client_tls: ClientTls, pushed: PushSource, tmp_path: Path, path: str
) -> None:
    before = {file for file in tmp_path.rglob("*") if file.name != "pki"}
    server = await start_server(manifests=pushed)
    for method in ("PUT", "DELETE", "GET"):
        answer = await ask(server, client_tls("jane"), method, path, POD if method == "PUT" else b"")
        assert answer.status in (400, 404, 405), answer
    made = {file for file in tmp_path.rglob("*") if file.suffix == ".yaml" or "escape" in file.name}
    assert made - before == set()
    assert pushed.manifests() == []


async def test_a_body_that_is_too_large_is_not_read_to_its_end(
    start_server: Any, client_tls: ClientTls, pushed: PushSource
) -> None:
    server = await start_server(manifests=pushed)
    tls = client_tls("jane")
    told = await ask(server, tls, "PUT", "/manifests/web", b"x", Content_Length="99999999999")
    assert (told.status, json.loads(told.body)["reason"]) == (413, "RequestEntityTooLarge")
    chunk = b"10000\r\n" + b"#" * 65536 + b"\r\n"
    listener = server.listener("kubelet")
    assert listener is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=tls)
    writer.write(b"PUT /manifests/web HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 17)
    async with asyncio.timeout(10):
        assert b"413" in await reader.readline()
    writer.close()
    assert pushed.manifests() == []


async def served(manifests: PushSource, patience: float) -> Listener:
    listener = Listener("test", Routes(manifest_routes(manifests, patience=patience)))
    await listener.start_tcp("127.0.0.1", 0)
    return listener


async def test_a_body_that_does_not_come_is_not_waited_for(pushed: PushSource) -> None:
    listener = await served(pushed, 0.2)
    try:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(b"PUT /manifests/web HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx")
        async with asyncio.timeout(10):
            assert b"408" in await reader.readline()
            await reader.read()
        assert time.monotonic() - began < 9
        writer.close()
    finally:
        await listener.stop()


async def test_only_a_few_bodies_are_read_at_once(pushed: PushSource) -> None:
    listener = await served(pushed, 5.0)
    head = b"PUT /manifests/web HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx"
    connections = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(4)]
    try:
        for _, writer in connections:
            writer.write(head)
            await writer.drain()
        async with asyncio.timeout(10):
            while True:
                reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
                answer = await http(reader, writer, "PUT", "/manifests/web", POD)
                if answer.status == 429:
                    break
                await asyncio.sleep(0.02)
        assert answer.headers["Retry-After"] == "1"
        for _, writer in connections:
            writer.close()
        async with asyncio.timeout(10):
            while (
                await http(
                    *await asyncio.open_connection("127.0.0.1", listener.port), "PUT", "/manifests/web", POD
                )
            ).status == 429:
                await asyncio.sleep(0.02)
    finally:
        await listener.stop()


async def test_who_waits_to_be_asked_for_the_body_is_asked(pushed: PushSource) -> None:
    listener = await served(pushed, 5.0)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        head = f"PUT {WEB} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {len(POD)}\r\n\r\n"
        writer.write(head.encode())
        async with asyncio.timeout(10):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(POD)
            assert b"201" in await reader.readline()
        writer.close()
    finally:
        await listener.stop()


async def test_the_admin_socket_takes_manifests_too(pushed: PushSource, short_path: Path) -> None:
    path = short_path / "run" / "admin.sock"
    server = AdminServer(path, FakeNode(), SystemClock(), idle=60.0, manifests=pushed)
    await server.start()
    try:
        answer = await http(*await asyncio.open_unix_connection(str(path)), "PUT", "/manifests/web", POD)
        assert answer.status == 201
    finally:
        await server.stop()
