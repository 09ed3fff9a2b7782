"""A node that only pretends, a streaming server, and ways to speak to both."""

import asyncio
import contextlib
import os
import ssl
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from pykubelet.api.core import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStatus,
    Pod,
    PodSpec,
    PodStatus,
)
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.volume_usage import VolumeUsage
from pykubelet.base.clock import ManualClock, SystemClock
from pykubelet.config import KubeletConfiguration
from pykubelet.server import AdminServer, AlwaysAllow, KubeletServer
from pykubelet.server.doors import (
    ApiError,
    Authorizer,
    EventView,
    HealthCheck,
    LogRequest,
    Manifests,
    PullView,
    ServingCertificate,
    StreamRequest,
    TokenAuthenticator,
    VolumeView,
    WorkerView,
)


def make_pod(name: str = "web-node1", namespace: str = "default") -> Pod:
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace=namespace,
            uid=f"uid-{name}",
            annotations={"kubernetes.io/config.source": "file"},
        ),
        spec=PodSpec(nodeName="node1", containers=[Container(name="main", image="busybox")]),
        status=PodStatus(
            phase="Running",
            containerStatuses=[
                ContainerStatus(
                    name="main", state=ContainerState(running=ContainerStateRunning()), ready=True
                )
            ],
        ),
    )


#: How full a volume of the node is; measured in the very moment that the tests' clock tells.
USAGE = VolumeUsage(ManualClock().now(), 1000, 2000, 0, 30, 10, 20)


@dataclass
class FakeNode:
    """Implements ``NodeApi`` from what a test puts into it."""

    node_name: str = "node1"
    known: list[Pod] = field(default_factory=lambda: [make_pod()])
    checks: list[HealthCheck] = field(default_factory=lambda: [HealthCheck("syncloop")])
    blocks: list[bytes] = field(default_factory=lambda: [b"hello\n"])
    log_error: ApiError | None = None
    log_hangs: bool = False
    log_closed: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[Any] = field(default_factory=list)
    url: str = ""
    stream_error: ApiError | None = None

    def pods(self) -> Sequence[Pod]:
        return self.known

    listed_pods = pods

    def running_pods(self) -> Sequence[Pod]:
        return []

    def pod(self, namespace: str, name: str) -> Pod | None:
        return next(
            (p for p in self.known if (p.metadata.namespace, p.metadata.name) == (namespace, name)), None
        )

    def config_json(self) -> Mapping[str, Any]:
        return {"kind": "KubeletConfiguration", "apiVersion": "x", "port": 1}

    def health(self) -> Sequence[HealthCheck]:
        return self.checks

    async def logs(self, pod: Pod, container: str, request: LogRequest) -> AsyncGenerator[bytes, None]:
        self.asked.append(request)
        return self._blocks()

    async def _blocks(self) -> AsyncGenerator[bytes, None]:
        try:
            if self.log_error is not None:
                raise self.log_error
            for block in self.blocks:
                yield block
            if self.log_hangs:
                await asyncio.Event().wait()
        finally:
            self.log_closed.set()

    async def exec_url(
        self, pod: Pod, uid: str, container: str, command: Sequence[str], streams: StreamRequest
    ) -> str:
        self.asked.append((container, tuple(command), streams))
        if self.stream_error is not None:
            raise self.stream_error
        return self.url

    async def attach_url(self, pod: Pod, uid: str, container: str, streams: StreamRequest) -> str:
        return self.url

    async def port_forward_url(self, pod: Pod, ports: Sequence[int]) -> str:
        self.asked.append(tuple(ports))
        return self.url

    async def run_command(self, pod: Pod, uid: str, container: str, command: Sequence[str]) -> bytes:
        return repr(list(command)).encode()

    def events(self, uid: str) -> Sequence[EventView]:
        return [
            EventView(
                "Normal", "Pulled", "it is there", 2, 1_700_000_000_000_000_000, 1_700_000_060_000_000_000
            )
        ]

    def explain_pod(self, namespace: str, name: str) -> Sequence[str]:
        return ["it began"] if name in ("web-node1", "gone-node1") else []

    def explain_node(self) -> Sequence[str]:
        return ["the daemon is up"]

    async def volumes(self, uid: str) -> Sequence[VolumeView]:
        return [
            VolumeView("code", "kubernetes.io/empty-dir", "mounted", 5.0, usage=USAGE),
            VolumeView(
                "data",
                "p",
                "attaching",
                61.4,
                2,
                "no",
                3.7,
                "shop/data",
                "pv-1",
                waits_for="the controller",
                step="attach",
            ),
        ]

    def allocated(self, pod):
        return pod

    async def pulls(self, uid: str) -> Sequence[PullView]:
        return [PullView("img", "app", 12.0, "pulling img for 12s, 1.0 of 2.0 MiB so far", 1 << 20, 2 << 20)]

    def worker(self, uid: str) -> WorkerView | None:
        return WorkerView("syncing")

    def metrics(self) -> bytes:
        return b"up 1\n"

    def probe_metrics(self) -> bytes:
        return b"probed 2\n"


