"""Streams as API servers of both ages open them, through the kubelet's port and a real containerd."""

import asyncio
import json
import os
import ssl

import aiohttp
import pytest
import pytest_asyncio
from tests.integration.killed_node import container
from tests.integration.node import pod, running_node
from tests.integration.ports import free_port

from pykubelet.base import spdy
from pykubelet.base.tasks import TaskOwner

pytestmark = pytest.mark.asyncio(loop_scope="module")

V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
TUNNEL = "SPDY/3.1+portforward.k8s.io"
WEB = "echo hello > /tmp/index.html; httpd -p 8080 -h /tmp; exec cat"


def lax_tls():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Server:
    """The kubelet's port, as an API server sees it."""

    def __init__(self, node, port, session):
        self.node, self.port, self.session = node, port, session

    def connect(self, path, *protocols, **query):
        url = f"https://127.0.0.1:{self.port}{path}"
        params = [(name, value) for name, values in query.items() for value in values]
        return self.session.ws_connect(
            url,
            params=params,
            protocols=protocols,
            ssl=lax_tls(),
            max_msg_size=0,
            timeout=aiohttp.ClientWSTimeout(ws_close=5),
        )

    def exec(self, *command, streams=("input", "output", "error"), protocols=(V5,)):
        query = {name: ["1"] for name in streams}
        return self.connect("/exec/default/web-str/app", *protocols, command=command, **query)

    @property
    def open(self):
        return self.node.kubelet.server._upgrades.open


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(containerd, tmp_path_factory):
    port = free_port()
    config = {
        "enableServer": True,
        "address": "127.0.0.1",
        "port": port,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
    }
    async with running_node(tmp_path_factory.mktemp("streams"), containerd, "str", **config) as made:
        made.apply(pod("web", {**container("app", WEB), "stdin": True}))
        await made.until(lambda: made.ready("web"))
        async with aiohttp.ClientSession() as session:
            yield Server(made, port, session)


async def collect(socket):
    """All that comes, by channel, until the server closes."""
    found = {}
    async with asyncio.timeout(30):
        async for message in socket:
            found[message.data[0]] = found.get(message.data[0], b"") + message.data[1:]
    return found


async def send_all(socket, data):
    for start in range(0, len(data), 32 << 10):
        await socket.send_bytes(b"\x00" + data[start : start + (32 << 10)])
    await socket.send_bytes(b"\xff\x00")


async def settled(server):
    async with asyncio.timeout(10):
        while server.open:
            await asyncio.sleep(0.02)


async def test_exec_through_a_websocket_with_half_close_and_exit_code(server):
    sent = os.urandom(1 << 20)
    async with server.exec("sh", "-c", "cat; echo grumble >&2; exit 7") as socket:
        assert socket.protocol == V5
        feeding = TaskOwner("test").spawn("feed", send_all(socket, sent))
        found = await collect(socket)
        await feeding
        assert socket.close_code == 1000
    assert (found[1], found[2]) == (sent, b"grumble\n")
    status = json.loads(found[3])
    assert status["reason"] == "NonZeroExitCode"
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]
    await settled(server)


async def test_the_outcome_of_a_success_and_of_a_command_that_is_not_there(server):
    async with server.exec("true", streams=("output",)) as socket:
        found = await collect(socket)
    assert (found[1], json.loads(found[3])["status"]) == (b"", "Success")
    async with server.exec("no-such-command", streams=("output",)) as socket:
        found = await collect(socket)
    assert "executable file not found" in json.loads(found[3])["message"]


async def test_a_command_that_stops_reading_its_input_still_tells_all(server):
    # Much more input than this and containerd never tells the end, whoever asks it: it waits
    # for somebody to take what stands before the close of the stream.
    async with server.exec("sh", "-c", "head -c 50000 | wc -c; exit 3") as socket:
        await send_all(socket, b"x" * 90_000)
        found = await collect(socket)
    assert found[1].strip() == b"50000"
    assert json.loads(found[3])["details"]["causes"][0]["message"] == "3"
    await settled(server)


async def test_much_output_arrives_whole_at_a_slow_reader(server):
    async with server.exec(
        "sh", "-c", "dd if=/dev/zero bs=64k count=160 2>/dev/null", streams=("output",)
    ) as socket:
        await asyncio.sleep(0.5)
        found = await collect(socket)
    assert len(found[1]) == 160 * 65536


