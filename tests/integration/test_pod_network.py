"""A pod's names and addresses on a network of two families, and what reaches the network's plug-ins."""

import ipaddress
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from tests.integration.killed_node import container
from tests.integration.node import pod, running_node

from pykubelet.cli.up import containerd as up_containerd
from pykubelet.cli.up.containerd import PrivateContainerd
from pykubelet.cli.up.leftovers import mounts_below

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORWARDING = Path("/proc/sys/net/ipv6/conf/all/forwarding")
IPV6_SUBNET = "fd4b:1d5f:7cc4:1::/64"
#: A chained plug-in that notes what it is told and changes nothing.
RECORDER = """#!{python} -SE
import json, os, sys
told = json.load(sys.stdin)
if os.environ["CNI_COMMAND"] == "ADD":
    with open("{notes}/" + os.environ["CNI_CONTAINERID"], "w") as file:
        json.dump(told.get("runtimeConfig", {{}}), file)
    json.dump(told["prevResult"], sys.stdout)
"""
RESOLVER = "".join(
    [
        *(f"nameserver 192.0.2.{n}\n" for n in range(1, 5)),
        "search example.test. " + " ".join(f"s{n}.test" for n in range(33)) + "\n",
        "options rotate timeout:2\n",
    ]
)


@dataclass(frozen=True)
class Network:
    """A private containerd on a network of two families, and what its plug-ins were told."""

    containerd: PrivateContainerd
    notes: Path

    def told(self, sandbox: str):
        """What the recording plug-in was told of the sandbox."""
        return json.loads((self.notes / sandbox).read_text())


def two_families(network, state):
    """A network list as the private containerd's, with IPv6 beside IPv4 and the recorder at its end."""
    bridge = {
        "type": "bridge",
        "bridge": network.bridge,
        "isGateway": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(state),
            "ranges": [[{"subnet": network.subnet}], [{"subnet": IPV6_SUBNET}]],
        },
    }
    recorder = {"type": "recorder", "capabilities": {"portMappings": True, "bandwidth": True}}
    return json.dumps({"cniVersion": "0.4.0", "name": network.name, "plugins": [bridge, recorder]})


@pytest.fixture(scope="module")
def network(packed_images):
    """A runtime of its own, for its network."""
    if not FORWARDING.exists() or FORWARDING.with_name("disable_ipv6").read_text().strip() != "0":
        pytest.skip("this machine has no IPv6")
    base = Path(tempfile.mkdtemp(prefix="pk-", dir="/tmp"))
    plugins, notes = base / "plugins", base / "notes"
    for directory in (plugins, notes):
        directory.mkdir()
    for plugin in up_containerd._cni_plugins().iterdir():
        (plugins / plugin.name).symlink_to(plugin)
    recorder = plugins / "recorder"
    recorder.write_text(RECORDER.format(python=sys.executable, notes=notes))
    recorder.chmod(0o755)
    private = PrivateContainerd(base / "containerd", base / "run", name="network")
    # The bridge plug-in turns it on.
    forwarding = FORWARDING.read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(up_containerd, "_cni_plugins", lambda: plugins)
        patch.setattr(up_containerd, "cni_config", two_families)
        try:
            private.start()
            for name, archive in packed_images.items():
                private.import_image(archive, name)
            yield Network(private, notes)
        finally:
            private.destroy()
            FORWARDING.write_text(forwarding)
    assert mounts_below([base]) == []
    shutil.rmtree(base)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(network, tmp_path_factory):
    base = tmp_path_factory.mktemp("network")
    resolver = base / "resolv.conf"
    resolver.write_text(RESOLVER)
    config = {"clusterDNS": ["10.96.0.10"], "clusterDomain": "cluster.test", "resolvConf": str(resolver)}
    async with running_node(base, network.containerd, **config) as made:
        yield made


