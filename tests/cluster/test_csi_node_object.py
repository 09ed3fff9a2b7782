"""The CSINode object, and what the Node tells of CSI drivers."""

import msgspec
import pytest

from pykubelet.api.codec import to_builtins
from pykubelet.api.meta import ObjectMeta, OwnerReference
from pykubelet.api.node import Node
from pykubelet.cluster import csi_node_object as objects
from pykubelet.cluster.csi_node_object import DriverInfo

ZONE = {"zone": "a", "rack": "7"}
PLUGINS = (
    "kubernetes.io/aws-ebs,kubernetes.io/azure-disk,kubernetes.io/azure-file,kubernetes.io/cinder,"
    "kubernetes.io/gce-pd,kubernetes.io/portworx-volume,kubernetes.io/vsphere-volume"
)


def drivers(found):
    return to_builtins(found.spec)["drivers"]


def test_the_object_as_it_is_made():
    made = to_builtins(objects.bare("n", "uid"))
    assert made == {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSINode",
        "metadata": {
            "name": "n",
            "annotations": {"storage.alpha.kubernetes.io/migrated-plugins": PLUGINS},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "uid"}],
        },
        "spec": {"drivers": []},
    }


@pytest.mark.parametrize(
    ("owners", "ours"),
    [
        ([], False),
        ([("Node", "n", "uid")], True),
        ([("Node", "n", "old")], False),
        ([("Node", "m", "uid")], False),
        ([("Pod", "n", "uid")], False),
        ([("Node", "n", "old"), ("Node", "n", "uid")], True),
    ],
)
def test_whose_it_is(owners, ours):
    refs = [OwnerReference(kind=kind, name=name, uid=uid) for kind, name, uid in owners]
    found = msgspec.structs.replace(objects.bare("n", "x"), metadata=ObjectMeta(ownerReferences=refs))
    assert objects.owned(found, "n", "uid") is ours


def test_drivers_come_change_and_go():
    both = objects.with_driver(objects.bare("n", "uid"), DriverInfo("one", "n-1", 10, ZONE))
    both = objects.with_driver(both, DriverInfo("two", "n-2"))
    one = {"name": "one", "nodeID": "n-1", "topologyKeys": ["rack", "zone"], "allocatable": {"count": 10}}
    two = {"name": "two", "nodeID": "n-2", "topologyKeys": [], "allocatable": None}
    assert drivers(both) == [one, two]
    again = objects.with_driver(both, DriverInfo("one", "n-1", 10, {"zone": "b", "rack": "8"}))
    assert again is both
    changed = objects.with_driver(both, DriverInfo("one", "n-1", 11, ZONE))
    assert drivers(changed) == [two, {**one, "allocatable": {"count": 11}}]
    assert objects.without_driver(changed, "one").spec.drivers == both.spec.drivers[1:]
    assert objects.without_driver(changed, "three") == changed


@pytest.mark.parametrize(
    ("most", "told"), [(0, None), (-1, None), (1, {"count": 1}), (1 << 40, {"count": (1 << 31) - 1})]
)
def test_how_many_volumes(most, told):
    made = objects.with_driver(objects.bare("n", "uid"), DriverInfo("one", "n-1", most))
    assert drivers(made)[0]["allocatable"] == told
    assert objects.with_driver(made, DriverInfo("one", "n-1", most)) is made


def test_the_plug_ins_that_moved_are_told():
    made = objects.bare("n", "uid")
    assert objects.annotated(made) is made
    # The order is nobody's business.
    turned = ",".join(reversed(PLUGINS.split(",")))
    meta = ObjectMeta(annotations={"storage.alpha.kubernetes.io/migrated-plugins": turned, "a": "b"})
    known = msgspec.structs.replace(made, metadata=meta)
    assert objects.annotated(known) is known
    meta = ObjectMeta(annotations={"storage.alpha.kubernetes.io/migrated-plugins": "x", "a": "b"})
    told = objects.annotated(msgspec.structs.replace(made, metadata=meta)).metadata.annotations
    assert told == {"storage.alpha.kubernetes.io/migrated-plugins": PLUGINS, "a": "b"}


def node(labels=None, ids=None):
    annotations = {} if ids is None else {objects.NODE_ID: ids}
    return Node(metadata=ObjectMeta(name="n", labels=labels or {}, annotations=annotations))


def test_the_nodes_ids_and_labels():
    one = objects.node_with(node({"x": "y"}), DriverInfo("b.io", "<1>", 0, ZONE))
    assert one.metadata.labels == {"x": "y", **ZONE}
    assert one.metadata.annotations == {objects.NODE_ID: '{"b.io":"\\u003c1\\u003e"}'}
    assert objects.node_with(one, DriverInfo("b.io", "<1>", 5, ZONE)) == one
    two = objects.node_with(one, DriverInfo("a.io", "2"))
    assert two.metadata.annotations[objects.NODE_ID] == '{"a.io":"2","b.io":"\\u003c1\\u003e"}'
    assert objects.node_without(two, "a.io") == one
    assert objects.node_without(two, "c.io") is two
    none = objects.node_without(one, "b.io")
    assert none.metadata.annotations == {}
    # Other drivers may have told them too.
    assert none.metadata.labels == one.metadata.labels


def test_a_topology_that_contradicts():
    with pytest.raises(ValueError, match="collision") as refused:
        objects.node_with(node({"zone": "b"}), DriverInfo("d", "1", 0, ZONE))
    assert str(refused.value) == (
        'detected topology value collision: driver reported "zone":"a" but existing label is "zone":"b"'
    )


@pytest.mark.parametrize("ids", ["{", '["a"]', '{"a": 1}'])
def test_ids_that_nobody_can_read(ids):
    told = r'^failed to parse node.s "csi.volume.kubernetes.io/nodeid" annotation value '
    with pytest.raises(ValueError, match=told):
        objects.node_with(node(ids=ids), DriverInfo("d", "1"))
    with pytest.raises(ValueError, match=told):
        objects.node_without(node(ids=ids), "d")
