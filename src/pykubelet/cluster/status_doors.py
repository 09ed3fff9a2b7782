"""What the status manager asks of others: about pods, for what must outlive the daemon, and the rules."""

from collections.abc import Callable, Collection
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pykubelet.api.core import Pod, PodStatus


class ApiPods(Protocol):
    """What the status manager asks about pods."""

    def shown(self, pod: Pod) -> Pod | None:
        """The API server's object that shows *pod*, as the watch last had it; None if there is none.

        For a pod from the API server that is itself (by UID); for a static pod its mirror,
        unless another static pod has taken over its name.
        """
        ...

    def may_run(self, uid: str) -> bool:
        """Whether containers of the pod may run, now or again."""
        ...

    def finished(self, uid: str) -> bool:
        """Whether the pod's worker has done all it had to: nothing of the pod is left on the node."""
        ...


class Keeper(Protocol):
    """Keeps statuses over a restart of the daemon, where the API server cannot: those of static pods."""

    def get(self, uid: str) -> PodStatus | None:
        """The last status that was set."""
        ...

    def set(self, pod: Pod, status: PodStatus) -> None:
        """Keep *status*."""
        ...

    def remove(self, uid: str) -> None:
        """Forget the pod."""
        ...

    def keep_only(self, uids: AbstractSet[str]) -> None:
        """Forget all other pods."""
        ...


@dataclass(frozen=True, slots=True)
class StatusRules:
    """The rules of the room ``pods`` for statuses."""

    #: Types of the conditions that are the kubelet's alone.
    owned: Collection[str]
    #: (pod, its last status) → the status of a pod that has fully ended.
    terminal: Callable[[Pod, PodStatus], PodStatus]
    #: (pod, status before, new status, now) → the new one as it is kept.
    settle: Callable[[Pod, PodStatus, PodStatus, datetime], PodStatus]
