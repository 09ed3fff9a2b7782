"""Running a command in a container, or joining one, from this terminal: exec and attach.

Speaks Kubernetes' remote command protocol, version 4, over SPDY: a stream each for errors,
input, output and the terminal's size. Input ends by closing its stream, so that a command
that reads to the end ends too.
"""

import asyncio
import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from pykubelet.base import spdy
from pykubelet.base.tasks import first_of
from pykubelet.cli.spdy_client import Lost, SpdyClient
from pykubelet.cli.terminal import raw_terminal, size_message, stdin_is_terminal

PROTOCOLS: Final = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
_BLOCK: Final = 32 << 10


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which streams are wanted."""

    stdin: bool
    tty: bool
    stdout: bool = True

    @property
    def stderr(self) -> bool:
        """A terminal has one output."""
        return not self.tty

    def query(self) -> dict[str, str]:
        """The request's query, in the kubelet's names."""
        flags = {"input": self.stdin, "output": self.stdout, "error": self.stderr, "tty": self.tty}
        return {name: "1" for name, on in flags.items() if on}


def exit_code(status: bytes, protocol: str) -> int:
    """The command's exit code, as the error stream told it.

    :raises click.ClickException: it told of something else.
    """
    text = status.decode(errors="replace").strip()
    if not text:
        return 0
    if protocol != PROTOCOLS[0]:
        raise click.ClickException(text)
    try:
        told = json.loads(text)
        if told.get("status") == "Success":
            return 0
        causes = (told.get("details") or {}).get("causes") or []
        codes = [cause["message"] for cause in causes if cause.get("reason") == "ExitCode"]
        if told.get("reason") == "NonZeroExitCode" and codes:
            return int(codes[0])
        message = str(told.get("message") or text)
    except (ValueError, AttributeError, KeyError, TypeError):
        message = text
    raise click.ClickException(message)


class RemoteCommand:
    """One command or attachment."""

    def __init__(
        self, socket: Path, path: str, wanted: Wanted, *, write: Callable[[int, bytes], None] | None = None
    ) -> None:
        """*write* takes output for file descriptor 1 or 2."""
        self._path = path
        self._wanted = wanted
        self._write = write or _write_all
        self._client = SpdyClient(socket, self._heard)
        self._outputs: dict[int, int] = {}
        self._error_stream = 0
        self._error = bytearray()
        self._told = False
        self._open: set[int] = set()
        self._done = asyncio.Event()

    async def run(self) -> int:
        """Do it; the command's exit code.

        :raises click.ClickException: it could not be run, or the connection broke.
        """
        try:
            protocol = await self._client.open(self._path, PROTOCOLS)
            stdin, resize = await self._open_streams(protocol)
            with contextlib.ExitStack() as stack:
                if self._wanted.tty and self._wanted.stdin and stdin_is_terminal():
                    stack.enter_context(raw_terminal(0))
                if resize:
                    stack.enter_context(self._follow_size(resize))
                    self._tell_size(resize)
                if stdin:
                    self._feed(stdin)
                await self._wait()
        except ConnectionError as error:
            raise Lost(f"the connection broke: {error}") from error
        finally:
            await self._client.close()
        if not self._told and not self._error:
            raise Lost("the connection ended before the command did")
        return exit_code(bytes(self._error), protocol)

    async def _open_streams(self, protocol: str) -> tuple[int, int]:
        """Open all streams, errors first; those of input and size, or 0."""
        self._error_stream = await self._client.stream({"streamtype": "error"})
        self._open.add(self._error_stream)
        stdin = await self._client.stream({"streamtype": "stdin"}) if self._wanted.stdin else 0
        for kind, descriptor, on in (
            ("stdout", 1, self._wanted.stdout),
            ("stderr", 2, self._wanted.stderr),
        ):
            if on:
                stream = await self._client.stream({"streamtype": kind})
                self._outputs[stream] = descriptor
                self._open.add(stream)
        sized = self._wanted.tty and protocol in PROTOCOLS[:2]
        resize = await self._client.stream({"streamtype": "resize"}) if sized else 0
        return stdin, resize

    def _heard(self, event: spdy.Event) -> None:
        match event:
            case spdy.DataReceived(stream, data, fin):
                if stream == self._error_stream:
                    self._error += data[: 1 << 16]
                elif stream in self._outputs and data:
                    self._write(self._outputs[stream], data)
                if fin:
                    self._closed(stream)
            case spdy.StreamReset(stream, _status):
                self._closed(stream)
            case spdy.StreamReplied(stream, _, True):
                self._closed(stream)
            case _:
                pass

    def _closed(self, stream: int) -> None:
        if stream == self._error_stream:
            self._told = True
        self._open.discard(stream)
        if not self._open:
            self._done.set()

    async def _wait(self) -> None:
        """Until every stream that brings something is closed, or the connection is."""
        await first_of(self._done.wait(), self._client.ended.wait())

    def _feed(self, stream: int) -> None:
        """Send our input as it comes, from a thread of its own: reading it cannot be cancelled."""
        loop = asyncio.get_running_loop()

        def send(data: bytes, *, fin: bool) -> bool:
            future = asyncio.run_coroutine_threadsafe(self._client.send(stream, data, fin=fin), loop)
            try:
                future.result()
            except (OSError, CancelledError):
                return False
            return True

        def read() -> None:
            while True:
                try:
                    data = os.read(0, _BLOCK)
                except OSError:
                    data = b""
                try:
                    if not send(data, fin=not data) or not data:
                        return
                except RuntimeError:
                    return

        threading.Thread(target=read, name="stdin", daemon=True).start()

    def _tell_size(self, stream: int) -> None:
        message = size_message()
        if message:
            self._client.say(stream, message)

    @contextlib.contextmanager
    def _follow_size(self, stream: int) -> Iterator[None]:
        """Tell the command whenever the terminal changes its size."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, self._tell_size, stream)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGWINCH)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def run_remote(socket: Path, path: str, wanted: Wanted) -> int:
    """Run a remote command from this process's terminal; its exit code. Blocks.

    :raises click.ClickException: it could not be run.
    """

    async def main() -> int:
        return await RemoteCommand(socket, path, wanted).run()

    try:
        return asyncio.run(main())
    except KeyboardInterrupt:
        return 130
