"""The life of a pod's worker as a pure state machine: syncing, terminating, terminated, finished.

The only question answered here is *which phase, and must the running work be cut
short*; what is done in a phase is in ``sync.py``.
"""

import enum
from dataclasses import dataclass, replace
from typing import Literal

from pykubelet.api.core import Pod
from pykubelet.observe.types import ObservedPod

from .doors import StatusChange
from .grace import pod_grace

#: Seconds that a pod gets to end of which only the runtime knows.
ORPHAN_GRACE = 1


class WorkerPhase(enum.Enum):
    """Upstream's three phases, and the end."""

    SYNCING = "syncing"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    FINISHED = "finished"


UpdateKind = Literal["create", "update", "sync", "kill"]


@dataclass(frozen=True, slots=True)
class KillRequest:
    """Who kills a pod may evict it, change its reported status, and shorten its grace."""

    evict: bool = False
    change: StatusChange | None = None
    grace: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WorkerUpdate:
    """One update for a worker: a pod from a source, or (kill only) something found running."""

    kind: UpdateKind
    pod: Pod | None = None
    mirror: Pod | None = None
    orphan: ObservedPod | None = None
    kill: KillRequest | None = None
    cause: str = ""

    @property
    def uid(self) -> str:
        """UID of the pod that it is about."""
        if self.pod is not None:
            return self.pod.metadata.uid
        return self.orphan.uid if self.orphan is not None else ""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What a worker knows of its own pod's life."""

    full_name: str
    phase: WorkerPhase = WorkerPhase.SYNCING
    static: bool = False
    #: Only found in the runtime: there is no pod object, and the worker is forgotten at its end.
    runtime_only: bool = False
    deleted: bool = False
    evicted: bool = False
    #: Seconds that termination may take; 0 until it is known.
    grace: int = 0
    #: A pod of the same UID was created while this one was ending.
    restart_requested: bool = False
    changes: tuple[StatusChange, ...] = ()
    #: Why it began to end.
    cause: str = ""

    @property
    def terminating(self) -> bool:
        """Whether the pod has begun to end."""
        return self.phase is not WorkerPhase.SYNCING

    @property
    def containers_may_run(self) -> bool:
        """Whether containers of the pod may still be running."""
        return self.phase in {WorkerPhase.SYNCING, WorkerPhase.TERMINATING}

    @property
    def content_removable(self) -> bool:
        """Whether the pod's containers and logs may be removed: evicted, or deleted and ended."""
        return self.evicted or (self.deleted and self.phase in {WorkerPhase.TERMINATED, WorkerPhase.FINISHED})


@dataclass(frozen=True, slots=True)
class Step:
    """What an update does to a worker."""

    state: WorkerState
    #: The update is not to be worked on.
    ignored: bool = False
    #: Work that runs now must be cancelled, its premise is gone.
    cut_short: bool = False
    #: The termination that runs now has less time than it was told.
    shortened: bool = False


def first_state(update: WorkerUpdate, full_name: str, *, static: bool, all_ended: bool) -> WorkerState:
    """The state of a worker that has just been made.

    *all_ended*: nothing of the pod runs. A pod whose phase in the API is final then
    starts at its end, so that what it left is cleaned up.
    """
    state = WorkerState(full_name=full_name, static=static, runtime_only=update.pod is None)
    if update.pod is not None and final_phase(update.pod) and all_ended:
        return replace(
            state,
            phase=WorkerPhase.TERMINATED,
            cause=f"its phase is {update.pod.status.phase} and nothing of it runs",
        )
    return state


def final_phase(pod: Pod) -> bool:
    """Whether the phase last reported is one that never changes again."""
    return pod.status.phase in {"Succeeded", "Failed"}


def apply_update(state: WorkerState, update: WorkerUpdate, *, first: bool = False) -> Step:
    """Take one update into the state; *first* is the update that the worker was made for."""
    if not first and state.terminating and update.kind == "create":
        # The same UID came back: it starts anew once this life is over.
        return Step(replace(state, restart_requested=True), ignored=True)
    if state.phase is WorkerPhase.FINISHED:
        return Step(state, ignored=True)
    if state.phase is WorkerPhase.TERMINATED:
        return Step(state, ignored=update.pod is None)

    was_terminating, grace_before = state.terminating, state.grace
    state = _begin_end(state, update)
    if not state.terminating:
        return Step(state)
    if update.kill is not None and update.kill.change is not None:
        state = replace(state, changes=(*state.changes, update.kill.change))
    state = _with_grace(state, update)
    return Step(state, cut_short=not was_terminating, shortened=0 != grace_before > state.grace)


def _with_grace(state: WorkerState, update: WorkerUpdate) -> WorkerState:
    """The grace that the update leaves: it only ever shrinks."""
    override = update.kill.grace if update.kill is not None else None
    if update.pod is not None:
        return replace(state, grace=pod_grace(state.grace, update.pod, override).seconds)
    wish = ORPHAN_GRACE if override is None else max(override, 1)
    return replace(state, grace=min(wish, state.grace or wish))


def _begin_end(state: WorkerState, update: WorkerUpdate) -> WorkerState:
    """Mark why the pod ends, if it does."""
    pod = update.pod
    if pod is None:
        state = replace(state, deleted=True)
        cause = update.cause or "the runtime has it, no source does"
    elif pod.metadata.deletionTimestamp is not None:
        state = replace(state, deleted=True)
        cause = "it was deleted"
    elif final_phase(pod):
        cause = f"its phase is {pod.status.phase}"
    elif update.kind == "kill":
        if update.kill is not None and update.kill.evict:
            state = replace(state, evicted=True)
        reason = update.kill.reason if update.kill is not None else ""
        cause = reason or update.cause or "it was removed from its source"
    else:
        return state
    if state.terminating:
        return state
    return replace(state, phase=WorkerPhase.TERMINATING, cause=cause)


def ended_by_itself(state: WorkerState, update: WorkerUpdate, cause: str) -> WorkerState:
    """A sync found the pod's phase final: begin termination."""
    return _with_grace(replace(state, phase=WorkerPhase.TERMINATING, cause=cause), update)


def containers_ended(state: WorkerState) -> WorkerState:
    """Everything of the pod has stopped."""
    return replace(state, phase=WorkerPhase.TERMINATED)


def finished(state: WorkerState) -> WorkerState:
    """Everything of the pod is cleaned up."""
    return replace(state, phase=WorkerPhase.FINISHED)
