"""The API client's credentials on real connections: tokens, certificates that rotate, whom it trusts."""

import asyncio
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from tests.cluster.client_kit import AGENT, OBJECT, PATH, client_of, serving

from pykubelet.api.objects import ConfigMap
from pykubelet.base.clock import SystemClock
from pykubelet.base.proxies import Proxy
from pykubelet.cluster.access import Access, Pem
from pykubelet.cluster.client import ApiClient
from pykubelet.cluster.credentials import FileCredentials
from pykubelet.cluster.errors import Refused, Unreachable
from pykubelet.cluster.tls import TlsMaterialError


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
