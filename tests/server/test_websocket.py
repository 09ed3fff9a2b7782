"""WebSockets as an API server sends them, over TLS, against a runtime that speaks SPDY."""

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from tests.server.conftest import FakeNode, StreamingServer, descriptors

from pykubelet.base import spdy
from pykubelet.base.tasks import TaskOwner
from pykubelet.server import KubeletServer

SIZE = 1 << 20
V5 = "v5.channel.k8s.io"
TUNNEL = "SPDY/3.1+portforward.k8s.io"
EXIT_7 = b'{"metadata":{},"status":"Failure","reason":"NonZeroExitCode"}'
EXEC = "/exec/default/web-node1/main?command=x&input=1&output=1&error=1"
ATTACH = "/attach/default/web-node1/main?output=1"


class Peer:
    """The runtime's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.spdy = spdy.Connection(client=False)
        self.streams: dict[str, int] = {}

    async def events(self) -> AsyncIterator[spdy.Event]:
        while data := await self.reader.read(1 << 16):
            for event in self.spdy.receive(data):
                if isinstance(event, spdy.StreamOpened):
                    self.streams[event.headers["streamtype"]] = event.stream
                    self.spdy.reply(event.stream)
                yield event
            await self.flush()

    async def opened(self, *kinds: str) -> None:
        async for _ in self.events():
            if set(kinds) <= set(self.streams):
                return

    async def say(self, kind: str, data: bytes = b"", *, fin: bool = False) -> None:
        self.spdy.send_data(self.streams[kind], data, fin=fin)
        await self.flush()

    async def flush(self) -> None:
        self.writer.write(self.spdy.to_send())
        await self.writer.drain()


async def cat(peer: Peer) -> None:
    """Echo what comes in until it ends, then tell exit code 7."""
    async for event in peer.events():
        if isinstance(event, spdy.DataReceived) and event.stream == peer.streams["stdin"]:
            if event.data:
                await peer.say("stdout", event.data)
            if event.fin:
                break
    await peer.say("stdout", fin=True)
    await peer.say("stderr", b"done", fin=True)
    await peer.say("error", EXIT_7, fin=True)


def runtime(act: Callable[[Peer], Awaitable[None]]) -> Any:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await act(Peer(reader, writer))

    return behave


class Client:
    """An API server: one connection's worth of WebSockets."""

    def __init__(self, server: KubeletServer, session: aiohttp.ClientSession, tls: ssl.SSLContext) -> None:
        self.server, self._session, self._tls = server, session, tls

    def connect(self, path: str, *protocols: str) -> Any:
        listener = self.server.listener("kubelet")
        assert listener is not None
        return self._session.ws_connect(
            f"https://127.0.0.1:{listener.port}{path}", protocols=protocols, ssl=self._tls, max_msg_size=0
        )


@pytest.fixture
async def client(
    start_server: Any, client_tls: Callable[..., ssl.SSLContext], node: FakeNode, streaming: StreamingServer
) -> AsyncIterator[Client]:
    node.url = streaming.url
    server = await start_server()
    files = descriptors()
    async with aiohttp.ClientSession() as session:
        yield Client(server, session, client_tls("jane"))
    async with asyncio.timeout(5):
        while server._upgrades.open or streaming.open or descriptors() > files:
            await asyncio.sleep(0.005)


async def collect(socket: aiohttp.ClientWebSocketResponse) -> dict[int, bytes]:
    """All that comes, by channel, until the server closes."""
    found: dict[int, bytes] = {}
    async for message in socket:
        assert message.type is aiohttp.WSMsgType.BINARY
        found[message.data[0]] = found.get(message.data[0], b"") + message.data[1:]
    return found


async def test_exec_with_a_mebibyte_each_way_half_close_and_exit_code(
    client: Client, streaming: StreamingServer
) -> None:
    streaming.behave = runtime(cat)
    sent = os.urandom(SIZE)
    async with client.connect(EXEC, V5) as socket:
        assert socket.protocol == V5
        first = await socket.receive()
        assert first.data == b"\x01"
        reading = TaskOwner("test").spawn("read", collect(socket))
        for start in range(0, SIZE, 32 << 10):
            await socket.send_bytes(b"\x00" + sent[start : start + (32 << 10)])
        await socket.send_bytes(b"\xff\x00")
        assert await reading == {1: sent, 2: b"done", 3: EXIT_7}
        assert socket.close_code == 1000
    head = streaming.heads[0].decode()
    assert head.startswith("POST /exec/token HTTP/1.1\r\n")
    assert "X-Stream-Protocol-Version: v4.channel.k8s.io" in head and "Upgrade: SPDY/3.1" in head
    assert "Sec-WebSocket" not in head