class StreamingServer:
    """A runtime's streaming server: answers an upgrade, then does what the test says."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.answer = (
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
            b"X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n"
        )
        self.behave: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any] = echo
        self.open = 0
        self.idle = asyncio.Event()
        self._server: asyncio.Server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/exec/token"

    async def __aenter__(self) -> "StreamingServer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        async with asyncio.timeout(5):
            while self.open:
                self.idle.clear()
                await self.idle.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(self.answer)
                await self.behave(reader, writer)
        finally:
            writer.close()
            self.open -= 1
            self.idle.set()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


@pytest.fixture
async def streaming() -> AsyncIterator[StreamingServer]:
    async with StreamingServer() as server:
        yield server


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def short_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pk-srv-", dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture
async def admin(node: FakeNode, short_path: Path) -> AsyncIterator[Path]:
    """The admin socket of the fake node."""
    path = short_path / "run" / "admin.sock"
    server = AdminServer(path, node, ManualClock(), idle=60.0)
    await server.start()
    yield path
    await server.stop()
    assert not path.exists()


StartServer = Callable[..., Any]


@pytest.fixture
async def start_server(node: FakeNode, authority: trustme.CA, tmp_path: Path) -> AsyncIterator[StartServer]:
    """Starts the kubelet's server with certificates of the authority; stops it at the end."""
    servers: list[KubeletServer] = []

    async def start(
        authorizer: Authorizer | None = None,
        tokens: TokenAuthenticator | None = None,
        serving: ServingCertificate | None = None,
        manifests: Manifests | None = None,
        **fields: Any,
    ) -> KubeletServer:
        config = KubeletConfiguration()
        config.address = "127.0.0.1"
        config.port = 0
        config.healthzPort = 0
        pair = authority.issue_cert("127.0.0.1", "localhost")
        ca, certificate, key = (tmp_path / name for name in ("ca.crt", "tls.crt", "tls.key"))
        authority.cert_pem.write_to_path(str(ca))
        pair.private_key_pem.write_to_path(str(key))
        pair.cert_chain_pems[0].write_to_path(str(certificate))
        config.tlsCertFile, config.tlsPrivateKeyFile = str(certificate), str(key)
        config.authentication.x509.clientCAFile = str(ca)
        for name, value in fields.items():
            setattr(config, name, value)
        server = KubeletServer(
            config,
            tmp_path / "pki",
            node,
            authorizer or AlwaysAllow(),
            SystemClock(),
            hostname="node1",
            tokens=tokens,
            serving=serving,
            manifests=manifests,
        )
        servers.append(server)
        await server.start()
        return server

    yield start
    for server in servers:
        await server.stop()


@pytest.fixture
def client_tls(authority: trustme.CA, tmp_path: Path) -> Callable[..., ssl.SSLContext]:
    """A client's context, with a certificate of that user and group unless there is none."""

    def make(user: str = "", group: str = "", ca: trustme.CA | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
        if user:
            pair = (ca or authority).issue_cert(
                "client@example.org", common_name=user, organization_name=group or None
            )
            pair.configure_cert(context)
        return context

    return make


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


async def http(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    method: str,
    path: str,
    body: bytes = b"",
    **headers: str,
) -> Answer:
    """One request on a connection that is closed after it."""
    fields = {"Host": "x", "Connection": "close"} | {k.replace("_", "-"): v for k, v in headers.items()}
    if body and "Content-Length" not in fields:
        fields["Content-Length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
    await writer.drain()
    data = await reader.read()
    writer.close()
    with contextlib.suppress(Exception):
        await writer.wait_closed()
    head, _, body = data.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    found = dict(line.split(": ", 1) for line in rest)
    if found.get("Transfer-Encoding") == "chunked":
        body = unchunk(body)
    return Answer(int(first.split()[1]), found, body)


def unchunk(data: bytes) -> bytes:
    out = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        out += data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]
    return out


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