async def sandbox_of(node, name):
    """ID of the pod's sandbox."""
    [sandbox] = [s for s in await node.cri.list_sandboxes() if s.uid == node.uid(name)]
    return sandbox.id


async def resolv_conf(node, name):
    """The pod's resolver configuration: words by the first one of their line."""
    found: dict[str, list[list[str]]] = {}
    for line in (await node.exec(name, "cat /etc/resolv.conf")).splitlines():
        first, *words = line.split()
        found.setdefault(first, []).append(words)
    return found


def field(name, path):
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


async def test_two_addresses(node):
    ips = [
        field("POD_IP", "status.podIP"),
        field("POD_IPS", "status.podIPs"),
        field("HOST_IPS", "status.hostIPs"),
    ]
    node.apply(
        pod("two", container("app", env=ips), hostAliases=[{"ip": "2001:db8::7", "hostnames": ["seven"]}])
    )
    await node.until(lambda: node.ready("two"))
    status = node.status("two")
    addresses = [one.ip for one in status.podIPs]
    assert [ipaddress.ip_address(ip).version for ip in addresses] == [4, 6]
    assert status.podIP == addresses[0]
    said = await node.exec("two", "echo $POD_IP; echo $POD_IPS; echo $HOST_IPS; cat /etc/hosts")
    lines = said.splitlines()
    assert lines[:3] == [addresses[0], ",".join(addresses), ",".join(one.ip for one in status.hostIPs)]
    name = node.full("two")
    hosts = lines[3:]
    assert [line for line in hosts if line.endswith(f"\t{name}")] == [f"{ip}\t{name}" for ip in addresses]
    assert hosts[-2:] == ["# Entries added by HostAliases.", "2001:db8::7\tseven"]
    inside = await node.exec("two", "ip addr show eth0")
    assert all(f" {ip}/" in inside for ip in addresses)
    await node.delete("two")