async def test_sizes_of_the_terminal_pass(client: Client, streaming: StreamingServer) -> None:
    async def resized(peer: Peer) -> None:
        async for event in peer.events():
            if isinstance(event, spdy.DataReceived) and event.stream == peer.streams["resize"]:
                await peer.say("stdout", event.data, fin=True)
                await peer.say("error", fin=True)
                return

    streaming.behave = runtime(resized)
    async with client.connect(EXEC + "&tty=1", V5) as socket:
        await socket.send_bytes(b'\x04{"Width":77,"Height":33}')
        found = await collect(socket)
    assert found[1] == b'{"Width":77,"Height":33}'
    assert json.loads(found[3])["status"] == "Success"


async def test_a_refusal_of_the_runtime_comes_on_the_error_channel(
    client: Client, streaming: StreamingServer
) -> None:
    async def nothing(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        return

    streaming.answer, streaming.behave = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone", nothing
    async with client.connect(ATTACH, V5, "v4.channel.k8s.io") as socket:
        found = await collect(socket)
    assert json.loads(found[3])["message"] == "Internal error occurred: gone"


async def test_a_runtime_that_breaks_off_is_told(client: Client, streaming: StreamingServer) -> None:
    async def broken(peer: Peer) -> None:
        await peer.opened("stdout")
        await peer.say("stdout", b"half")
        peer.writer.close()

    streaming.behave = runtime(broken)
    async with client.connect(ATTACH, V5) as socket:
        found = await collect(socket)
    assert found[1] == b"half"
    assert "ended before the command did" in json.loads(found[3])["message"]


async def test_a_client_that_leaves_ends_the_command(client: Client, streaming: StreamingServer) -> None:
    left = asyncio.Event()

    async def wait(peer: Peer) -> None:
        try:
            async for _ in peer.events():
                pass
        finally:
            left.set()

    streaming.behave = runtime(wait)
    async with client.connect(EXEC, V5) as socket:
        await socket.receive()
    await asyncio.wait_for(left.wait(), 5)
    left.clear()
    socket = await client.connect(EXEC, V5)
    await socket.receive()
    transport = socket._response.connection.transport
    transport.abort()
    await asyncio.wait_for(left.wait(), 5)
    await socket.close()


async def test_a_slow_client_holds_the_command_back(client: Client, streaming: StreamingServer) -> None:
    written = 0

    async def flood(peer: Peer) -> None:
        nonlocal written
        await peer.opened("stdout")
        while written < 64 * SIZE:
            await peer.say("stdout", b"x" * 65536)
            written += 65536

    streaming.behave = runtime(flood)
    socket = await client.connect(ATTACH, V5)
    before = -1
    while written != before:
        before = written
        await asyncio.sleep(0.2)
    assert 0 < written < 32 * SIZE
    socket._response.connection.transport.abort()
    await socket.close()


async def test_a_command_that_does_not_read_holds_the_client_back(
    client: Client, streaming: StreamingServer
) -> None:
    go = asyncio.Event()

    async def deaf(peer: Peer) -> None:
        await go.wait()
        await cat(peer)

    streaming.behave = runtime(deaf)
    sent = 0

    async def feed(socket: aiohttp.ClientWebSocketResponse) -> None:
        nonlocal sent
        while sent < 32 * SIZE:
            await socket.send_bytes(b"\x00" + b"x" * 65535)
            sent += 65535
        await socket.send_bytes(b"\xff\x00")

    async with client.connect(EXEC, V5) as socket:
        feeding = TaskOwner("test").spawn("feed", feed(socket))
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.2)
        assert 0 < sent < 32 * SIZE
        go.set()
        found = await collect(socket)
        await feeding
        assert len(found[1]) == sent


async def test_a_bad_close_signal_ends_the_stream(client: Client, streaming: StreamingServer) -> None:
    streaming.behave = runtime(cat)
    async with client.connect(EXEC, V5) as socket:
        await socket.send_bytes(b"\xff\x09")
        await collect(socket)
        assert socket.close_code == 1002


