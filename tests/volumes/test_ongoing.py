import asyncio

import pytest

from pykubelet.volumes.ongoing import Ongoing


class Work:
    def __init__(self, error=None):
        self.begun, self.go_on, self.error = 0, asyncio.Event(), error

    async def __call__(self):
        self.begun += 1
        await self.go_on.wait()
        if self.error is not None:
            raise self.error


def spawn(coroutine):
    return asyncio.get_running_loop().create_task(coroutine)


async def test_a_cancelled_waiter_leaves_the_work_to_the_next():
    ongoing, work = Ongoing("test"), Work()
    first = spawn(ongoing.run("a", work))
    await asyncio.sleep(0.01)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second, over = spawn(ongoing.run("a", work)), spawn(ongoing.over("a"))
    await asyncio.sleep(0.01)
    work.go_on.set()
    await asyncio.gather(second, over)
    assert work.begun == 1
    await ongoing.run("a", work)
    assert work.begun == 2
    await ongoing.over("a")


async def test_an_error_comes_to_all_who_wait_and_the_work_may_begin_anew():
    ongoing, work = Ongoing("test"), Work(OSError("no"))
    waiting = [spawn(ongoing.run("a", work)) for _ in range(2)]
    await asyncio.sleep(0.01)
    work.go_on.set()
    assert [str(e) for e in await asyncio.gather(*waiting, return_exceptions=True)] == ["no", "no"]
    with pytest.raises(OSError, match="no"):
        await ongoing.run("a", work)
    assert work.begun == 2


async def test_an_error_that_nobody_waits_for_is_nobodys(caplog):
    ongoing, work = Ongoing("test"), Work(OSError("no"))
    waiting = spawn(ongoing.run("a", work))
    await asyncio.sleep(0.01)
    waiting.cancel()
    work.go_on.set()
    await ongoing.over("a")
    assert caplog.text == ""


async def test_works_of_other_names_run_side_by_side():
    ongoing, one, two = Ongoing("test"), Work(), Work()
    waiting = [spawn(ongoing.run("a", one)), spawn(ongoing.run("b", two))]
    await asyncio.sleep(0.01)
    assert (one.begun, two.begun) == (1, 1)
    one.go_on.set()
    two.go_on.set()
    await asyncio.gather(*waiting)
