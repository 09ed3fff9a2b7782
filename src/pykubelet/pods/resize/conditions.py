"""The conditions ``PodResizePending`` and ``PodResizeInProgress`` of all pods, with upstream's rules.

The book of them is part of the status of each pod; the status itself is computed elsewhere.
"""

from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import msgspec

from pykubelet.api.core import PodCondition

PENDING: Final = "PodResizePending"
IN_PROGRESS: Final = "PodResizeInProgress"
#: Reasons of the first; any rejection but Infeasible is Deferred.
DEFERRED, INFEASIBLE = "Deferred", "Infeasible"
#: Reason of the second when the last try failed.
ERROR: Final = "Error"


@dataclass(frozen=True, slots=True)
class _Conditions:
    pending: PodCondition | None = None
    in_progress: PodCondition | None = None


class ResizeConditions:
    """The conditions by pod UID."""

    def __init__(self) -> None:
        self._pods: dict[str, _Conditions] = {}

    def of(self, uid: str) -> tuple[PodCondition, ...]:
        """The pod's conditions, in the order in which a status has them."""
        own = self._of(uid)
        return tuple(condition for condition in (own.pending, own.in_progress) if condition is not None)

    def _of(self, uid: str) -> _Conditions:
        return self._pods.get(uid, _Conditions())

    def pending_reason(self, uid: str) -> str:
        """``Deferred`` or ``Infeasible``; empty if no resize of the pod is pending."""
        pending = self._of(uid).pending
        return "" if pending is None else pending.reason

    def pending_since(self, uid: str) -> datetime | None:
        """Since when the resize is pending for this reason."""
        pending = self._of(uid).pending
        return None if pending is None else pending.lastTransitionTime

    def in_progress(self, uid: str) -> bool:
        """Whether the pod is being resized."""
        return self._of(uid).in_progress is not None

    def set_pending(self, uid: str, reason: str, message: str, generation: int, now: datetime) -> bool:
        """The resize to *generation* was rejected; whether that is news (its reason or generation is)."""
        own = self._of(uid)
        reason = reason if reason == INFEASIBLE else DEFERRED
        pending = _condition(PENDING, own.pending, reason, message, generation, now)
        self._put(uid, replace(own, pending=pending))
        old = own.pending
        return old is None or (old.reason, old.observedGeneration) != (reason, generation)

    def clear_pending(self, uid: str) -> None:
        """Nothing is pending any more."""
        self._put(uid, replace(self._of(uid), pending=None))

    def begin(self, uid: str, generation: int, now: datetime) -> None:
        """A resize to *generation* was accepted; an error of the one before does not count any more."""
        self._put(uid, _Conditions(None, _condition(IN_PROGRESS, None, "", "", generation, now)))

    def keep_in_progress(self, uid: str, generation: int, now: datetime) -> None:
        """The pod is being resized; what is known of that stays."""
        if not self.in_progress(uid):
            progress = _condition(IN_PROGRESS, None, "", "", generation, now)
            self._put(uid, replace(self._of(uid), in_progress=progress))

    def fail(self, uid: str, message: str, generation: int, now: datetime) -> tuple[int, bool]:
        """The last try failed: the generation that it was about, and whether that is news."""
        own = self._of(uid)
        if own.in_progress is not None:
            generation = own.in_progress.observedGeneration
        failed = _condition(IN_PROGRESS, own.in_progress, ERROR, message, generation, now)
        self._put(uid, replace(own, in_progress=failed))
        return generation, own.in_progress != failed

    def complete(self, uid: str) -> int | None:
        """The pod has what is allocated to it: the generation it was resized to; None if it was not."""
        own = self._of(uid)
        if own.in_progress is None:
            return None
        self._put(uid, replace(own, in_progress=None))
        return own.in_progress.observedGeneration

    def recall(self, uid: str, conditions: Iterable[PodCondition]) -> None:
        """Take over what the daemon before this one reported of the pod."""
        own = self._of(uid)
        for condition in conditions:
            if condition.type == PENDING:
                own = replace(own, pending=condition)
            elif condition.type == IN_PROGRESS:
                own = replace(own, in_progress=condition)
        self._put(uid, own)

    def remove(self, uid: str) -> None:
        """Forget the pod."""
        self._pods.pop(uid, None)

    def keep_only(self, uids: AbstractSet[str]) -> None:
        """Forget all other pods."""
        for uid in self._pods.keys() - uids:
            self.remove(uid)

    def pending_counts(self) -> Counter[str]:
        """How many pods have a pending resize, by reason in small letters."""
        return Counter(own.pending.reason.lower() for own in self._pods.values() if own.pending is not None)

    def in_progress_count(self) -> int:
        """How many pods are being resized."""
        return sum(own.in_progress is not None for own in self._pods.values())

    def _put(self, uid: str, conditions: _Conditions) -> None:
        if conditions == _Conditions():
            self._pods.pop(uid, None)
        else:
            self._pods[uid] = conditions


def _condition(
    kind: str, old: PodCondition | None, reason: str, message: str, generation: int, now: datetime
) -> PodCondition:
    """The condition; its transition time changes with its reason only."""
    made = PodCondition(
        type=kind, status="True", observedGeneration=generation, lastProbeTime=now,
        lastTransitionTime=now, reason=reason, message=message,
    )  # fmt: skip
    if old is None or old.reason != reason:
        return made
    made = msgspec.structs.replace(
        made, lastProbeTime=old.lastProbeTime, lastTransitionTime=old.lastTransitionTime
    )
    # A probe that found the same is no news, or each look at a waiting pod would be told.
    return made if made == old else msgspec.structs.replace(made, lastProbeTime=now)
