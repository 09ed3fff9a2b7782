"""When the node's status is due to be reported, and what is sent. Pure.

Source: ``tryUpdateNodeStatus`` and its helpers in upstream's ``kubelet_node_status.go``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from pykubelet.api.node import Node, NodeCondition, NodeStatus

from .patch import node_status_patch


@dataclass(frozen=True, slots=True)
class Reported:
    """The last report."""

    #: Monotonic seconds.
    at: float
    #: Seconds by which the next regular report is put off (or brought forward): reports of many nodes
    #: that changed at once must not stay together for ever.
    delay: float


def due(last: Reported | None, now: float, frequency: float) -> bool:
    """Whether a report is due though nothing changed; *now* in monotonic, *frequency* in seconds."""
    return last is None or now - last.at >= frequency + last.delay


def next_delay(last: Reported | None, frequency: float, chance: float, *, changed: bool) -> float:
    """The delay that goes with a report made now; *chance* is random, from 0 to 1."""
    return frequency * (chance - 0.5) if changed or last is None else 0.0


def differences(old: Node, new: Node) -> list[str]:
    """What differs, by name, heartbeats left aside: fields of the status, types of conditions."""
    found = [
        name
        for name in NodeStatus.__struct_fields__
        if name != "conditions" and getattr(old.status, name) != getattr(new.status, name)
    ]
    before, after = _conditions(old.status.conditions), _conditions(new.status.conditions)
    found += [name for name in {**before, **after} if before.get(name) != after.get(name)]
    found += [
        name
        for name in ("labels", "annotations")
        if getattr(old.metadata, name) != getattr(new.metadata, name)
    ]
    return found


def _conditions(conditions: Sequence[NodeCondition]) -> dict[str, NodeCondition]:
    return {each.type: msgspec.structs.replace(each, lastHeartbeatTime=None) for each in conditions}


def node_patch(old: Node, new: Node) -> dict[str, Any] | None:
    """The strategic merge patch for ``nodes/NAME/status``, labels and annotations with it; None for none.

    That subresource takes the metadata too, and a node may not write the spec.
    """
    metadata = {
        name: part
        for name in ("labels", "annotations")
        if (part := _map_patch(getattr(old.metadata, name), getattr(new.metadata, name)))
    }
    status = node_status_patch(old.status, new.status)
    patch = {**({"metadata": metadata} if metadata else {}), **(status or {})}
    return patch or None


def _map_patch(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str | None]:
    put = {name: value for name, value in new.items() if old.get(name) != value}
    return {**put, **{name: None for name in old if name not in new}}


def newest(cached: Node | None, answered: Node | None) -> Node | None:
    """The newer of what a watch and what an answer to our own request brought.

    A watch may lag behind our own patch: a change back, computed against it, would seem to be none.
    Versions grow over all objects of a cluster, so a Node that was made anew is newer than the old one.
    """
    if cached is None or answered is None:
        return cached or answered
    ours, theirs = answered.metadata.resourceVersion, cached.metadata.resourceVersion
    behind = ours.isdecimal() and theirs.isdecimal() and int(theirs) < int(ours)
    return answered if behind else cached


def ready(node: Node) -> bool:
    """Whether the Node's condition Ready is True."""
    return any(each.type == "Ready" and each.status == "True" for each in node.status.conditions)
