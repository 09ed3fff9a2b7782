"""cgroup v1: one directory tree for each controller; a cgroup is a directory in all of them."""

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from .cgroups import (
    Limits,
    Mount,
    Write,
    child_names,
    components,
    hugepage_text,
    kill_all,
    pids_below,
    read_number,
    read_text,
    remove_tree,
    whole_pages,
    write_file,
)

#: A cgroup that lacks one of these (where mounted) does not count as existing.
COUNTED = ("cpu", "cpuacct", "cpuset", "memory", "systemd", "pids", "hugetlb")
#: Without these a node cannot run pods.
REQUIRED = ("cpu", "cpuacct", "cpuset", "memory")

#: A machine with v1 controllers may have the unified hierarchy there beside them ("hybrid"): runc puts
#: containers into it as well, so that a pod's cgroup is made and removed there like in all others.
HYBRID = Path("/sys/fs/cgroup/unified")
_HYBRID_KEY = "unified"

#: What a memory limit is at least that binds nobody (the kernel's greatest, rounded to pages).
_NO_MEMORY_LIMIT = 1 << 62

_CPUSET_INHERITED = ("cpuset.cpus", "cpuset.mems")


def mount_points(mounts: list[Mount], hybrid: Path = HYBRID) -> dict[str, Path]:
    """Where each v1 controller is mounted; of several places the one with the shortest path.

    ``unified`` is the hierarchy without controllers, where it is mounted at *hybrid*.
    """
    points: dict[str, Path] = {}
    for mount in mounts:
        if mount.kind == "cgroup2" and mount.point == hybrid:
            points[_HYBRID_KEY] = hybrid
        if mount.kind != "cgroup":
            continue
        for controller in mount.controllers:
            known = points.get(controller)
            if known is None or len(str(mount.point)) < len(str(known)):
                points[controller] = mount.point
    return points


def writes(limits: Limits, page_sizes: tuple[int, ...]) -> list[tuple[str, str, str]]:
    """The files to write for *limits*, in order: (controller, file, value)."""
    orders: list[tuple[str, str, str]] = []
    if limits.memory:
        orders.append(("memory", "memory.limit_in_bytes", str(limits.memory)))
    if limits.cpu_shares:
        orders.append(("cpu", "cpu.shares", str(limits.cpu_shares)))
    if limits.cpu_period:
        orders.append(("cpu", "cpu.cfs_period_us", str(limits.cpu_period)))
    if limits.cpu_quota:
        orders.append(("cpu", "cpu.cfs_quota_us", str(limits.cpu_quota)))
    if limits.pids is not None:
        orders.append(("pids", "pids.max", "max" if limits.pids < 0 else str(max(limits.pids, 1))))
    if limits.hugepages is not None:
        for size in sorted({*page_sizes, *limits.hugepages}):
            file = f"hugetlb.{hugepage_text(size)}"
            value = str(limits.hugepages.get(size, 0))
            orders.append(("hugetlb", f"{file}.limit_in_bytes", value))
            orders.append(("hugetlb", f"{file}.rsvd.limit_in_bytes", value))
    return orders


