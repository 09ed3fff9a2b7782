"""What a room takes of the configuration: the node as it is known at first."""

from dataclasses import replace

import msgspec

from pykubelet.api.node import Taint
from pykubelet.config import load
from pykubelet.settings import capacity_on, initial_taints, node_info, reservations_of


def loaded(tmp_path, *flags):
    return load([f"--root-dir={tmp_path}", *flags])


def test_capacity_as_the_configuration_lets_pods_see_it(host, tmp_path):
    host = replace(host, storage=1 << 30)
    some = capacity_on(host, loaded(tmp_path, "--max-pods=7").config)
    assert (some["pods"].value(), some["ephemeral-storage"].value()) == (7, 1 << 30)
    hidden = msgspec.structs.replace(loaded(tmp_path).config, localStorageCapacityIsolation=False)
    assert "ephemeral-storage" not in capacity_on(host, hidden)


def test_the_node_before_the_api_server_says_more(host, tmp_path):
    flags = ("--node-labels=zone=a", "--register-with-taints=k=v:NoSchedule", "--kube-reserved=cpu=100m")
    given = loaded(tmp_path, *flags)
    capacity = capacity_on(host, given.config)
    node = node_info(given, host, capacity, reservations_of(given), lambda: None)
    assert node.name == host.node_name
    assert node.labels["zone"] == "a"
    assert node.labels["kubernetes.io/hostname"] == host.node_name
    assert node.labels["kubernetes.io/os"] == node.labels["beta.kubernetes.io/os"] == "linux"
    assert node.taints == initial_taints(given.config) == (Taint(key="k", value="v", effect="NoSchedule"),)
    assert node.capacity["cpu"].milli_value() - node.allocatable["cpu"].milli_value() == 100
