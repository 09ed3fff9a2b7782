"""The limit that does not count what the process itself slept through."""

import asyncio
import time

import pytest

from pykubelet.base.fair_limit import FairLimit


async def test_a_body_that_takes_too_long_is_ended():
    limit = FairLimit(0.2)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with limit:
            await asyncio.sleep(30)
    assert limit.expired()
    assert 0.19 < time.monotonic() - began < 5


async def test_none_is_no_limit():
    async with FairLimit(None) as limit:
        await asyncio.sleep(0.05)
    assert not limit.expired()


async def test_a_timeout_of_the_body_is_its_own():
    limit = FairLimit(20)
    with pytest.raises(TimeoutError, match="mine"):
        async with limit:
            raise TimeoutError("mine")
    assert not limit.expired()


async def test_an_answer_that_came_while_the_loop_slept_counts():
    answer = asyncio.get_running_loop().create_future()
    async with FairLimit(0.1):
        asyncio.get_running_loop().call_later(0.02, answer.set_result, "here")
        time.sleep(0.5)  # the whole process gets no processor
        assert await answer == "here"


async def test_an_answer_of_several_steps_survives_a_sleeping_loop():
    async with FairLimit(0.4):
        for _ in range(3):
            time.sleep(0.2)
            await asyncio.sleep(0.02)


async def test_what_is_not_counted_has_an_end():
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        async with FairLimit(0.2):
            while True:
                time.sleep(0.1)
                await asyncio.sleep(0)
    assert time.monotonic() - began < 5


async def test_nothing_is_left_after_it():
    loop = asyncio.get_running_loop()
    async with FairLimit(0.05):
        pass
    late = []
    loop.call_later(0.2, late.append, 1)
    await asyncio.sleep(0.3)
    assert late == [1]
