"""The life of a worker: which phase follows, what is ignored, what cuts running work short."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.api.core import Pod, PodSpec, PodStatus
from pykubelet.api.meta import ObjectMeta
from pykubelet.observe.types import ObservedPod
from pykubelet.pods.lifecycle import (
    KillRequest,
    WorkerPhase,
    WorkerState,
    WorkerUpdate,
    apply_update,
    containers_ended,
    ended_by_itself,
    finished,
    first_state,
)


def pod(
    *, grace: int | None = 30, deleted: bool = False, deletion_grace: int | None = None, phase: str = ""
) -> Pod:
    return Pod(
        metadata=ObjectMeta(
            name="web",
            namespace="default",
            uid="u1",
            deletionTimestamp=datetime(2026, 1, 1, tzinfo=UTC) if deleted else None,
            deletionGracePeriodSeconds=deletion_grace,
        ),
        spec=PodSpec(terminationGracePeriodSeconds=grace),
        status=PodStatus(phase=phase),
    )


NEW = WorkerState(full_name="web_default")


def test_an_update_of_a_living_pod_changes_nothing() -> None:
    step = apply_update(NEW, WorkerUpdate("update", pod()))
    assert step.state == NEW
    assert not step.cut_short
    assert not step.ignored


@pytest.mark.parametrize(
    ("update", "deleted", "evicted", "grace", "cause"),
    [
        (WorkerUpdate("update", pod(deleted=True, deletion_grace=5)), True, False, 5, "it was deleted"),
        (WorkerUpdate("update", pod(phase="Succeeded")), False, False, 30, "its phase is Succeeded"),
        (
            WorkerUpdate("kill", pod(), cause="removed from source file"),
            False,
            False,
            30,
            "removed from source file",
        ),
        (
            WorkerUpdate("kill", pod(), kill=KillRequest(evict=True, grace=1, reason="memory is low")),
            False,
            True,
            1,
            "memory is low",
        ),
        (WorkerUpdate("kill", pod(grace=0)), False, False, 1, "it was removed from its source"),
        (
            WorkerUpdate("kill", orphan=ObservedPod("u1"), kill=KillRequest(grace=1)),
            True,
            False,
            1,
            "the runtime has it, no source does",
        ),
    ],
)
def test_what_begins_the_end(
    update: WorkerUpdate, deleted: bool, evicted: bool, grace: int, cause: str
) -> None:
    step = apply_update(NEW, update)
    state = step.state
    assert (state.phase, state.deleted, state.evicted, state.grace) == (
        WorkerPhase.TERMINATING,
        deleted,
        evicted,
        grace,
    )
    assert state.cause == cause
    assert step.cut_short


def test_grace_only_shrinks_and_tells_so() -> None:
    state = apply_update(NEW, WorkerUpdate("update", pod(deleted=True, deletion_grace=30))).state
    longer = apply_update(state, WorkerUpdate("update", pod(deleted=True, deletion_grace=60)))
    assert longer.state.grace == 30
    assert not longer.shortened
    shorter = apply_update(state, WorkerUpdate("update", pod(deleted=True, deletion_grace=3)))
    assert shorter.state.grace == 3
    assert shorter.shortened
    assert not shorter.cut_short


def test_a_pod_created_again_while_it_ends_starts_anew_later() -> None:
    ending = apply_update(NEW, WorkerUpdate("kill", pod())).state
    step = apply_update(ending, WorkerUpdate("create", pod()))
    assert step.ignored
    assert step.state.restart_requested
    ended = finished(containers_ended(ending))
    assert apply_update(ended, WorkerUpdate("create", pod())).state.restart_requested


def test_a_finished_worker_takes_nothing() -> None:
    ended = finished(NEW)
    step = apply_update(ended, WorkerUpdate("update", pod(deleted=True)))
    assert step.ignored
    assert step.state == ended


def test_a_pod_whose_phase_is_final_and_of_which_nothing_runs_starts_at_its_end() -> None:
    update = WorkerUpdate("create", pod(phase="Failed"))
    state = first_state(update, "web_default", static=False, all_ended=True)
    assert state.phase is WorkerPhase.TERMINATED
    step = apply_update(state, update, first=True)
    assert not step.ignored
    assert step.state.phase is WorkerPhase.TERMINATED
    running = first_state(update, "web_default", static=False, all_ended=False)
    assert apply_update(running, update, first=True).state.phase is WorkerPhase.TERMINATING


def test_ending_by_itself_takes_the_grace_of_the_spec() -> None:
    state = ended_by_itself(NEW, WorkerUpdate("sync", pod(grace=12)), "its phase is Failed")
    assert state.grace == 12
    assert state.containers_may_run


def test_content_goes_when_deleted_and_ended_or_evicted() -> None:
    deleted = apply_update(NEW, WorkerUpdate("update", pod(deleted=True))).state
    assert not deleted.content_removable
    assert containers_ended(deleted).content_removable
    evicted = apply_update(NEW, WorkerUpdate("kill", pod(), kill=KillRequest(evict=True))).state
    assert evicted.content_removable
    completed = apply_update(NEW, WorkerUpdate("update", pod(phase="Succeeded"))).state
    assert not finished(containers_ended(completed)).content_removable


updates = st.builds(
    WorkerUpdate,
    st.sampled_from(["create", "update", "sync", "kill"]),
    st.builds(
        pod,
        grace=st.none() | st.integers(0, 100),
        deleted=st.booleans(),
        deletion_grace=st.none() | st.integers(0, 100),
        phase=st.sampled_from(["", "Running", "Failed"]),
    ),
    kill=st.none() | st.builds(KillRequest, evict=st.booleans(), grace=st.none() | st.integers(0, 100)),
)


@given(st.lists(updates, max_size=12))
def test_no_sequence_of_updates_goes_back(sequence: list[WorkerUpdate]) -> None:
    order = list(WorkerPhase)
    state = NEW
    for number, update in enumerate(sequence):
        after = apply_update(state, update, first=number == 0).state
        assert order.index(after.phase) >= order.index(state.phase)
        assert not state.deleted or after.deleted
        assert not state.evicted or after.evicted
        if state.grace:
            assert 1 <= after.grace <= state.grace
        if after.terminating:
            assert after.grace >= 1
        state = after
