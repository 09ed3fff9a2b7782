import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.api.quantity import Quantity
from pykubelet.base.duration import Duration
from pykubelet.config import parsed
from pykubelet.config.parsed import Amount, Threshold
from pykubelet.config.types import KubeletConfiguration


def test_thresholds() -> None:
    config = KubeletConfiguration(
        evictionHard={"memory.available": "1Gi", "nodefs.available": "10%", "imagefs.available": "0%"},
        evictionSoft={"pid.available": "5%"},
        evictionSoftGracePeriod={"pid.available": "1m30s"},
        evictionMinimumReclaim={"memory.available": "0", "nodefs.available": "5%"},
    )
    assert parsed.thresholds(config) == [
        Threshold("memory.available", Amount(Quantity.parse("1Gi")), None, Amount(Quantity.parse("0"))),
        Threshold("nodefs.available", Amount(share=0.1), None, Amount(share=0.05)),
        Threshold("pid.available", Amount(share=0.05), Duration.of(90), None),
    ]


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("evictionHard", {"memory.available": "101%"}, "must be between 0% and 100%"),
        ("evictionHard", {"memory.available": "-1%"}, "must be between 0% and 100%"),
        ("evictionHard", {"memory.available": "x%"}, "is not a percentage"),
        ("evictionHard", {"memory.available": "-1"}, "must be positive"),
        ("evictionSoftGracePeriod", {"memory.available": "x"}, "evictionSoftGracePeriod: memory.available"),
        ("evictionSoftGracePeriod", {"memory.available": "-1s"}, "must not be negative"),
        ("evictionMinimumReclaim", {"memory.available": "0%"}, "must be positive"),
        ("evictionMinimumReclaim", {"memory.available": "-1"}, "must not be negative"),
    ],
)
def test_bad_thresholds(field: str, value: dict[str, str], text: str) -> None:
    config = KubeletConfiguration()
    setattr(config, field, value)
    with pytest.raises(ValueError, match=field) as caught:
        parsed.thresholds(config)
    assert text in str(caught.value)


def test_reserved() -> None:
    assert parsed.reserved({"cpu": "200m", "pid": "100"}) == {
        "cpu": Quantity.parse("0.2"),
        "pid": Quantity.parse("100"),
    }


@given(st.frozensets(st.integers(0, 300), max_size=20))
def test_cpuset_reads_lists(cpus: frozenset[int]) -> None:
    assert parsed.cpuset(",".join(map(str, cpus))) == cpus


def test_cpuset_ranges() -> None:
    assert parsed.cpuset("0-2,7") == {0, 1, 2, 7}
    for bad in ("3-1", "a", "1-", ",", "0-99999999"):
        with pytest.raises(ValueError, match="is not a"):
            parsed.cpuset(bad)
