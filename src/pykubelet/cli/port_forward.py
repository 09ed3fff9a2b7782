"""``pykubelet port-forward``: each local connection becomes one of its own into the pod."""

import asyncio
import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

import click

from pykubelet.base import spdy
from pykubelet.base.tasks import TaskOwner, first_of
from pykubelet.cli.admin_client import path_of
from pykubelet.cli.options import client_for, namespace_option, pod_argument, socket_option
from pykubelet.cli.spdy_client import SpdyClient

_PROTOCOL = ("portforward.k8s.io",)
_BLOCK = 32 << 10
#: Connections forwarded at once.
_MAX_CONNECTIONS = 128


@dataclass(frozen=True, slots=True)
class Mapping:
    """A local port (0: any free one) and the pod's."""

    local: int
    remote: int


def parse_mapping(text: str) -> Mapping:
    """``LOCAL:REMOTE``, ``:REMOTE`` or ``PORT``.

    :raises click.BadParameter: anything else, or a port that cannot be.
    """
    found = re.fullmatch(r"(?:(\d{0,5}):)?(\d{1,5})", text, re.ASCII)
    if found is None:
        raise click.BadParameter(f"{text!r} is not LOCAL:REMOTE, :REMOTE or PORT")
    remote = int(found[2])
    local = remote if found[1] is None else int(found[1] or 0)
    if not 1 <= remote <= 65535 or local > 65535:
        raise click.BadParameter(f"{text!r}: a port lies between 1 and 65535")
    return Mapping(local, remote)


class _Forwarded:
    """One local connection and its way into the pod."""

    def __init__(self, socket: Path, path: str, port: int, writer: asyncio.StreamWriter) -> None:
        self._path = path
        self._port = port
        self._writer = writer
        self._client = SpdyClient(socket, self._heard)
        self._data = 0
        self._error = bytearray()
        self._closed = asyncio.Event()

    async def run(self, reader: asyncio.StreamReader) -> str:
        """Carry data both ways until the pod's side is over; what went wrong there."""
        try:
            await self._client.open(self._path, _PROTOCOL)
            headers = {"port": str(self._port), "requestid": "0"}
            await self._client.stream({"streamtype": "error", **headers}, fin=True)
            self._data = await self._client.stream({"streamtype": "data", **headers})
            sending = TaskOwner("send")
            sending.spawn("data", self._send(reader))
            try:
                await first_of(self._closed.wait(), self._client.ended.wait())
            finally:
                await sending.close()
        finally:
            await self._client.close()
        return self._error.decode(errors="replace").strip()

    async def _send(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_BLOCK):
                await self._client.send(self._data, data)
            await self._client.send(self._data, b"", fin=True)

    def _heard(self, event: spdy.Event) -> None:
        match event:
            case spdy.DataReceived(stream, data, fin) if stream == self._data:
                self._writer.write(data)
                if fin:
                    self._closed.set()
            case spdy.DataReceived(_, data, _):
                self._error += data[: 1 << 16]
                if data:
                    self._closed.set()
            case spdy.StreamReset(stream, _) if stream == self._data:
                self._closed.set()
            case _:
                pass


async def forward(socket: Path, path: str, mappings: list[Mapping], address: str) -> None:
    """Listen on every mapping's local port until cancelled.

    :raises click.ClickException: a local port is not to be had.
    """
    room = asyncio.Semaphore(_MAX_CONNECTIONS)

    async def serve(mapping: Mapping, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        click.echo(f"Handling connection for {mapping.local or mapping.remote}")
        try:
            async with room:
                problem = await _Forwarded(socket, path, mapping.remote, writer).run(reader)
            if problem:
                click.echo(f"error: {problem}", err=True)
        except (click.ClickException, OSError) as error:
            click.echo(f"error: {error}", err=True)
        finally:
            writer.close()

    async with contextlib.AsyncExitStack() as stack:
        for mapping in mappings:

            async def accepted(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mapping: Mapping = mapping
            ) -> None:
                await serve(mapping, reader, writer)

            try:
                server = await asyncio.start_server(accepted, address, mapping.local)
            except OSError as error:
                raise click.ClickException(
                    f"unable to listen on port {mapping.local}: {error.strerror or error}"
                ) from error
            await stack.enter_async_context(server)
            host, port = server.sockets[0].getsockname()[:2]
            click.echo(f"Forwarding from {f'[{host}]' if ':' in host else host}:{port} -> {mapping.remote}")
        await asyncio.Event().wait()


@click.command("port-forward")
@click.argument("pod")
@click.argument("ports", nargs=-1, required=True, metavar="[LOCAL:]REMOTE...")
@click.option("--address", default="127.0.0.1", show_default=True, help="Local address to listen on.")
@namespace_option
@socket_option
def command(pod: str, ports: tuple[str, ...], address: str, namespace: str, socket_path: str) -> None:
    """Forward local ports to a pod until Ctrl-C."""
    mappings = [parse_mapping(text) for text in ports]
    client = client_for(socket_path)
    found = pod_argument(client, namespace, pod)
    path = path_of("portForward", namespace, found["metadata"]["name"])
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(forward(client.path, path, mappings, address))
