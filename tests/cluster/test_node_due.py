"""When a report is due and what is sent."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.apiserver.patch import StrategicMerge

from pykubelet.api.codec import convert, to_builtins
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.node import Node, NodeCondition, NodeStatus
from pykubelet.api.quantity import Quantity
from pykubelet.cluster.node_due import (
    Reported,
    differences,
    due,
    newest,
    next_delay,
    node_patch,
    ready,
)

EARLY, LATE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)


def node(conditions=(), version="", labels=None, **status):
    return Node(
        metadata=ObjectMeta(name="n", resourceVersion=version, labels=labels or {}),
        status=NodeStatus(conditions=list(conditions), **status),
    )


def heard(at, status="True", kind="Ready"):
    return NodeCondition(type=kind, status=status, lastHeartbeatTime=at, lastTransitionTime=EARLY)


@pytest.mark.parametrize(
    ("last", "now", "expected"),
    [
        (None, 0, True),
        (Reported(0, 0), 299, False),
        (Reported(0, 0), 300, True),
        (Reported(0, -150), 150, True),
        (Reported(0, 150), 449, False),
        (Reported(0, 150), 450, True),
    ],
)
def test_a_report_is_due_after_the_frequency_and_its_delay(last, now, expected) -> None:
    assert due(last, now, 300) is expected


@pytest.mark.parametrize(
    ("last", "is_changed", "chance", "delay"),
    [
        (None, False, 0.0, -150),
        (None, True, 1.0, 150),
        (Reported(0, 7), True, 0.5, 0),
        (Reported(0, 7), False, 0.9, 0),
    ],
)
def test_reports_after_changes_are_spread(last, is_changed, chance, delay) -> None:
    assert next_delay(last, 300, chance, changed=is_changed) == delay


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        (node([heard(EARLY)]), node([heard(LATE)]), []),
        (node([heard(EARLY), heard(EARLY, kind="A")]), node([heard(LATE, kind="A"), heard(LATE)]), []),
        (node([heard(EARLY)]), node([heard(EARLY, "False")]), ["Ready"]),
        (node([heard(EARLY)]), node([]), ["Ready"]),
        (node(declaredFeatures=["a"]), node(declaredFeatures=[]), ["declaredFeatures"]),
        (node(labels={"a": "b"}), node(), ["labels"]),
        (node(version="1"), node(version="2"), []),
    ],
)
def test_heartbeats_are_no_change(old, new, names) -> None:
    assert differences(old, new) == names


def test_a_patch_has_labels_and_status_and_only_what_differs() -> None:
    old = node([heard(EARLY)], labels={"a": "1", "b": "2"}, phase="x")
    assert node_patch(old, old) is None
    new = node([heard(LATE)], labels={"a": "3", "c": "4"}, phase="x")
    assert node_patch(old, new) == {
        "metadata": {"labels": {"a": "3", "b": None, "c": "4"}},
        "status": {
            "conditions": [{"type": "Ready", "lastHeartbeatTime": "2026-01-02T00:00:00Z"}],
            "$setElementOrder/conditions": [{"type": "Ready"}],
        },
    }


@pytest.mark.parametrize(
    ("cached", "answered", "expected"),
    [
        ("", "", "cached"),
        ("1", "2", "answered"),
        ("2", "2", "cached"),
        ("10", "9", "cached"),
        ("x", "9", "cached"),
    ],
)
def test_the_newer_of_watch_and_answer_counts(cached, answered, expected) -> None:
    watch, answer = node(version=cached), msgspec.structs.replace(node(version=answered), kind="Node")
    assert newest(watch, answer) is {"cached": watch, "answered": answer}[expected]


def test_one_of_both_will_do() -> None:
    one = node()
    assert newest(None, one) is one
    assert newest(one, None) is one
    assert newest(None, None) is None


def test_ready_means_true() -> None:
    assert ready(node([heard(EARLY)]))
    assert not ready(node([heard(EARLY, "Unknown")]))
    assert not ready(node())


_conditions = st.lists(
    st.builds(
        heard, st.sampled_from([EARLY, LATE]), st.sampled_from(["True", "False"]), st.sampled_from("ABC")
    ),
    unique_by=lambda each: each.type,
)
_nodes = st.builds(
    node,
    _conditions,
    labels=st.dictionaries(st.sampled_from("ab"), st.sampled_from("12")),
    declaredFeatures=st.lists(st.sampled_from("xyz"), unique=True),
    capacity=st.dictionaries(st.sampled_from(["cpu", "pods"]), st.builds(Quantity.of, st.integers(0, 3))),
)


@given(_nodes, _nodes)
def test_a_patch_makes_the_new_of_the_old(old, new) -> None:
    patch = node_patch(old, new)
    tree = to_builtins(old, whole_seconds=True)
    after = convert(StrategicMerge("Node").apply(tree, patch) if patch else tree, Node)
    assert differences(after, new) == []
    assert bool(patch) or not differences(old, new)
