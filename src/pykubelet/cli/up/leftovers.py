"""Taking away what a container runtime leaves on a machine: processes, mounts, networks, cgroups.

Everything here is found from the outside (``/proc``, mountinfo, runc's own state), so
that it works after a crash and without the runtime. All of it blocks.
"""

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from pykubelet.cli.up.config import OciRuntime, without_network
from pykubelet.linux import mountinfo, syscalls

_CGROUPS = Path("/sys/fs/cgroup")
_SIOCSIFFLAGS = 0x8914
_SIOCBRDELBR = 0x89A1


class StillThere(Exception):
    """Something could not be taken away."""


def processes() -> Iterator[tuple[int, list[str]]]:
    """Pid and arguments of every process that has arguments (so neither zombies nor kernel threads)."""
    for name in os.listdir("/proc"):
        if name.isdecimal():
            data = b""
            with contextlib.suppress(OSError):
                data = Path("/proc", name, "cmdline").read_bytes()
            if data:
                yield int(name), data.rstrip(b"\0").decode(errors="replace").split("\0")


def spawn(arguments: list[str], environment: dict[str, str], log: Path) -> int:
    """Start a program in a session of its own that outlives us, its output appended to *log*; its pid.

    Not with ``subprocess``: that warns when its object goes before the process does,
    which is what is wanted here.

    :raises OSError: it could not be started.
    """
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        pid = os.posix_spawn(
            arguments[0],
            arguments,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=[signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGTERM],
        )
    finally:
        os.close(output)
    # The spawn returns while the kernel still sets the new program up: for a moment it has no
    # arguments, by which it is found again.
    deadline = time.monotonic() + 1.0
    while not Path(f"/proc/{pid}/cmdline").read_bytes() and time.monotonic() < deadline:
        time.sleep(0.001)
    return pid


def end_process(pid: int, signum: int, timeout: float) -> bool:
    """Send *signum* and wait up to *timeout* seconds; True once the process is gone, reaped if our child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signum)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        gone = bool(poll.poll(timeout * 1000))
    finally:
        os.close(descriptor)
    if gone:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return gone


def end_shims(address: Path) -> None:
    """Kill the shims that serve the containerd at *address*."""
    for pid, arguments in list(processes()):
        if "containerd-shim" in arguments[0] and str(address) in arguments:
            end_process(pid, signal.SIGKILL, 5.0)


def shim_sockets(state: Path) -> list[Path]:
    """The sockets of shims, which containerd puts outside its state directory."""
    found = []
    for bundle in state.glob("io.containerd.runtime.v2.task/*/*"):
        with contextlib.suppress(OSError, ValueError):
            if (bundle / "bootstrap.json").exists():
                address = str(json.loads((bundle / "bootstrap.json").read_bytes())["address"])
            else:
                address = (bundle / "address").read_text()
            if address.startswith("unix://"):
                found.append(Path(address.strip().removeprefix("unix://")))
    return found


def delete_containers(runtimes: Iterable[OciRuntime]) -> set[Path]:
    """Kill and delete every container of runc and of what is called as runc is; the cgroups they were in."""
    cgroups: set[Path] = set()
    for runtime in runtimes:
        for container in runtime.root.glob("*/*"):
            with contextlib.suppress(OSError, ValueError):
                paths = json.loads((container / "state.json").read_bytes()).get("cgroup_paths", {})
                cgroups |= {Path(path) for path in paths.values()}
            with contextlib.suppress(OSError, ValueError):
                # So crun keeps it: one path, in every hierarchy.
                path = str(json.loads((container / "status").read_bytes())["cgroup-path"]).lstrip("/")
                cgroups |= {top / path for top in _CGROUPS.iterdir() if (top / path).is_dir()}
            subprocess.run(
                [
                    runtime.program or runtime.name,
                    "--root",
                    container.parent,
                    "delete",
                    "--force",
                    container.name,
                ],
                check=False,
                capture_output=True,
                timeout=30,
            )
    return cgroups


def mounts_below(directories: Iterable[Path]) -> list[str]:
    """Mount points on or below *directories*, the innermost first."""
    table = mountinfo.read()
    return [
        mount.mount_point
        for directory in directories
        for mount in mountinfo.mounts_below(table, str(directory.resolve()))
    ]


def unmount_below(directories: Iterable[Path]) -> None:
    """Unmount all on or below *directories*.

    :raises StillThere: a mount could not be removed.
    """
    directories = list(directories)
    for point in mounts_below(directories):
        with contextlib.suppress(OSError):
            syscalls.umount2(point, syscalls.MNT_DETACH | syscalls.UMOUNT_NOFOLLOW)
    if left := mounts_below(directories):
        raise StillThere(f"still mounted: {', '.join(left)}")


def remove_tree(directory: Path) -> None:
    """Remove a directory with all in it, but never through a mount.

    :raises StillThere: something is mounted below it.
    """
    if left := mounts_below([directory]):
        raise StillThere(f"{directory} not removed, still mounted: {', '.join(left)}")
    shutil.rmtree(directory, ignore_errors=True)


def remove_cgroups(name: str, timeout: float = 5.0) -> None:
    """Kill what runs in the cgroup *name* (a path below the root) of every hierarchy and remove it.

    :raises StillThere: a process in it does not end, or a cgroup stays.
    """
    tops = [top for top in (_CGROUPS, *_CGROUPS.iterdir()) if (top / name / "cgroup.procs").exists()]
    deadline = time.monotonic() + timeout
    while tops:
        tops = [top for top in tops if not _remove_cgroup(top / name)]
        if tops and time.monotonic() > deadline:
            raise StillThere(f"cgroup still there: {', '.join(str(top / name) for top in tops)}")
        if tops:
            time.sleep(0.02)


def _remove_cgroup(top: Path) -> bool:
    """One try to empty and remove a cgroup tree; a process takes a moment to leave after its kill."""
    for directory, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):
            for pid in Path(directory, "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.rmdir(directory)
    return not top.exists()


def remove_empty_cgroups(cgroups: Iterable[Path]) -> None:
    """Remove containers' cgroups that stayed, and the ``k8s.io`` parent that containerd makes by itself."""
    for cgroup in cgroups:
        with contextlib.suppress(OSError):
            os.rmdir(cgroup)
        if cgroup.parent.name == "k8s.io":
            with contextlib.suppress(OSError):
                os.rmdir(cgroup.parent)


def remove_rules(network: str) -> None:
    """Take the NAT rules of a CNI network away, for IPv4.

    :raises StillThere: iptables refused.
    """
    if shutil.which("iptables-save") is None:
        return
    saved = subprocess.run(
        ["iptables-save", "-t", "nat"], check=False, capture_output=True, text=True, timeout=30
    )
    change = without_network(saved.stdout, network)
    if not change:
        return
    done = subprocess.run(
        ["iptables-restore", "--noflush", "--wait", "10"],
        input=change,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    if done.returncode:
        raise StillThere(f"NAT rules of network {network}: {done.stderr.strip()}")


def remove_bridge(name: str) -> None:
    """Set a bridge down and delete it, if it is there.

    :raises StillThere: the kernel refused.
    """
    if not Path("/sys/class/net", name).exists():
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", name.encode(), 0))
            fcntl.ioctl(control, _SIOCBRDELBR, name.encode().ljust(16, b"\0"))
        except OSError as error:
            raise StillThere(f"bridge {name}: {error}") from error
