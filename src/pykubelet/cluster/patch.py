"""Strategic merge patches of the statuses that a node writes: what changed, and nothing else.

A patch that says only what changed does not undo what others wrote meanwhile, and most
statuses change in one or two fields. The server merges objects key by key (null
removes); a list is replaced whole unless its type names a key to merge its entries by.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from pykubelet.api.codec import to_builtins
from pykubelet.api.core import PodStatus
from pykubelet.api.node import NodeStatus
from pykubelet.api.storage import PersistentVolumeClaim, PersistentVolumeClaimStatus

Tree = dict[str, Any]

#: Lists of a status that are merged, and by which key (``patchMergeKey`` of their types).
_POD_LISTS: Final = {"conditions": "type", "hostIPs": "ip", "podIPs": "ip", "resourceClaimStatuses": "name"}
_NODE_LISTS: Final = {"conditions": "type"}
_CLAIM_LISTS: Final = {"conditions": "type"}
#: Merged lists whose order means something: the first IP is the pod's.
_ORDERED: Final = frozenset({"hostIPs", "podIPs"})


def pod_status_patch(uid: str, old: PodStatus, new: PodStatus) -> Tree | None:
    """The body of a PATCH of ``pods/NAME/status`` that makes *new* of *old*; None if nothing changed.

    It bears *uid*: the server refuses it (409) for another pod of that name.
    """
    changes = _changes(_tree(old), _tree(new), _POD_LISTS)
    return {"metadata": {"uid": uid}, "status": changes} if changes else None


def node_status_patch(old: NodeStatus, new: NodeStatus) -> Tree | None:
    """The body of a PATCH of ``nodes/NAME/status`` that makes *new* of *old*; None if nothing changed."""
    before, after = _tree(old), _tree(new)
    # Addresses are declared to merge by type, though a node may have several of one type.
    was, addresses = before.pop("addresses", []), after.pop("addresses", [])
    changes = _changes(before, after, _NODE_LISTS)
    if was != addresses:
        changes["addresses"] = [*addresses, {"$patch": "replace"}]
    return {"status": changes} if changes else None


def claim_status_patch(
    claim: PersistentVolumeClaim, status: PersistentVolumeClaimStatus, *, checked: bool
) -> Tree | None:
    """The body of a PATCH of ``persistentvolumeclaims/NAME/status``; None if nothing changed.

    It bears the claim's UID, and when *checked* its version: the server refuses it (409) if they differ.
    """
    changes = _changes(_tree(claim.status), _tree(status), _CLAIM_LISTS)
    meta = claim.metadata
    known = {"resourceVersion": meta.resourceVersion} if checked else {}
    return {"metadata": {"uid": meta.uid, **known}, "status": changes} if changes else None


def _changes(old: Tree, new: Tree, lists: Mapping[str, str]) -> Tree:
    """What makes *new* of *old*; *lists* are the merged lists among their fields."""
    changes: Tree = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if before == value:
            continue
        if isinstance(before, dict) and isinstance(value, dict):
            inner = _changes(before, value, {})
            if inner:
                changes[key] = inner
        elif key in lists and before is not None:
            changes.update(_list_changes(key, lists[key], before, value))
        else:
            changes[key] = value
    return changes


def _list_changes(field: str, key: str, old: Sequence[Tree], new: Sequence[Tree]) -> Tree:
    """The fields of a patch that merge the list *field* by *key*; empty if only an idle order changed."""
    before = {entry[key]: entry for entry in old}
    wanted = [entry[key] for entry in new]
    gone = [name for name in before if name not in wanted]
    entries: list[Tree] = []
    for entry in new:
        known = before.get(entry[key])
        if known is None:
            entries.append(entry)
        elif known != entry:
            entries.append({**_changes(known, entry, {}), key: entry[key]})
    entries += [{"$patch": "delete", key: name} for name in gone]
    kept = [name for name in before if name in wanted]
    changes: Tree = {field: entries} if entries else {}
    # The server moves the entries of a patch to the front unless it is told their order.
    if entries or (field in _ORDERED and kept != wanted):
        changes[f"$setElementOrder/{field}"] = [{key: name} for name in wanted]
    return changes


def _tree(status: msgspec.Struct) -> Tree:
    tree: Tree = to_builtins(status, whole_seconds=True)
    return tree
