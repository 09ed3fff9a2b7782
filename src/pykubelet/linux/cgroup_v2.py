"""cgroup v2: one directory tree; controllers are handed down level by level."""

import contextlib
import errno
from pathlib import Path
from typing import Literal

from .cfs import DEFAULT_PERIOD, shares_to_weight, weight_to_shares
from .cgroups import (
    CgroupError,
    Limits,
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

#: The controllers a kubelet uses; those that the kernel lacks are not asked for.
USED = ("cpu", "cpuset", "hugetlb", "memory", "pids")
#: Without these a node cannot run pods.
REQUIRED = ("cpu", "cpuset", "memory")


def writes(limits: Limits, page_sizes: tuple[int, ...]) -> list[tuple[str, str, str]]:
    """The files to write for *limits*, in order: (controller, file, value)."""
    orders: list[tuple[str, str, str]] = []
    if limits.pids is not None:
        orders.append(("pids", "pids.max", "max" if limits.pids < 0 else str(max(limits.pids, 1))))
    if limits.memory:
        orders.append(("memory", "memory.max", "max" if limits.memory < 0 else str(limits.memory)))
    if limits.cpu_shares:
        orders.append(("cpu", "cpu.weight", str(shares_to_weight(limits.cpu_shares))))
    if limits.cpu_quota or limits.cpu_period:
        quota = str(limits.cpu_quota) if limits.cpu_quota and limits.cpu_quota > 0 else "max"
        orders.append(("cpu", "cpu.max", f"{quota} {limits.cpu_period or DEFAULT_PERIOD}"))
    if limits.hugepages is not None:
        for size in sorted({*page_sizes, *limits.hugepages}):
            file = f"hugetlb.{hugepage_text(size)}"
            value = str(limits.hugepages.get(size, 0))
            orders.append(("hugetlb", f"{file}.max", value))
            orders.append(("hugetlb", f"{file}.rsvd.max", value))
    return orders


class CgroupV2:
    """See :class:`pykubelet.linux.cgroups.CgroupFs`."""

    def __init__(self, mount: Path, *, page_sizes: tuple[int, ...] = (), write: Write = write_file) -> None:
        """*mount* is where the unified hierarchy is mounted.

        :raises OSError: it has no ``cgroup.controllers``.
        """
        self._mount = mount
        self._page_sizes = page_sizes
        self._write = write
        self._available = tuple(read_text(mount / "cgroup.controllers").split())

    @property
    def version(self) -> Literal[1, 2]:
        """See :class:`CgroupFs`."""
        return 2

    @property
    def available(self) -> tuple[str, ...]:
        """Controllers of the root cgroup."""
        return self._available

    def path(self, name: str) -> Path:
        """The cgroup's directory."""
        return self._mount.joinpath(*components(name))

    def missing(self, name: str) -> tuple[str, ...]:
        """See :class:`CgroupFs`."""
        needed = [controller for controller in USED if controller in self._available]
        try:
            enabled = read_text(self.path(name) / "cgroup.controllers").split()
        except FileNotFoundError:
            return (str(self.path(name)),)
        return tuple(controller for controller in needed if controller not in enabled)

    def create(self, name: str) -> None:
        """See :class:`CgroupFs`."""
        directory = self._mount
        for part in components(name):
            self._hand_down(directory)
            directory /= part
            directory.mkdir(mode=0o755, exist_ok=True)
            self._check_domain(directory)

    def _hand_down(self, directory: Path) -> None:
        """Enable every controller for the children of *directory*; ours must work, others may fail."""
        control = directory / "cgroup.subtree_control"
        with contextlib.suppress(OSError):
            self._write(control, " ".join(f"+{controller}" for controller in self._available))
            return
        for controller in self._available:
            try:
                self._write(control, f"+{controller}")
            except OSError:
                if controller in REQUIRED:
                    raise

    def _check_domain(self, directory: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            kind = read_text(directory / "cgroup.type").strip()
            if kind in {"domain invalid", "domain threaded", "threaded"}:
                raise CgroupError(errno.EOPNOTSUPP, f"cgroup is {kind} and takes no limits", str(directory))

    def apply(self, name: str, limits: Limits) -> None:
        """See :class:`CgroupFs`."""
        for controller, file, value in writes(limits, self._page_sizes):
            if controller not in self._available:
                continue
            try:
                self._write(self.path(name) / file, value)
            except OSError as error:
                if not (".rsvd." in file and error.errno in {errno.ENOENT, errno.EACCES, errno.EPERM}):
                    raise

    def limits(self, name: str) -> Limits:
        """See :class:`CgroupFs`."""
        directory = self.path(name)
        quota, _, period = read_text(directory / "cpu.max").partition(" ")
        try:
            return Limits(
                cpu_shares=weight_to_shares(read_number(directory / "cpu.weight")),
                cpu_quota=-1 if quota == "max" else int(quota),
                cpu_period=int(period or DEFAULT_PERIOD),
                memory=read_number(directory / "memory.max"),
            )
        except ValueError as error:
            raise CgroupError(errno.EINVAL, f"cpu.max: {error}", str(directory)) from error

    def shown(self, limits: Limits) -> Limits:
        """See :class:`CgroupFs`; shares come back from a coarser weight."""
        shares = None if not limits.cpu_shares else weight_to_shares(shares_to_weight(limits.cpu_shares))
        memory = None if limits.memory is None else whole_pages(limits.memory)
        return Limits(shares, limits.cpu_quota, limits.cpu_period, memory)

    def memory_usage(self, name: str) -> int:
        """See :class:`CgroupFs`."""
        return read_number(self.path(name) / "memory.current")

    def children(self, name: str) -> set[str]:
        """See :class:`CgroupFs`."""
        return child_names(self.path(name))

    def pids(self, name: str) -> set[int]:
        """See :class:`CgroupFs`."""
        return pids_below(self.path(name))

    def kill(self, name: str) -> None:
        """See :class:`CgroupFs`; ``cgroup.kill`` leaves no window for forks, where the kernel has it."""
        self._not_root(name)
        with contextlib.suppress(OSError):
            if self.pids(name):
                self._write(self.path(name) / "cgroup.kill", "1")
        kill_all(lambda: self.pids(name), name)

    def remove(self, name: str, *, recursive: bool = True) -> None:
        """See :class:`CgroupFs`."""
        self._not_root(name)
        remove_tree(self.path(name), recursive=recursive)

    @staticmethod
    def _not_root(name: str) -> None:
        if not components(name):
            raise ValueError("the root cgroup is nobody's to change")
