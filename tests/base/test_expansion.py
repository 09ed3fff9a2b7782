"""References in texts: a table of the documented cases, and laws that hold for any text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.base.expansion import expand, expand_subpath

ENV = {"A": "1", "B": "two", "EMPTY": "", "X-Y": "dash"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain", "plain"),
        ("$(A)", "1"),
        ("$(A)$(B)", "1two"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(MISSING)", "$(MISSING)"),
        ("$A", "$A"),
        ("$", "$"),
        ("a$", "a$"),
        ("$$", "$"),
        ("$(", "$("),
        ("$(A", "$(A"),
        ("$()", "$()"),
        ("$(EMPTY)", ""),
        ("$(X-Y)", "dash"),
        ("$($(A))", "$($(A))"),
        ("$x$(A)", "$x1"),
        ("--flag=$(A):$(B)", "--flag=1:two"),
    ],
)
def test_cases(text, wanted):
    assert expand(text, ENV) == wanted


def test_the_first_scope_wins():
    assert expand("$(A)", {"A": "own"}, ENV) == "own"


@given(st.text())
def test_doubling_dollars_protects_any_text(text):
    assert expand(text.replace("$", "$$"), ENV) == text


@given(st.text(alphabet="$()AB x", max_size=30))
def test_nothing_known_only_folds_double_dollars(text):
    assert expand(text, {}).count("$") >= text.count("$") / 2


def test_sub_paths_need_every_variable():
    assert expand_subpath("logs/$(A)", ENV) == "logs/1"
    with pytest.raises(ValueError, match="missing value for EMPTY, NOPE"):
        expand_subpath("$(NOPE)/$(EMPTY)", ENV)
