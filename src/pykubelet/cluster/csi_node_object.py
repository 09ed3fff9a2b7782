"""What a node publishes of its CSI drivers: the CSINode object, and its Node's annotation and labels. Pure.

Source: upstream's ``nodeinfomanager``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from pykubelet.api.codec import InvalidField, decode
from pykubelet.api.meta import ObjectMeta, OwnerReference
from pykubelet.api.node import Node
from pykubelet.api.storage import CSINode, CSINodeDriver, CSINodeSpec, VolumeNodeResources
from pykubelet.base.gotext import go_json, go_quote

#: On the Node: JSON of driver → the node's ID there.
NODE_ID: Final = "csi.volume.kubernetes.io/nodeid"
#: On the CSINode: in-tree plug-ins whose volumes CSI drivers serve.
_MIGRATED: Final = "storage.alpha.kubernetes.io/migrated-plugins"
_MIGRATED_PLUGINS: Final = (
    "kubernetes.io/aws-ebs",
    "kubernetes.io/azure-disk",
    "kubernetes.io/azure-file",
    "kubernetes.io/cinder",
    "kubernetes.io/gce-pd",
    "kubernetes.io/portworx-volume",
    "kubernetes.io/vsphere-volume",
)
#: The largest number of volumes that the object can tell.
_MOST: Final = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class DriverInfo:
    """What one driver says of this node."""

    name: str
    node_id: str
    #: Volumes that can be attached; 0 or less: not known.
    max_volumes: int = 0
    topology: Mapping[str, str] | None = None


# --- the CSINode --------------------------------------------------------------


def bare(node_name: str, node_uid: str) -> CSINode:
    """The object as it is first made."""
    owner = OwnerReference(apiVersion="v1", kind="Node", name=node_name, uid=node_uid)
    meta = ObjectMeta(
        name=node_name,
        ownerReferences=[owner],
        annotations={_MIGRATED: ",".join(_MIGRATED_PLUGINS)},
    )
    return CSINode(
        apiVersion="storage.k8s.io/v1", kind="CSINode", metadata=meta, spec=CSINodeSpec(drivers=[])
    )


def owned(found: CSINode, node_name: str, node_uid: str) -> bool:
    """Whether *found* belongs to that very Node, not to an earlier one of its name."""
    return any(
        (owner.kind, owner.name, owner.uid) == ("Node", node_name, node_uid)
        for owner in found.metadata.ownerReferences
    )


def annotated(found: CSINode) -> CSINode:
    """*found* with the plug-ins that moved to CSI; equal to it if it tells them, in whatever order."""
    told = found.metadata.annotations.get(_MIGRATED, "")
    if set(told.split(",")) == set(_MIGRATED_PLUGINS):
        return found
    annotations = {**found.metadata.annotations, _MIGRATED: ",".join(_MIGRATED_PLUGINS)}
    meta = msgspec.structs.replace(found.metadata, annotations=annotations)
    return msgspec.structs.replace(found, metadata=meta)


def with_driver(found: CSINode, info: DriverInfo) -> CSINode:
    """*found* with the driver, and with the others as they are; equal to it if it tells all that already."""
    entry = _entry(info)
    found = annotated(found)
    known = next((each for each in found.spec.drivers if each.name == info.name), None)
    if known is not None and _same(known, entry):
        return found
    drivers = [each for each in found.spec.drivers if each.name != info.name]
    return msgspec.structs.replace(found, spec=CSINodeSpec(drivers=[*drivers, entry]))


def without_driver(found: CSINode, name: str) -> CSINode:
    """*found* without the driver; equal to it if it has none of that name."""
    drivers = [each for each in found.spec.drivers if each.name != name]
    return msgspec.structs.replace(found, spec=CSINodeSpec(drivers=drivers))


def _entry(info: DriverInfo) -> CSINodeDriver:
    count = min(info.max_volumes, _MOST)
    return CSINodeDriver(
        name=info.name,
        nodeID=info.node_id,
        topologyKeys=sorted(info.topology or {}),
        allocatable=VolumeNodeResources(count=count) if count > 0 else None,
    )


def _same(known: CSINodeDriver, entry: CSINodeDriver) -> bool:
    return (
        known.nodeID == entry.nodeID
        and set(known.topologyKeys or ()) == set(entry.topologyKeys or ())
        and _count(known) == _count(entry)
    )


def _count(entry: CSINodeDriver) -> int | None:
    return None if entry.allocatable is None else entry.allocatable.count


# --- the Node -----------------------------------------------------------------


def node_with(node: Node, info: DriverInfo) -> Node:
    """*node* with the driver's ID for it and its topology; equal to it if it tells all that already.

    :raises ValueError: a label has another value, or the annotation is no such JSON.
    """
    ids = _ids(node)
    labels = dict(node.metadata.labels)
    for key, value in (info.topology or {}).items():
        known = labels.setdefault(key, value)
        if known != value:
            told, there = (f"{go_quote(key)}:{go_quote(each)}" for each in (value, known))
            raise ValueError(
                f"detected topology value collision: driver reported {told} but existing label is {there}"
            )
    known_id = ids.get(info.name)
    annotations = node.metadata.annotations
    if known_id != info.node_id:
        annotations = {**annotations, NODE_ID: _json({**ids, info.name: info.node_id})}
    return _node(node, labels, annotations)


def node_without(node: Node, name: str) -> Node:
    """*node* without the driver's ID for it; its labels stay, as other drivers may have told them too.

    :raises ValueError: the annotation is no such JSON.
    """
    ids = _ids(node)
    if name not in ids:
        return node
    rest = {driver: told for driver, told in ids.items() if driver != name}
    annotations = {key: value for key, value in node.metadata.annotations.items() if key != NODE_ID}
    if rest:
        annotations[NODE_ID] = _json(rest)
    return _node(node, node.metadata.labels, annotations)


def _node(node: Node, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Node:
    meta = msgspec.structs.replace(node.metadata, labels=dict(labels), annotations=dict(annotations))
    return msgspec.structs.replace(node, metadata=meta)


def _ids(node: Node) -> dict[str, str]:
    text = node.metadata.annotations.get(NODE_ID, "")
    try:
        return decode(text, dict[str, str]) if text else {}
    except InvalidField as error:
        raise ValueError(
            f"failed to parse node's {go_quote(NODE_ID)} annotation value ({go_quote(text)}) err={error}"
        ) from error


def _json(ids: Mapping[str, str]) -> str:
    return go_json(dict(sorted(ids.items())))
