from datetime import UTC, datetime, timedelta

from pykubelet.api.core import PodCondition
from pykubelet.pods.resize.conditions import IN_PROGRESS, PENDING, ResizeConditions

T0 = datetime(2026, 1, 1, tzinfo=UTC)
T1, T2 = T0 + timedelta(seconds=1), T0 + timedelta(seconds=2)


def facts(book):
    return [(c.type, c.reason, c.message, c.observedGeneration) for c in book.of("u")]


def test_any_rejection_but_infeasible_is_deferred():
    book = ResizeConditions()
    assert book.set_pending("u", "OutOfcpu", "no cpu", 2, T0)
    assert facts(book) == [(PENDING, "Deferred", "no cpu", 2)]
    assert book.pending_since("u") == T0
    assert not book.set_pending("u", "OutOfmemory", "no memory", 2, T1)
    assert facts(book) == [(PENDING, "Deferred", "no memory", 2)]
    assert book.pending_since("u") == T0
    assert book.set_pending("u", "OutOfcpu", "no cpu", 3, T1)
    assert book.set_pending("u", "Infeasible", "never", 3, T2)
    assert (book.pending_reason("u"), book.pending_since("u")) == ("Infeasible", T2)
    assert dict(book.pending_counts()) == {"infeasible": 1}
    book.clear_pending("u")
    assert (book.of("u"), book.pending_reason("u"), book.pending_since("u")) == ((), "", None)


def test_the_same_again_is_the_same_condition():
    book = ResizeConditions()
    book.set_pending("u", "OutOfcpu", "no cpu", 2, T0)
    before = book.of("u")
    book.set_pending("u", "OutOfcpu", "no cpu", 2, T1)
    assert book.of("u") == before


def test_a_resize_under_way():
    book = ResizeConditions()
    book.set_pending("u", "OutOfcpu", "", 2, T0)
    book.begin("u", 2, T0)
    assert facts(book) == [(IN_PROGRESS, "", "", 2)]
    book.keep_in_progress("u", 9, T1)
    assert book.fail("u", "EBUSY", 9, T1) == (2, True)
    assert book.fail("u", "EBUSY", 9, T2) == (2, False)
    assert facts(book) == [(IN_PROGRESS, "Error", "EBUSY", 2)]
    book.keep_in_progress("u", 9, T1)
    assert facts(book) == [(IN_PROGRESS, "Error", "EBUSY", 2)]
    # Another resize begins without the error of the one before.
    book.begin("u", 3, T2)
    assert facts(book) == [(IN_PROGRESS, "", "", 3)]
    assert book.in_progress_count() == 1
    assert book.complete("u") == 3
    assert book.complete("u") is None
    assert book.of("u") == ()


def test_both_at_once_in_the_order_of_a_status():
    book = ResizeConditions()
    book.keep_in_progress("u", 2, T0)
    book.set_pending("u", "OutOfcpu", "", 3, T0)
    assert [c.type for c in book.of("u")] == [PENDING, IN_PROGRESS]
    assert all(c.status == "True" and c.lastTransitionTime == T0 for c in book.of("u"))


def test_what_the_daemon_before_reported_is_recalled():
    told = PodCondition(type=PENDING, status="True", reason="Deferred", lastTransitionTime=T0)
    book = ResizeConditions()
    book.recall("u", [PodCondition(type="Ready", status="True"), told])
    assert book.of("u") == (told,)
    book.recall("v", [PodCondition(type=IN_PROGRESS, status="True", observedGeneration=4)])
    assert book.complete("v") == 4
    book.keep_only({"v"})
    assert book.of("u") == ()
