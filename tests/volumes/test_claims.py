"""Which persistent volume a claim leads to, and every reason why not."""

from datetime import UTC, datetime

import pytest

from pykubelet.api.core import Container, Pod, PodSpec
from pykubelet.api.events import ObjectReference
from pykubelet.api.meta import ObjectMeta, OwnerReference
from pykubelet.api.storage import (
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    PersistentVolumeSpec,
)
from pykubelet.api.volumes import (
    EmptyDirVolumeSource,
    EphemeralVolumeSource,
    PersistentVolumeClaimVolumeSource,
    Volume,
    VolumeDevice,
    VolumeMount,
)
from pykubelet.base.errors import VolumeError
from pykubelet.volumes import claims

CLAIMED = Volume(name="data", persistentVolumeClaim=PersistentVolumeClaimVolumeSource(claimName="c"))
EPHEMERAL = Volume(name="data", ephemeral=EphemeralVolumeSource())
THEN = datetime(2026, 11, 27, tzinfo=UTC)


def pod(*, mounts=True, devices=False):
    box = Container(
        name="app",
        volumeMounts=[VolumeMount(name="data", mountPath="/data")] if mounts else [],
        volumeDevices=[VolumeDevice(name="data", devicePath="/dev/x")] if devices else [],
    )
    return Pod(metadata=ObjectMeta(name="p", namespace="ns", uid="pod-uid"), spec=PodSpec(containers=[box]))


def claim(*, phase="Bound", volume="pv", **meta):
    meta = {"name": "c", "namespace": "ns", "uid": "claim-uid", **meta}
    return PersistentVolumeClaim(
        metadata=ObjectMeta(**meta),
        spec=PersistentVolumeClaimSpec(volumeName=volume),
        status=PersistentVolumeClaimStatus(phase=phase),
    )


def pv(*, uid="claim-uid", mode=None):
    bound = None if uid is None else ObjectReference(uid=uid)
    return PersistentVolume(
        metadata=ObjectMeta(name="pv"), spec=PersistentVolumeSpec(claimRef=bound, volumeMode=mode)
    )


def owner(uid, *, controller):
    return [OwnerReference(kind="Pod", name="p", uid=uid, controller=controller)]


def test_the_name_of_the_claim():
    assert claims.claim_name(pod(), CLAIMED) == "c"
    assert claims.claim_name(pod(), EPHEMERAL) == "p-data"
    with pytest.raises(VolumeError, match='volume "e" names no claim'):
        claims.claim_name(pod(), Volume(name="e", emptyDir=EmptyDirVolumeSource()))


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (claim(phase="Pending"), "error processing PVC ns/c: PVC is not bound"),
        (claim(phase="Lost"), "error processing PVC ns/c: PVC is not bound"),
        (claim(volume=""), "error processing PVC ns/c: PVC has empty pvc.Spec.VolumeName"),
        (claim(deletionTimestamp=THEN), "error processing PVC ns/c: PVC is being deleted"),
        (
            claim(deletionTimestamp=THEN, finalizers=["kubernetes.io/other"], phase="Pending"),
            "error processing PVC ns/c: PVC is being deleted",
        ),
    ],
)
def test_a_claim_that_cannot_be_used(found, text):
    with pytest.raises(VolumeError) as refused:
        claims.check_claim(pod(), CLAIMED, found)
    assert (str(refused.value), refused.value.left) == (text, "unchanged")


def test_a_protected_claim_serves_on():
    protected = claim(deletionTimestamp=THEN, finalizers=["kubernetes.io/pvc-protection"])
    claims.check_claim(pod(), CLAIMED, protected)


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"ownerReferences": owner("pod-uid", controller=None)},
        {"ownerReferences": owner("other", controller=True)},
        {"ownerReferences": owner("pod-uid", controller=True), "namespace": "elsewhere"},
    ],
)
def test_an_ephemeral_volumes_claim_is_its_pods_own(meta):
    claims.check_claim(pod(), EPHEMERAL, claim(ownerReferences=owner("pod-uid", controller=True)))
    found = claim(**meta)
    with pytest.raises(VolumeError) as refused:
        claims.check_claim(pod(), EPHEMERAL, found)
    where = found.metadata.namespace
    assert str(refused.value) == f"PVC {where}/c was not created for pod ns/p (pod is not owner)"


def test_a_claim_that_anybody_may_use_has_any_owner():
    claims.check_claim(pod(), CLAIMED, claim(ownerReferences=owner("other", controller=True)))


@pytest.mark.parametrize(
    ("uid", "text"),
    [
        (
            None,
            "found PV object pv but it has a nil pv.Spec.ClaimRef "
            "indicating it is not yet bound to the claim",
        ),
        ("x", "found PV object pv but its pv.Spec.ClaimRef.UID x does not point to claim.UID claim-uid"),
    ],
)
def test_a_volume_of_another_claim(uid, text):
    with pytest.raises(VolumeError) as refused:
        claims.resolve(pod(), CLAIMED, claim(), pv(uid=uid))
    assert str(refused.value) == f"error processing PVC ns/c: {text}"


IN_DEVICES = "volume data has volumeMode Filesystem, but is specified in volumeDevices"


@pytest.mark.parametrize(
    ("mode", "mounts", "devices", "text"),
    [
        (None, True, False, ""),
        ("Filesystem", True, False, ""),
        ("Block", False, True, ""),
        ("Block", True, False, "volume data has volumeMode Block, but is specified in volumeMounts"),
        (
            "Filesystem",
            False,
            True,
            "volume data has volumeMode Filesystem, but is specified in volumeDevices",
        ),
        (None, True, True, IN_DEVICES),
        ("Block", True, True, "volume data has volumeMode Block, but is specified in volumeMounts"),
    ],
)
def test_files_are_mounted_and_devices_handed_over(mode, mounts, devices, text):
    user, volume = pod(mounts=mounts, devices=devices), pv(mode=mode)
    if text:
        with pytest.raises(VolumeError) as refused:
            claims.resolve(user, CLAIMED, claim(), volume)
        assert str(refused.value) == text
    else:
        spec = claims.resolve(user, CLAIMED, claim(), volume)
        assert (spec.name, spec.pv, spec.claim) == ("pv", volume, claim())
        assert spec.block is (mode == "Block")


def test_what_could_not_be_read():
    assert str(claims.unread("ns", "c", ValueError('persistentvolumeclaims "c" not found'))) == (
        'error processing PVC ns/c: failed to fetch PVC from API server: persistentvolumeclaims "c" not found'
    )
    assert str(claims.unread_volume(claim(), ValueError("away"))) == (
        "error processing PVC ns/c: failed to fetch PV pv from API server: away"
    )
