import asyncio
import subprocess
import sys
import threading
import time

import pytest

from pykubelet.base.apart import Apart


async def test_a_result_and_an_error_come_back():
    apart = Apart("test")
    assert await apart.run(lambda: threading.current_thread().name) == "test"
    with pytest.raises(ZeroDivisionError):
        await apart.run(lambda: 1 // 0)


async def test_what_hangs_is_given_up_and_counted():
    apart, free = Apart("test", limit=2, patience=0.01), threading.Event()
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await apart.run(free.wait, seconds=0.01)
    with pytest.raises(TimeoutError, match="2 calls are under way"):
        await apart.run(lambda: 1)
    free.set()
    async with asyncio.timeout(10):
        while True:
            try:
                assert await apart.run(lambda: 1) == 1
                break
            except TimeoutError:
                await asyncio.sleep(0.01)


async def test_many_calls_at_once_wait_for_one_another():
    apart = Apart("test", limit=2)
    lock, now, most = threading.Lock(), 0, 0

    def work():
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.001)
        with lock:
            now -= 1

    await asyncio.gather(*(apart.run(work) for _ in range(50)))
    assert most <= 2


async def test_a_wait_for_a_place_counts_as_time_and_can_be_cancelled():
    apart, free = Apart("test", limit=1), threading.Event()
    hanging = asyncio.get_running_loop().create_task(apart.run(free.wait))
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError, match=r"nothing came back within 0\.01 s"):
        await apart.run(lambda: 1, seconds=0.01)
    free.set()
    assert await hanging
    assert await apart.run(lambda: 1) == 1


async def test_without_a_thread_to_be_had(monkeypatch):
    apart = Apart("test", limit=1)

    def refuse(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(TimeoutError, match="too many threads: can't start"):
            await apart.run(lambda: 1)
    assert await apart.run(lambda: 1) == 1


async def test_a_cancelled_wait_leaves_the_call_alone():
    apart, free, ended = Apart("test"), threading.Event(), threading.Event()

    def work():
        free.wait()
        ended.set()

    waiting = asyncio.get_running_loop().create_task(apart.run(work))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    free.set()
    assert await apart.run(lambda: ended.wait(10))


HANGS = """
import asyncio, threading
from pykubelet.base.apart import Apart
async def main():
    try:
        await Apart("x").run(threading.Event().wait, seconds=0.01)
    except TimeoutError:
        print("given up")
asyncio.run(main())
"""


def test_a_call_that_hangs_does_not_keep_the_process():
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, timeout=60, check=True)
    assert done.stdout == b"given up\n"
