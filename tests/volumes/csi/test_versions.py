"""Versions that drivers offer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.volumes.csi.versions import highest_supported, less, parse, told


@pytest.mark.parametrize(
    ("offered", "highest"),
    [
        (["1.0.0"], "1.0.0"),
        (["v1.0.0"], "1.0.0"),
        (["1.2.0", "1.10.0", "1.3.0"], "1.10.0"),
        (["0.3.0", "1.0.0"], "1.0.0"),
        (["1.0.0", "2.0.0", "3.1"], "1.0.0"),
        (["rubbish", "1.1"], "1.1"),
        ([" 1.4.0-rc1"], "1.4.0"),
    ],
)
def test_highest(offered, highest):
    assert told(highest_supported(offered)) == highest


@pytest.mark.parametrize(
    ("offered", "text"),
    [
        ([], r"could not find a highest supported version from versions \(\[\]\) reported: <nil>"),
        (["0.2.0", "0.3.0"], "highest supported version reported is 0.3.0, must be v1.x"),
        (["2.0.0"], r"from versions \(\[2.0.0\]\) reported: <nil>"),
        (["x"], 'reported: could not parse "x" as version'),
        (["1"], 'illegal version string "1"'),
        (["01.0"], 'illegal zero-prefixed version component "01" in "01.0"'),
        (["1." + "9" * 5000], "illegal non-numeric version component"),
    ],
)
def test_none(offered, text):
    with pytest.raises(ValueError, match=text):
        highest_supported(offered)


def test_missing_numbers_are_zero():
    assert not less((1, 0), (1, 0, 0))
    assert not less((1, 0, 0), (1, 0))
    assert less((1, 0), (1, 0, 1))


@given(st.lists(st.text(max_size=12), max_size=5))
def test_any_text_is_read_or_refused(offered):
    try:
        found = highest_supported(offered)
    except ValueError:
        return
    assert found[0] == 1
    assert any(parse(text) == found for text in offered if text.lstrip().startswith(("1", "v1")))
