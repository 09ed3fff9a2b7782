"""The Node as this machine would have it."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from pykubelet import KUBELET_VERSION
from pykubelet.base.clock import SystemClock
from pykubelet.config import load
from pykubelet.wiring.node_object import NodeObject, VolumeFacts
from pykubelet.wiring.settings import capacity_on, node_info, reservations_of


class Machine:
    """A node whose runtime has not been seen yet."""

    def __init__(self, host, root):
        loaded = load([f"--root-dir={root}", "--node-labels=zone=a", "--register-with-taints=k=v:NoSchedule"])
        host = replace(host, node_name="n")
        capacity = capacity_on(host, loaded.config)
        self.node = node_info(loaded, host, capacity, reservations_of(loaded), lambda: None)
        self.trouble = ["not yet"]
        self.runtime = SimpleNamespace(
            name="", version="", status=None, errors=lambda: self.trouble, network_error=lambda: ""
        )
        self.images = SimpleNamespace(images=None)
        self.ips = ("10.1.2.3",)
        self.in_use = None
        self.volume_errors = ()
        self.object = NodeObject(
            loaded,
            host,
            self.node,
            self.runtime,
            SystemClock(),
            self.images,
            lambda: self.ips,
            VolumeFacts(lambda: self.in_use, lambda: self.volume_errors),
        )


@pytest.fixture
def machine(host, tmp_path):
    return Machine(host, tmp_path)


def ready(update):
    return {condition.type: condition.status for condition in update.node.status.conditions}["Ready"]


def test_the_node_to_register_with(machine):
    update = machine.object.initial()
    assert update.node.metadata.name == "n"
    assert update.node.metadata.labels["zone"] == "a"
    assert [taint.key for taint in update.node.spec.taints] == ["k"]
    assert update.node.status.nodeInfo.kubeletVersion == KUBELET_VERSION
    assert update.node.status.nodeInfo.containerRuntimeVersion == ""
    assert ready(update) == "False"


def test_it_follows_the_runtime_and_the_addresses(machine):
    before = machine.object.initial().node
    assert machine.object.outlook() is False
    machine.trouble = []
    machine.runtime.name, machine.runtime.version = "containerd", "2.1.0"
    machine.ips = ("10.9.9.9",)
    update = machine.object.updated(before)
    assert machine.object.outlook() is True
    assert ready(update) == "True"
    assert update.node.status.nodeInfo.containerRuntimeVersion == "containerd://2.1.0"
    addresses = {address.type: address.address for address in update.node.status.addresses}
    assert addresses["InternalIP"] == "10.9.9.9"


def test_it_tells_of_volumes(machine):
    machine.trouble = []
    machine.volume_errors = ("CSINode is not yet initialized",)
    before = machine.object.initial().node
    assert before.status.conditions[-1].message == "CSINode is not yet initialized"
    assert machine.object.outlook() is False
    machine.volume_errors = ()
    assert machine.object.outlook() is True
    machine.in_use = ("a", "b")
    listed = machine.object.updated(before).node
    assert listed.status.volumesInUse == ["a", "b"]
    machine.in_use = None
    assert machine.object.updated(listed).node.status.volumesInUse == ["a", "b"]
    machine.in_use = ()
    assert machine.object.updated(listed).node.status.volumesInUse == []
