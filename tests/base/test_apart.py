import asyncio
import subprocess
import sys
import threading

import pytest

from pykubelet.base.apart import Apart


async def test_a_result_and_an_error_come_back():
    apart = Apart("test")
    assert await apart.run(lambda: threading.current_thread().name) == "test"
    with pytest.raises(ZeroDivisionError):
        await apart.run(lambda: 1 // 0)


async def test_what_hangs_is_given_up_and_counted():
    apart, free = Apart("test", limit=2), threading.Event()
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
