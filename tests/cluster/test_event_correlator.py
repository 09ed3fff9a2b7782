"""Combining, counting, and leaving out, as client-go's correlator does."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pykubelet.api.events import Event, EventSource, ObjectReference
from pykubelet.api.meta import ObjectMeta
from pykubelet.cluster.event_correlator import (
    SIMILAR_LIMIT,
    SIMILAR_WITHIN,
    SPAM_BURST,
    EventCorrelator,
    repeat_patch,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 1, 1, 0, 5, tzinfo=UTC)


def event(
    message: str = "m",
    *,
    pod: str = "web",
    reason: str = "BackOff",
    kind: str = "Warning",
    name: str = "web.1",
    field_path: str = "",
    at: datetime = START,
) -> Event:
    return Event(
        metadata=ObjectMeta(name=name, namespace="ns"),
        involvedObject=ObjectReference(
            kind="Pod", namespace="ns", name=pod, uid="u", apiVersion="v1", fieldPath=field_path
        ),
        reason=reason,
        message=message,
        source=EventSource(component="kubelet", host="node"),
        firstTimestamp=at,
        lastTimestamp=at,
        count=1,
        type=kind,
        reportingComponent="kubelet",
        reportingInstance="node",
    )


def test_the_first_is_sent_as_it_is() -> None:
    assert EventCorrelator().correlate(event(), 0) == event()


def test_a_repeat_is_the_first_one_with_a_higher_count() -> None:
    correlator = EventCorrelator()
    correlator.correlate(event(), 0)
    second = correlator.correlate(event(name="web.2", at=LATER), 300)
    assert second is not None
    assert (second.metadata.name, second.count, second.firstTimestamp) == ("web.1", 2, START)
    assert repeat_patch(second) == {"count": 2, "lastTimestamp": LATER, "message": "m"}
    third = correlator.correlate(event(name="web.3", at=LATER), 301)
    assert third is not None
    assert third.count == 3


def test_what_the_server_answered_is_what_is_counted_on_from() -> None:
    correlator = EventCorrelator()
    first = correlator.correlate(event(), 0)
    assert first is not None
    metadata = ObjectMeta(name="renamed", namespace="ns", resourceVersion="7")
    correlator.stored(replace(first, metadata=metadata, count=4))
    second = correlator.correlate(event(name="web.2"), 1)
    assert second is not None
    assert (second.metadata.name, second.metadata.resourceVersion, second.count) == ("renamed", "7", 5)


@pytest.mark.parametrize(
    "other",
    [
        event("other"),
        event(pod="db"),
        event(reason="Killing"),
        event(kind="Normal"),
        event(field_path="spec.containers{c}"),
    ],
)
def test_other_events_are_counted_apart(other: Event) -> None:
    correlator = EventCorrelator()
    correlator.correlate(event(), 0)
    sent = correlator.correlate(other, 1)
    assert sent is not None
    assert sent.count == 1


def test_the_tenth_message_of_a_kind_begins_a_combined_event() -> None:
    correlator = EventCorrelator()
    texts = []
    for number in range(SIMILAR_LIMIT + 2):
        sent = correlator.correlate(event(f"m{number}", name=f"web.{number}"), number)
        assert sent is not None
        texts.append((sent.message, sent.count, sent.metadata.name, sent.reportingComponent))
    assert texts[8] == ("m8", 1, "web.8", "kubelet")
    assert texts[9:] == [
        ("(combined from similar events): m9", 1, "web.9", ""),
        ("(combined from similar events): m10", 2, "web.9", ""),
        ("(combined from similar events): m11", 3, "web.9", ""),
    ]


@pytest.mark.parametrize(("pause", "combined"), [(SIMILAR_WITHIN, True), (SIMILAR_WITHIN + 1, False)])
def test_a_long_silence_forgets_what_was_similar(pause: float, combined: bool) -> None:
    correlator = EventCorrelator()
    for number in range(SIMILAR_LIMIT - 1):
        correlator.correlate(event(f"m{number}"), 0)
    sent = correlator.correlate(event("new"), pause)
    assert sent is not None
    assert sent.message.startswith("(combined") == combined


def test_messages_already_known_are_not_combined() -> None:
    correlator = EventCorrelator()
    for number in range(SIMILAR_LIMIT - 1):
        correlator.correlate(event(f"m{number}"), 0)
    sent = correlator.correlate(event("m3"), 1)
    assert sent is not None
    assert (sent.message, sent.count) == ("m3", 2)


def test_spam_is_dropped_and_one_more_is_let_through_every_five_minutes() -> None:
    correlator = EventCorrelator()
    sent = [correlator.correlate(event(), 0) for _ in range(SPAM_BURST + 5)]
    assert [found is not None for found in sent] == [True] * SPAM_BURST + [False] * 5
    assert correlator.correlate(event(), 299) is None
    late = correlator.correlate(event(), 301)
    assert late is not None
    # What was dropped happened nevertheless.
    assert late.count == SPAM_BURST + 7
    assert correlator.correlate(event(), 302) is None
    assert correlator.correlate(event(kind="Normal"), 302) is not None
    assert correlator.correlate(event(pod="db"), 302) is not None


def test_reasons_share_the_budget_of_their_object() -> None:
    correlator = EventCorrelator()
    for number in range(SPAM_BURST):
        assert correlator.correlate(event(reason=f"Reason{number}"), 0) is not None
    assert correlator.correlate(event(reason="Last"), 0) is None


def test_what_was_long_ago_makes_room() -> None:
    correlator = EventCorrelator(cache_limit=2)
    for pod in ("a", "b", "c"):
        correlator.correlate(event(pod=pod), 0)
    again, known = correlator.correlate(event(pod="a"), 1), correlator.correlate(event(pod="c"), 1)
    assert again is not None
    assert known is not None
    assert (again.count, known.count) == (1, 2)


_EVENTS = st.builds(
    event,
    st.sampled_from([f"m{number}" for number in range(14)]),
    pod=st.sampled_from(["a", "b"]),
    reason=st.sampled_from(["R", "S"]),
    kind=st.sampled_from(["Normal", "Warning"]),
)


@given(st.lists(st.tuples(_EVENTS, st.floats(0, 400)), max_size=120))
def test_never_more_than_the_budget_and_counts_only_grow(said: list[tuple[Event, float]]) -> None:
    correlator, now = EventCorrelator(), 0.0
    sent: dict[tuple[str, str], list[float]] = {}
    counts: dict[tuple[str, str, str, str], int] = {}
    for original, pause in said:
        now += pause
        out = correlator.correlate(original, now)
        if out is None:
            continue
        who = (out.involvedObject.name, out.type)
        sent.setdefault(who, []).append(now)
        combined = out.message.startswith("(combined")
        key = (*who, out.reason, "" if combined else out.message)
        assert out.count > counts.get(key, 0)
        counts[key] = out.count
    for moments in sent.values():
        assert len(moments) <= SPAM_BURST + (moments[-1] - moments[0]) / 300 + 1e-6
