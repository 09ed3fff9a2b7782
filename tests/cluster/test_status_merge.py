"""What the API server is to show of a pod: by tables."""

from datetime import UTC, datetime

import pytest

from pykubelet.api.core import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStatus,
    Pod,
    PodCondition,
    PodResourceClaimStatus,
    PodStatus,
)
from pykubelet.api.meta import ObjectMeta
from pykubelet.cluster.status_merge import matters, may_be_deleted, merge_for_api, same_for_kubelet

NOON = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
LATER = NOON.replace(hour=13)
OWNED = frozenset({"Ready", "ContainersReady"})


def condition(kind: str, status: str = "True", reason: str = "") -> PodCondition:
    return PodCondition(type=kind, status=status, reason=reason, lastTransitionTime=NOON)


def api_pod(status: PodStatus, **meta) -> Pod:
    return Pod(metadata=ObjectMeta(name="p", uid="u", generation=7, **meta), status=status)


def merged(old: PodStatus, new: PodStatus, *, may_run: bool = False):
    return merge_for_api(api_pod(old), new, may_run=may_run, owned=OWNED, now=LATER)


def test_foreign_conditions_and_claims_are_those_of_the_server() -> None:
    claims = [PodResourceClaimStatus(name="c")]
    old = PodStatus(
        phase="Running",
        conditions=[condition("x/y"), condition("Ready", "False")],
        resourceClaimStatuses=claims,
    )
    new = PodStatus(phase="Running", conditions=[condition("x/z"), condition("Ready")])
    result = merged(old, new).status
    assert [(c.type, c.status) for c in result.conditions] == [("x/y", "True"), ("Ready", "True")]
    assert result.resourceClaimStatuses == claims


def test_a_final_phase_waits_for_the_containers_with_reason_message_and_disruption() -> None:
    old = PodStatus(phase="Running", reason="r", message="m")
    new = PodStatus(phase="Failed", reason="Evicted", message="x", conditions=[condition("DisruptionTarget")])
    held = merged(old, new, may_run=True)
    assert held.held
    assert (held.status.phase, held.status.reason, held.status.message) == ("Running", "r", "m")
    assert held.status.conditions == []
    told = merged(old, new)
    assert not told.held
    assert (told.status.phase, told.status.reason) == ("Failed", "Evicted")
    assert told.status.conditions[0].lastTransitionTime == LATER


@pytest.mark.parametrize(("phase", "reason"), [("Failed", "PodFailed"), ("Succeeded", "PodCompleted")])
def test_nothing_final_is_ready(phase, reason) -> None:
    new = PodStatus(phase=phase, conditions=[condition("Ready"), condition("ContainersReady", "False")])
    ready, containers = merged(PodStatus(phase="Running"), new).status.conditions
    assert (ready.status, ready.reason, ready.lastTransitionTime) == ("False", reason, LATER)
    assert ready.observedGeneration == 7
    assert (containers.status, containers.lastTransitionTime) == ("False", NOON)


def test_what_counts_as_the_same() -> None:
    old = PodStatus(phase="Running", conditions=[condition("Ready"), condition("x/y")])
    later = PodCondition(type="Ready", status="True", lastTransitionTime=LATER)
    assert same_for_kubelet(old, PodStatus(phase="Running", conditions=[later]), OWNED)
    assert not same_for_kubelet(old, PodStatus(phase="Running"), OWNED)
    assert not same_for_kubelet(old, PodStatus(phase="Failed", conditions=[later]), OWNED)


def container(
    running: bool = False, code: int | None = None, cid: str = "c1", ready: bool = False
) -> PodStatus:
    state = ContainerState(
        running=ContainerStateRunning() if running else None,
        terminated=ContainerStateTerminated(exitCode=code) if code is not None else None,
    )
    return PodStatus(
        phase="Running",
        containerStatuses=[ContainerStatus(name="c", state=state, containerID=cid, ready=ready)],
    )


def pending(status: PodStatus) -> PodStatus:
    return PodStatus(phase="Pending", containerStatuses=status.containerStatuses)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (PodStatus(phase="Pending"), PodStatus(phase="Running"), True),
        (PodStatus(), PodStatus(conditions=[condition("Ready", "False")]), False),
        (PodStatus(), PodStatus(conditions=[condition("Ready")]), True),
        (PodStatus(message="a"), PodStatus(message="b"), False),
        (container(running=True), container(code=0), True),
        (container(code=0), container(code=0), False),
        (container(code=0), container(running=True), True),
        (container(running=True), container(running=True, cid="c2"), True),
        (container(running=True), container(running=True), False),
        (container(running=True), container(running=True, ready=True), True),
        (pending(container()), pending(container(running=True)), False),
        (pending(container(running=True)), pending(container(code=0)), False),
        (pending(container(running=True)), pending(container(code=1)), True),
    ],
)
def test_what_matters(old, new, expected) -> None:
    assert matters(old, new) is expected


def test_when_the_object_may_vanish() -> None:
    final = PodStatus(phase="Failed")
    assert may_be_deleted(api_pod(final, deletionTimestamp=NOON), finished=True)
    assert not may_be_deleted(api_pod(final, deletionTimestamp=NOON), finished=False)
    assert not may_be_deleted(api_pod(final), finished=True)
    assert not may_be_deleted(api_pod(PodStatus(phase="Running"), deletionTimestamp=NOON), finished=True)
    mirror = api_pod(final, deletionTimestamp=NOON, annotations={"kubernetes.io/config.mirror": "h"})
    assert not may_be_deleted(mirror, finished=True)
