"""What a measurement needs: private containerds with images, a kubelet process, manifests."""

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pykubelet.base.layout import RUN_DIR_VARIABLE
from pykubelet.cli.up import leftovers
from pykubelet.cli.up.containerd import PrivateContainerd
from pykubelet.cli.up.daemonconfig import free_port
from pykubelet.cli.up.images import BUSYBOX, sample_images
from pykubelet.cli.up.oci import pack
from pykubelet.linux.cgroup_discovery import discover
from pykubelet.resources.cgroup_root import create_root

#: What Go's kubelet sets at its start.
_KERNEL_SETTINGS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
#: Ends on SIGTERM at once, and costs nothing while it runs.
COMMAND = ["/bin/sh", "-c", "trap 'exit 0' TERM; sleep 86400 & wait"]


@contextlib.contextmanager
def private_containerd(name: str) -> Iterator[PrivateContainerd]:
    """A running containerd with the sample images, that leaves nothing."""
    directory = Path(tempfile.mkdtemp(prefix="pkb-", dir="/tmp"))
    made = PrivateContainerd(directory / "containerd", directory / "run", name=name)
    try:
        made.start()
        for image in sample_images():
            made.import_image(pack(image), image.name)
        create_root(discover(), "/" + made.cgroup_root)
        yield made
    finally:
        made.destroy()
        shutil.rmtree(directory, ignore_errors=True)


def manifest(name: str, *, probes: bool = False) -> dict[str, object]:
    """A pod of one container."""
    container: dict[str, object] = {
        "name": "main",
        "image": BUSYBOX,
        "imagePullPolicy": "IfNotPresent",
        "command": COMMAND,
        "resources": {"requests": {"cpu": "1m", "memory": "4Mi"}},
    }
    if probes:
        container["command"] = [
            "/bin/sh",
            "-c",
            "mkdir -p /w && touch /w/index.html && exec httpd -f -p 8080 -h /w",
        ]
        container["livenessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 10}
        container["readinessProbe"] = {"tcpSocket": {"port": 8080}, "periodSeconds": 10}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "bench"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "enableServiceLinks": False,
            "containers": [container],
        },
    }


@dataclass
class Node:
    """One kubelet, ours or *peer*'s binary, on one containerd."""

    containerd: PrivateContainerd
    peer: Path | None = None
    #: Fields of the configuration beyond the usual ones.
    config: dict[str, object] = field(default_factory=dict)
    port: int = field(default_factory=lambda: free_port(11250))
    #: Of the cluster that the node joins, if it joins one.
    kubeconfig: Path | None = None
    home: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="pkb-", dir="/tmp")))
    pid: int = 0

    @property
    def manifests(self) -> Path:
        return self.home / "manifests"

    @property
    def log(self) -> Path:
        return self.home / "kubelet.log"

    def write(self, pod: dict[str, object]) -> int:
        """Put a manifest there in one step; the wall clock (ns) just before."""
        name = str(pod["metadata"]["name"])  # type: ignore[index]
        hidden = self.manifests / f".{name}.json"
        hidden.write_text(json.dumps(pod))
        before = time.time_ns()
        hidden.rename(self.manifests / f"{name}.json")
        return before

    def start(self) -> None:
        """Start the kubelet with a configuration that both kinds take."""
        self.manifests.mkdir(exist_ok=True)
        (self.home / "run").mkdir(exist_ok=True)
        config = self.home / "config.json"
        values = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            # All that the API server's double speaks.
            "contentType": "application/json",
            "imageGCHighThresholdPercent": 100,
            "address": "127.0.0.1",
            "port": self.port,
            "healthzPort": free_port(11248),
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{self.containerd.cgroup_root}",
            "containerRuntimeEndpoint": self.containerd.endpoint,
            "failCgroupV1": False,
            "failSwapOn": False,
            "makeIPTablesUtilChains": False,
            "podLogsDir": str(self.home / "logs"),
            "staticPodPath": str(self.manifests),
            **self.config,
        }
        config.write_text(json.dumps(values))
        program = [str(self.peer)] if self.peer else [sys.executable, "-m", "pykubelet", "run"]
        arguments = [
            *program,
            f"--config={config}",
            f"--root-dir={self.home / 'root'}",
            f"--cert-dir={self.home / 'pki'}",
            *([f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []),
        ]
        environment = {**os.environ, RUN_DIR_VARIABLE: str(self.home / "run")}
        self.pid = leftovers.spawn(arguments, environment, self.log)

    def stop(self) -> None:
        """End the kubelet; its pods run on."""
        if self.pid and not leftovers.end_process(self.pid, signal.SIGTERM, 10.0):
            leftovers.end_process(self.pid, signal.SIGKILL, 5.0)
        self.pid = 0

    def check(self) -> None:
        """Raise if the kubelet has ended."""
        if not Path(f"/proc/{self.pid}/cmdline").read_bytes():
            raise RuntimeError("the kubelet has ended")

    def cpu_seconds(self) -> float:
        """CPU time that the kubelet's process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mib(self) -> float:
        """Resident memory of the kubelet's process."""
        status = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line for line in status if line.startswith("VmRSS:")).split()[1]) / 1024

    def threads(self) -> int:
        """How many threads the kubelet's process has."""
        return len(os.listdir(f"/proc/{self.pid}/task"))


@contextlib.contextmanager
def _kernel_settings_kept() -> Iterator[None]:
    """Another kubelet may set the kernel to its liking, whatever it is told; that does not stay."""
    files = [Path("/proc/sys", name) for name in _KERNEL_SETTINGS]
    before = {file: file.read_text() for file in files if file.exists()}
    try:
        yield
    finally:
        for file, value in before.items():
            if file.read_text() != value:
                file.write_text(value)


@contextlib.contextmanager
def running_node(
    containerd: PrivateContainerd, peer: Path | None, kubeconfig: Path | None = None, **config: object
) -> Iterator[Node]:
    """A started kubelet on *containerd*; its home goes afterwards, its pods go with containerd."""
    node = Node(containerd, peer, config, kubeconfig=kubeconfig)
    with _kernel_settings_kept(), _ended(node):
        node.start()
        yield node


@contextlib.contextmanager
def _ended(node: Node) -> Iterator[None]:
    """Show the end of the log when something went wrong; take away what the kubelet left."""
    try:
        yield
    except BaseException:
        if node.log.exists():
            sys.stderr.write("".join(node.log.read_text(errors="replace").splitlines(keepends=True)[-15:]))
        raise
    finally:
        node.stop()
        leftovers.unmount_below([node.home])
        shutil.rmtree(node.home, ignore_errors=True)
