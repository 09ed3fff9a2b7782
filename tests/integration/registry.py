"""A real image registry on loopback (Debian's docker-registry), and a slow way to it."""

import asyncio
import base64
import contextlib
import hashlib
import http.client
import io
import json
import os
import signal
import subprocess
import tarfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import yaml
from tests.integration.ports import free_port

from pykubelet.base.tasks import TaskOwner
from pykubelet.cli.up.images import BUSYBOX, sample_images
from pykubelet.cli.up.oci import File, pack

#: Users with their passwords; the hashes in the registry's file are of these.
USERS = {"alice": "wonder", "bob": "builder"}
_HTPASSWD = (
    "alice:$2b$04$abcdefghijklmnopqrstuuetGRvO6QNMBbbIoo5tpQkbPXg26U9Qu\n"
    "bob:$2b$04$zyxwvutsrqponmlkjihgfujAoOfRTJT4M.UPpk1dszur7LuxC4xMm\n"
)
_BLOB = "application/octet-stream"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Registry:
    """A registry with storage of its own; with *private* it wants to know who asks."""

    def __init__(self, directory: Path, *, private: bool = False) -> None:
        directory.mkdir(parents=True)
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.private = private
        self._log = directory / "log"
        self._config = directory / "config.yml"
        config = {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(directory / "data")}},
            "http": {"addr": self.host},
        }
        if private:
            (directory / "htpasswd").write_text(_HTPASSWD)
            config["auth"] = {"htpasswd": {"realm": "tests", "path": str(directory / "htpasswd")}}
        self._config.write_text(yaml.safe_dump(config))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, timeout: float = 30.0) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
            )
        ends = time.monotonic() + timeout
        while True:
            with contextlib.suppress(OSError):
                self._request("GET", "/v2/", expect=200)
                return
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < ends, "the registry does not answer"
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)

    def _request(self, method: str, path: str, body: bytes = b"", *, expect: int, **headers: str) -> str:
        """The answer's Location."""
        if self.private:
            login = base64.b64encode(f"alice:{USERS['alice']}".encode()).decode()
            headers["Authorization"] = f"Basic {login}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            text = answer.read()
            assert answer.status == expect, (method, path, answer.status, text)
            return answer.headers.get("Location", "")
        finally:
            connection.close()

    def push(self, repository: str, tag: str = "latest", *, salt: str = "", padding: int = 0) -> str:
        """Push a userland image that no other one shares a layer with; its digest.

        *padding* are bytes that make it larger and do not compress.
        """
        salt = salt or f"{repository}:{tag}"
        return self.push_archive(userland(salt, padding), repository, tag)

    def push_archive(self, archive: bytes, repository: str, tag: str) -> str:
        """Push a packed image; its digest."""
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            blobs = {
                f"sha256:{member.name.rpartition('/')[2]}": tar.extractfile(member).read()
                for member in tar.getmembers()
                if member.name.startswith("blobs/sha256/")
            }
            index = json.loads(tar.extractfile("index.json").read())
        digest = index["manifests"][0]["digest"]
        manifest = blobs.pop(digest)
        for blob, data in blobs.items():
            place = self._request("POST", f"/v2/{repository}/blobs/uploads/", expect=202)
            place = place.removeprefix(f"http://{self.host}")
            sign = "&" if "?" in place else "?"
            self._request("PUT", f"{place}{sign}digest={blob}", data, expect=201, Content_Type=_BLOB)
        place = f"/v2/{repository}/manifests/{tag}"
        self._request("PUT", place, manifest, expect=201, Content_Type=_MANIFEST)
        return digest


def userland(salt: str, padding: int = 0) -> bytes:
    """A packed busybox image that differs from all others by *salt*."""
    [busybox] = [image for image in sample_images() if image.name == BUSYBOX]
    noise = hashlib.shake_128(salt.encode()).digest(padding)
    more = {"etc/salt": File(salt.encode()), "var/padding": File(noise)}
    return pack(replace(busybox, entries={**busybox.entries, **more}))


@contextlib.contextmanager
def running_registry(directory: Path, *, private: bool = False) -> Iterator[Registry]:
    registry = Registry(directory, private=private)
    try:
        registry.start()
        yield registry
    finally:
        registry.stop()


class SlowWay:
    """A port that leads to a registry at a few bytes a second, as far away as it is wanted."""

    def __init__(self, registry: Registry, bytes_a_second: int) -> None:
        self.rate = bytes_a_second
        self._registry = registry
        self._tasks = TaskOwner("slow way")
        #: Bytes that came from the registry.
        self.sent = 0

    async def __aenter__(self) -> "SlowWay":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.host = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        await self._tasks.close()

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.spawn("connection", self._join(reader, writer))

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._registry.port)
        ways = TaskOwner("ways")
        try:
            both = {
                ways.spawn("there", self._copy(reader, back)),
                ways.spawn("back", self._copy(there, writer, slow=True)),
            }
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await ways.close()
            for stream in (back, writer):
                stream.close()

    async def _copy(self, reader, writer, *, slow: bool = False) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 15):
                writer.write(data)
                await writer.drain()
                if slow:
                    self.sent += len(data)
                    await asyncio.sleep(len(data) / self.rate)


@contextlib.asynccontextmanager
async def slow_way(registry: Registry, bytes_a_second: int) -> AsyncIterator[SlowWay]:
    async with SlowWay(registry, bytes_a_second) as way:
        yield way
