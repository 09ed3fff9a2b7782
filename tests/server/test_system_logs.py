"""``/logs/`` on real files, as Go's file server would show them."""

import asyncio
import gzip
import os
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path

import pytest
from tests.server.conftest import Answer, http

from pykubelet.node.system_logs import SystemLogFiles
from pykubelet.server.listener import Listener
from pykubelet.server.routes import Route, Routes
from pykubelet.server.system_logs import SystemLogs

STAMP = 1_700_000_000
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"


class Logs(SystemLogFiles):
    """Real files, and a journal that tells how it was asked."""

    units = ("kubelet",)
    has_journal = True

    async def has_unit(self, service: str) -> bool:
        return service in self.units

    async def journal(self, arguments: Sequence[str]) -> AsyncGenerator[bytes, None]:
        if not self.has_journal:
            raise FileNotFoundError
        yield " ".join(arguments).encode()


class Site:
    def __init__(self, root: Path) -> None:
        self.root, self.logs = root, Logs(root)
        self.listeners: dict[bool, Listener] = {}

    async def get(self, path: str, *, queries: bool = False, **headers: str) -> Answer:
        if queries not in self.listeners:
            handler = SystemLogs(self.logs, queries=queries).handle
            self.listeners[queries] = Listener("logs", Routes([Route(("GET",), "/logs/", handler)]))
            await self.listeners[queries].start_tcp("127.0.0.1", 0)
        pair = await asyncio.open_connection("127.0.0.1", self.listeners[queries].port)
        return await http(*pair, "GET", path, **headers)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    root = tmp_path / "log"
    (root / "pods" / "a").mkdir(parents=True)
    (root / "containers").mkdir()
    (root / "sys.log").write_bytes(b"0123456789")
    (root / "sys.log.1.gz").write_bytes(gzip.compress(b"old"))
    (root / "<b>&:.txt").write_bytes(b"\x00\x01")
    (root / "pods" / "a" / "0.log").write_bytes(b"pod\n")
    (root / "containers" / "a.log").symlink_to(root / "pods" / "a" / "0.log")
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "out").symlink_to("../secret")
    (root / "away").symlink_to(tmp_path / "secret")
    (root / "far").symlink_to("/etc")
    os.mkfifo(root / "fifo")
    for path in (root / "sys.log", root):
        os.utime(path, (STAMP, STAMP))
    site = Site(root)
    yield site
    for listener in site.listeners.values():
        await listener.stop()


async def test_a_directory_is_listed(site: Site) -> None:
    answer = await site.get("/logs/")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Last-Modified"] == DATE
    lines = answer.text.splitlines()
    assert lines[:3] == [
        "<!doctype html>",
        '<meta name="viewport" content="width=device-width">',
        "<pre>",
    ]
    assert '<a href="./%3Cb%3E%26%3A.txt">&lt;b&gt;&amp;:.txt</a>' in lines
    assert '<a href="pods/">pods/</a>' in lines and '<a href="sys.log">sys.log</a>' in lines
    assert lines[-1] == "</pre>"


async def test_a_file_with_what_browsers_need(site: Site) -> None:
    answer = await site.get("/logs/sys.log")
    assert (answer.status, answer.text) == (200, "0123456789")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Last-Modified"] == DATE
    assert (answer.headers["Accept-Ranges"], answer.headers["Content-Length"]) == ("bytes", "10")
    assert (await site.get("/logs/sys.log.1.gz")).headers["Content-Type"] == "application/gzip"
    binary = await site.get("/logs/%3Cb%3E&%3A.txt")
    assert (binary.body, binary.headers["Content-Type"]) == (b"\x00\x01", "application/octet-stream")


@pytest.mark.parametrize(
    ("asked", "status", "body", "told"),
    [
        ("bytes=2-4", 206, "234", "bytes 2-4/10"),
        ("bytes=7-", 206, "789", "bytes 7-9/10"),
        ("bytes=-2", 206, "89", "bytes 8-9/10"),
        ("bytes=8-99", 206, "89", "bytes 8-9/10"),
        ("bytes=10-", 416, "invalid range: failed to overlap\n", "bytes */10"),
        ("bytes=0-1,3-4", 200, "0123456789", None),
        ("lines=0-1", 200, "0123456789", None),
        ("bytes=x", 200, "0123456789", None),
    ],
)
async def test_ranges(site: Site, asked: str, status: int, body: str, told: str | None) -> None:
    answer = await site.get("/logs/sys.log", Range=asked)
    assert (answer.status, answer.text, answer.headers.get("Content-Range")) == (status, body, told)


