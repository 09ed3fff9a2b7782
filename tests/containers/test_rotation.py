"""Which files a rotation makes, compresses and removes, and when logs are looked at."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.containers.rotation import (
    LOOK,
    SHORTEST_LOOK,
    Growth,
    RotationPolicy,
    compressible,
    due,
    excess,
    lasting,
    next_look,
    next_name,
    plain_name,
    rotated_names,
    unused_names,
)

NOON = datetime(2026, 11, 27, 12, 0, 0, 345_678)


def test_what_counts_as_rotated():
    names = [
        "0.log",
        "10.log.20260101-000000",
        "0.log.20260102-000000.gz",
        "0.log.20260102-000000",
        "0.log.20260101-000000.gz",
        "0.log.20260103-000000",
        "0.log.20260103-000000.tmp",
    ]
    assert rotated_names("0.log", names) == [
        "0.log.20260101-000000.gz",
        "0.log.20260102-000000.gz",
        "0.log.20260103-000000",
    ]
    assert unused_names("0.log", names) == ["0.log.20260102-000000", "0.log.20260103-000000.tmp"]
    assert unused_names("0.log", names, {"0.log.20260103-000000.tmp"}) == ["0.log.20260102-000000"]
    assert excess("0.log", names, 3) == ["0.log.20260101-000000.gz"]
    assert excess("0.log", names, 9) == []
    assert compressible("0.log", names) == []
    assert compressible("0.log", [*names, "0.log.20260104-000000", "0.log.20260105-000000"]) == [
        "0.log.20260104-000000",
        "0.log.20260103-000000",
    ]


@pytest.mark.parametrize(
    ("there", "name"),
    [
        ([], "20261127-120000"),
        (["20261127-115959.gz"], "20261127-120000"),
        (["20261127-120000"], "20261127-120000345"),
        (["20261127-120000.gz"], "20261127-120000345"),
        (["20261127-120000", "20261127-120000345.gz"], "20261127-120000346"),
        (["20261127-120001"], "20261127-120002"),
        (["20261127-120000999"], "20261127-120000999001"),
    ],
)
def test_names_are_upstreams_and_sort_by_time(there, name):
    assert next_name("0.log", [f"0.log.{stamp}" for stamp in there], NOON) == f"0.log.{name}"


@given(st.lists(st.tuples(st.integers(-3000, 3000), st.booleans()), max_size=40))
def test_names_rise_whatever_the_clock_does(steps):
    names, moment = [], NOON.timestamp()
    for milliseconds, pack in steps:
        moment += milliseconds / 1000
        name = next_name("0.log", names, datetime.fromtimestamp(moment))
        assert all(plain_name(before) < name for before in names)
        assert len(name) < 60
        if pack and names:
            names[-1] = plain_name(names[-1]) + ".gz"
        names.append(name)
        assert rotated_names("0.log", names) == names


def test_the_next_look_comes_when_the_log_may_be_full():
    assert next_look([], 100) == LOOK
    assert next_look([Growth(0, 0), Growth(0, 0, 10)], 100) == LOOK
    assert next_look([Growth(50, 0, 100), Growth(0, 0, 1)], 100) == pytest.approx(0.5)
    assert next_look([Growth(0, 0, 1e9)], 100) == SHORTEST_LOOK
    assert next_look([Growth(500, 0, 5)], 100) == SHORTEST_LOOK


def test_growth_is_measured_between_looks():
    first = Growth(100, 10)
    assert first.grown(300, 12) == Growth(300, 12, 100)
    assert first.grown(50, 12) == Growth(50, 12, 25)
    assert Growth(100, 10, 7).grown(100, 12) == Growth(100, 12, 3.5)
    assert Growth(100, 10, 7).grown(300, 10) == Growth(300, 10, 7)


def test_files_that_go_at_once_are_not_worth_compressing():
    policy = RotationPolicy(max_files=5, interval=10)
    assert lasting(policy, 2.5)
    assert not lasting(policy, 2.4)


def test_full_logs_are_due_unless_they_just_failed():
    logs = {"a": Growth(100, 0), "b": Growth(99, 0), "c": Growth(200, 0)}
    policy = RotationPolicy(max_size=100)
    assert due(logs, policy, {}, 5) == ["a", "c"]
    assert due(logs, policy, {"c": 6}, 5) == ["a"]
    assert due(logs, policy, {"c": 6}, 6) == ["a", "c"]
    assert due(logs, RotationPolicy(max_size=-1), {}, 5) == ()
    assert due({"a": Growth(0, 0)}, RotationPolicy(max_size=0), {}, 5) == []
