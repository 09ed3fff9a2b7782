import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.base.duration import Duration


@given(st.integers(-(2**62), 2**62))
def test_what_is_printed_reads_back(ns: int) -> None:
    assert Duration.parse(str(Duration(ns))) == ns


@pytest.mark.parametrize(
    ("text", "seconds", "printed"),
    [
        ("90s", 90, "1m30s"),
        ("1h", 3600, "1h0m0s"),
        ("100ms", 0.1, "100ms"),
        ("0", 0, "0s"),
        ("-1.5s", -1.5, "-1.5s"),
    ],
)
def test_go_text(text: str, seconds: float, printed: str) -> None:
    duration = Duration.parse(text)
    assert (duration.seconds, str(duration)) == (seconds, printed)
    assert Duration.of(seconds) == duration


@pytest.mark.parametrize("text", ["", "5", "1x", "s", "1s "])
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        Duration.parse(text)
