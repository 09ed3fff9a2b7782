"""The core: from what should be there and what is there to what to do next. Pure.

It is recomputed from the whole situation whenever something changed; its only memory of
flight is *running*. One order at a time runs for a target; for a device and all that rests on
it, too, save that several pods' volumes may be unmounted at once. A pod's volume goes through
*resolve*, *attach* (both where it has a claim, or a controller attaches it), *stage* (once a
node) and *mount*; back through *unmount*, *unstage* and *detach*.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .orders import NO_ATTACHER, DeviceState, Need, Order, Plan, Refusal, Situation, Target, uid_of
from .state import Condition, DeviceKey, SourceKey, VolumeKey

#: Upstream's text of a second pod that wants a volume which only one may have.
_IN_USE = "volume uses the ReadWriteOncePod access mode and is already in use by another pod"

_VACANT: Final = "nothing is mounted there any more, and its pod cannot have it now"

#: Claims that are asked for at once. All requests of a client queue for their turn: with many more, none
#: would have both its answers in time where few requests a second are allowed.
RESOLVING: Final = 16


@dataclass(frozen=True, slots=True)
class _Busy:
    """Devices with which something is done; those that volumes are just unmounted from."""

    held: frozenset[str]
    leaving: frozenset[str]


def reconcile(situation: Situation) -> Plan:
    """The orders that are due, in a stable order: what pods wait for comes first."""
    due: list[Order] = []
    waits: list[float] = []
    taken: set[str] = set()
    leaving: set[str] = set()
    begun: set[Target] = set()
    held_back = False
    turns = RESOLVING - sum(isinstance(target, SourceKey) for target in situation.running)
    for order, at in _timed(situation):
        setback = situation.setbacks.get((order.slot, order.kind))
        not_before = max(at, setback.not_before) if setback is not None else at
        if not_before > situation.now:
            waits.append(not_before)
            continue
        if order.kind == "resolve":
            if turns <= 0:
                held_back = True
                continue
            turns -= 1
        # What is begun now ends with another decision: the rest waits for that.
        if order.target in begun or (order.device and order.device in taken):
            held_back = True
            continue
        if order.device and order.kind != "unmount":
            if order.device in leaving:
                held_back = True
                continue
            taken.add(order.device)
        elif order.device:
            leaving.add(order.device)
        begun.add(order.target)
        due.append(order)
    return Plan(tuple(due), min(waits, default=None), held_back)


def in_use(situation: Situation) -> frozenset[str]:
    """What ``volumesInUse`` lists: from the decision to attach until all is undone."""
    asked = {need.device for need in situation.needs.values() if need.attachable}
    there = {
        name for name, state in situation.devices.items() if state.attachable and state.attached == "yes"
    }
    return frozenset(asked | there)


def _timed(situation: Situation) -> Iterator[tuple[Order, float]]:
    """All orders that the situation asks for, and when each is due."""
    now = situation.now
    running = situation.running.values()
    busy = _Busy(
        frozenset(order.device for order in running if order.device and order.kind != "unmount"),
        frozenset(order.device for order in running if order.device and order.kind == "unmount"),
    )
    # What is not known at all comes before what may have changed.
    for source, known in sorted(situation.unresolved.items(), key=lambda item: (item[1], item[0])):
        if source not in situation.running:
            yield Order("resolve", source, "a container of the pod mounts it", routine=known), now
    # Most volumes are there: only what is left is put in order.
    for key in sorted(key for key in situation.wanted if _lacks(situation, key)):
        order = _forward(situation, key, busy)
        if order is not None:
            yield order, now
    yield from _again(situation, busy)
    if situation.sources_ready:
        for order in [*_unmounts(situation, busy), *_device_ends(situation, busy), *_cleanings(situation)]:
            yield order, now


# --- towards what is wanted ---------------------------------------------------


def _lacks(situation: Situation, key: VolumeKey) -> bool:
    return situation.actual.get(key) != "mounted" and key not in situation.running


def _forward(situation: Situation, key: VolumeKey, busy: _Busy) -> Order | None:
    condition = situation.actual.get(key)
    need = situation.needs.get(key, Need())
    cause = _cause(condition)
    if not need.device:
        return Order("mount", key, cause, refusal=need.refusal)
    if need.device in busy.held or need.device in busy.leaving:
        return None
    state = situation.devices.get(need.device)
    target = DeviceKey(need.device)
    if need.attachable and (state is None or state.attached != "yes"):
        known = state is None or state.attached != "uncertain"
        if known and not situation.by_controller:
            refusal = Refusal("AttachVolume.Attach", NO_ATTACHER)
            return Order("attach", target, cause, device=need.device, volume=key, refusal=refusal)
        if known and need.device in situation.told and need.device in situation.visible:
            return Order("attach", target, cause, device=need.device, volume=key)
        return None
    if need.alone:
        others = _others(situation, key, need.device)
        if any(_stays(situation, other) for other in others):
            return Order("mount", key, cause, refusal=Refusal("SetUp", _IN_USE))
        if others:
            return None
    if state is not None and state.labelled_otherwise(need.label):
        return _relabel(situation, key, need.device, state)
    if need.refusal is not None:
        return Order("mount", key, cause, refusal=need.refusal)
    if state is None or state.staged != "mounted":
        return Order("stage", target, cause, device=need.device, volume=key)
    return Order("mount", key, cause, device=need.device)


def _relabel(situation: Situation, key: VolumeKey, device: str, state: DeviceState) -> Order | None:
    """What was staged with another SELinux label is undone first, when no pod has it any more."""
    if not situation.sources_ready or not situation.attachments_known:
        return None
    cause = "it is mounted with another SELinux label than the pod needs"
    if key in situation.actual:
        return Order("unmount", key, cause, device=device)
    if _others(situation, key, device) or (state.found and situation.obscure):
        return None
    return Order("unstage", DeviceKey(device), cause, device=device, volume=key)


def _others(situation: Situation, key: VolumeKey, device: str) -> list[VolumeKey]:
    """Volumes of other pods that rest on the device."""
    return [
        other
        for other, rests in situation.rests.items()
        if rests == device and other.uid != key.uid and other in situation.actual
    ]


def _stays(situation: Situation, key: VolumeKey) -> bool:
    return key in situation.wanted or key.uid in situation.kept


def _again(situation: Situation, busy: _Busy) -> Iterator[tuple[Order, float]]:
    """Refreshes, when each is due, and expansions.

    Only of what is mounted and wanted, and has no order of its own: a volume whose pod ends
    is taken away as it is.
    """

    def free(key: VolumeKey) -> bool:
        if situation.actual.get(key) != "mounted" or key not in situation.wanted or key in situation.running:
            return False
        device = situation.rests.get(key, "")
        return not device or not (device in busy.held or device in busy.leaving)

    now, growing = situation.now, situation.growing
    later = [key for key, renewal in situation.renewals.items() if renewal.at > now and key not in growing]
    due = sorted({*situation.renewals, *growing}.difference(later))
    for key in [*due, *later]:
        if not free(key):
            continue
        device, renewal = situation.rests.get(key, ""), situation.renewals.get(key)
        if renewal is not None:
            yield Order("refresh", key, renewal.cause, renewal.routine, device), renewal.at
        if key in growing:
            yield Order("expand", key, "the volume is larger than its claim says", device=device), now


# --- away from what is not ----------------------------------------------------


def _unmounts(situation: Situation, busy: _Busy) -> Iterator[Order]:
    vacant = situation.vacant
    leaving = (key for key in situation.actual if key in vacant or not _stays(situation, key))
    for key in sorted(key for key in leaving if key not in situation.running):
        device = situation.rests.get(key, "")
        if device and (not situation.attachments_known or device in busy.held):
            continue
        # Its directory would keep the device as it is, for the pods that can have it.
        cause = _VACANT if key in vacant else "no pod that may run asks for it"
        yield Order("unmount", key, cause, device=device)


def _device_ends(situation: Situation, busy: _Busy) -> Iterator[Order]:
    if not situation.attachments_known:
        return
    asked = {need.device for need in situation.needs.values()}
    used = {*asked, *situation.rests.values(), *busy.held, *busy.leaving}
    # What was left may be just what a pod asks for of which that is not known yet.
    asking = any((source, "resolve") not in situation.setbacks for source in situation.unresolved)
    asking = asking or situation.obscure
    for name, state in sorted(situation.devices.items(), key=lambda item: item[0]):
        if name in used or (state.found and asking):
            continue
        target = DeviceKey(name)
        if state.staged is not None:
            yield Order("unstage", target, "no pod of this node has it", device=name)
        elif state.attached != "no":
            yield Order("detach", target, "no pod of this node has it", device=name)


def _cleanings(situation: Situation) -> Iterator[Order]:
    left = situation.directories - situation.named - situation.kept
    if not left:
        return
    busy = {uid_of(target) for target in situation.running}
    busy |= {key.uid for key in situation.actual} | {key.uid for key in situation.wanted}
    for uid in sorted(left - busy):
        yield Order("clean", uid, "no source names the pod, and nothing of it runs or is mounted")


def _cause(condition: Condition | None) -> str:
    if condition == "uncertain":
        return "a container of the pod mounts it, and its state is not certain"
    return "a container of the pod mounts it"
