"""The node's name and what it tells others of itself."""

import socket

import pytest

from pykubelet.cri.types import RuntimeHandler, RuntimeStatus
from pykubelet.linux.addresses import AddressError
from pykubelet.node import NodeInfo
from pykubelet.node.host import apparmor_enabled, look, node_name


@pytest.mark.parametrize(
    ("override", "host", "name"),
    [("", "Worker-1", "worker-1"), (" Given.Example ", "worker-1", "given.example"), ("n", "", "n")],
)
def test_a_nodes_name_is_the_one_given_or_the_hosts_in_lower_case(monkeypatch, override, host, name) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    assert node_name(override) == name


@pytest.mark.parametrize("override", ["", "  "])
def test_a_node_without_a_name_is_refused(monkeypatch, override) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: " ")
    with pytest.raises(ValueError, match="hostname-override"):
        node_name(override)


def test_looking_at_this_machine_gives_what_it_has(tmp_path) -> None:
    host = look("n", "", tmp_path / "root")
    assert host.node_name == "n"
    assert host.machine.memory > 0
    assert host.ips
    assert host.storage > 0
    assert all(size > 0 for size in host.page_sizes)
    assert not (tmp_path / "root").exists()


def test_an_ip_that_the_node_does_not_have_is_refused(tmp_path) -> None:
    with pytest.raises(AddressError, match=r"192\.0\.2\.77"):
        look("n", "192.0.2.77", tmp_path / "root")


def info(ips=("10.0.0.1",), status=None) -> NodeInfo:
    return NodeInfo("n", ips, {}, {}, memory_capacity=1, swap_capacity=0, runtime_status=lambda: status)


def test_what_the_runtime_does_not_tell_the_node_does_not_claim() -> None:
    node = info()
    assert node.runtime_handler("") is None
    assert not node.supplemental_groups_policy
    assert not node.ipv6_first
    assert not info(ips=()).ipv6_first
    assert info(ips=("fd00::1", "10.0.0.1")).ipv6_first


def test_what_the_runtime_tells_is_passed_on() -> None:
    kata = RuntimeHandler("kata", user_namespaces=True)
    node = info(status=RuntimeStatus((), (RuntimeHandler(""), kata), supplemental_groups_policy=True))
    assert node.runtime_handler("kata") is kata
    assert node.runtime_handler("gvisor") is None
    assert node.supplemental_groups_policy


@pytest.mark.parametrize(
    ("mounted", "switch", "enabled"),
    [(True, "Y\n", True), (True, "N\n", False), (True, None, False), (False, "Y\n", False)],
)
def test_apparmor_is_there_when_the_kernel_says_so(tmp_path, mounted, switch, enabled) -> None:
    if mounted:
        (tmp_path / "kernel/security/apparmor").mkdir(parents=True)
    if switch is not None:
        (tmp_path / "module/apparmor/parameters").mkdir(parents=True)
        (tmp_path / "module/apparmor/parameters/enabled").write_text(switch)
    assert apparmor_enabled(tmp_path) is enabled
