"""Back-off and rate limit: the small pure parts of the API client."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.base.clock import LoopClock
from pykubelet.cluster.backoff import FIRST, LONGEST, Backoff
from pykubelet.cluster.rate_limit import Bucket, RateLimit


def test_waits_grow_to_a_bound_and_begin_anew_after_health() -> None:
    backoff = Backoff(random.Random(1))
    now, base = 0.0, FIRST
    for _ in range(10):
        wait = backoff.wait(now)
        assert base <= wait <= 2 * base
        now += wait
        base = min(base * 2, LONGEST)
    assert backoff.wait(now + 121) <= 2 * FIRST


@given(st.lists(st.floats(0, 3), max_size=60), st.floats(0.5, 20), st.integers(1, 10))
def test_a_bucket_keeps_its_rate_and_nobody_overtakes(gaps: list[float], qps: float, burst: int) -> None:
    bucket = Bucket(qps, burst, 0.0)
    now, turns = 0.0, []
    for gap in gaps:
        now += gap
        turns.append(now + bucket.take(now))
    assert all(turns[i] <= turns[i + 1] + 1e-6 for i in range(len(turns) - 1))
    for first in range(len(turns)):
        for last in range(first, len(turns)):
            assert last - first + 1 <= burst + (turns[last] - turns[first]) * qps + 1e-6


@pytest.mark.looptime
async def test_zero_means_upstreams_default_and_negative_none() -> None:
    clock = LoopClock()
    limit = RateLimit(0, 0, clock)
    for _ in range(15):
        await limit.wait()
    assert clock.monotonic() == pytest.approx(1.0)
    free = RateLimit(-1, 0, clock)
    for _ in range(100):
        await free.wait()
    assert clock.monotonic() == pytest.approx(1.0)


@pytest.mark.looptime
async def test_a_turn_that_was_given_up_is_not_lost() -> None:
    clock = LoopClock()
    limit = RateLimit(1, 1, clock)
    await limit.wait()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await limit.wait()
    await limit.wait()
    assert clock.monotonic() == pytest.approx(1.0)
