"""The contract with aiohttp that upgraded connections rest on, and all that may go wrong with them."""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.server.conftest import FakeNode, StreamingServer, descriptors, http

from pykubelet.server.backend import Target, parse_url
from pykubelet.server.doors import ApiError
from pykubelet.server.listener import Listener
from pykubelet.server.routes import Route, Routes
from pykubelet.server.upgrade import Upgrades

SIZE = 1 << 20
_UPGRADE = (
    b"POST /up HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
    b"Authorization: Bearer secret\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class Front:
    """A listener whose only route is tied to a streaming server."""

    def __init__(self, url: Callable[[], str], **options: Any) -> None:
        self.upgrades = Upgrades(**({"idle": 30.0} | options))
        self.url = url
        self.listener = Listener("front", Routes([Route(("*",), "/up", self._up)]))

    async def _up(self, request: web.BaseRequest, _: Any) -> web.StreamResponse:
        return await self.upgrades.serve(request, self.url())

    async def connect(self, head: bytes = _UPGRADE) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.listener.port)
        writer.write(head)
        return reader, writer

    async def settled(self) -> None:
        """Wait until nothing is open any more."""
        async with asyncio.timeout(5):
            while self.upgrades.open or self.listener._server.connections:
                await asyncio.sleep(0.005)


@pytest.fixture
async def front(streaming: StreamingServer) -> AsyncIterator[Front]:
    front = Front(lambda: streaming.url)
    await front.listener.start_tcp("127.0.0.1", 0)
    tasks, files = len(asyncio.all_tasks()), descriptors()
    yield front
    await front.settled()
    async with asyncio.timeout(5):
        while streaming.open or len(asyncio.all_tasks()) > tasks or descriptors() > files:
            await asyncio.sleep(0.005)
    await front.listener.stop()


async def test_a_mebibyte_each_way_and_half_close(front: Front, streaming: StreamingServer) -> None:
    reader, writer = await front.connect()
    head = await reader.readuntil(b"\r\n\r\n")
    assert head == streaming.answer
    sent = os.urandom(SIZE)
    writer.write(sent)
    writer.write_eof()
    assert await reader.read(-1) == sent
    writer.close()
    request = streaming.heads[0].decode()
    assert request.startswith("POST /exec/token HTTP/1.1\r\nHost: 127.0.0.1:")
    assert "Upgrade: SPDY/3.1" in request
    assert "X-Stream-Protocol-Version: v4.channel.k8s.io" in request
    assert "secret" not in request


async def test_the_server_may_end_first_with_all_it_said_arriving(
    front: Front, streaming: StreamingServer
) -> None:
    async def say(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * SIZE)
        await writer.drain()

    streaming.behave = say
    reader, writer = await front.connect()
    await reader.readuntil(b"\r\n\r\n")
    assert len(await reader.read(-1)) == SIZE
    writer.close()


async def test_an_abrupt_cut_of_the_caller_leaves_nothing(front: Front, streaming: StreamingServer) -> None:
    reader, writer = await front.connect()
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"x" * 1000)
    await reader.readexactly(1000)
    writer.transport.abort()


async def test_an_abrupt_cut_of_the_server_ends_the_caller(front: Front, streaming: StreamingServer) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.transport.abort()

    streaming.behave = cut
    reader, writer = await front.connect()
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"x")
    assert await reader.read(-1) == b""
    writer.close()


async def test_a_slow_reader_holds_the_sender_back(front: Front, streaming: StreamingServer) -> None:
    written = 0

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        while written < 64 * SIZE:
            writer.write(b"x" * 65536)
            await writer.drain()
            written += 65536

    streaming.behave = flood
    reader, writer = await front.connect()
    await reader.readuntil(b"\r\n\r\n")
    before = -1
    while written != before:
        before = written
        await asyncio.sleep(0.1)
    assert written < 32 * SIZE
    writer.transport.abort()


async def test_idle_streams_are_ended(streaming: StreamingServer) -> None:
    front = Front(lambda: streaming.url, idle=0.05)
    await front.listener.start_tcp("127.0.0.1", 0)
    reader, writer = await front.connect()
    await reader.readuntil(b"\r\n\r\n")
    async with asyncio.timeout(5):
        assert await reader.read(-1) == b""
    writer.close()
    await front.settled()
    await front.listener.stop()


