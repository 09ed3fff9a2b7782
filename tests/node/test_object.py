"""The Node as it is made, and what of an existing one is put right."""

from dataclasses import replace

import msgspec
import pytest

from pykubelet.api.meta import ObjectMeta
from pykubelet.api.node import Node, NodeStatus, Taint
from pykubelet.api.quantity import Quantity
from pykubelet.node.object import CONTROLLER_ATTACH, EXTERNAL_CLOUD_TAINT, NodeIdentity, bare_node, reconciled

IDENTITY = NodeIdentity("n", "linux", "amd64")
LABELS = {
    "kubernetes.io/hostname": "n",
    "kubernetes.io/os": "linux",
    "kubernetes.io/arch": "amd64",
    "beta.kubernetes.io/os": "linux",
    "beta.kubernetes.io/arch": "amd64",
}


def test_a_plain_node() -> None:
    node = bare_node(IDENTITY)
    assert node.metadata == ObjectMeta(name="n", labels=LABELS, annotations={CONTROLLER_ATTACH: "true"})
    assert (node.spec.taints, node.spec.providerID) == ([], "")


def test_all_that_configuration_says() -> None:
    taint = Taint(key="k", value="v", effect="NoExecute")
    node = bare_node(
        replace(
            IDENTITY,
            labels={"kubernetes.io/hostname": "other", "x": "y"},
            taints=(taint,),
            provider_id="cloud://1",
            external_cloud=True,
            controller_attach=False,
        )
    )
    assert node.metadata.labels == {**LABELS, "kubernetes.io/hostname": "other", "x": "y"}
    assert node.metadata.annotations == {}
    assert node.spec.taints == [taint, EXTERNAL_CLOUD_TAINT]
    assert node.spec.providerID == "cloud://1"


def existing(labels=None, annotations=None, capacity=None, allocatable=None):
    return Node(
        metadata=ObjectMeta(
            name="n",
            uid="u",
            labels=LABELS if labels is None else labels,
            annotations={CONTROLLER_ATTACH: "true"} if annotations is None else annotations,
        ),
        status=NodeStatus(capacity=capacity or {}, allocatable=allocatable or {}),
    )


def test_a_node_that_is_right_stays_as_it_is() -> None:
    node = existing(labels={**LABELS, "own": "1"}, annotations={CONTROLLER_ATTACH: "true", "own": "1"})
    assert reconciled(bare_node(IDENTITY), node) == node


@pytest.mark.parametrize(
    ("given", "found", "after"),
    [
        ({"x": "new"}, {**LABELS, "x": "old"}, {**LABELS, "x": "old"}),
        ({"x": "new"}, LABELS, LABELS),
        ({}, {}, LABELS),
        ({"topology.kubernetes.io/zone": "b"}, LABELS, {**LABELS, "topology.kubernetes.io/zone": "b"}),
        ({"topology.kubernetes.io/zone": ""}, {**LABELS, "topology.kubernetes.io/zone": "b"}, LABELS),
        ({"topology.kubernetes.io/zone": ""}, LABELS, LABELS),
    ],
)
def test_only_wellknown_labels_are_put_right(given, found, after) -> None:
    initial = bare_node(replace(IDENTITY, labels=given))
    assert reconciled(initial, existing(labels=found)).metadata.labels == after


@pytest.mark.parametrize(
    ("attach", "found", "after"),
    [(True, {"a": "b"}, {"a": "b", CONTROLLER_ATTACH: "true"}), (False, {CONTROLLER_ATTACH: "true"}, {})],
)
def test_who_attaches_volumes_is_put_right(attach, found, after) -> None:
    initial = bare_node(replace(IDENTITY, controller_attach=attach))
    assert reconciled(initial, existing(annotations=found)).metadata.annotations == after


def test_huge_pages_follow_the_machine_and_plugins_resources_are_reset() -> None:
    initial = msgspec.structs.replace(
        bare_node(IDENTITY),
        status=NodeStatus(
            capacity={"hugepages-2Mi": Quantity.of(4)}, allocatable={"hugepages-2Mi": Quantity.of(3)}
        ),
    )
    found = {"cpu": Quantity.of(2), "hugepages-1Gi": Quantity.of(1), "example.com/gpu": Quantity.of(2)}
    node = existing(capacity=found, allocatable=found)
    after = reconciled(initial, node).status
    gpu = {"cpu": Quantity.of(2), "example.com/gpu": Quantity.of(2)}
    assert after.capacity == {**gpu, "hugepages-2Mi": Quantity.of(4)}
    assert after.allocatable == {**gpu, "hugepages-2Mi": Quantity.of(3)}
    reset = reconciled(initial, node, reset_extended=True).status
    assert reset.capacity["example.com/gpu"] == reset.allocatable["example.com/gpu"] == Quantity.zero()
