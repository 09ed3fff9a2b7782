"""The node's addresses: what it tells, and what pods are told of it."""

import pytest

from pykubelet.api.node import NodeAddress
from pykubelet.node.addresses import PROVIDED_NODE_IP, AddressFacts, addresses, annotations, host_ips

CLOUD = [NodeAddress(type="ExternalIP", address="203.0.113.1")]


@pytest.mark.parametrize(
    ("facts", "old", "expected", "annotation"),
    [
        (AddressFacts("n", "", ("10.0.0.1",)), [], ["10.0.0.1", "n"], None),
        (AddressFacts("n", "10.0.0.1", ("10.0.0.1",)), CLOUD, ["10.0.0.1", "n"], None),
        (
            AddressFacts("n", "10.0.0.1,fd00::1", ("10.0.0.1", "fd00::1")),
            [],
            ["10.0.0.1", "fd00::1", "n"],
            None,
        ),
        (AddressFacts("n", "::", ("fd00::1",)), [], ["fd00::1", "n"], None),
        (AddressFacts("n", "", ()), CLOUD, ["203.0.113.1"], None),
        (AddressFacts("n", "", ("10.0.0.1",), external_cloud=True), [], ["n"], None),
        (AddressFacts("n", "::", ("fd00::1",), external_cloud=True), [], ["fd00::1", "n"], None),
        (
            AddressFacts("n", "10.0.0.1", ("10.0.0.1",), external_cloud=True),
            CLOUD,
            ["203.0.113.1"],
            "10.0.0.1",
        ),
        (
            AddressFacts("n", "10.0.0.1,fd00::1", ("10.0.0.1", "fd00::1"), external_cloud=True),
            [],
            ["10.0.0.1", "fd00::1", "n"],
            "10.0.0.1,fd00::1",
        ),
    ],
)
def test_addresses_follow_the_flag_and_the_cloud(facts, old, expected, annotation) -> None:
    assert [each.address for each in addresses(old, facts)] == expected
    assert annotations({"a": "b", PROVIDED_NODE_IP: "old"}, facts) == {
        "a": "b",
        **({PROVIDED_NODE_IP: annotation} if annotation else {}),
    }


@pytest.mark.parametrize(
    ("told", "ips"),
    [
        ([("Hostname", "n")], ()),
        ([("ExternalIP", "203.0.113.1"), ("InternalIP", "10.0.0.1")], ("10.0.0.1",)),
        (
            [("InternalIP", "10.0.0.1"), ("InternalIP", "10.0.0.2"), ("ExternalIP", "fd00::1")],
            ("10.0.0.1", "fd00::1"),
        ),
        ([("InternalIP", "nonsense"), ("ExternalIP", "203.0.113.1")], ("203.0.113.1",)),
    ],
)
def test_pods_are_told_the_hosts_first_address_of_each_family(told, ips) -> None:
    assert host_ips([NodeAddress(type=kind, address=address) for kind, address in told]) == ips
