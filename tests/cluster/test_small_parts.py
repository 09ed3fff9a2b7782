"""Back-off, rate limit and proxies: the small pure parts of the API client."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.base.clock import LoopClock
from pykubelet.base.proxies import Proxy, parse_proxy, proxy_from_environment
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


def test_proxy_urls() -> None:
    assert parse_proxy("p:3128") == Proxy("http://p:3128")
    assert parse_proxy("https://u:p%40@p") == Proxy("https://p:443", "u", "p@")
    assert "p@" not in repr(parse_proxy("https://u:p%40@p"))
    with pytest.raises(ValueError, match="socks5"):
        parse_proxy("socks5://p")


@pytest.mark.parametrize(
    ("server", "environ", "through"),
    [
        ("https://api:6443", {}, False),
        ("https://api:6443", {"HTTPS_PROXY": "p:1"}, True),
        ("https://api:6443", {"https_proxy": "p:1"}, True),
        ("https://api:6443", {"HTTP_PROXY": "p:1"}, False),
        ("http://api", {"HTTP_PROXY": "p:1"}, True),
        ("https://localhost", {"HTTPS_PROXY": "p:1"}, False),
        ("https://127.0.0.1:6443", {"HTTPS_PROXY": "p:1"}, False),
        ("https://api", {"HTTPS_PROXY": "p:1", "NO_PROXY": "*"}, False),
        ("https://a.corp", {"HTTPS_PROXY": "p:1", "NO_PROXY": "x, corp"}, False),
        ("https://a.corp", {"HTTPS_PROXY": "p:1", "NO_PROXY": "*.corp"}, False),
        ("https://corp", {"HTTPS_PROXY": "p:1", "NO_PROXY": ".corp"}, True),
        ("https://acorp", {"HTTPS_PROXY": "p:1", "NO_PROXY": "corp"}, True),
        ("https://10.1.2.3", {"HTTPS_PROXY": "p:1", "NO_PROXY": "10.0.0.0/8"}, False),
        ("https://10.1.2.3", {"HTTPS_PROXY": "p:1", "NO_PROXY": "10.1.2.3:443"}, False),
        ("https://10.1.2.3", {"HTTPS_PROXY": "p:1", "NO_PROXY": "10.1.2.3:80"}, True),
        ("https://[fd00::1]:6443", {"HTTPS_PROXY": "p:1", "NO_PROXY": "fd00::/8"}, False),
    ],
)
def test_the_environments_proxy(server: str, environ: dict[str, str], through: bool) -> None:
    assert (proxy_from_environment(server, environ) is not None) is through
