import pytest
from tests.pods.model import SECOND, START_NS, instance, observed_pod

from pykubelet.api.core import Container, Pod, ResourceRequirements
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.quantity import Quantity
from pykubelet.base.journal import PodRef
from pykubelet.cri.types import ContainerState
from pykubelet.pods.crashloop import (
    CrashLoop,
    Go,
    Wait,
    backoff_event_message,
    backoff_key,
    backoff_message,
    crash_loop_limits,
    last_exit,
)

REF = PodRef("ns", "p", "u")


def crashes(book, lifetimes, start=START_NS):
    """The waits before each restart of a container that lives *lifetimes* seconds each time."""
    now, waits = start, []
    for lifetime in lifetimes:
        finished = now + int(lifetime * SECOND)
        now = finished
        decision = book.decide("k", now, finished)
        if isinstance(decision, Wait):
            now = decision.until
            assert book.decide("k", now - 1, finished) == decision
            assert book.decide("k", now, finished) == Go()
        book.bump("k", now, finished)
        waits.append((now - finished) / SECOND)
    return waits


def test_first_crash_restarts_at_once_then_waits_double():
    assert crashes(CrashLoop(), [1] * 9) == [0, 10, 20, 40, 80, 160, 300, 300, 300]


def test_ten_healthy_minutes_begin_anew():
    assert crashes(CrashLoop(), [1, 1, 1, 600.5, 1, 1]) == [0, 10, 20, 0, 10, 20]
    assert crashes(CrashLoop(), [1, 1, 1, 600, 1]) == [0, 10, 20, 40, 80]


def test_a_start_without_history_takes_no_entry():
    book = CrashLoop()
    assert book.decide("k", START_NS, None) == Go()
    book.bump("k", START_NS, None)
    assert len(book) == 0


def test_collect_forgets_after_ten_minutes():
    book = CrashLoop()
    book.bump("k", START_NS, START_NS)
    book.collect(START_NS + 600 * SECOND)
    assert len(book) == 1
    book.collect(START_NS + 600 * SECOND + 1)
    assert len(book) == 0


@pytest.mark.parametrize(
    ("configured", "reduced", "expected"),
    [
        (300.0, False, (10.0, 300.0)),
        (None, False, (10.0, 300.0)),
        (None, True, (1.0, 60.0)),
        (5.0, False, (5.0, 5.0)),
        (20.0, True, (1.0, 20.0)),
    ],
)
def test_limits(configured, reduced, expected):
    assert crash_loop_limits(configured, reduced=reduced) == expected


def test_messages():
    wait = Wait(0, 300.0)
    assert backoff_message(REF, "c", wait) == "back-off 5m0s restarting failed container=c pod=p_ns(u)"
    assert backoff_event_message(REF, "c") == "Back-off restarting failed container c in pod p_ns(u)"


def test_key_changes_with_image_and_resources_only():
    pod = Pod(metadata=ObjectMeta(name="p", namespace="ns", uid="u"))
    more = ResourceRequirements(limits={"cpu": Quantity.parse("1")})
    keys = {
        backoff_key(pod, Container(name="c", image="i")),
        backoff_key(pod, Container(name="c", image="j")),
        backoff_key(pod, Container(name="c", image="i", resources=more)),
    }
    assert len(keys) == 3
    assert backoff_key(pod, Container(name="c", image="i", command=["x"])) in keys


def test_last_exit_is_the_newest_ended_instance():
    seen = observed_pod(
        instance("c", number=2),
        instance("c", ContainerState.EXITED, number=1),
        instance("c", ContainerState.EXITED, number=0),
    )
    assert last_exit(seen, "c").id == "c-1"
    assert last_exit(seen, "d") is None
