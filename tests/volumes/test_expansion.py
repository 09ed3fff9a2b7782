"""What a node does about a claim's size, and what it tells the claim."""

from datetime import UTC, datetime

import pytest

from pykubelet.api.meta import ObjectMeta
from pykubelet.api.quantity import Quantity
from pykubelet.api.storage import (
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimCondition,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeSpec,
    VolumeResourceRequirements,
)
from pykubelet.api.volumes import Volume
from pykubelet.base.errors import ExpandError, VolumeError
from pykubelet.volumes import expansion
from pykubelet.volumes.spec import VolumeSpec

NOW = datetime(2026, 11, 27, 12, 0, 0, 123, tzinfo=UTC)


def storage(size):
    return {"storage": Quantity.parse(size)} if size else {}


def spec(has="1Gi", pv="2Gi", allocated="2Gi", stage="", asks="2Gi", modes=("ReadWriteOnce",), **annotations):
    claim = PersistentVolumeClaim(
        metadata=ObjectMeta(name="c", annotations=annotations.get("annotations", {})),
        spec=PersistentVolumeClaimSpec(
            accessModes=list(modes), resources=VolumeResourceRequirements(requests=storage(asks))
        ),
        status=PersistentVolumeClaimStatus(
            capacity=storage(has),
            allocatedResources=storage(allocated),
            allocatedResourceStatuses={"storage": stage} if stage else {},
        ),
    )
    volume = PersistentVolume(metadata=ObjectMeta(name="pv"), spec=PersistentVolumeSpec(capacity=storage(pv)))
    return VolumeSpec(Volume(name="v"), volume, claim)


@pytest.mark.parametrize(
    ("given", "act", "size", "told"),
    [
        # The controller is done and waits for the node, or this node began before.
        ({"stage": "NodeResizePending"}, "expand", "2Gi", True),
        ({"stage": "NodeResizeInProgress"}, "expand", "2Gi", True),
        # The user wants less than the volume became: what is allocated counts.
        ({"stage": "NodeResizePending", "pv": "4Gi", "allocated": "3Gi"}, "expand", "3Gi", True),
        # It is the controller's turn, or no retry helps.
        ({"stage": "ControllerResizeInProgress"}, "wait", "1Gi", False),
        ({"stage": "ControllerResizeInfeasible"}, "wait", "1Gi", False),
        ({"stage": "NodeResizeInfeasible"}, "wait", "1Gi", False),
        ({}, "wait", "1Gi", False),
        # The claim has it already.
        ({"has": "2Gi"}, "settled", "2Gi", False),
        ({"has": "2Gi", "stage": "NodeResizePending"}, "expand", "2Gi", True),
        # Another node of several was first.
        ({"has": "2Gi", "modes": ["ReadWriteMany"]}, "expand", "2Gi", False),
        (
            {
                "has": "2Gi",
                "modes": ["ReadWriteMany"],
                "annotations": {"volume.kubernetes.io/node-expansion-not-required": "true"},
            },
            "settled",
            "2Gi",
            False,
        ),
        ({"modes": ["ReadWriteMany"], "stage": "NodeResizeInfeasible"}, "wait", "1Gi", False),
    ],
)
def test_what_is_to_be_done(given, act, size, told):
    planned = expansion.plan(spec(**given), failed=False)
    assert (planned.act, planned.size, planned.told) == (act, Quantity.parse(size), told)
    assert planned.recovers
    assert not planned.give_up


def test_an_old_controller_tells_no_stages():
    planned = expansion.plan(spec(allocated=""), failed=False)
    assert (planned.act, planned.size, planned.told) == ("expand", Quantity.parse("2Gi"), True)
    assert not planned.recovers
    assert not expansion.plan(spec(allocated="", has="2Gi"), failed=False).told


@pytest.mark.parametrize(
    ("asks", "failed", "give_up"),
    [("2Gi", True, False), ("3Gi", False, False), ("3Gi", True, True)],
)
def test_a_size_that_the_user_wants_no_more_is_given_up_when_it_fails_again(asks, failed, give_up):
    planned = expansion.plan(spec(stage="NodeResizePending", asks=asks), failed=failed)
    assert planned.give_up is give_up


