"""The queue of work for the API server, in virtual time."""

import asyncio
import random

import pytest

from pykubelet.base.clock import LoopClock
from pykubelet.cluster.errors import Refused, Unreachable
from pykubelet.cluster.work_queue import LONGEST_WAIT, WorkQueue

pytestmark = pytest.mark.looptime


class Work:
    """Takes a second each, fails as told."""

    def __init__(self, at_once: int = 2) -> None:
        self.done: list[str] = []
        self.running: list[str] = []
        self.most = 0
        self.error: Exception | None = None
        #: What needs no request.
        self.idle: set[str] = set()
        self.queue = WorkQueue("test", self.do, LoopClock(), random.Random(1), at_once=at_once)

    async def do(self, key: str) -> bool:
        assert key not in self.running
        self.running.append(key)
        self.most = max(self.most, len(self.running))
        await asyncio.sleep(1)
        self.running.remove(key)
        self.done.append(key)
        if self.error is not None and key not in self.idle:
            raise self.error
        return key not in self.idle


async def test_few_at_once_the_urgent_first_and_one_of_a_key() -> None:
    work = Work()
    for key in "abcd":
        work.queue.add(key)
    work.queue.add("u", urgent=True)
    await work.queue.start()
    await asyncio.sleep(0.5)
    work.queue.add("u")
    await asyncio.sleep(10)
    assert work.done[0] == "u"
    assert sorted(work.done) == ["a", "b", "c", "d", "u", "u"]
    assert work.most == 2
    assert len(work.queue) == 0
    await work.queue.stop()


async def test_what_is_discarded_is_not_done_again() -> None:
    work = Work()
    work.error = Refused(422, "Invalid", "no")
    await work.queue.start()
    work.queue.add("a")
    work.queue.add("b", delay=5)
    await asyncio.sleep(0.5)
    work.queue.discard("a")
    work.queue.discard("b")
    await asyncio.sleep(100)
    assert work.done == ["a"]
    assert len(work.queue) == 0
    await work.queue.stop()


async def test_in_an_outage_one_tries_for_all_and_all_take_turns() -> None:
    work = Work(at_once=1)
    work.error = Unreachable("down")
    await work.queue.start()
    for key in "abc":
        work.queue.add(key)
    await asyncio.sleep(60)
    assert set(work.done[:3]) == {"a", "b", "c"}
    assert len(work.done) < 25
    work.error = None
    await asyncio.sleep(20)
    assert set(work.done[-3:]) == {"a", "b", "c"}
    assert len(work.queue) == 0
    await work.queue.stop()


async def test_a_bug_in_the_work_is_survived(caplog) -> None:
    work = Work()
    work.error = ValueError("a bug")
    await work.queue.start()
    work.queue.add("a")
    await asyncio.sleep(1.2)
    work.error = None
    await asyncio.sleep(10)
    assert work.done == ["a", "a"]
    assert "a bug" in caplog.text
    await work.queue.stop()


async def test_a_server_that_asks_for_an_hour_is_asked_again_within_minutes() -> None:
    for code in (503, 422):
        work = Work()
        work.error = Refused(code, "", "later", retry_after=3600.0)
        await work.queue.start()
        work.queue.add("a")
        await asyncio.sleep(5)
        work.error = None
        await asyncio.sleep(2 * LONGEST_WAIT)
        assert work.done == ["a", "a"]
        await work.queue.stop()


async def test_what_needs_no_request_says_nothing_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    work = Work()
    work.error, work.idle = Unreachable("gone"), {"idle"}
    await work.queue.start()
    work.queue.add("a")
    for _ in range(60):
        work.queue.add("idle")
        await asyncio.sleep(10)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert work.done.count("a") < 130
    await work.queue.stop()
