"""Short commands: what they say, and that they end."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from pykubelet.base.processes import run
from pykubelet.base.tasks import TaskOwner


async def shell(script, *, limit=1000, timeout=30.0, **more):
    return await run(("/bin/sh", "-c", script), os.environ, timeout=timeout, limit=limit, **more)


def runs(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # An orphan that has ended stays a zombie until the machine's init gets to it.
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


async def gone(pid):
    async with asyncio.timeout(20):
        while runs(pid):
            await asyncio.sleep(0.02)


async def test_what_it_is_told_and_says():
    ended = await shell("cat; echo oops >&2; exit 3", stdin=b"word", keep_errors=True)
    assert (ended.code, ended.output, ended.errors) == (3, b"word", b"oops\n")
    assert (await shell("cat")).output == b""
    assert (await shell("kill -9 $$")).code == -signal.SIGKILL


async def test_who_does_not_listen_and_who_complains_at_length():
    ended = await shell("exit 0", stdin=b"x" * 1_000_000)
    assert ended.code == 0
    ended = await shell("head -c 300000 /dev/zero >&2; echo done", keep_errors=True)
    assert (ended.output, ended.errors) == (b"done\n", bytes(1000))


async def test_who_says_too_much_is_ended(tmp_path):
    file = tmp_path / "pid"
    with pytest.raises(ValueError, match="too much"):
        await shell(f"echo $$ > {file}; yes")
    await gone(int(file.read_text()))


async def test_what_nobody_waits_for_any_more_is_ended_with_its_children(tmp_path):
    file, owner = tmp_path / "pid", TaskOwner("test")
    waits = owner.spawn("run", shell(f"sleep 600 & echo $! > {file}.new; mv {file}.new {file}; wait"))
    async with asyncio.timeout(20):
        while not file.exists():
            await asyncio.sleep(0.02)
    await owner.close()
    assert waits.cancelled()
    await gone(int(file.read_text()))


async def test_what_is_given_up_while_it_starts_is_ended_with_its_children(tmp_path, monkeypatch):
    file, owner, start = tmp_path / "pid", TaskOwner("test"), asyncio.create_subprocess_exec

    async def slow(*command, **more):
        process = await start(*command, **more)
        await asyncio.sleep(0.5)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", slow)
    owner.spawn("run", shell(f"sleep 600 & echo $! > {file}.new; mv {file}.new {file}; wait"))
    async with asyncio.timeout(20):
        while not file.exists():
            await asyncio.sleep(0.02)
    await owner.close()
    await gone(int(file.read_text()))


async def test_children_that_hold_the_pipe_are_ended_though_the_command_has_ended(tmp_path):
    file = tmp_path / "pid"
    with pytest.raises(TimeoutError):
        await shell(f"sleep 600 & echo $! > {file}", timeout=2)
    await gone(int(file.read_text()))


async def test_what_cannot_be_started():
    with pytest.raises(FileNotFoundError):
        await run(("/no/such/program",), {}, timeout=5, limit=10)
