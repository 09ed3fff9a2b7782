"""Thresholds and holds: how attempts become verdicts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.api.core import Probe
from pykubelet.probes.verdict import INITIAL, ProbeMemory, judge


def run(kind, results, *, success=1, failure=3):
    """The verdicts after each attempt, and the memory at the end."""
    probe, memory, verdicts = Probe(successThreshold=success, failureThreshold=failure), ProbeMemory("c"), []
    for result in results:
        judgement = judge(memory, probe, kind, result)
        memory = judgement.memory
        verdicts.append(judgement.verdict)
    return verdicts, memory


def test_before_a_try_only_liveness_counts_as_success() -> None:
    assert INITIAL == {"startup": None, "liveness": True, "readiness": False}


@pytest.mark.parametrize(
    ("kind", "results", "verdicts", "held"),
    [
        ("readiness", [False, False, False], [None, None, False], False),
        (
            "readiness",
            [False, False, True, False, False, False],
            [None, None, True, None, None, False],
            False,
        ),
        ("readiness", [False] * 4, [None, None, False, False], False),
        ("liveness", [True, False, False, False], [True, None, None, False], True),
        ("startup", [False, False, True], [None, None, True], True),
        ("startup", [False, False, False], [None, None, False], True),
    ],
)
def test_a_verdict_needs_equal_results_in_a_row(kind, results, verdicts, held) -> None:
    told, memory = run(kind, results)
    assert told == verdicts
    assert memory.held is held


def test_readiness_may_need_several_successes() -> None:
    assert run("readiness", [True, True, False, True, True, True], success=3)[0] == [
        None, None, None, None, None, True,
    ]  # fmt: skip


@given(
    results=st.lists(st.booleans(), max_size=30),
    success=st.integers(0, 4),
    failure=st.integers(0, 4),
)
def test_a_verdict_comes_exactly_when_the_last_results_are_as_many_as_the_threshold(
    results, success, failure
) -> None:
    told, _ = run("readiness", results, success=success, failure=failure)
    for end, verdict in enumerate(told, 1):
        last = results[end - 1]
        need = max(success if last else failure, 1)
        row = results[max(0, end - need) : end]
        enough = len(row) == need and all(result is last for result in row)
        assert verdict is (last if enough else None)
