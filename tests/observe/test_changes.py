"""What changed between two looks, by table and by property."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.observe.changes import ChangeKind, compare

STATES = ("running", "exited", "unknown")


@pytest.mark.parametrize(
    ("old", "new", "kinds"),
    [
        ({}, {"a": "running"}, [ChangeKind.STARTED]),
        ({}, {"a": "exited"}, [ChangeKind.DIED]),
        ({}, {"a": "unknown"}, [ChangeKind.CHANGED]),
        ({"a": "running"}, {"a": "exited"}, [ChangeKind.DIED]),
        ({"a": "running"}, {}, [ChangeKind.DIED, ChangeKind.REMOVED]),
        ({"a": "exited"}, {}, [ChangeKind.REMOVED]),
        ({"a": "unknown"}, {"a": "running"}, [ChangeKind.STARTED]),
        ({"a": "running"}, {"a": "running"}, []),
        ({"a": "running"}, {"a": "exited", "b": "running"}, [ChangeKind.DIED, ChangeKind.STARTED]),
    ],
)
def test_kinds(old: dict[str, str], new: dict[str, str], kinds: list[ChangeKind]) -> None:
    changes = compare("u", old, new, {"a": "web"}, "relist")
    assert [change.kind for change in changes] == kinds
    assert all(change.uid == "u" and change.source == "relist" for change in changes)


states = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(STATES))


@given(states, states)
def test_equal_looks_give_nothing_and_every_difference_gives_something(
    old: dict[str, str], new: dict[str, str]
) -> None:
    changes = compare("u", old, new, {}, "x")
    touched = {change.id for change in changes}
    assert touched == {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    order = [change.kind for change in changes]
    assert (
        ChangeKind.STARTED not in order[: order.index(ChangeKind.DIED)] if ChangeKind.DIED in order else True
    )
