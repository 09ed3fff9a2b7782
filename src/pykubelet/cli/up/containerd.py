"""A containerd of our own: root, state, socket, runc root, network and bridge are all private.

It runs in a process session of its own, so that it outlives who started it; a later
start adopts it. :meth:`PrivateContainerd.destroy` leaves nothing of it. Everything here
blocks: call it off an event loop.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import grpc

from pykubelet.cli.up import leftovers
from pykubelet.cli.up.config import (
    Network,
    Settings,
    choose_network,
    cni_config,
    containerd_config,
    crun_wrapper,
    oci_runtimes,
    parse_version,
)
from pykubelet.cli.up.images import PAUSE
from pykubelet.linux.syscalls import filesystem_type
from pykubelet.rpc.cri_v1 import ImageSpec, ImageStatusRequest

_CAP_SYS_RESOURCE = 24
_OVERLAY_MAGIC = 0x794C7630
_CNI_RESULTS = Path("/var/lib/cni/results")
_UNIFIED_CONTROLLERS = Path("/sys/fs/cgroup/unified/cgroup.controllers")
_IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
#: A Unix socket's address ends at 107 bytes; containerd appends ``.ttrpc`` to its own.
_SOCKET_LIMIT = 107 - len(".ttrpc")


class ContainerdError(Exception):
    """containerd could not be started, or did not do what it was asked; says where its log is."""


def _may_lower_oom_score() -> bool:
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)


def _hybrid() -> bool:
    """Whether cgroup v2 has controllers beside v1's."""
    try:
        return bool(_UNIFIED_CONTROLLERS.read_text().strip())
    except OSError:
        return False


def _routed_subnets() -> list[str]:
    """Subnets that this machine already routes, without the default route."""
    found = []
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        words = line.split()
        address, mask = (int.from_bytes(bytes.fromhex(words[i])[::-1]) for i in (1, 7))
        if mask:
            octets = ".".join(str(byte) for byte in (address & mask).to_bytes(4))
            found.append(f"{octets}/{mask.bit_count()}")
    return found


def _snapshotter(directory: Path) -> str:
    """``native`` where the directory itself lies on an overlay, which cannot be stacked."""
    return "native" if filesystem_type(str(directory)) == _OVERLAY_MAGIC else "overlayfs"


def _cni_plugins() -> Path:
    """The directory of CNI plug-ins.

    :raises ContainerdError: there is none.
    """
    for directory in (Path("/usr/lib/cni"), Path("/opt/cni/bin")):
        if (directory / "bridge").exists():
            return directory
    raise ContainerdError("no CNI plug-ins in /usr/lib/cni or /opt/cni/bin (containernetworking-plugins)")