async def test_conditions(site: Site) -> None:
    assert (await site.get("/logs/sys.log", If_Modified_Since=DATE)).status == 304
    assert (await site.get("/logs/sys.log", If_Modified_Since="Tue, 14 Nov 2023 22:13:19 GMT")).status == 200
    assert (await site.get("/logs/sys.log", If_Modified_Since="soon")).status == 200
    assert (await site.get("/logs/sys.log", Range="bytes=1-2", If_Range=DATE)).status == 206
    assert (await site.get("/logs/sys.log", Range="bytes=1-2", If_Range='"tag"')).status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/logs/none", 404),
        ("/logs/sys.log/x", 404),
        ("/logs/%2e%2e/secret", 404),
        ("/logs/..%2fsecret", 404),
        ("/logs/a%00b", 404),
        ("/logs/out", 403),
        ("/logs/away", 403),
        ("/logs/far/passwd", 403),
        ("/logs/fifo", 403),
    ],
)
async def test_nothing_outside_and_nothing_special_is_shown(site: Site, path: str, status: int) -> None:
    answer = await site.get(path)
    assert answer.status == status
    assert b"secret" not in answer.body and b"root" not in answer.body


async def test_links_of_containers_stay_inside(site: Site) -> None:
    assert (await site.get("/logs/containers/a.log")).text == "pod\n"


async def test_slashes_are_put_right(site: Site) -> None:
    answer = await site.get("/logs/pods")
    assert (answer.status, answer.headers["Location"]) == (301, "pods/")
    answer = await site.get("/logs/sys.log/")
    assert (answer.status, answer.headers["Location"]) == (301, "../sys.log")


async def test_queries_need_their_switch(site: Site) -> None:
    assert "<pre>" in (await site.get("/logs/?query=kubelet")).text
    answer = await site.get("/logs/?query=kubelet&tailLines=5", queries=True)
    assert answer.headers["Content-Type"] == "text/plain;charset=UTF-8"
    assert answer.text == "--utc --no-pager --pager-end --lines=5 --unit=kubelet --output=short-precise"
    assert (await site.get("/logs/journal", queries=True)).text.startswith("--utc")
    packed = await site.get("/logs/?query=kubelet", queries=True, Accept_Encoding="gzip")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body).startswith(b"--utc")


async def test_services_that_log_to_files(site: Site) -> None:
    (site.root / "svc").mkdir()
    (site.root / "svc" / "svc.log").write_text("in a directory\n")
    assert (await site.get("/logs/?query=sys", queries=True)).text == "0123456789"
    assert (await site.get("/logs/?query=svc", queries=True)).text == "in a directory\n"
    assert (await site.get("/logs/?query=nobody", queries=True)).text == "\nlog not found for nobody\n"
    assert "error getting log for out" in (await site.get("/logs/?query=out", queries=True)).text
    refused = await site.get("/logs/?query=sys&tailLines=1", queries=True)
    assert "options present and query resolved to log files for [sys]" in refused.text


async def test_queries_for_files(site: Site) -> None:
    assert (await site.get("/logs/?query=/sys.log", queries=True)).text == "0123456789"
    assert (await site.get("/logs/sys.log", queries=True)).text == "0123456789"
    assert (await site.get("/logs/?query=/none.log", queries=True)).status == 406
    assert (await site.get("/logs/?query=a%3Bb", queries=True)).status == 406
    assert (await site.get("/logs/?query=a&boot=x", queries=True)).status == 400


async def test_without_a_journal(site: Site) -> None:
    site.logs.has_journal = False
    assert (
        await site.get("/logs/?query=kubelet", queries=True)
    ).text == "\nerror: journal output not available\n"
