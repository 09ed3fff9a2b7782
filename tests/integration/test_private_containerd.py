"""The launcher of a private containerd, on a real one."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from pykubelet.cli.up import leftovers
from pykubelet.cli.up.containerd import ContainerdError, PrivateContainerd
from pykubelet.cli.up.images import BUSYBOX, PAUSE
from pykubelet.rpc import cri_v1


@pytest.fixture
def private(short_dir: Path) -> Iterator[PrivateContainerd]:
    private = PrivateContainerd(short_dir / "containerd", short_dir / "run", name="launcher")
    yield private
    private.destroy()


def _run_container(private: PrivateContainerd, name: str) -> int:
    """Start a sleeping container through ctr; its pid."""
    own = ["--runc-root", str(private.runc_root), "--fifo-dir", str(private.run_dir / "fifo")]
    private.ctr("run", "--detach", *own, BUSYBOX, name, "/bin/sleep", "600")
    rows = [line.split() for line in private.ctr("tasks", "ls").splitlines()]
    return next(int(row[1]) for row in rows if row[0] == name)


def test_second_start_adopts_and_containers_survive_a_kill(
    private: PrivateContainerd, short_dir: Path, packed_images: dict[str, bytes]
) -> None:
    assert private.start()
    first = private.pid
    private.import_image(packed_images[BUSYBOX], BUSYBOX)
    other = PrivateContainerd(short_dir / "containerd", short_dir / "run", name="launcher")
    assert not other.start()
    assert other.pid == first
    sleeper = _run_container(private, "sleeper")
    private.kill()
    assert private.pid is None
    assert Path(f"/proc/{sleeper}").exists()
    assert other.start()
    assert other.pid not in {None, first}
    assert "RUNNING" in private.ctr("tasks", "ls")


def test_destroy_leaves_nothing_even_when_containerd_is_dead(
    private: PrivateContainerd, short_dir: Path, packed_images: dict[str, bytes]
) -> None:
    private.start()
    network, address = private.network, str(private.socket)
    private.import_image(packed_images[BUSYBOX], BUSYBOX)
    sleeper = _run_container(private, "sleeper")
    private.kill()
    private.destroy()
    assert not Path(f"/proc/{sleeper}").exists()
    assert not private.base_dir.exists()
    assert not private.run_dir.exists()
    assert leftovers.mounts_below([short_dir]) == []
    assert not Path("/sys/class/net", network.bridge).exists()
    assert not [arguments for _, arguments in leftovers.processes() if address in arguments]
    private.destroy()


def _run_sandbox(private: PrivateContainerd, log_directory: Path) -> str:
    """A sandbox on the private network with a host port; its id."""
    config = cri_v1.PodSandboxConfig(
        metadata=cri_v1.PodSandboxMetadata(name="s", namespace="n", uid="u"),
        log_directory=str(log_directory),
        port_mappings=[cri_v1.PortMapping(container_port=80, host_port=39481)],
        linux=cri_v1.LinuxPodSandboxConfig(cgroup_parent=f"/{private.cgroup_root}"),
    )
    with grpc.insecure_channel(private.endpoint) as channel:
        call = channel.unary_unary(
            "/runtime.v1.RuntimeService/RunPodSandbox",
            request_serializer=cri_v1.RunPodSandboxRequest.SerializeToString,
            response_deserializer=cri_v1.RunPodSandboxResponse.FromString,
        )
        return call(cri_v1.RunPodSandboxRequest(config=config), timeout=30).pod_sandbox_id


def _nat_rules() -> str:
    return subprocess.run(["iptables-save", "-t", "nat"], check=True, capture_output=True, text=True).stdout


def test_destroy_takes_a_pods_network_away(
    private: PrivateContainerd, short_dir: Path, packed_images: dict[str, bytes]
) -> None:
    private.start()
    private.import_image(packed_images[PAUSE], PAUSE)
    network = private.network
    sandbox = _run_sandbox(private, short_dir / "logs")
    assert Path("/sys/class/net", network.bridge).exists()
    assert network.name in _nat_rules()
    assert "39481" in _nat_rules()
    assert sandbox in private.ctr("tasks", "ls")
    private.destroy()
    assert not Path("/sys/class/net", network.bridge).exists()
    assert network.name not in _nat_rules()
    assert "39481" not in _nat_rules()
    assert list(Path("/var/lib/cni").glob(f"*/{network.name}*")) == []
    assert list(Path("/var/lib/cni").glob(f"*/*{sandbox}*")) == []
    assert list(Path("/sys/fs/cgroup").glob(f"*/{network.name}")) == []


def test_images_are_known_to_cri_under_their_names(containerd: PrivateContainerd) -> None:
    names = containerd.ctr("images", "ls", "-q").split()
    assert {BUSYBOX, PAUSE} <= set(names)


def test_its_network_is_its_own(containerd: PrivateContainerd) -> None:
    conflist = json.loads(next(containerd.base_dir.glob("cni/*.conflist")).read_bytes())
    bridge = conflist["plugins"][0]
    assert bridge["bridge"] == containerd.network.bridge
    assert Path(bridge["ipam"]["dataDir"]).is_relative_to(containerd.base_dir)


def test_a_containerd_that_ends_at_once_is_told_with_its_log(private: PrivateContainerd) -> None:
    private.base_dir.mkdir(parents=True)
    (private.base_dir / "root").write_text("a file where a directory belongs")
    with pytest.raises(ContainerdError, match=r"containerd ended; end of .*containerd\.log"):
        private.start()


def test_a_path_too_long_for_a_socket_is_refused(short_dir: Path) -> None:
    with pytest.raises(ContainerdError, match="too long for a Unix socket"):
        PrivateContainerd(short_dir / "c", short_dir / ("x" * 100))
