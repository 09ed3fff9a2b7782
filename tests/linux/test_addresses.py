from ipaddress import ip_address

import pytest

from pykubelet.linux.addresses import (
    AddressError,
    HostNetwork,
    choose_node_ips,
    observe_network,
    parse_default_routes,
    parse_default_routes6,
    parse_if_inet6,
    parse_local_ipv4,
)

V4, V6, OTHER = "192.0.2.2", "2001:db8::2", "192.0.2.9"


def network(*, local=(V4, V6, OTHER, "127.0.0.1"), route=(V4,), resolved=()):
    def addresses(texts):
        return tuple(ip_address(text) for text in texts)

    return HostNetwork(frozenset(addresses(local)), addresses(route), addresses(resolved))


@pytest.mark.parametrize(
    ("name", "node_ip", "seen", "expected"),
    [
        ("node", "", network(), [V4]),
        ("node", "", network(resolved=(OTHER,)), [OTHER]),
        ("node", "", network(resolved=("127.0.0.1",)), [V4]),
        ("node", "", network(resolved=("198.51.100.1",)), [V4]),
        ("node", "", network(resolved=(V6,)), [V6]),
        ("node", "::", network(resolved=(OTHER, V6)), [V6]),
        ("node", "0.0.0.0", network(route=(V6, V4)), [V4]),
        ("node", "::", network(), [V4]),
        ("192.0.2.77", "", network(), ["192.0.2.77"]),
        ("node", OTHER, network(), [OTHER]),
        ("node", f"{V4},{V6}", network(), [V4, V6]),
    ],
)
def test_choice(name, node_ip, seen, expected):
    assert [str(address) for address in choose_node_ips(name, node_ip, seen)] == expected


@pytest.mark.parametrize(
    ("node_ip", "seen", "text"),
    [
        ("x", network(), "not an IP"),
        ("127.0.0.1", network(), "can't be loopback"),
        ("224.0.0.1", network(), "can't be a multicast"),
        ("169.254.1.1", network(), "can't be a link-local"),
        ("198.51.100.1", network(), "not found in the host's network interfaces"),
        (f"{V4},{OTHER}", network(), "same family"),
        (f"{V4},0.0.0.0", network(), "give one IP"),
        ("", network(route=()), "can't get ip address of node node"),
    ],
)
def test_refused(node_ip, seen, text):
    with pytest.raises(AddressError, match=text):
        choose_node_ips("node", node_ip, seen)


def test_routes_by_metric():
    text = (
        "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
        "eth1 00000000 010200C0 0003 0 0 100 00000000 0 0 0\n"
        "eth0 00000000 010200C0 0003 0 0 50 00000000 0 0 0\n"
        "dead 00000000 010200C0 0203 0 0 1 00000000 0 0 0\n"
        "eth0 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n"
        "short\n"
    )
    assert parse_default_routes(text) == ["eth0", "eth1"]


def test_routes6():
    zero = "0" * 32
    gateway = "fe80" + "0" * 28
    text = (
        f"{zero} 00 {zero} 00 {gateway} 00000400 00000001 00000000 00000003 eth0\n"
        f"{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 lo\n"
    )
    assert parse_default_routes6(text) == ["eth0"]


def test_local():
    trie = "Local:\n  |-- 192.0.2.0\n     /24 link UNICAST\n  |-- 192.0.2.2\n     /32 host LOCAL\n"
    assert parse_local_ipv4(trie) == {ip_address(V4)}
    line = "20010db8000000000000000000000002 02 40 00 80     eth0\n"
    assert parse_if_inet6(line) == [("eth0", ip_address(V6))]


def test_this_machine():
    seen = observe_network("localhost")
    assert ip_address("127.0.0.1") in seen.local
