"""What a node does about the size of a claim's volume, and what it tells the claim of it. Pure.

The controller grows the volume itself and writes into the claim's status how far it is
(``allocatedResources``, ``allocatedResourceStatuses``); the node grows the file system, once the status
says that this is pending. A volume that several nodes have grows on each of them. Source: ``NodeExpander``
and ``resize_util.go`` of upstream (feature RecoverVolumeExpansionFailure, which is always on in 1.36).
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import msgspec

from pykubelet.api.quantity import Quantity
from pykubelet.api.storage import (
    PersistentVolumeClaim,
    PersistentVolumeClaimCondition,
    PersistentVolumeClaimStatus,
)
from pykubelet.base.errors import ExpandError, VolumeError

from .spec import VolumeSpec

_STORAGE: Final = "storage"
_PENDING: Final = "NodeResizePending"
_IN_PROGRESS: Final = "NodeResizeInProgress"
_INFEASIBLE: Final = "NodeResizeInfeasible"
_NODE_ERROR: Final = "NodeResizeError"
#: The claim's conditions that tell of resizing.
_CONDITIONS: Final = frozenset({"FileSystemResizePending", "Resizing", "ControllerResizeError", _NODE_ERROR})
#: On claims whose volume needs nothing from further nodes.
_NOT_REQUIRED: Final = "volume.kubernetes.io/node-expansion-not-required"


@dataclass(frozen=True, slots=True)
class Expansion:
    """What is to be done about one volume's size."""

    #: The volume, with its claim as it is now.
    spec: VolumeSpec
    #: *expand* it to *size*; it counts as *settled* at *size*; or *wait*, it is not the node's turn.
    act: Literal["expand", "settled", "wait"]
    size: Quantity
    #: Whether the claim is told of the outcome: else it knows that size already.
    told: bool = False
    #: Whether the controller understands failures; an old one does not.
    recovers: bool = True
    #: Whether any failure for good is told as one that no retry can mend: the user asks for another size
    #: meanwhile, and the controller may go on only then.
    give_up: bool = False


def plan(spec: VolumeSpec, *, failed: bool) -> Expansion:
    """What the node has to do, by claim and volume of *spec*, both as they are now.

    *failed* tells that this node failed for good to expand the volume before.

    :raises VolumeError: the volume has no claim.
    """
    claim, pv = spec.claim, spec.pv
    if claim is None or pv is None:
        raise VolumeError(f"volume {spec.name} has no claim", left="unchanged")
    status = claim.status
    stage, has = status.allocatedResourceStatuses.get(_STORAGE, ""), size_of(claim)
    if not stage and not status.allocatedResources:
        size = pv.spec.capacity.get(_STORAGE, Quantity.zero())
        return Expansion(spec, "expand", size, told=has < size, recovers=False)
    size = status.allocatedResources.get(_STORAGE, Quantity.zero())
    if not stage and has >= size:
        several = "ReadWriteMany" in claim.spec.accessModes
        again = several and _NOT_REQUIRED not in claim.metadata.annotations
        return Expansion(spec, "expand" if again else "settled", size)
    if stage not in (_PENDING, _IN_PROGRESS):
        return Expansion(spec, "wait", has)
    asked = claim.spec.resources.requests.get(_STORAGE, Quantity.zero())
    return Expansion(spec, "expand", size, told=True, give_up=failed and asked != size)


def size_of(claim: PersistentVolumeClaim) -> Quantity:
    """The size that the claim's status tells."""
    return claim.status.capacity.get(_STORAGE, Quantity.zero())


def verdict(expansion: Expansion, error: VolumeError | None) -> Literal["done", "in use", "failed"]:
    """What an attempt to expand came to.

    *done*: the volume counts as having that size. *in use*: the volume works on as it is and is not
    expanded again before it is mounted anew. *failed*: the error is the operation's.
    """
    why = error.hindrance if isinstance(error, ExpandError) else "failed"
    if error is None or (why == "unsupported" and not (expansion.told and expansion.recovers)):
        return "done"
    if why == "in use":
        return "in use" if expansion.recovers else "done"
    return "failed"


def for_good(error: VolumeError) -> bool:
    """Whether the driver is surely done with the attempt."""
    return error.left == "nothing"


# --- what the claim is told ---------------------------------------------------


def begun(status: PersistentVolumeClaimStatus) -> PersistentVolumeClaimStatus:
    """The claim's status once the node begins."""
    return _at(status, _IN_PROGRESS)


def finished(status: PersistentVolumeClaimStatus, size: Quantity) -> PersistentVolumeClaimStatus:
    """The claim's status once the volume has *size*; nothing tells of resizing any more."""
    stages = {name: stage for name, stage in status.allocatedResourceStatuses.items() if name != _STORAGE}
    return msgspec.structs.replace(
        status,
        capacity={**status.capacity, _STORAGE: size},
        allocatedResourceStatuses=stages,
        conditions=[each for each in status.conditions if each.type not in _CONDITIONS],
    )


def failed(
    status: PersistentVolumeClaimStatus, expansion: Expansion, error: VolumeError, now: datetime
) -> PersistentVolumeClaimStatus:
    """The claim's status after *error*, which is one for good."""
    hopeless = expansion.give_up or (isinstance(error, ExpandError) and error.hindrance == "infeasible")
    told = PersistentVolumeClaimCondition(
        type=_NODE_ERROR,
        status="True",
        lastTransitionTime=now.replace(microsecond=0),
        message=f"failed to expand pvc with {error}",
    )
    status = _at(status, _INFEASIBLE) if hopeless else status
    return msgspec.structs.replace(status, conditions=_with(status.conditions, told))


def _at(status: PersistentVolumeClaimStatus, stage: str) -> PersistentVolumeClaimStatus:
    stages = {**status.allocatedResourceStatuses, _STORAGE: stage}
    return msgspec.structs.replace(status, allocatedResourceStatuses=stages)


def _with(
    conditions: Collection[PersistentVolumeClaimCondition], told: PersistentVolumeClaimCondition
) -> list[PersistentVolumeClaimCondition]:
    """*conditions* with one told; a condition that is there with that status stays as it was, as upstream."""
    known = next((each for each in conditions if each.type == told.type), None)
    if known is None:
        return [*conditions, told]
    return [told if each is known and each.status != told.status else each for each in conditions]
