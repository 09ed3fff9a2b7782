import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.linux.cfs import (
    milli_to_quota,
    milli_to_shares,
    shares_to_milli,
    shares_to_weight,
    weight_to_shares,
)


@pytest.mark.parametrize(
    ("milli", "shares"),
    [(0, 2), (1, 2), (2, 2), (100, 102), (250, 256), (1000, 1024), (256000, 262144), (10**9, 262144)],
)
def test_shares(milli, shares):
    assert milli_to_shares(milli) == shares


@pytest.mark.parametrize(
    ("milli", "period", "quota"),
    [
        (0, 100_000, 0),
        (5, 100_000, 1000),
        (9, 100_000, 1000),
        (10, 100_000, 1000),
        (200, 100_000, 20_000),
        (1500, 100_000, 150_000),
        (200, 5000, 1000),
        (1000, 50_000, 50_000),
    ],
)
def test_quota(milli, period, quota):
    assert milli_to_quota(milli, period) == quota


@pytest.mark.parametrize(
    ("shares", "weight"), [(0, 1), (2, 1), (1024, 39), (262_143, 9999), (262_144, 10_000), (10**7, 10_000)]
)
def test_weight(shares, weight):
    assert shares_to_weight(shares) == weight


@pytest.mark.parametrize(("weight", "shares"), [(1, 2), (39, 998), (10_000, 262_144)])
def test_weight_read_back(weight, shares):
    assert weight_to_shares(weight) == shares


@pytest.mark.parametrize(("shares", "milli"), [(0, 0), (1, 0), (2, 2), (102, 100), (1024, 1000)])
def test_shares_read_back(shares, milli):
    assert shares_to_milli(shares) == milli


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_more_cpu_never_means_less(one, other):
    low, high = sorted((one, other))
    assert milli_to_shares(low) <= milli_to_shares(high)
    assert milli_to_quota(low) <= milli_to_quota(high)
    assert 1 <= shares_to_weight(milli_to_shares(low)) <= shares_to_weight(milli_to_shares(high)) <= 10_000
