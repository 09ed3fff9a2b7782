"""What a room takes of the configuration: the node as it is known at first."""

from dataclasses import replace

import msgspec

from pykubelet.api.node import Taint
from pykubelet.config import load
from pykubelet.linux.selinux import SELinux
from pykubelet.volumes import Labelling
from pykubelet.wiring.settings import (
    capacity_on,
    cluster_dns,
    container_settings,
    ids_per_pod,
    initial_taints,
    labelling,
    loopbacks,
    node_info,
    reservations_of,
)


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


def test_servers_of_names():
    assert cluster_dns(["10.96.0.10", "FD00:0::A", "none"]) == ("10.96.0.10", "fd00::a")
    assert loopbacks("") == ("127.0.0.1",)
    assert loopbacks("fd00::1, 192.0.2.1") == ("::1", "127.0.0.1")


def test_volumes_are_labelled_where_selinux_is_on(host, tmp_path):
    usual, gated = loaded(tmp_path), loaded(tmp_path, "--feature-gates=SELinuxMount=true")
    off, on = replace(host, selinux=None), replace(host, selinux=SELinux("p", "f"))
    assert labelling(usual, off) is labelling(gated, off) is None
    assert labelling(usual, on) == Labelling(SELinux("p", "f"))
    assert labelling(gated, on) == Labelling(SELinux("p", "f"), every_mode=True)
    assert [container_settings(usual, each).selinux for each in (off, on)] == [False, True]


def test_gates_that_containers_feel(host, tmp_path):
    usual = container_settings(loaded(tmp_path), host)
    assert (usual.env_files, usual.hostname_override) == (True, True)
    off = container_settings(loaded(tmp_path, "--feature-gates=EnvFiles=false,HostnameOverride=false"), host)
    assert (off.env_files, off.hostname_override) == (False, False)


def test_host_ids_of_a_pod(tmp_path):
    assert ids_per_pod(loaded(tmp_path).config) == 65536
    file = tmp_path / "config.yaml"
    file.write_text(
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
        "userNamespaces: {idsPerPod: 131072}\n"
    )
    assert ids_per_pod(loaded(tmp_path, f"--config={file}").config) == 131072
