"""Reading log files: tails, following over rotation, and refusing what is no plain file."""

import asyncio
import gzip
import os
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.base.tasks import TaskOwner
from pykubelet.containers import logs
from pykubelet.containers.log_dir import LogDirectory, log_directory
from pykubelet.containers.logs import LogOptions, read_logs, tail_start


def line(text):
    return b"2016-10-06T00:17:09.5Z stdout F " + text + b"\n"


@pytest.fixture
def log_file(tmp_path):
    path = tmp_path / "pods" / "ns_pod_uid" / "app" / "0.log"
    path.parent.mkdir(parents=True)
    return path


async def ended():
    return False


async def read(path, **options):
    async with aclosing(read_logs(path, LogOptions(**options), ended)) as blocks:
        return b"".join([block async for block in blocks])


async def test_whole_and_tail(log_file):
    log_file.write_bytes(b"".join(line(b"%d" % i) for i in range(5)))
    assert await read(log_file) == b"0\n1\n2\n3\n4\n"
    assert await read(log_file, tail_lines=2) == b"3\n4\n"
    assert await read(log_file, tail_lines=0) == b""
    assert await read(log_file, tail_lines=99) == b"0\n1\n2\n3\n4\n"
    assert await read(log_file, tail_lines=2, limit_bytes=3) == b"3\n4"


@given(
    lines=st.lists(st.binary(max_size=5).map(lambda b: b.replace(b"\n", b"")), max_size=30),
    closed=st.booleans(),
    wanted=st.integers(0, 35),
    block=st.integers(1, 40),
)
def test_tail_start_finds_the_line(lines, closed, wanted, block):
    data = b"\n".join(lines) + (b"\n" if closed and lines else b"")
    parts = data.split(b"\n")
    if parts[-1] == b"":
        parts.pop()
    kept = parts[-wanted:] if wanted else []
    descriptor = os.memfd_create("log")
    with os.fdopen(descriptor, "w+b", buffering=0) as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs, "_TAIL_BLOCK", block)
        file.write(data)
        rest = data[tail_start(file, wanted, len(data)) :]
    assert rest == b"\n".join(kept) + (b"\n" if kept and data.endswith(b"\n") else b"")


async def test_follow_goes_on_over_a_rotation_and_ends_with_the_container(log_file):
    log_file.write_bytes(line(b"one"))
    running = True

    async def is_running():
        return running

    got = b""
    seen = asyncio.Event()

    async def follow():
        nonlocal got
        async with aclosing(read_logs(log_file, LogOptions(follow=True), is_running)) as blocks:
            async for block in blocks:
                got += block
                seen.set()

    async def until(text):
        async with asyncio.timeout(10):
            while not got.endswith(text):
                await seen.wait()
                seen.clear()

    reader = TaskOwner("test").spawn("follow", follow())
    await until(b"one\n")
    with log_file.open("ab") as file:
        file.write(line(b"two"))
    await until(b"two\n")
    with log_file.open("ab") as file:
        file.write(line(b"three"))
        log_file.rename(log_file.with_suffix(".log.20200101-000000"))
    log_file.write_bytes(line(b"four"))
    await until(b"four\n")
    running = False
    with log_file.open("ab") as file:
        file.write(line(b"five"))
    await asyncio.wait_for(reader, 10)
    assert got == b"one\ntwo\nthree\nfour\nfive\n"


async def test_who_follows_slowly_reads_every_file_in_between(log_file):
    running = True

    async def is_running():
        return running

    def rotate(stamp, pack=False):
        aside = log_file.with_name(f"0.log.{stamp}")
        log_file.rename(aside)
        if pack:
            aside.with_name(f"{aside.name}.gz").write_bytes(gzip.compress(aside.read_bytes()))
            aside.unlink()

    log_file.with_name("0.log.20200101-000000").write_bytes(line(b"before all"))
    log_file.write_bytes(line(b"one"))
    async with aclosing(read_logs(log_file, LogOptions(follow=True), is_running)) as blocks:
        assert await anext(blocks) == b"one\n"
        rotate("20200101-000001", pack=True)
        log_file.write_bytes(line(b"two"))
        rotate("20200101-000002", pack=True)
        log_file.write_bytes(line(b"three"))
        rotate("20200101-0000025")
        log_file.write_bytes(line(b"four"))
        got = b"".join([await anext(blocks) for _ in range(2)])
        # What was being read goes, too; and the one in which the container ends.
        rotate("20200101-000003", pack=True)
        log_file.write_bytes(line(b"five"))
        running = False
        got += b"".join([block async for block in blocks])
    assert got == b"two\nthree\nfour\nfive\n"


def test_a_rotation_between_looking_and_opening_skips_nothing(log_file, monkeypatch):
    log_file.write_bytes(line(b"one"))
    names = iter(["20200101-000002"])
    opened = LogDirectory.open

    def open_late(self, name):
        # It is the next file's turn, but that was set aside just now, too.
        if name == "0.log" and log_file.read_bytes() == line(b"two") and (stamp := next(names, None)):
            log_file.rename(log_file.with_name(f"0.log.{stamp}"))
            log_file.write_bytes(line(b"three"))
        return opened(self, name)

    with log_directory(log_file) as directory:
        source = logs._Source(directory, LogOptions(follow=True))
        got = source.block()[0]
        log_file.rename(log_file.with_name("0.log.20200101-000001"))
        log_file.write_bytes(line(b"two"))
        monkeypatch.setattr(LogDirectory, "open", open_late)
        monkeypatch.setattr(logs, "_SETTLE", 0)
        for _ in range(6):
            source.advance()
            got += source.block()[0]
        source.close()
    assert got == b"one\ntwo\nthree\n"


async def test_a_log_just_being_rotated_is_waited_for(log_file):
    log_file.with_name("0.log.20200101-000000").write_bytes(line(b"old"))
    reading = TaskOwner("test").spawn("read", read(log_file))
    await asyncio.sleep(0.1)
    log_file.write_bytes(line(b"new"))
    assert await asyncio.wait_for(reading, 5) == b"new\n"


@pytest.mark.parametrize("part", ["file", "directory"])
async def test_links_are_never_followed(log_file, tmp_path, part):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "0.log").write_bytes(line(b"secret"))
    if part == "file":
        log_file.symlink_to(secret / "0.log")
    else:
        log_file.parent.rmdir()
        log_file.parent.symlink_to(secret)
    with pytest.raises((OSError, ValueError)):
        await read(log_file)


async def test_a_pipe_does_not_block(log_file):
    os.mkfifo(log_file)
    with pytest.raises(ValueError, match="regular"):
        await read(log_file)
