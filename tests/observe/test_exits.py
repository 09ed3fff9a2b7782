"""The ends of real processes, seen through their pidfds."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator

import pytest

from pykubelet.linux.pidfd import PidWatches
from pykubelet.observe.exits import ExitWatch


@pytest.fixture
def process() -> Iterator[subprocess.Popen]:
    with subprocess.Popen(["sleep", "600"]) as started:
        yield started
        with contextlib.suppress(ProcessLookupError):
            started.kill()


class Believing(PidWatches):
    """Takes any process for the container's: test processes live in no cgroup of that name."""

    async def add(self, key, pid, belongs, ended):
        return await super().add(key, pid, lambda text: True, ended)


@pytest.fixture
async def watch():
    told: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    made = ExitWatch(lambda key, uid: told.put_nowait((key, uid)), pids=Believing())
    made.told = told
    yield made
    await made.close()


async def settled(watch) -> None:
    while watch._tasks.tasks:
        await asyncio.sleep(0.001)


async def test_the_end_of_a_process_is_told_once(watch, process) -> None:
    watch.watch("c1", process.pid, "u1")
    watch.watch("c1", process.pid, "u1")
    await settled(watch)
    assert watch.watches("c1")
    process.kill()
    async with asyncio.timeout(5):
        assert await watch.told.get() == ("c1", "u1")
    await asyncio.sleep(0.01)
    assert watch.told.empty()


async def test_a_process_that_is_gone_already_is_told_at_once(watch, process) -> None:
    process.kill()
    await asyncio.to_thread(process.wait)
    watch.watch("c1", process.pid, "u1")
    async with asyncio.timeout(5):
        assert await watch.told.get() == ("c1", "u1")


async def test_what_was_forgotten_is_not_told(watch, process) -> None:
    watch.watch("c1", process.pid, "u1")
    await settled(watch)
    watch.forget("c1")
    watch.forget("never watched")
    process.kill()
    await asyncio.to_thread(process.wait)
    await asyncio.sleep(0.02)
    assert watch.told.empty()
    assert not watch.watches("c1")


async def test_what_is_forgotten_while_it_is_looked_up_is_not_watched(watch, process) -> None:
    watch.watch("c1", process.pid, "u1")
    watch.forget("c1")
    await settled(watch)
    process.kill()
    await asyncio.to_thread(process.wait)
    await asyncio.sleep(0.02)
    assert watch.told.empty()


@pytest.mark.parametrize("pid", [0, -1])
async def test_without_a_pid_nothing_is_watched(watch, pid) -> None:
    watch.watch("c1", pid, "u1")
    assert not watch.watches("c1")


async def test_a_pid_that_another_process_has_now_is_not_watched() -> None:
    told = []
    watch = ExitWatch(lambda key, uid: told.append(key))
    watch.watch("0123456789abcdef" * 4, os.getpid(), "u1")
    await settled(watch)
    assert not watch.watches("0123456789abcdef" * 4)
    assert told == []
    await watch.close()


async def test_a_process_that_cannot_be_watched_is_left_to_relists(caplog) -> None:
    class Refusing(PidWatches):
        async def add(self, key, pid, belongs, ended):
            raise OSError("too many files")

    watch = ExitWatch(lambda key, uid: None, pids=Refusing())
    watch.watch("c1", os.getpid(), "u1")
    await settled(watch)
    assert not watch.watches("c1")
    assert "relists will tell it" in caplog.text
    await watch.close()


def pidfds() -> int:
    """How many pidfds this process has open."""
    targets = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            targets.append(os.readlink(f"/proc/self/fd/{number}"))
    return sum("pidfd" in target for target in targets)


async def test_closing_lets_go_of_all_descriptors(process) -> None:
    before = pidfds()
    watch = ExitWatch(lambda key, uid: None, pids=Believing())
    for number in range(10):
        watch.watch(f"c{number}", process.pid, "u1")
    await settled(watch)
    assert pidfds() == before + 10
    await watch.close()
    assert pidfds() == before