async def test_fragments_and_pings(client: Client, streaming: StreamingServer) -> None:
    streaming.behave = runtime(cat)
    async with client.connect(EXEC, V5) as socket:
        await socket.ping(b"still there?")
        transport = socket._response.connection.transport
        # "hello" on channel 0 in two frames, masked with zeros, a ping between them.
        transport.write(b"\x02\x83\0\0\0\0\x00he" + b"\x89\x80\0\0\0\0" + b"\x80\x83\0\0\0\0llo")
        await socket.send_bytes(b"\xff\x00")
        assert (await collect(socket))[1] == b"hello"


async def test_older_protocols_go_to_the_runtime_as_they_are(
    client: Client, streaming: StreamingServer
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await client.connect(EXEC, "v4.channel.k8s.io")
    head = streaming.heads[0].decode()
    assert head.startswith("GET /exec/token") and "Sec-WebSocket-Protocol: v4.channel.k8s.io" in head


async def test_without_the_gate_nothing_is_translated(
    start_server: Any, client_tls: Any, node: FakeNode, streaming: StreamingServer
) -> None:
    node.url = streaming.url
    server = await start_server(
        featureGates={"ExtendWebSocketsToKubelet": False, "NodeDeclaredFeatures": True}
    )
    async with aiohttp.ClientSession() as session:
        client = Client(server, session, client_tls("jane"))
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.connect(EXEC, V5)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.connect("/portForward/default/web-node1", TUNNEL)
        assert refused.value.status == 400
    assert streaming.heads[0].startswith(b"GET /exec/token")


async def test_a_tunnel_carries_spdy_both_ways(client: Client, streaming: StreamingServer) -> None:
    streaming.answer = streaming.answer.replace(b"v4.channel.k8s.io", b"portforward.k8s.io")
    sent = os.urandom(SIZE)
    async with client.connect("/portForward/default/web-node1", TUNNEL) as socket:
        assert socket.protocol == TUNNEL
        got = b""
        for start in range(0, SIZE, 100_000):
            await socket.send_bytes(sent[start : start + 100_000])
        while len(got) < SIZE:
            got += (await socket.receive()).data
        assert got == sent
    assert b"X-Stream-Protocol-Version: portforward.k8s.io" in streaming.heads[0]
    assert streaming.heads[0].startswith(b"POST ")


async def test_the_last_bytes_before_a_client_closes_its_tunnel_arrive(
    client: Client, streaming: StreamingServer
) -> None:
    got = bytearray()
    over = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        while data := await reader.read(1 << 16):
            got.extend(data)
        over.set()

    streaming.behave = slow
    async with client.connect("/portForward/default/web-node1", TUNNEL) as socket:
        for _ in range(64):
            await socket.send_bytes(b"x" * 65536)
    await asyncio.wait_for(over.wait(), 5)
    assert len(got) == 64 * 65536


async def test_a_refused_tunnel_is_a_plain_answer(client: Client, streaming: StreamingServer) -> None:
    streaming.answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await client.connect("/portForward/default/web-node1", TUNNEL)
    assert refused.value.status == 403


async def test_ports_are_needed_without_a_tunnel(client: Client, node: FakeNode) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await client.connect("/portForward/default/web-node1", "v4.channel.k8s.io")
    assert refused.value.status == 400
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await client.connect("/portForward/default/web-node1?port=80,81", "v4.channel.k8s.io")
    assert node.asked[-1] == (80, 81)


async def test_idle_streams_are_closed(
    start_server: Any, client_tls: Any, node: FakeNode, streaming: StreamingServer
) -> None:
    node.url, streaming.behave = streaming.url, runtime(cat)
    server = await start_server()
    server._streaming._websockets._idle = 0.1
    async with (
        aiohttp.ClientSession() as session,
        Client(server, session, client_tls("jane")).connect(EXEC, V5) as socket,
    ):
        async with asyncio.timeout(5):
            await collect(socket)
        assert socket.close_code == 1001


async def test_stopping_ends_them(client: Client, streaming: StreamingServer) -> None:
    streaming.behave = runtime(cat)
    socket = await client.connect(EXEC, V5)
    await socket.receive()
    async with asyncio.timeout(5):
        await client.server.stop()
        assert (await socket.receive()).type is not aiohttp.WSMsgType.BINARY
    await socket.close()
