"""What changed between two complete sets of pods of one source; pure."""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from pykubelet.api.core import Pod
from pykubelet.api.podinfo import full_name
from pykubelet.api.wellknown import CONFIG_SEEN, CONFIG_SOURCE, LOCAL_ANNOTATIONS
from pykubelet.base.journal import PodRef


class Op(enum.Enum):
    """What happened to the pods of an update."""

    ADD = "ADD"
    UPDATE = "UPDATE"
    #: They are to be deleted gracefully.
    DELETE = "DELETE"
    #: Their source does not name them any more.
    REMOVE = "REMOVE"
    #: Only their status differs from what was seen.
    RECONCILE = "RECONCILE"


#: The order in which the changes of one merge are told.
_ORDER: Final = (Op.REMOVE, Op.ADD, Op.UPDATE, Op.DELETE)


@dataclass(frozen=True, slots=True)
class PodUpdate:
    """Pods of one source to which the same happened. Empty only to say that the source was seen."""

    op: Op
    pods: tuple[Pod, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A pod that is not taken because another of the same set has its name (or UID)."""

    pod: Pod
    message: str


@dataclass(frozen=True, slots=True)
class Merged:
    """The outcome of one merge."""

    #: By UID, as they are now known.
    pods: Mapping[str, Pod]
    updates: tuple[PodUpdate, ...]
    refused: tuple[Refused, ...]
    #: The pods by UID as the source gave them.
    given: Mapping[str, Pod]


def merge(
    source: str,
    before: Merged | None,
    new: Sequence[Pod],
    seen: str,
    adapt: Callable[[Pod], Pod] = lambda pod: pod,
) -> Merged:
    """Compare the *new* complete set with what came of the one before, by UID.

    *before* is None when the source was never heard; *seen* is the time that pods which are
    new here are stamped with. *adapt* makes of a given pod what this node takes it for.
    """
    known = before.pods if before is not None else {}
    last = before.given if before is not None else {}
    taken, refused = _unique(source, new)
    changes: dict[Op, list[Pod]] = {op: [] for op in Op}
    pods: dict[str, Pod] = {}
    for pod in taken:
        uid = pod.metadata.uid
        existing = known.get(uid)
        op: Op | None
        if existing is None:
            result, op = _with(adapt(pod), {CONFIG_SOURCE: source, CONFIG_SEEN: seen}), Op.ADD
        elif last.get(uid) is pod:
            # Most pods of a set are those of the set before, which comes with each change of a single one.
            result, op = existing, None
        else:
            result, op = _updated(existing, _with(adapt(pod), {CONFIG_SOURCE: source}))
        pods[uid] = result
        if op is not None:
            changes[op].append(result)
    changes[Op.REMOVE] = [pod for uid, pod in known.items() if uid not in pods]
    updates = [PodUpdate(op, tuple(changes[op]), source) for op in _ORDER if changes[op]]
    if before is None and not any(changes[op] for op in (Op.ADD, Op.UPDATE, Op.DELETE)):
        updates.append(PodUpdate(Op.ADD, (), source))
    if changes[Op.RECONCILE]:
        updates.append(PodUpdate(Op.RECONCILE, tuple(changes[Op.RECONCILE]), source))
    given = {pod.metadata.uid: pod for pod in taken}
    return Merged(pods, tuple(updates), tuple(refused), given)


def _unique(source: str, pods: Sequence[Pod]) -> tuple[list[Pod], list[Refused]]:
    names: set[str] = set()
    uids: set[str] = set()
    taken: list[Pod] = []
    refused: list[Refused] = []
    for pod in pods:
        meta, name = pod.metadata, full_name(pod)
        if name in names:
            what = f'pod name "{meta.name}"'
        elif meta.uid in uids:
            what = f'pod UID "{meta.uid}"'
        else:
            names.add(name)
            uids.add(meta.uid)
            taken.append(pod)
            continue
        ref = PodRef(meta.namespace, meta.name, meta.uid)
        message = f"Error validating pod {ref} from {source} due to duplicate {what}, ignoring"
        refused.append(Refused(pod, message))
    return taken, refused


def _with(pod: Pod, annotations: dict[str, str]) -> Pod:
    return replace(pod, metadata=replace(pod.metadata, annotations=pod.metadata.annotations | annotations))


def _shared(pod: Pod) -> dict[str, str]:
    """The annotations that are not this kubelet's own."""
    return {key: value for key, value in pod.metadata.annotations.items() if key not in LOCAL_ANNOTATIONS}


def _same(one: Pod, other: Pod) -> bool:
    return (
        one.metadata.labels == other.metadata.labels
        and one.metadata.deletionTimestamp == other.metadata.deletionTimestamp
        and one.metadata.deletionGracePeriodSeconds == other.metadata.deletionGracePeriodSeconds
        and _shared(one) == _shared(other)
        and one.spec == other.spec
    )


def _updated(existing: Pod, given: Pod) -> tuple[Pod, Op | None]:
    """The pod as it is now known, and what that means; None if nothing changed."""
    if _same(existing, given):
        if existing.status == given.status:
            return existing, None
        return replace(existing, status=given.status), Op.RECONCILE
    own = {
        key: existing.metadata.annotations[key]
        for key in LOCAL_ANNOTATIONS
        if key in existing.metadata.annotations
    }
    changed = replace(
        existing,
        spec=given.spec,
        status=given.status,
        metadata=replace(
            existing.metadata,
            labels=given.metadata.labels,
            annotations=given.metadata.annotations | own,
            generation=given.metadata.generation,
            deletionTimestamp=given.metadata.deletionTimestamp,
            deletionGracePeriodSeconds=given.metadata.deletionGracePeriodSeconds,
        ),
    )
    return changed, Op.UPDATE if given.metadata.deletionTimestamp is None else Op.DELETE
