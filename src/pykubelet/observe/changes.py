"""What changed between two looks at a pod: pure comparison, upstream's lifecycle events."""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pykubelet.cri.types import ContainerState, ContainerSummary, SandboxState, SandboxSummary

from .types import ObservedPod


class ChangeKind(enum.Enum):
    """Kinds of change, upstream's names."""

    STARTED = "ContainerStarted"
    DIED = "ContainerDied"
    REMOVED = "ContainerRemoved"
    CHANGED = "ContainerChanged"


@dataclass(frozen=True, slots=True)
class PodChange:
    """One change of one container or sandbox; *source* says who noticed (pidfd, event, relist, read)."""

    uid: str
    kind: ChangeKind
    id: str
    name: str
    source: str


#: State of each container and sandbox ID of a pod: running, exited, unknown.
States = Mapping[str, str]


def _container_state(state: ContainerState) -> str:
    if state is ContainerState.RUNNING:
        return "running"
    return "exited" if state is ContainerState.EXITED else "unknown"


def states_of(pod: ObservedPod) -> dict[str, str]:
    """The states that a relist is compared with."""
    states = {c.id: _container_state(c.state) for c in pod.containers}
    states.update((s.id, "running" if s.state is SandboxState.READY else "exited") for s in pod.sandboxes)
    return states


def states_listed(
    sandboxes: Iterable[SandboxSummary], containers: Iterable[ContainerSummary]
) -> dict[str, dict[str, str]]:
    """The states of all pods in one relist, by pod UID."""
    pods: dict[str, dict[str, str]] = {}
    owner: dict[str, str] = {}
    for sandbox in sandboxes:
        owner[sandbox.id] = sandbox.uid
        ready = sandbox.state is SandboxState.READY
        pods.setdefault(sandbox.uid, {})[sandbox.id] = "running" if ready else "exited"
    for container in containers:
        uid = container.pod_uid or owner.get(container.sandbox_id, "")
        if uid:
            pods.setdefault(uid, {})[container.id] = _container_state(container.state)
    return pods


def compare(uid: str, old: States, new: States, names: Mapping[str, str], source: str) -> list[PodChange]:
    """Changes from *old* to *new*, containers' ends before starts."""
    changes: list[PodChange] = []

    def add(kind: ChangeKind, key: str) -> None:
        changes.append(PodChange(uid, kind, key, names.get(key, ""), source))

    for key in old:
        if key not in new:
            if old[key] != "exited":
                add(ChangeKind.DIED, key)
            add(ChangeKind.REMOVED, key)
    for key, state in new.items():
        if old.get(key) == state:
            continue
        if state == "exited":
            add(ChangeKind.DIED, key)
        elif state == "running":
            add(ChangeKind.STARTED, key)
        else:
            add(ChangeKind.CHANGED, key)
    order = {ChangeKind.DIED: 0, ChangeKind.REMOVED: 1, ChangeKind.CHANGED: 2, ChangeKind.STARTED: 3}
    return sorted(changes, key=lambda change: order[change.kind])