async def test_a_terminal_gets_its_size(server):
    script = "until stty size | grep -q 77; do sleep 0.05; done; stty size; read x; echo got $x"
    async with server.exec("sh", "-c", script, streams=("input", "output", "tty")) as socket:
        await socket.send_bytes(b'\x04{"Width":77,"Height":33}\n')
        seen = b""
        async with asyncio.timeout(15):
            while b"33 77" not in seen:
                seen += (await socket.receive()).data[1:]
        await socket.send_bytes(b"\x00typed\n")
        found = await collect(socket)
    assert b"got typed" in found[1]


async def test_attach_joins_and_leaves(server):
    for _ in range(2):
        async with server.connect("/attach/default/web-str/app", V5, input=["1"], output=["1"]) as socket:
            await socket.send_bytes(b"\x00ping\n")
            seen = b""
            async with asyncio.timeout(15):
                while b"ping" not in seen:
                    seen += (await socket.receive()).data[1:]
    await settled(server)


async def test_a_client_that_is_cut_off_leaves_no_stream(server):
    socket = await server.exec("cat")
    await socket.receive()
    socket._response.connection.transport.abort()
    await socket.close()
    await settled(server)


async def test_older_websockets_are_containerds_own(server):
    async with server.exec("echo", "hi", streams=("output",), protocols=(V4,)) as socket:
        assert socket.protocol == V4
        found = await collect(socket)
    assert found[1] == b"hi\n" and json.loads(found[3])["status"] == "Success"


class SpdyInWebSocket:
    """A port-forward's SPDY, as kubectl speaks it inside a WebSocket."""

    def __init__(self, socket):
        self.socket, self.spdy = socket, spdy.Connection(client=True)
        self.got, self.ended = {}, set()

    async def flush(self):
        await self.socket.send_bytes(self.spdy.to_send())

    async def until(self, done):
        async with asyncio.timeout(15):
            while not done():
                message = await self.socket.receive()
                for event in self.spdy.receive(message.data):
                    if isinstance(event, spdy.DataReceived):
                        self.got[event.stream] = self.got.get(event.stream, b"") + event.data
                        if event.fin:
                            self.ended.add(event.stream)


async def test_port_forward_through_a_tunnel_twice_on_one_connection(server):
    async with server.connect("/portForward/default/web-str", TUNNEL) as socket:
        assert socket.protocol == TUNNEL
        tunnel = SpdyInWebSocket(socket)
        for number in range(2):
            headers = {"port": "8080", "requestid": str(number)}
            tunnel.spdy.open_stream({"streamtype": "error", **headers}, fin=True)
            data = tunnel.spdy.open_stream({"streamtype": "data", **headers})
            tunnel.spdy.send_data(data, b"GET / HTTP/1.0\r\n\r\n")
            await tunnel.flush()
            await tunnel.until(lambda: data in tunnel.ended)  # noqa: B023
            assert tunnel.got[data].endswith(b"hello\n")
    await settled(server)


async def test_port_forward_through_an_older_websocket(server):
    async with server.connect("/portForward/default/web-str", V4, port=["8080"]) as socket:
        await socket.send_bytes(b"\x00GET / HTTP/1.0\r\n\r\n")
        seen = b""
        async with asyncio.timeout(15):
            while b"hello\n" not in seen:
                message = await socket.receive()
                if message.data[0] == 0:
                    seen += message.data[1:]
    await settled(server)


async def test_exec_over_spdy_with_bytes_sent_before_the_answer(server):
    """An API server of 1.32–1.35; no client is this early, but none would have to wait."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=lax_tls())
    connection = spdy.Connection(client=True)
    error = connection.open_stream({"streamtype": "error"})
    stdin = connection.open_stream({"streamtype": "stdin"})
    stdout = connection.open_stream({"streamtype": "stdout"})
    connection.send_data(stdin, b"early", fin=True)
    writer.write(
        b"POST /exec/default/web-str/app?command=cat&input=1&output=1 HTTP/1.1\r\nHost: x\r\n"
        b"Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n"
        + connection.to_send()
    )
    async with asyncio.timeout(15):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head
        got, ended = {}, set()
        while not {error, stdout} <= ended:
            for event in connection.receive(await reader.read(1 << 16)):
                match event:
                    case spdy.DataReceived(stream, data, fin):
                        got[stream] = got.get(stream, b"") + data
                        ended |= {stream} if fin else set()
                    case spdy.StreamReset(stream, _):
                        ended.add(stream)
    writer.close()
    assert got[stdout] == b"early" and json.loads(got[error])["status"] == "Success"
    await settled(server)
