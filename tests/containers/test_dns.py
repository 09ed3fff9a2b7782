"""Resolver configuration: the policies, the merges, the limits."""

import pytest

from pykubelet.api.core import Pod, PodDNSConfig, PodDNSConfigOption, PodSpec
from pykubelet.api.meta import ObjectMeta
from pykubelet.containers.dns import ClusterDns, Resolver, check_limits, parse_resolv_conf, pod_dns

HOST = Resolver(("8.8.8.8",), ("example.com",), ("timeout:1",))
CLUSTER = ClusterDns(("10.0.0.10",), "cluster.local", "/etc/resolv.conf")
SEARCHES = ("ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.com")


def pod(policy, **spec):
    return Pod(metadata=ObjectMeta(name="p", namespace="ns", uid="u"), spec=PodSpec(dnsPolicy=policy, **spec))


def test_parse():
    text = (
        "# c\nnameserver 1.1.1.1\n nameserver  2.2.2.2\nsearch a b.\nsearch c. . d\n"
        "options ndots:1 x\noptions ndots:2\n"
    )
    assert parse_resolv_conf(text) == Resolver(("1.1.1.1", "2.2.2.2"), ("c", "d"), ("ndots:2", "x"))
    with pytest.raises(ValueError, match="nameserver list is empty"):
        parse_resolv_conf("nameserver\n")


@pytest.mark.parametrize(
    ("subject", "wanted"),
    [
        (pod("ClusterFirst"), Resolver(("10.0.0.10",), SEARCHES, ("ndots:5",))),
        (pod("ClusterFirst", hostNetwork=True), HOST),
        (pod("ClusterFirstWithHostNet", hostNetwork=True), Resolver(("10.0.0.10",), SEARCHES, ("ndots:5",))),
        (pod("Default"), HOST),
        (pod("None"), Resolver()),
        (
            pod(
                "Default",
                dnsConfig=PodDNSConfig(
                    nameservers=["8.8.8.8", "9.9.9.9"],
                    searches=["x"],
                    options=[PodDNSConfigOption(name="timeout", value="3"), PodDNSConfigOption(name="edns0")],
                ),
            ),
            Resolver(("8.8.8.8", "9.9.9.9"), ("example.com", "x"), ("timeout:3", "edns0")),
        ),
    ],
)
def test_policies(subject, wanted):
    assert pod_dns(subject, HOST, CLUSTER) == (wanted, ())


def test_without_cluster_dns_the_host_serves_and_a_warning_says_so():
    resolver, (event,) = pod_dns(pod("ClusterFirst"), HOST, ClusterDns(resolv_conf="/etc/resolv.conf"))
    assert resolver == HOST
    assert event.reason == "MissingClusterDNS"
    assert event.message == f'pod: "p_ns(u)". {event.node_message}'


def test_no_resolver_file_means_this_host():
    resolver, _ = pod_dns(pod("Default"), Resolver(), ClusterDns())
    assert resolver == Resolver(("127.0.0.1",), (".",))


def test_no_resolver_file_on_a_node_of_two_families():
    resolver, _ = pod_dns(pod("Default"), Resolver(), ClusterDns(loopbacks=("::1", "127.0.0.1")))
    assert (resolver.servers, resolver.searches) == (("::1", "127.0.0.1"), (".",))


def test_limits():
    many = PodDNSConfig(nameservers=[f"1.1.1.{i}" for i in range(5)], searches=[f"s{i}" for i in range(40)])
    resolver, events = pod_dns(pod("None", dnsConfig=many), HOST, CLUSTER)
    assert len(resolver.servers) == 3
    assert len(resolver.searches) == 32
    assert [event.reason for event in events] == ["DNSConfigForming"] * 2
    assert events[0].message.endswith("the applied nameserver line is: 1.1.1.0 1.1.1.1 1.1.1.2")
    long = PodDNSConfig(searches=["a" * 254, *("b" * 250 + str(i) for i in range(12))])
    resolver, _ = pod_dns(pod("None", dnsConfig=long), HOST, CLUSTER)
    assert len(" ".join(resolver.searches)) <= 2048
    assert len(resolver.searches) == 8


def test_check_limits():
    assert check_limits(HOST, CLUSTER) == ""
    assert "more than 29 domains" in check_limits(Resolver((), tuple("a" * 30)), CLUSTER)
