import asyncio
import threading

import pytest

from pykubelet.base.tasks import TaskOwner
from pykubelet.volumes.patient_threads import PatientThreads


@pytest.fixture
def gate():
    made = threading.Event()
    yield made
    made.set()


async def settled(threads):
    while threads.hanging:
        await asyncio.sleep(0.01)


async def test_what_a_look_finds_or_raises():
    threads = PatientThreads("t", at_once=1, given_up=1)
    main = threading.get_ident()
    assert await threads.run("a", threading.get_ident, 10) != main
    with pytest.raises(ZeroDivisionError):
        await threads.run("a", lambda: 1 // 0, 10)
    assert not threads.hanging


async def test_a_look_that_hangs_is_given_up_and_not_begun_again(gate):
    threads = PatientThreads("t", at_once=1, given_up=2)
    with pytest.raises(TimeoutError):
        await threads.run("dead", gate.wait, 0.01)
    assert threads.hanging == {"dead"}
    with pytest.raises(TimeoutError, match="an earlier look still hangs"):
        await threads.run("dead", lambda: 1, 10)
    # It holds nobody else up, until too many hang.
    assert await threads.run("alive", lambda: 1, 10) == 1
    with pytest.raises(TimeoutError):
        await threads.run("dead too", gate.wait, 0.01)
    with pytest.raises(TimeoutError, match="2 other looks hang"):
        await threads.run("alive", lambda: 1, 10)
    gate.set()
    await settled(threads)
    assert await threads.run("dead", lambda: 2, 10) == 2


async def test_of_several_who_look_at_the_same_one_hangs(gate):
    threads = PatientThreads("t", at_once=9, given_up=9)
    begun = []

    def look():
        begun.append(threading.get_ident())
        gate.wait()

    tried = await asyncio.gather(*(threads.run("dead", look, 0.05) for _ in range(5)), return_exceptions=True)
    assert sorted(map(str, tried)) == ["an earlier look still hangs"] * 4 + [
        "nothing came back within 0.05 s"
    ]
    assert len(begun) == 1


async def test_who_waits_for_another_ones_look_has_its_own_then():
    threads = PatientThreads("t", at_once=9, given_up=9)
    assert sorted(await asyncio.gather(*(threads.run("a", lambda n=n: n, None) for n in range(5)))) == [
        0, 1, 2, 3, 4
    ]  # fmt: skip


async def test_it_is_told_what_came_back(gate):
    back = []
    threads = PatientThreads("t", at_once=1, given_up=2, on_back=back.append)
    assert await threads.run("alive", lambda: 1, 10) == 1
    with pytest.raises(TimeoutError):
        await threads.run("dead", gate.wait, 0.01)
    assert back == []
    gate.set()
    await settled(threads)
    assert back == ["dead"]


async def test_an_error_after_giving_up_is_nobodys(gate):
    threads = PatientThreads("t", at_once=1, given_up=2)

    def late():
        gate.wait()
        raise OSError("late")

    with pytest.raises(TimeoutError):
        await threads.run("dead", late, 0.01)
    gate.set()
    await settled(threads)


async def test_only_so_many_at_once(gate):
    threads = PatientThreads("t", at_once=2, given_up=9)
    running, most = 0, 0
    lock = threading.Lock()

    def look():
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        gate.wait(0.01)
        with lock:
            running -= 1

    await asyncio.gather(*(threads.run(number, look, 10) for number in range(10)))
    assert most == 2


async def test_who_waits_may_be_cancelled(gate):
    threads = PatientThreads("t", at_once=1, given_up=2)
    task = TaskOwner("t").spawn("a", threads.run("a", gate.wait, 60))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert threads.hanging == {"a"}
    gate.set()
    await settled(threads)


async def test_one_whose_caller_is_cancelled_is_waited_for(gate):
    """A container that is not to start any more, while another one wants the same volume."""
    threads = PatientThreads("t", at_once=9, given_up=9)
    first = TaskOwner("t").spawn("a", threads.run("a", gate.wait, 60))
    await asyncio.sleep(0.01)
    others = [TaskOwner("t").spawn("a", threads.run("a", lambda n=n: n, 10)) for n in range(2)]
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in others)
    gate.set()
    assert await asyncio.gather(*others) == [0, 1]
    assert not threads.hanging


async def test_one_whose_caller_is_cancelled_may_hang_too(gate):
    threads = PatientThreads("t", at_once=9, given_up=9)
    first = TaskOwner("t").spawn("a", threads.run("a", gate.wait, 60))
    await asyncio.sleep(0.01)
    first.cancel()
    for _ in range(2):
        with pytest.raises(TimeoutError, match="an earlier look still hangs"):
            await threads.run("a", lambda: 1, 0.05)
    gate.set()
    await settled(threads)
    assert await threads.run("a", lambda: 1, 10) == 1


async def test_only_so_many_hang(gate):
    threads = PatientThreads("t", at_once=2, given_up=6, slow_after=0.01)
    looks = [TaskOwner("t").spawn("d", threads.run(number, gate.wait, 60)) for number in range(20)]
    while sum(look.done() for look in looks) < 13:
        await asyncio.sleep(0.01)
    # Of the last two that were begun at once one may be too many.
    assert len(threads.hanging) in (6, 7)
    gate.set()
    told = [str(each) for each in await asyncio.gather(*looks, return_exceptions=True)]
    assert told.count("True") in (6, 7)
    assert all("other looks hang" in each for each in told if each != "True")


async def test_many_that_hang_hold_nobody_up(gate):
    threads = PatientThreads("t", at_once=2, given_up=60, slow_after=0.01)
    looks = [TaskOwner("t").spawn("d", threads.run(number, gate.wait, 60)) for number in range(20)]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        assert await threads.run("alive", lambda: 1, 60) == 1
    assert not any(look.done() for look in looks)
    gate.set()
    assert await asyncio.gather(*looks) == [True] * 20
    assert not threads.hanging


async def test_work_that_may_take_its_time_keeps_its_place(gate):
    threads = PatientThreads("t", at_once=1, given_up=6)
    long = TaskOwner("t").spawn("long", threads.run("long", gate.wait, None))
    next_one = TaskOwner("t").spawn("next", threads.run("next", lambda: 1, 10))
    await asyncio.sleep(0.05)
    assert not next_one.done()
    assert not threads.hanging
    gate.set()
    assert await asyncio.gather(long, next_one) == [True, 1]
