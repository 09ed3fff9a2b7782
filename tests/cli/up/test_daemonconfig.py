"""The configuration and the command line that ``up`` gives its daemon."""

import json
import socket
from pathlib import Path

from pykubelet.cli.up.daemonconfig import daemon_arguments, daemon_config, free_port
from pykubelet.cli.up.places import Places

PLACES = Places(Path("/x/up"))


def test_config_is_private_and_accepts_both_cgroup_versions() -> None:
    config = json.loads(
        daemon_config(PLACES, endpoint="unix:///s", cgroup_root="pk1", port=1, healthz_port=2)
    )
    assert config["kind"] == "KubeletConfiguration"
    assert config["failCgroupV1"] is False
    assert config["cgroupRoot"] == "/pk1"
    assert config["address"] == "127.0.0.1"
    assert (config["port"], config["healthzPort"]) == (1, 2)
    assert config["staticPodPath"] == "/x/up/active"
    assert config["containerRuntimeEndpoint"] == "unix:///s"


def test_arguments_name_the_config_so_that_the_process_can_be_found() -> None:
    arguments = daemon_arguments(PLACES, Path("/py"))
    assert arguments[:4] == ["/py", "-m", "pykubelet", "run"]
    assert "--config=/x/up/kubelet.yaml" in arguments


def test_a_busy_port_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port
    assert free_port(port) == port


def test_sockets_of_the_default_place_are_where_the_command_line_looks() -> None:
    assert Places().admin_socket == Path("/run/pykubelet/admin.sock")
    deep = Places(Path("/" + "d" * 90))
    assert len(str(deep.containerd_run / "containerd.sock.ttrpc")) < 108
