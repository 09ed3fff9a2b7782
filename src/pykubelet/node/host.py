"""Looking at the machine once, before anything starts: all that is blocking stands here."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from pykubelet.linux.addresses import AddressError, choose_node_ips, observe_network
from pykubelet.linux.cgroup_discovery import discover
from pykubelet.linux.cgroups import CgroupFs, hugepage_sizes
from pykubelet.linux.machine import Machine, read_machine
from pykubelet.linux.process import started_at
from pykubelet.linux.selinux import SELinux
from pykubelet.linux.selinux import read as read_selinux


@dataclass(frozen=True, slots=True)
class Host:
    """What the machine is."""

    node_name: str
    machine: Machine
    cgroups: CgroupFs
    #: The node's IPs, the primary one first; loopback when the machine has no other.
    ips: tuple[str, ...]
    #: Why loopback had to do; empty if it did not.
    ip_problem: str
    #: Bytes of the file system of the root directory.
    storage: int
    page_sizes: tuple[int, ...]
    #: Whether the kernel accounts for swap in cgroups.
    swap_controller: bool
    #: What the kernel's SELinux policy has for containers; None where SELinux is off.
    selinux: SELinux | None
    #: Whether the kernel can confine by AppArmor profiles.
    apparmor: bool = False
    #: When this process began, in seconds since the epoch; None where the kernel does not tell.
    process_started: float | None = None


def node_name(override: str) -> str:
    """The node's name: ``--hostname-override`` or the host's, trimmed and in lower case.

    :raises ValueError: it would be empty.
    """
    name = (override or socket.gethostname()).strip().lower()
    if not name:
        raise ValueError("--hostname-override: the host has no name, and none was given")
    return name


def look(name: str, node_ip: str, root_dir: Path) -> Host:
    """Gather the facts; blocking. Nothing is made or changed.

    :raises AddressError: what ``--node-ip`` asks for cannot be had.
    :raises OSError: the machine's own files cannot be read, or a cgroup controller is missing.
    """
    machine, cgroups = read_machine(), discover()
    problem = ""
    try:
        ips = tuple(str(ip) for ip in choose_node_ips(name, node_ip, observe_network(name)))
    except AddressError as error:
        if node_ip:
            raise
        ips, problem = ("127.0.0.1",), str(error)
    # The root directory may be yet to be made, on the file system of what is above it.
    figures = os.statvfs(next(path for path in (root_dir, *root_dir.parents) if path.exists()))
    return Host(
        node_name=name,
        machine=machine,
        cgroups=cgroups,
        ips=ips,
        ip_problem=problem,
        storage=figures.f_blocks * figures.f_frsize,
        page_sizes=hugepage_sizes(),
        swap_controller=_swap_controller(cgroups),
        selinux=read_selinux(),
        process_started=_process_started(),
        apparmor=apparmor_enabled(),
    )


def apparmor_enabled(root: Path = Path("/sys")) -> bool:
    """Whether the kernel has AppArmor, and it is on."""
    switch = root / "module/apparmor/parameters/enabled"
    try:
        return (root / "kernel/security/apparmor").exists() and switch.read_text().startswith("Y")
    except OSError:
        return False


def _process_started() -> float | None:
    try:
        return started_at()
    except (OSError, ValueError):
        return None


def _swap_controller(cgroups: CgroupFs) -> bool:
    if cgroups.version == 1:
        return Path("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists()
    own = Path("/proc/self/cgroup").read_text().rpartition("::")[2].strip().lstrip("/")
    return (Path("/sys/fs/cgroup") / own / "memory.swap.max").exists()