class CgroupV1:
    """See :class:`pykubelet.linux.cgroups.CgroupFs`."""

    def __init__(
        self,
        points: Mapping[str, Path],
        *,
        page_sizes: tuple[int, ...] = (),
        write: Write = write_file,
    ) -> None:
        """*points* says where each controller is mounted (see :func:`mount_points`)."""
        self._points = dict(points)
        self._page_sizes = page_sizes
        self._write = write

    @property
    def version(self) -> Literal[1, 2]:
        """See :class:`CgroupFs`."""
        return 1

    @property
    def points(self) -> Mapping[str, Path]:
        """Where each controller is mounted."""
        return self._points

    def path(self, controller: str, name: str) -> Path:
        """The cgroup's directory in the hierarchy of *controller*.

        :raises KeyError: that controller is not mounted.
        """
        return self._points[controller].joinpath(*components(name))

    def missing(self, name: str) -> tuple[str, ...]:
        """See :class:`CgroupFs`."""
        paths = (self.path(controller, name) for controller in COUNTED if controller in self._points)
        return tuple(str(path) for path in dict.fromkeys(paths) if not path.is_dir())

    def create(self, name: str) -> None:
        """See :class:`CgroupFs`."""
        parts = components(name)
        for point in self._hierarchies():
            directory = point
            for part in parts:
                directory /= part
                directory.mkdir(mode=0o755, exist_ok=True)
                if point == self._points.get("cpuset"):
                    self._inherit_cpuset(directory)

    def _inherit_cpuset(self, directory: Path) -> None:
        # A new cpuset is empty and takes no process until it has CPUs and memory nodes.
        for file in _CPUSET_INHERITED:
            if not read_text(directory / file).strip():
                self._write(directory / file, read_text(directory.parent / file))

    def apply(self, name: str, limits: Limits) -> None:
        """See :class:`CgroupFs`."""
        late_period: tuple[Path, str] | None = None
        for controller, file, value in writes(limits, self._page_sizes):
            if controller not in self._points:
                continue
            path = self.path(controller, name) / file
            try:
                self._write(path, value)
            except OSError as error:
                if ".rsvd." in file and error.errno in {errno.ENOENT, errno.EACCES, errno.EPERM}:
                    continue
                if not (file == "cpu.cfs_period_us" and error.errno == errno.EINVAL and limits.cpu_quota):
                    raise
                # The old quota over the new period may exceed the parent's: quota first then.
                late_period = (path, value)
        if late_period is not None:
            self._write(*late_period)

    def limits(self, name: str) -> Limits:
        """See :class:`CgroupFs`."""
        cpu, memory = self.path("cpu", name), self.path("memory", name)
        limit = read_number(memory / "memory.limit_in_bytes")
        return Limits(
            cpu_shares=read_number(cpu / "cpu.shares"),
            cpu_quota=read_number(cpu / "cpu.cfs_quota_us"),
            cpu_period=read_number(cpu / "cpu.cfs_period_us"),
            memory=-1 if limit >= _NO_MEMORY_LIMIT else limit,
        )

    def shown(self, limits: Limits) -> Limits:
        """See :class:`CgroupFs`."""
        memory = None if limits.memory is None else whole_pages(limits.memory)
        return Limits(limits.cpu_shares, limits.cpu_quota, limits.cpu_period, memory)

    def memory_usage(self, name: str) -> int:
        """See :class:`CgroupFs`."""
        return read_number(self.path("memory", name) / "memory.usage_in_bytes")

    def children(self, name: str) -> set[str]:
        """See :class:`CgroupFs`."""
        return {child for directory in self._directories(name) for child in child_names(directory)}

    def pids(self, name: str) -> set[int]:
        """See :class:`CgroupFs`."""
        return {pid for directory in self._directories(name) for pid in pids_below(directory)}

    def kill(self, name: str) -> None:
        """See :class:`CgroupFs`."""
        kill_all(lambda: self.pids(name), name)

    def remove(self, name: str, *, recursive: bool = True) -> None:
        """See :class:`CgroupFs`; every hierarchy is tried before an error is raised."""
        first: OSError | None = None
        for directory in self._directories(name):
            try:
                remove_tree(directory, recursive=recursive)
            except OSError as error:
                first = first or error
        if first is not None:
            raise first

    def _hierarchies(self) -> list[Path]:
        # Controllers mounted together (cpu,cpuacct) share one tree, often under links too.
        return list(dict.fromkeys(self._points.values()))

    def _directories(self, name: str) -> list[Path]:
        parts = components(name)
        if not parts:
            raise ValueError("the root cgroup is nobody's to change")
        return [point.joinpath(*parts) for point in self._hierarchies()]