class PrivateContainerd:
    """One private containerd; *base_dir* and *run_dir* are its own and go with :meth:`destroy`.

    :raises ContainerdError: *run_dir* is too long for a socket in it.
    """

    def __init__(
        self, base_dir: Path, run_dir: Path, *, name: str = "pykubelet", sandbox_image: str = PAUSE
    ) -> None:
        self.base_dir = base_dir.resolve()
        self.run_dir = run_dir.resolve()
        self.name = name
        self.socket = self.run_dir / "containerd.sock"
        self.log_file = self.base_dir / "containerd.log"
        self.config_file = self.base_dir / "config.toml"
        self._crun = self.base_dir / "crun"
        self.runtimes = oci_runtimes(self.run_dir, self._which)
        self._network_file = self.base_dir / "network.json"
        self._settings = Settings(
            root=self.base_dir / "root",
            state=self.run_dir / "state",
            socket=self.socket,
            runtimes=self.runtimes,
            opt=self.base_dir / "opt",
            cni_conf=self.base_dir / "cni",
            cni_bin=Path("/usr/lib/cni"),
            cni_state=self.base_dir / "cni-state",
            sandbox_image=sandbox_image,
            snapshotter="overlayfs",
            restrict_oom_score_adj=not _may_lower_oom_score(),
        )
        if len(os.fsencode(self.socket)) > _SOCKET_LIMIT:
            raise ContainerdError(f"{self.socket} is too long for a Unix socket")

    def _which(self, program: str) -> str | None:
        """Where a program of a runtime is: for crun on some machines what :meth:`_write_files` makes."""
        found = shutil.which(program)
        return str(self._crun) if found and program == "crun" and _hybrid() else found

    @property
    def runc_root(self) -> Path:
        """Where runc keeps its state."""
        return self.runtimes[0].root

    @property
    def endpoint(self) -> str:
        """The CRI endpoint as a kubelet's configuration names it."""
        return f"unix://{self.socket}"

    @property
    def network(self) -> Network:
        """The network that its pods get; chosen at the first start."""
        saved = json.loads(self._network_file.read_bytes())
        return Network(name=saved["name"], bridge=saved["bridge"], subnet=saved["subnet"])

    @property
    def cgroup_root(self) -> str:
        """A cgroup (path below the hierarchy's root) meant for its pods; :meth:`destroy` removes it."""
        return self.network.name

    @property
    def pid(self) -> int | None:
        """Pid of the running containerd that has our configuration file, whoever started it."""
        for pid, arguments in leftovers.processes():
            if arguments[1:] == ["--config", str(self.config_file)]:
                return pid
        return None

    def start(self, timeout: float = 30.0) -> bool:
        """Start it and wait until CRI answers; False when one that runs already was adopted.

        :raises ContainerdError: a program is missing, or CRI did not answer in *timeout* seconds.
        """
        running = self.pid is not None
        if not running:
            self._write_files()
            self._spawn()
        self._wait_for_cri(timeout)
        return not running

    def stop(self, timeout: float = 20.0) -> None:
        """End containerd; its containers go on running."""
        pid = self.pid
        if pid is not None and not leftovers.end_process(pid, signal.SIGTERM, timeout):
            self.kill()

    def kill(self) -> None:
        """Kill containerd with SIGKILL; its containers go on running."""
        pid = self.pid
        if pid is not None and not leftovers.end_process(pid, signal.SIGKILL, 10.0):
            raise ContainerdError(f"containerd (pid {pid}) does not end")

    def restart(self) -> None:
        """Stop and start it; its containers go on running."""
        self.stop()
        self.start()

    def import_image(self, archive: bytes, name: str) -> None:
        """Load a packed image and wait until CRI knows it as *name*.

        :raises ContainerdError: containerd refused it, or CRI did not see it within 10 s.
        """
        self.ctr("images", "import", "--snapshotter", _snapshotter(self.base_dir), "-", stdin=archive)
        request = ImageStatusRequest(image=ImageSpec(image=name)).SerializeToString()
        deadline = time.monotonic() + 10.0
        # The answer is empty while the image is unknown.
        while not self._call("ImageService/ImageStatus", request, 5.0):
            if time.monotonic() > deadline:
                raise ContainerdError(f"image {name} was imported but CRI does not know it")
            time.sleep(0.02)

    def ctr(self, *arguments: str, stdin: bytes = b"") -> str:
        """Run ``ctr`` in the namespace of CRI; its output.

        :raises ContainerdError: it failed; the message has its error output.
        """
        done = subprocess.run(
            ["ctr", "--address", self.socket, "--namespace", "k8s.io", *arguments],
            input=stdin,
            check=False,
            capture_output=True,
            timeout=60,
        )
        if done.returncode:
            raise ContainerdError(
                f"ctr {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}"
            )
        return done.stdout.decode(errors="replace")

    def destroy(self) -> None:
        """End it and all its pods at once and remove every trace; safe in any state, and twice.

        :raises StillThere: something could not be removed.
        """
        self.stop()
        sockets = leftovers.shim_sockets(self._settings.state)
        cgroups = leftovers.delete_containers(self.runtimes)
        leftovers.end_shims(self.socket)
        leftovers.unmount_below([self.run_dir, self.base_dir])
        if self._network_file.exists():
            self._remove_network()
        leftovers.remove_empty_cgroups(cgroups)
        for path in sockets:
            path.unlink(missing_ok=True)
        _remove_if_empty(Path("/run/containerd/s"), Path("/run/containerd"))
        leftovers.remove_tree(self.run_dir)
        leftovers.remove_tree(self.base_dir)

    def _write_files(self) -> None:
        """Write the configuration and the network list; directories are the owner's only."""
        for directory in (self.base_dir, self.run_dir, self._settings.cni_conf):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        settings = self._settings
        plugins = _cni_plugins()
        # Pods' root file systems lie in these: a container's user must be able to walk through.
        self.base_dir.chmod(0o711)
        self.run_dir.chmod(0o711)
        version = parse_version(_output("containerd", "--version"))
        settings = replace(settings, cni_bin=plugins, snapshotter=_snapshotter(self.base_dir))
        if not self._network_file.exists():
            network = choose_network(f"{self.base_dir}\0{self.name}", _routed_subnets())
            forward = _IP_FORWARD.read_text().strip()
            saved = {"name": network.name, "bridge": network.bridge, "subnet": network.subnet}
            self._network_file.write_text(json.dumps({**saved, "ip_forward": forward}))
        if _hybrid() and (crun := shutil.which("crun")):
            place = self.run_dir / "cgroups"
            place.mkdir(mode=0o700, exist_ok=True)
            self._crun.write_text(crun_wrapper(crun, place))
            self._crun.chmod(0o700)
        self.config_file.write_text(containerd_config(settings, version))
        list_file = settings.cni_conf / "10-pykubelet.conflist"
        list_file.write_text(cni_config(self.network, settings.cni_state))

    def _spawn(self) -> None:
        program = shutil.which("containerd")
        if program is None:
            raise ContainerdError("containerd is not installed")
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin"
        leftovers.spawn(
            [program, "--config", str(self.config_file)], {**os.environ, "PATH": path}, self.log_file
        )

    def _wait_for_cri(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while True:
            try:
                self._call("RuntimeService/Version", b"", 5.0)
                return
            except ContainerdError as error:
                gone = self.pid is None
                if gone or time.monotonic() > deadline:
                    what = "containerd ended" if gone else "containerd does not answer"
                    raise ContainerdError(f"{what}; {self._last_words()}") from error
            time.sleep(0.05)

    def _call(self, method: str, request: bytes, timeout: float) -> bytes:
        """One CRI call with encoded messages: enough to see that it answers."""
        with grpc.insecure_channel(f"unix:{self.socket}") as channel:
            try:
                call = channel.unary_unary(f"/runtime.v1.{method}", None, None)
                answer: bytes = call(request, timeout=timeout)
            except grpc.RpcError as error:
                raise ContainerdError(f"CRI {method}: {error}") from error
            return answer

    def _last_words(self) -> str:
        lines: list[str] = []
        with contextlib.suppress(OSError):
            lines = self.log_file.read_text(errors="replace").splitlines()[-3:]
        return f"end of {self.log_file}:\n  " + "\n  ".join(lines)

    def _remove_network(self) -> None:
        network = self.network
        leftovers.remove_cgroups(self.cgroup_root)
        leftovers.remove_rules(network.name)
        leftovers.remove_bridge(network.bridge)
        # What the CNI library keeps of each sandbox, its loopback included.
        cached = list(_CNI_RESULTS.glob(f"{network.name}-*"))
        for sandbox in self._settings.root.glob("io.containerd.*/sandboxes/*"):
            cached += _CNI_RESULTS.glob(f"cni-loopback-{sandbox.name}-*")
        for result in cached:
            result.unlink(missing_ok=True)
        _remove_if_empty(_CNI_RESULTS, _CNI_RESULTS.parent)
        others = [entry for entry in os.listdir("/sys/class/net") if entry.startswith("pk")]
        if json.loads(self._network_file.read_bytes())["ip_forward"] == "0" and not others:
            # The bridge plug-in turned it on for this network.
            _IP_FORWARD.write_text("0")


def _output(*command: str) -> str:
    """What *command* prints.

    :raises ContainerdError: it is missing or fails.
    """
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ContainerdError(f"{command[0]} cannot be used: {error}") from error


def _remove_if_empty(*directories: Path) -> None:
    for directory in directories:
        with contextlib.suppress(OSError):
            directory.rmdir()