async def test_resolvers(node):
    none = {"nameservers": ["192.0.2.9"], "searches": ["own.test"], "options": [{"name": "debug"}]}
    more = {"searches": ["s0.test", "own.test"], "options": [{"name": "ndots", "value": "2"}]}
    node.apply(
        pod("cluster", container("app"), dnsPolicy="ClusterFirst", dnsConfig=more),
        pod(
            "inherit",
            container("app"),
            dnsPolicy="Default",
            dnsConfig={"options": [{"name": "timeout", "value": "9"}]},
        ),
        pod("bare", container("app"), dnsPolicy="None", dnsConfig=none),
        pod("hostnet", container("app"), hostNetwork=True, dnsPolicy="ClusterFirst"),
        pod("hostnet-cluster", container("app"), hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet"),
    )
    names = ("cluster", "inherit", "bare", "hostnet", "hostnet-cluster")
    await node.until(lambda: node.ready(*names))
    host = ["example.test", *(f"s{n}.test" for n in range(33))]
    own = ["default.svc.cluster.test", "svc.cluster.test", "cluster.test"]
    cluster = await resolv_conf(node, "cluster")
    assert (cluster["nameserver"], cluster["options"]) == ([["10.96.0.10"]], [["ndots:2"]])
    assert cluster["search"] == [[*own, *host][:32]]
    inherit = await resolv_conf(node, "inherit")
    assert inherit["nameserver"] == [["192.0.2.1"], ["192.0.2.2"], ["192.0.2.3"]]
    assert inherit["search"] == [host[:32]]
    assert sorted(inherit["options"][0]) == ["rotate", "timeout:9"]
    assert await resolv_conf(node, "bare") == {
        "nameserver": [["192.0.2.9"]],
        "search": [["own.test"]],
        "options": [["debug"]],
    }
    # On the host's network ClusterFirst means the host's own.
    assert (await resolv_conf(node, "hostnet"))["nameserver"] == inherit["nameserver"]
    assert (await resolv_conf(node, "hostnet-cluster"))["nameserver"] == [["10.96.0.10"]]
    omitted = "limits were exceeded, some"
    assert {event.text for event in node.events("inherit", "DNSConfigForming")} == {
        f"Nameserver {omitted} nameservers have been omitted, the applied nameserver line is: "
        "192.0.2.1 192.0.2.2 192.0.2.3",
        f"Search Line {omitted} search paths have been omitted, the applied search line is: "
        f"{' '.join(host[:32])}",
    }
    assert not node.events("bare", "DNSConfigForming")
    [checked] = node.node_events("CheckLimitsForResolvConf")
    assert checked.text.endswith("contains search line consisting of more than 29 domains!")
    await node.delete(*names)


async def test_hostnames(node):
    long = "l" * 62
    node.apply(
        pod("full", container("app"), hostname="alpha", subdomain="sub", setHostnameAsFQDN=True),
        pod("override", container("app"), hostnameOverride="beta.example.test", subdomain="sub"),
        pod(f"{long}-x", container("app")),
        pod("too-long", container("app"), hostname="h" * 40, subdomain="s" * 20, setHostnameAsFQDN=True),
    )
    await node.until(lambda: node.ready("full", "override", f"{long}-x"))
    full = "alpha.sub.default.svc.cluster.test"
    assert await node.exec("full", "hostname; cat /etc/hostname") == f"{full}\n{full}"
    assert f"\t{full}\talpha" in await node.exec("full", "cat /etc/hosts")
    assert await node.exec("override", "hostname") == "beta.example.test"
    hosts = (await node.exec("override", "cat /etc/hosts")).splitlines()
    assert hosts[-1].endswith("\tbeta.example.test")
    # 63 characters would end in a dash.
    assert await node.exec(f"{long}-x", "hostname") == long
    event = (await node.until(lambda: node.events("too-long", "FailedCreatePodSandBox")))[0]
    name = f"{'h' * 40}.{'s' * 20}.default.svc.cluster.test"
    assert event.text == (
        "Failed to create pod sandbox: failed to construct FQDN from pod hostname and cluster domain, "
        f"FQDN {name} is too long (64 characters is the max, {len(name)} characters requested)"
    )
    await node.delete("full", "override", f"{long}-x", "too-long")


async def test_what_reaches_the_networks_plugins(node, network):
    ports = [
        {"containerPort": 80, "hostPort": 18080},
        {"containerPort": 53, "hostPort": 18053, "protocol": "UDP", "hostIP": "127.0.0.1", "name": "dns"},
        {"containerPort": 81},
    ]
    limited = pod("limited", container("app", ports=ports))
    limited["metadata"]["annotations"] = {
        "kubernetes.io/ingress-bandwidth": "1M",
        "kubernetes.io/egress-bandwidth": "2M",
    }
    wrong = pod("wrong", container("app"))
    wrong["metadata"]["annotations"] = {"kubernetes.io/ingress-bandwidth": "fast"}
    node.apply(limited, wrong, pod("plain", container("app")))
    await node.until(lambda: node.ready("limited", "plain"))
    told = network.told(await sandbox_of(node, "limited"))
    mapped = {
        tuple(one[key] for key in ("HostPort", "ContainerPort", "Protocol", "HostIP"))
        for one in told["portMappings"]
    }
    assert mapped == {(18080, 80, "tcp", ""), (18053, 53, "udp", "127.0.0.1")}
    assert (told["bandwidth"]["IngressRate"], told["bandwidth"]["EgressRate"]) == (1_000_000, 2_000_000)
    plain = network.told(await sandbox_of(node, "plain"))
    assert not plain.get("bandwidth")
    assert not plain.get("portMappings")
    event = (await node.until(lambda: node.events("wrong", "FailedCreatePodSandBox")))[0]
    # The runtime would refuse it, and could then not end that sandbox.
    assert event.text.startswith(
        "Failed to create pod sandbox: annotation kubernetes.io/ingress-bandwidth: quantities must match"
    )
    await node.delete("limited", "wrong", "plain")
