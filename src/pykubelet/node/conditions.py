"""The conditions of the Node: what they say, when they last changed, and the events of a change. Pure.

Source: the setters in upstream's ``pkg/kubelet/nodestatus``. A pressure's reason and message
are only written when its status changes; Ready's always.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import msgspec

from pykubelet.api.core import ResourceList
from pykubelet.api.node import NodeCondition
from pykubelet.api.wellknown import CPU, EPHEMERAL_STORAGE, MEMORY, PODS
from pykubelet.base.gotext import aggregate


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """An event about the node, to be posted once what it tells of is reported."""

    kind: Literal["Normal", "Warning"]
    reason: str
    message: str


def status_event(node: str, reason: str) -> NodeEvent:
    """The event of a change of the node's status."""
    return NodeEvent("Normal", reason, f"Node {node} status is now: {reason}")


@dataclass(frozen=True, slots=True)
class PressureTexts:
    """What a pressure condition says while the pressure lasts, and while there is none."""

    type: str
    reason: str
    message: str
    event: str
    calm_reason: str
    calm_message: str
    calm_event: str


MEMORY_PRESSURE: Final = PressureTexts(
    "MemoryPressure",
    "KubeletHasInsufficientMemory",
    "kubelet has insufficient memory available",
    "NodeHasInsufficientMemory",
    "KubeletHasSufficientMemory",
    "kubelet has sufficient memory available",
    "NodeHasSufficientMemory",
)
DISK_PRESSURE: Final = PressureTexts(
    "DiskPressure",
    "KubeletHasDiskPressure",
    "kubelet has disk pressure",
    "NodeHasDiskPressure",
    "KubeletHasNoDiskPressure",
    "kubelet has no disk pressure",
    "NodeHasNoDiskPressure",
)
PID_PRESSURE: Final = PressureTexts(
    "PIDPressure",
    "KubeletHasInsufficientPID",
    "kubelet has insufficient PID available",
    "NodeHasInsufficientPID",
    "KubeletHasSufficientPID",
    "kubelet has sufficient PID available",
    "NodeHasSufficientPID",
)


@dataclass(frozen=True, slots=True)
class Pressure:
    """What the node runs short of."""

    memory: bool = False
    disk: bool = False
    pids: bool = False


@dataclass(frozen=True, slots=True)
class Readiness:
    """Why the node may not be ready; all empty when it is."""

    #: Runtime down, PLEG unhealthy and the like, in upstream's words.
    runtime_errors: Sequence[str] = ()
    network_error: str = ""
    #: What volumes lack (a CSINode that was not made yet).
    storage_errors: Sequence[str] = ()
    #: ``node is shutting down``.
    shutdown_error: str = ""
    #: What the container manager could not do but can live without.
    soft_problem: str = ""


def pressure_condition(
    old: NodeCondition | None, texts: PressureTexts, under: bool, now: datetime
) -> NodeCondition:
    """The pressure's condition after *old*; *now* in whole seconds."""
    status = "True" if under else "False"
    if old is not None and old.status == status:
        return msgspec.structs.replace(old, lastHeartbeatTime=now)
    return NodeCondition(
        type=texts.type,
        status=status,
        lastHeartbeatTime=now,
        lastTransitionTime=now,
        reason=texts.reason if under else texts.calm_reason,
        message=texts.message if under else texts.calm_message,
    )


def ready_condition(
    old: NodeCondition | None,
    readiness: Readiness,
    capacity: ResourceList,
    now: datetime,
    *,
    local_storage: bool,
) -> NodeCondition:
    """The condition Ready after *old*; *now* in whole seconds.

    *local_storage* tells whether the node must know the size of its ephemeral storage.
    """
    errors = not_ready_errors(readiness, capacity, local_storage=local_storage)
    message = aggregate(errors) if errors else "kubelet is posting ready status"
    if readiness.soft_problem:
        message = f"{message}. WARNING: {readiness.soft_problem}"
    status = "False" if errors else "True"
    kept = old is not None and old.status == status
    return NodeCondition(
        type="Ready",
        status=status,
        lastHeartbeatTime=now,
        lastTransitionTime=old.lastTransitionTime if old is not None and kept else now,
        reason="KubeletNotReady" if errors else "KubeletReady",
        message=message,
    )


def not_ready_errors(readiness: Readiness, capacity: ResourceList, *, local_storage: bool) -> list[str]:
    """Why the node is not ready; empty when it is."""
    needed = (CPU, MEMORY, PODS, *((EPHEMERAL_STORAGE,) if local_storage else ()))
    missing = [name for name in needed if name not in capacity]
    return [
        *readiness.runtime_errors,
        *filter(None, [readiness.network_error]),
        *readiness.storage_errors,
        *filter(None, [readiness.shutdown_error]),
        *([f"missing node capacity for resources: {', '.join(missing)}"] if missing else []),
    ]


def updated_conditions(
    node: str,
    old: Sequence[NodeCondition],
    pressure: Pressure,
    readiness: Readiness,
    capacity: ResourceList,
    now: datetime,
    *,
    local_storage: bool = True,
) -> tuple[list[NodeCondition], list[NodeEvent]]:
    """All conditions after *old*, and the events of what changed.

    Each keeps its place; foreign ones stay; of new ones Ready comes last, as old masters want it.
    """
    by_type = {condition.type: condition for condition in old}
    events = []
    for texts, under in (
        (MEMORY_PRESSURE, pressure.memory),
        (DISK_PRESSURE, pressure.disk),
        (PID_PRESSURE, pressure.pids),
    ):
        before = by_type.get(texts.type)
        after = pressure_condition(before, texts, under, now)
        by_type[texts.type] = after
        # A pressure that was never told of before is told of even when there is none.
        if before is None or before.status != after.status:
            events.append(status_event(node, texts.event if under else texts.calm_event))
    before = by_type.get("Ready")
    after = ready_condition(before, readiness, capacity, now, local_storage=local_storage)
    by_type["Ready"] = after
    if before is not None and before.status != after.status:
        events.append(status_event(node, "NodeReady" if after.status == "True" else "NodeNotReady"))
    return list(by_type.values()), events
