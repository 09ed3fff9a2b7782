"""What a private containerd is told, for each line of versions, and what is taken out of iptables."""

import ipaddress
import json
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.cli.up.config import (
    Network,
    OciRuntime,
    Settings,
    choose_network,
    cni_config,
    containerd_config,
    crun_wrapper,
    oci_runtimes,
    parse_version,
    without_network,
)

SETTINGS = Settings(
    root=Path("/b/root"),
    state=Path("/r/state"),
    socket=Path("/r/containerd.sock"),
    runtimes=(
        OciRuntime("runc", Path("/r/runc")),
        OciRuntime("crun", Path("/r/crun"), "/usr/bin/crun"),
        OciRuntime("runsc", Path("/r/runsc"), "/usr/bin/runsc", "io.containerd.runsc.v1"),
    ),
    opt=Path("/b/opt"),
    cni_conf=Path("/b/cni"),
    cni_bin=Path("/usr/lib/cni"),
    cni_state=Path("/b/cni-state"),
    sandbox_image="x.local/pause:v1",
    snapshotter="overlayfs",
    restrict_oom_score_adj=True,
)

RUNC = "io.containerd.runc.v2"
RUNTIMES = {
    "runc": {"runtime_type": RUNC, "options": {"Root": "/r/runc", "SystemdCgroup": False}},
    "crun": {
        "runtime_type": RUNC,
        "options": {"Root": "/r/crun", "SystemdCgroup": False, "BinaryName": "/usr/bin/crun"},
    },
    "runsc": {"runtime_type": "io.containerd.runsc.v1"},
}


@pytest.mark.parametrize(
    ("installed", "names"),
    [
        ("", ["runc"]),
        ("crun containerd-shim-runc-v2", ["runc", "crun"]),
        # Debian's runsc comes without its shim.
        ("runsc crun containerd-shim-runc-v2", ["runc", "crun"]),
        ("runsc containerd-shim-runsc-v1 containerd-shim-kata-v2", ["runc", "runsc", "kata"]),
    ],
)
def test_runtimes_are_those_whose_program_and_shim_are_there(installed: str, names: list[str]) -> None:
    found = oci_runtimes(Path("/r"), lambda name: f"/usr/bin/{name}" if name in installed.split() else None)
    assert [runtime.name for runtime in found] == names
    assert [runtime.root for runtime in found] == [Path("/r", name) for name in names]


def test_crun_is_called_where_cgroup_v2_is_hidden() -> None:
    """A shell must be able to read it, whatever the names."""
    wrapper = crun_wrapper("/opt/my crun", Path("/r/it's here"))
    assert subprocess.run(["sh", "-n"], input=wrapper, text=True, check=False).returncode == 0
    assert "exec '/opt/my crun' \"$@\"" in wrapper
    (place,) = [line for line in wrapper.splitlines() if line.startswith("place=")]
    assert shlex.split(place) == ["place=/r/it's here"]


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3", (1, 6)),
        ("containerd containerd.io v2.1.4 75cb2b7193e4", (2, 1)),
        ("containerd github.com/containerd/containerd/v2 2.0.0-rc.1", (2, 0)),
    ],
)
def test_version_is_read(text: str, version: tuple[int, int]) -> None:
    assert parse_version(text) == version


def test_a_text_without_version_is_refused() -> None:
    with pytest.raises(ValueError, match="no version"):
        parse_version("containerd unknown")


@pytest.mark.parametrize("version", [(1, 6), (1, 7)])
def test_configuration_of_the_first_line(version: tuple[int, int]) -> None:
    config = tomllib.loads(containerd_config(SETTINGS, version))
    assert (config["version"], config["root"], config["state"], config["oom_score"]) == (
        2,
        "/b/root",
        "/r/state",
        0,
    )
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["sandbox_image"] == "x.local/pause:v1"
    assert cri["restrict_oom_score_adj"] is True
    assert cri["netns_mounts_under_state_dir"] is True
    assert cri["cni"] == {"bin_dir": "/usr/lib/cni", "conf_dir": "/b/cni"}
    assert cri["containerd"]["snapshotter"] == "overlayfs"
    assert cri["containerd"]["runtimes"] == RUNTIMES


