"""From a pod's claim to the persistent volume behind it, and every reason why not. Pure.

Source: ``createVolumeSpec`` in upstream's populator of the desired state.
"""

from typing import Final

from pykubelet.api.core import Pod
from pykubelet.api.storage import PersistentVolume, PersistentVolumeClaim
from pykubelet.api.volumes import Volume
from pykubelet.base.errors import VolumeError

from .spec import VolumeSpec

#: Keeps a claim that is being deleted as long as pods use it.
_PROTECTION: Final = "kubernetes.io/pvc-protection"


def claim_name(pod: Pod, volume: Volume) -> str:
    """The name of the claim that *volume* names, or that was made for it.

    :raises VolumeError: its source is none of both.
    """
    if volume.persistentVolumeClaim is not None:
        return volume.persistentVolumeClaim.claimName
    if volume.ephemeral is not None:
        return f"{pod.metadata.name}-{volume.name}"
    raise VolumeError(f'volume "{volume.name}" names no claim', left="unchanged")


def unread(namespace: str, name: str, error: Exception) -> VolumeError:
    """The claim could not be read."""
    return _problem(namespace, name, f"failed to fetch PVC from API server: {error}")


def unread_volume(claim: PersistentVolumeClaim, error: Exception) -> VolumeError:
    """The claim's persistent volume could not be read."""
    text = f"failed to fetch PV {claim.spec.volumeName} from API server: {error}"
    return _problem(claim.metadata.namespace, claim.metadata.name, text)


def check_claim(pod: Pod, volume: Volume, claim: PersistentVolumeClaim) -> None:
    """See that the pod may use *claim*, and that it is bound.

    :raises VolumeError: why not.
    """
    meta = claim.metadata
    text = ""
    # What is protected stays until its pods are gone: those that run go on after a restart of the node.
    if meta.deletionTimestamp is not None and _PROTECTION not in meta.finalizers:
        text = "PVC is being deleted"
    elif claim.status.phase != "Bound":
        text = "PVC is not bound"
    elif not claim.spec.volumeName:
        text = "PVC has empty pvc.Spec.VolumeName"
    if text:
        raise _problem(meta.namespace, meta.name, text)
    if volume.persistentVolumeClaim is None and not _made_for(pod, claim):
        raise VolumeError(
            f"PVC {meta.namespace}/{meta.name} was not created for pod "
            f"{pod.metadata.namespace}/{pod.metadata.name} (pod is not owner)",
            left="unchanged",
        )


def resolve(pod: Pod, volume: Volume, claim: PersistentVolumeClaim, pv: PersistentVolume) -> VolumeSpec:
    """The volume behind *claim*, which was checked, if *pv* is bound to it and used as what it is.

    :raises VolumeError: it is not.
    """
    meta, bound, name = claim.metadata, pv.spec.claimRef, pv.metadata.name
    if bound is None:
        text = (
            f"found PV object {name} but it has a nil pv.Spec.ClaimRef "
            "indicating it is not yet bound to the claim"
        )
        raise _problem(meta.namespace, meta.name, text)
    if bound.uid != meta.uid:
        text = (
            f"found PV object {name} but its pv.Spec.ClaimRef.UID {bound.uid} "
            f"does not point to claim.UID {meta.uid}"
        )
        raise _problem(meta.namespace, meta.name, text)
    _check_mode(pod, volume.name, pv.spec.volumeMode or "Filesystem")
    return VolumeSpec(volume, pv, claim)


def _check_mode(pod: Pod, name: str, mode: str) -> None:
    """A file system is mounted, a block device is handed over; never the other way round."""
    spec = pod.spec
    containers = [*spec.initContainers, *spec.containers, *spec.ephemeralContainers]
    field = ""
    if mode != "Filesystem" and any(m.name == name for c in containers for m in c.volumeMounts):
        field = "volumeMounts"
    elif mode != "Block" and any(d.name == name for c in containers for d in c.volumeDevices):
        field = "volumeDevices"
    if field:
        text = f"volume {name} has volumeMode {mode}, but is specified in {field}"
        raise VolumeError(text, left="unchanged")


def _made_for(pod: Pod, claim: PersistentVolumeClaim) -> bool:
    owner = next((each for each in claim.metadata.ownerReferences if each.controller), None)
    same = claim.metadata.namespace == pod.metadata.namespace
    return same and owner is not None and owner.uid == pod.metadata.uid


def _problem(namespace: str, name: str, text: str) -> VolumeError:
    return VolumeError(f"error processing PVC {namespace}/{name}: {text}", left="unchanged")
