from datetime import UTC, datetime

import pytest

from pykubelet.api.meta import ObjectMeta
from pykubelet.api.storage import (
    CSIDriver,
    CSIDriverSpec,
    VolumeAttachError,
    VolumeAttachment,
    VolumeAttachmentStatus,
)
from pykubelet.volumes.csi import lifecycle


def driver_of(**spec):
    return CSIDriver(spec=CSIDriverSpec(**spec))


def attachment_of(*, deleted=False, **status):
    when = datetime(2030, 1, 1, tzinfo=UTC) if deleted else None
    return VolumeAttachment(
        metadata=ObjectMeta(deletionTimestamp=when), status=VolumeAttachmentStatus(**status)
    )


BOTH = driver_of(volumeLifecycleModes=["Persistent", "Ephemeral"])
ONE = driver_of(volumeLifecycleModes=["Persistent"])


@pytest.mark.parametrize(
    ("driver", "mode", "refusal"),
    [
        (None, "Persistent", ""),
        (None, "Ephemeral", 'volume mode "Ephemeral" not supported by driver d (no CSIDriver object)'),
        (ONE, "Persistent", ""),
        (
            ONE,
            "Ephemeral",
            'volume mode "Ephemeral" not supported by driver d (only supports ["Persistent"])',
        ),
        (BOTH, "Ephemeral", ""),
        (driver_of(), "Persistent", 'volume mode "Persistent" not supported by driver d (only supports [])'),
        (
            driver_of(volumeLifecycleModes=["X", "Y"]),
            "Persistent",
            'volume mode "Persistent" not supported by driver d (only supports ["X" "Y"])',
        ),
    ],
)
def test_which_volumes_a_driver_gives(driver, mode, refusal):
    assert lifecycle.refusal("d", driver, mode) == refusal


@pytest.mark.parametrize(
    ("driver", "attached"),
    [
        (None, True),
        (driver_of(), True),
        (driver_of(attachRequired=True), True),
        (driver_of(attachRequired=False), False),
    ],
)
def test_what_is_attached(driver, attached):
    assert lifecycle.attached(driver) is attached


@pytest.mark.parametrize(
    ("driver", "again"),
    [(None, False), (driver_of(), False), (driver_of(requiresRepublish=True), True)],
)
def test_what_is_published_again(driver, again):
    assert lifecycle.republished(driver) is again


@pytest.mark.parametrize(
    ("attachment", "problem"),
    [
        (
            None,
            "volume h has GET error for volume attachment csi-1: "
            'volumeattachments.storage.k8s.io "csi-1" not found',
        ),
        (attachment_of(deleted=True, attached=True), "volume attachment is being deleted"),
        (attachment_of(attached=True, attachError=VolumeAttachError(message="old")), ""),
        (attachment_of(attachError=VolumeAttachError(message="no room")), "no room"),
        (attachment_of(), "volume h is not attached for volume attachment csi-1"),
    ],
)
def test_why_it_is_not_attached(attachment, problem):
    assert lifecycle.unattached("h", "csi-1", attachment) == problem


@pytest.mark.parametrize(
    ("attachment", "words"),
    [
        (None, "there is no VolumeAttachment csi-1 yet: the attach/detach controller makes it"),
        (attachment_of(deleted=True, attached=True), "VolumeAttachment csi-1 is being deleted"),
        (attachment_of(attached=True, attachError=VolumeAttachError(message="old")), ""),
        (
            attachment_of(attachError=VolumeAttachError(message="no room")),
            "VolumeAttachment csi-1 has an error: no room",
        ),
        (attachment_of(), "VolumeAttachment csi-1 is not attached yet: the driver's attacher does that"),
    ],
)
def test_what_is_told_of_an_attachment(attachment, words):
    assert lifecycle.hindrance("csi-1", attachment) == words


FULL = attachment_of(attachError=VolumeAttachError(message="full", errorCode=8))
TELLS = driver_of(nodeAllocatableUpdatePeriodSeconds=60)


@pytest.mark.parametrize(
    ("driver", "attachment", "full"),
    [
        (TELLS, FULL, True),
        (TELLS, attachment_of(attachError=VolumeAttachError(errorCode=13)), False),
        (TELLS, attachment_of(attachError=VolumeAttachError()), False),
        (TELLS, attachment_of(), False),
        (TELLS, None, False),
        (driver_of(), FULL, False),
        (driver_of(nodeAllocatableUpdatePeriodSeconds=0), FULL, False),
        (None, FULL, False),
    ],
)
def test_a_node_that_is_full(driver, attachment, full):
    assert lifecycle.exhausted(driver, attachment) is full


@pytest.mark.parametrize(
    ("driver", "seconds"),
    [
        (None, 0),
        (driver_of(), 0),
        (driver_of(nodeAllocatableUpdatePeriodSeconds=0), 0),
        (driver_of(nodeAllocatableUpdatePeriodSeconds=3), 10),
        (driver_of(nodeAllocatableUpdatePeriodSeconds=60), 60),
    ],
)
def test_how_often_a_driver_is_asked(driver, seconds):
    assert lifecycle.refresh_period(driver) == seconds