EARLY = b"\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01" + b"GET / HTTP/1.1\r\n\r\n" + bytes(range(256))


async def test_data_sent_before_the_answer_arrives(front: Front, streaming: StreamingServer) -> None:
    answer, streaming.answer = streaming.answer, b""
    asked, early = asyncio.Event(), asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await early.wait()
        writer.write(answer)
        writer.write(await reader.readexactly(len(EARLY)))

    streaming.behave = late
    reader, writer = await front.connect()
    await asked.wait()
    writer.write(EARLY)
    await asyncio.sleep(0.05)
    early.set()
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(len(EARLY)) == EARLY
    writer.close()


@pytest.mark.parametrize("cut", [1, 40, len(_UPGRADE) - 3, len(_UPGRADE) - 1, len(_UPGRADE) + 7])
async def test_data_sent_along_with_the_request_arrives(
    front: Front, streaming: StreamingServer, cut: int
) -> None:
    sent = _UPGRADE + EARLY
    reader, writer = await front.connect(sent[:cut])
    await asyncio.sleep(0.02)
    writer.write(sent[cut:])
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(len(EARLY)) == EARLY
    writer.close()


async def test_much_early_data_is_held_back_and_arrives(front: Front, streaming: StreamingServer) -> None:
    sent = os.urandom(8 * SIZE)
    reader, writer = await front.connect(_UPGRADE + sent)
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(len(sent)) == sent
    writer.close()


async def test_after_a_refusal_the_connection_is_still_http(front: Front, streaming: StreamingServer) -> None:
    async def nothing(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        return

    streaming.answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone"
    streaming.behave = nothing
    reader, writer = await front.connect(_UPGRADE + b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n")
    for status in (b" 404 ", b" 404 "):
        head = await reader.readuntil(b"\r\n\r\n")
        assert status in head.splitlines()[0]
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
    writer.close()


async def test_a_websocket_may_send_right_away(front: Front, streaming: StreamingServer) -> None:
    head = _UPGRADE.replace(b"POST", b"GET").replace(b"SPDY/3.1", b"websocket")
    reader, writer = await front.connect(head.replace(b"Content-Length: 0\r\n", b"") + b"early")
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(5) == b"early"
    writer.close()


async def test_a_server_that_does_not_notice_the_end_of_its_caller_is_left(
    front: Front, streaming: StreamingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pykubelet.server.upgrade.HALF_CLOSED_IDLE", 0.05)

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read(-1) == b""
        while front.upgrades.open:
            await asyncio.sleep(0.005)

    streaming.behave = deaf
    reader, writer = await front.connect()
    await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await front.settled()


async def test_there_is_a_limit(streaming: StreamingServer) -> None:
    front = Front(lambda: streaming.url, limit=1)
    await front.listener.start_tcp("127.0.0.1", 0)
    reader, writer = await front.connect()
    await reader.readuntil(b"\r\n\r\n")
    second, other = await front.connect()
    assert b"429" in await second.readline()
    other.close()
    writer.close()
    await front.settled()
    await front.listener.stop()


async def test_stopping_ends_streams(streaming: StreamingServer) -> None:
    front = Front(lambda: streaming.url)
    await front.listener.start_tcp("127.0.0.1", 0)
    reader, writer = await front.connect()
    await reader.readuntil(b"\r\n\r\n")
    front.upgrades.close()
    async with asyncio.timeout(5):
        await front.listener.stop()
        with pytest.raises(ConnectionError):
            assert await reader.read(-1) == b""
            raise ConnectionError
    writer.close()
    await front.settled()


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n",
            500,
            b"status 302",
        ),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone", 404, b"gone"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 500, b"status 200"),
        (b"nonsense\r\n\r\n", 500, b"does not speak HTTP"),
        (b"", 500, b"gave no answer"),
    ],
)
async def test_refusals_of_the_runtime_are_told_and_redirects_are_not_passed_on(
    front: Front, streaming: StreamingServer, answer: bytes, status: int, words: bytes
) -> None:
    async def nothing(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        return

    streaming.answer, streaming.behave = answer, nothing
    reader, writer = await front.connect(
        _UPGRADE.replace(b"Connection: Upgrade", b"Connection: Upgrade, close")
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Location" not in head
    assert words in await reader.readexactly(
        int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    )
    writer.close()


async def test_a_request_without_upgrade_is_refused(front: Front) -> None:
    pair = await asyncio.open_connection("127.0.0.1", front.listener.port)
    answer = await http(*pair, "GET", "/up")
    assert (answer.status, answer.text) == (500, "Upgrade request required\n")


async def test_nobody_there(front: Front) -> None:
    front.url = lambda: "http://127.0.0.1:1/x"
    reader, writer = await front.connect()
    assert b" 500 " in await reader.readline()
    writer.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:41/exec/t", Target("/exec/t", host="127.0.0.1", port=41)),
        ("http://localhost:41/exec/t?a=b", Target("/exec/t?a=b", host="127.0.0.1", port=41)),
        ("http://[::1]:41", Target("/", host="::1", port=41)),
        ("http+unix://%2Frun%2Fs.sock/exec/t", Target("/exec/t", socket="/run/s.sock")),
    ],
)
def test_urls_that_are_taken(url: str, expected: Target) -> None:
    assert parse_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1:41/exec/t",
        "https://127.0.0.1:41/exec/t",
        "http://127.0.0.1.example.org/x",
        "http://user@127.0.0.1:1/x",
        "http://0.0.0.0:1/x",
        "http://127.0.0.1:99999/x",
        "http://127.0.0.1:1/a b",
        "ftp://127.0.0.1/x",
        "http+unix://relative/x",
        "/exec/t",
        "",
    ],
)
def test_urls_that_lead_elsewhere(url: str) -> None:
    with pytest.raises(ApiError, match="loopback"):
        parse_url(url)