@pytest.mark.parametrize(
    ("version", "binaries"),
    [((2, 0), {"bin_dir": "/usr/lib/cni"}), ((2, 1), {"bin_dirs": ["/usr/lib/cni"]})],
)
def test_configuration_of_the_second_line(version: tuple[int, int], binaries: dict[str, object]) -> None:
    config = tomllib.loads(containerd_config(SETTINGS, version))
    assert config["version"] == 3
    plugins = config["plugins"]
    assert plugins["io.containerd.cri.v1.images"]["pinned_images"] == {"sandbox": "x.local/pause:v1"}
    runtime = plugins["io.containerd.cri.v1.runtime"]
    assert runtime["cni"] == {**binaries, "conf_dir": "/b/cni"}
    assert runtime["containerd"]["runtimes"] == RUNTIMES
    assert plugins["io.containerd.grpc.v1.cri"]["stream_server_address"] == "127.0.0.1"
    assert plugins["io.containerd.nri.v1.nri"] == {"disable": True}


def test_network_list_names_bridge_subnet_and_its_own_state() -> None:
    conflist = json.loads(cni_config(Network("n", "br", "10.200.1.0/24"), Path("/b/cni-state")))
    bridge, ports = conflist["plugins"]
    assert (conflist["name"], bridge["bridge"]) == ("n", "br")
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.200.1.0/24"}]]
    assert bridge["ipam"]["dataDir"] == "/b/cni-state"
    assert ports["capabilities"] == {"portMappings": True}


@given(st.text(max_size=30))
def test_a_network_is_stable_and_evades_what_is_taken(identity: str) -> None:
    first = choose_network(identity, [])
    assert first == choose_network(identity, ["192.168.0.0/16"])
    assert len(first.bridge) <= 15
    second = choose_network(identity, [first.subnet])
    assert not ipaddress.ip_network(first.subnet).overlaps(ipaddress.ip_network(second.subnet))
    assert first.bridge == second.bridge


def test_no_free_subnet_is_told() -> None:
    with pytest.raises(ValueError, match="no free subnet"):
        choose_network("x", ["10.192.0.0/10"])


RULES = """\
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:CNI-0a1 - [0:0]
:CNI-0b2 - [0:0]
:CNI-DN-0a1 - [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-HOSTPORT-MASQ - [0:0]
:CNI-HOSTPORT-SETMARK - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ
-A POSTROUTING -s 10.200.1.2/32 -m comment --comment "name: \\"mine\\" id: \\"a1\\"" -j CNI-0a1
-A POSTROUTING -s 10.9.9.2/32 -m comment --comment "name: \\"other\\" id: \\"b2\\"" -j CNI-0b2
-A CNI-0a1 -d 10.200.1.0/24 -m comment --comment "name: \\"mine\\" id: \\"a1\\"" -j ACCEPT
-A CNI-0b2 -d 10.9.9.0/24 -m comment --comment "name: \\"other\\" id: \\"b2\\"" -j ACCEPT
-A CNI-DN-0a1 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.200.1.2:80
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"mine\\" id: \\"a1\\"" -j CNI-DN-0a1
-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
-A CNI-HOSTPORT-SETMARK -j MARK --set-xmark 0x2000/0x2000
COMMIT
"""


def test_a_networks_rules_go_and_others_stay() -> None:
    change = without_network(RULES, "mine")
    assert (
        '-D POSTROUTING -s 10.200.1.2/32 -m comment --comment "name: \\"mine\\" id: \\"a1\\"" -j CNI-0a1'
        in change
    )
    assert "-X CNI-0a1\n" in change
    assert "-X CNI-DN-0a1\n" in change
    assert "0b2" not in change
    # Nobody uses host ports any more.
    assert "-D PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT" in change
    assert "-X CNI-HOSTPORT-MASQ\n" in change


def test_shared_chains_stay_while_another_network_uses_them() -> None:
    comment = '"dnat name: \\"other\\" id: \\"b2\\""'
    other = f"-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment {comment} -j CNI-DN-0b2\n"
    change = without_network(RULES.replace("COMMIT", other + "COMMIT"), "mine")
    assert "HOSTPORT-MASQ" not in change
    assert "-X CNI-HOSTPORT-DNAT" not in change
    assert '-D CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"mine\\"' in change


def test_nothing_to_do_is_nothing() -> None:
    assert without_network(RULES, "third") == ""
    assert without_network("", "mine") == ""