def test_only_claims_have_a_size_to_reach():
    with pytest.raises(VolumeError, match="volume v has no claim"):
        expansion.plan(VolumeSpec(Volume(name="v")), failed=False)


PENDING = expansion.plan(spec(stage="NodeResizePending"), failed=False)
OLD = expansion.plan(spec(allocated=""), failed=False)
SHARED = expansion.plan(spec(has="2Gi", modes=["ReadWriteMany"]), failed=False)


@pytest.mark.parametrize(
    ("planned", "error", "verdict"),
    [
        (PENDING, None, "done"),
        (PENDING, VolumeError("no"), "failed"),
        (PENDING, ExpandError("no", hindrance="infeasible"), "failed"),
        (PENDING, ExpandError("no", hindrance="in use"), "in use"),
        (PENDING, ExpandError("no", hindrance="unsupported"), "failed"),
        (SHARED, ExpandError("no", hindrance="unsupported"), "done"),
        (SHARED, ExpandError("no", hindrance="in use"), "in use"),
        (OLD, ExpandError("no", hindrance="unsupported"), "done"),
        (OLD, ExpandError("no", hindrance="in use"), "done"),
        (OLD, ExpandError("no"), "failed"),
    ],
)
def test_what_an_attempt_came_to(planned, error, verdict):
    assert expansion.verdict(planned, error) == verdict


def condition(kind, status="True", message=""):
    return PersistentVolumeClaimCondition(type=kind, status=status, message=message)


STATUS = PersistentVolumeClaimStatus(
    phase="Bound",
    capacity={"storage": Quantity.parse("1Gi"), "other": Quantity.parse("1")},
    allocatedResources=storage("2Gi"),
    allocatedResourceStatuses={"storage": "NodeResizePending", "other": "X"},
    conditions=[condition("FileSystemResizePending"), condition("Resizing"), condition("Foreign")],
)


def test_the_claim_is_told_of_the_begin_and_the_end():
    begun = expansion.begun(STATUS)
    assert begun.allocatedResourceStatuses == {"storage": "NodeResizeInProgress", "other": "X"}
    assert begun.conditions == STATUS.conditions
    ended = expansion.finished(begun, Quantity.parse("2Gi"))
    assert ended.capacity == {"storage": Quantity.parse("2Gi"), "other": Quantity.parse("1")}
    assert ended.allocatedResourceStatuses == {"other": "X"}
    assert [each.type for each in ended.conditions] == ["Foreign"]
    assert ended.allocatedResources == STATUS.allocatedResources


def test_the_claim_is_told_of_failures():
    told = expansion.failed(STATUS, PENDING, ExpandError("no room"), NOW)
    assert told.allocatedResourceStatuses == STATUS.allocatedResourceStatuses
    assert told.conditions[:-1] == STATUS.conditions
    assert told.conditions[-1] == PersistentVolumeClaimCondition(
        type="NodeResizeError",
        status="True",
        lastTransitionTime=NOW.replace(microsecond=0),
        message="failed to expand pvc with no room",
    )
    # Told once: what is true already stays as it was.
    assert expansion.failed(told, PENDING, ExpandError("still none"), NOW).conditions == told.conditions


@pytest.mark.parametrize(
    ("planned", "why"),
    [
        (PENDING, "infeasible"),
        (expansion.plan(spec(stage="NodeResizePending", asks="3Gi"), failed=True), "failed"),
    ],
)
def test_what_no_retry_can_mend(planned, why):
    told = expansion.failed(STATUS, planned, ExpandError("never", why), NOW)
    assert told.allocatedResourceStatuses["storage"] == "NodeResizeInfeasible"


def test_a_condition_that_was_false_is_told_anew():
    known = PersistentVolumeClaimStatus(conditions=[condition("NodeResizeError", "False", "old")])
    told = expansion.failed(known, PENDING, ExpandError("new"), NOW)
    assert [each.message for each in told.conditions] == ["failed to expand pvc with new"]


@pytest.mark.parametrize(("left", "final"), [("nothing", True), ("something", False), ("unchanged", False)])
def test_an_uncertain_failure_is_not_for_good(left, final):
    assert expansion.for_good(ExpandError("x", left=left)) is final