async def test_through_tls_and_the_whole_server(
    start_server: Any,
    client_tls: Callable[..., ssl.SSLContext],
    node: FakeNode,
    streaming: StreamingServer,
    tmp_path: Path,
) -> None:
    """The contract with aiohttp and asyncio: POST and GET upgrades over TLS, a mebibyte each way."""
    node.url = streaming.url
    server = await start_server()
    listener = server.listener("kubelet")
    assert listener is not None
    for method, upgrade in (("POST", "SPDY/3.1"), ("GET", "websocket"), ("GET", "SPDY/3.1")):
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=client_tls("jane"))
        writer.write(
            f"{method} /exec/default/web-node1/main?command=a&command=b&input=1&output=1 HTTP/1.1\r\n"
            f"Host: x\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n".encode()
        )
        assert await reader.readuntil(b"\r\n\r\n") == streaming.answer
        sent = os.urandom(SIZE)

        # More than the buffers hold would wait for the echo to be read: the loop writes in the background.
        writer.write(sent)
        assert await reader.readexactly(SIZE) == sent
        writer.close()
        container, command, streams = node.asked[-1]
        assert (container, command, streams.stdin, streams.stderr) == ("main", ("a", "b"), True, False)
    async with asyncio.timeout(5):
        while streaming.open:
            await asyncio.sleep(0.005)


async def test_errors_before_any_stream(
    start_server: Any, client_tls: Callable[..., ssl.SSLContext], node: FakeNode
) -> None:
    server = await start_server()
    listener = server.listener("kubelet")

    async def ask(path: str) -> tuple[int, str]:
        pair = await asyncio.open_connection("127.0.0.1", listener.port, ssl=client_tls("jane"))
        answer = await http(*pair, "POST", path)
        return answer.status, answer.text

    none = "you must specify at least 1 of stdin, stdout, stderr"
    assert await ask("/exec/default/web-node1/main?command=x") == (400, none)
    assert await ask("/attach/default/web-node1/main?output=true") == (400, none)
    assert await ask("/exec/default/none/main?output=1") == (404, "pod does not exist")
    assert await ask("/portForward/default/web-node1/other-uid") == (404, "pod not found")
    node.stream_error = ApiError(429, "full", retry_after=60)
    assert await ask("/exec/default/web-node1/main?output=1") == (429, "full")
