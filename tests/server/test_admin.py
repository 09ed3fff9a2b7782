import asyncio
import json
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.server.conftest import Answer, FakeNode, StreamingServer, http

from pykubelet.base.clock import SystemClock
from pykubelet.server import AdminServer, ListenError
from pykubelet.server import admin as admin_module
from pykubelet.server.listener import Listener
from pykubelet.server.routes import Routes


async def ask(path: Path, what: str, method: str = "GET") -> Answer:
    return await http(*await asyncio.open_unix_connection(str(path)), method, what)


def server(path: Path) -> AdminServer:
    return AdminServer(path, FakeNode(), SystemClock(), idle=60.0)


async def test_only_its_owner_can_reach_it(admin: Path) -> None:
    assert admin.stat().st_mode & 0o777 == 0o600
    assert admin.parent.stat().st_mode & 0o777 == 0o700


async def test_another_user_is_refused(admin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pykubelet.server.admin.peer_uid", lambda connection: 12345)
    assert (await ask(admin, "/pods")).status == 403


async def test_what_it_serves(admin: Path, node: FakeNode) -> None:
    async def get(path: str) -> Any:
        answer = await ask(admin, path)
        assert answer.status == 200, answer.text
        return json.loads(answer.body)

    assert (await get("/pods"))["items"][0]["status"]["phase"] == "Running"
    assert (await get("/pods/default/web-node1"))["kind"] == "Pod"
    details = await get("/details/default/web-node1")
    assert details["events"][0]["reason"] == "Pulled"
    assert details["worker"] == {"phase": "syncing", "cause": ""}
    pulling = "pulling img for 12s, 1.0 of 2.0 MiB so far"
    assert details["pulls"] == [
        {
            "image": "img",
            "container": "app",
            "seconds": 12.0,
            "text": pulling,
            "done": 1 << 20,
            "total": 2 << 20,
        }
    ]
    assert [volume["state"] for volume in details["volumes"]] == ["mounted", "attaching"]
    waiting = (
        "volume data (claim shop/data, persistent volume pv-1): attaching for 61s, waits for the controller, "
        "attach failed 2 times, the last error is: no, next try in 4s"
    )
    usage = details["volumes"][0]["usage"]
    assert (usage["used_bytes"], usage["capacity_bytes"], usage["inodes_used"]) == (1000, 2000, 10)
    assert usage["time"] == "2023-11-14T22:13:20Z"
    assert details["volumes"][1]["usage"] is None
    full = "volume code: 0 B of 2.0 KiB are free (measured 0s ago)"
    lines = ["it began", f"now: {waiting}", f"now: {full}", f"now [app]: {pulling}"]
    assert (await get("/explain/pod/default/web-node1")) == {"lines": lines}
    assert (await get("/explain/node")) == {"lines": ["the daemon is up"]}
    assert (await get("/configz")) == {"kubeletconfig": {"port": 1}}
    assert (await get("/version"))["node"] == "node1"
    assert (await ask(admin, "/healthz")).text == "ok"
    assert (await ask(admin, "/metrics")).text == "up 1\n"
    missing = await ask(admin, "/pods/default/none")
    assert (missing.status, missing.text) == (404, 'pods "none" not found')
    assert (await ask(admin, "/run/default/web-node1/main?cmd=ls", "POST")).status == 404


async def test_a_stale_socket_is_replaced_a_living_one_is_not(short_path: Path) -> None:
    path = short_path / "admin.sock"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    first, second = server(path), server(path)
    await first.start()
    with pytest.raises(ListenError, match=r"another daemon listens on .*admin\.sock"):
        await second.start()
    assert (await ask(path, "/healthz")).text == "ok"
    await second.stop()
    await first.stop()


async def test_what_is_no_socket_stays(short_path: Path) -> None:
    path = short_path / "admin.sock"
    path.write_text("precious")
    with pytest.raises(ListenError, match="is no socket"):
        await server(path).start()
    assert path.read_text() == "precious"


async def test_a_directory_that_is_a_link_is_not_used(short_path: Path) -> None:
    (short_path / "elsewhere").mkdir()
    os.symlink(short_path / "elsewhere", short_path / "run")
    with pytest.raises(ListenError, match="not a directory of this daemon's user"):
        await server(short_path / "run" / "admin.sock").start()


async def test_streams_go_through_with_half_close(
    admin: Path, node: FakeNode, streaming: StreamingServer
) -> None:
    node.url = streaming.url
    reader, writer = await asyncio.open_unix_connection(str(admin))
    writer.write(
        b"POST /exec/default/web-node1/main?command=cat&input=1&output=1 HTTP/1.1\r\nHost: x\r\n"
        b"Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    sent = os.urandom(1 << 20)
    writer.write(sent)
    writer.write_eof()
    assert await reader.read(-1) == sent
    writer.close()


async def test_a_start_that_is_cut_leaves_no_socket_open(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, bound = threading.Event(), []
    bind = admin_module._bind

    def slow(path: Path) -> socket.socket:
        goes_on.wait(10)
        bound.append(bind(path))
        return bound[0]

    monkeypatch.setattr(admin_module, "_bind", slow)
    made = server(short_path / "admin.sock")
    starting = asyncio.get_running_loop().create_task(made.start())
    await asyncio.sleep(0.05)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await made.stop()
    goes_on.set()
    async with asyncio.timeout(10):
        while not bound or bound[0].fileno() != -1:
            await asyncio.sleep(0.01)


async def test_a_start_that_is_cut_at_its_end_leaves_no_socket_open_either(short_path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(short_path / "s.sock"))
    listener = Listener("test", Routes([]))
    starting = asyncio.get_running_loop().create_task(listener.start_unix(listening))
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await listener.stop()
    assert listening.fileno() == -1
