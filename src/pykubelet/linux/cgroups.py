"""The kernel's cgroup tree as files: what v1 and v2 have in common, and which one is here.

Everything blocks on the kernel: call it off the event loop. Names of cgroups are
absolute paths within every hierarchy (``/kubepods/burstable``).
"""

import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from pykubelet.base.files import read_limited

KILL_ROUNDS = 5
_REMOVE_TRIES = 10
_MAX_DEPTH = 32
_TEXT_LIMIT = 64 * 1024
_PROCS_LIMIT = 1024 * 1024
_PAGE = os.sysconf("SC_PAGESIZE")

Write = Callable[[Path, str], None]


class CgroupError(OSError):
    """The cgroup tree is not as it must be, or the kernel refused a change."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a cgroup is held to; None leaves the kernel's value as it is."""

    #: ``cpu.shares``; v2 gets the weight that corresponds.
    cpu_shares: int | None = None
    #: Microseconds in each period; -1 is no limit.
    cpu_quota: int | None = None
    #: Microseconds.
    cpu_period: int | None = None
    #: Bytes; -1 is no limit, 0 is not written.
    memory: int | None = None
    #: Number of processes and threads; negative is no limit.
    pids: int | None = None
    #: Page size in bytes → limit in bytes. None leaves all; a size that is missing gets 0.
    hugepages: Mapping[int, int] | None = None


class CgroupFs(Protocol):
    """A node's cgroup tree."""

    @property
    def version(self) -> Literal[1, 2]:
        """Of the cgroup interface."""
        ...

    def missing(self, name: str) -> tuple[str, ...]:
        """Paths (v1) or controllers (v2) that the cgroup lacks; empty when it is whole."""
        ...

    def create(self, name: str) -> None:
        """Make the cgroup and those above it wherever they are missing.

        :raises OSError: the kernel refused.
        """
        ...

    def apply(self, name: str, limits: Limits) -> None:
        """Write the limits.

        :raises OSError: the cgroup is missing or the kernel refused.
        """
        ...

    def limits(self, name: str) -> Limits:
        """The CPU and memory limits that are in force; -1 is no limit.

        :raises OSError: the cgroup is missing or cannot be read.
        """
        ...

    def shown(self, limits: Limits) -> Limits:
        """The CPU and memory limits of *limits* as :meth:`limits` shows them once they are written."""
        ...

    def memory_usage(self, name: str) -> int:
        """Bytes of memory that are charged to the cgroup and those below.

        :raises OSError: the cgroup is missing or cannot be read.
        """
        ...

    def children(self, name: str) -> set[str]:
        """Last components of the cgroups right below, in any hierarchy."""
        ...

    def pids(self, name: str) -> set[int]:
        """All processes in the cgroup and below."""
        ...

    def kill(self, name: str) -> None:
        """SIGKILL everything in the cgroup and below, at most five rounds.

        :raises CgroupError: something survived.
        """
        ...

    def remove(self, name: str, *, recursive: bool = True) -> None:
        """Remove the cgroup (and those below, bottom up); one that is gone is fine.

        :raises OSError: it is in use.
        """
        ...


@dataclass(frozen=True, slots=True)
class Mount:
    """One cgroup hierarchy as ``/proc/self/mountinfo`` shows it."""

    point: Path
    #: ``cgroup`` or ``cgroup2``.
    kind: str
    #: v1 controllers; a named hierarchy (``name=systemd``) counts under its name.
    controllers: tuple[str, ...]


def parse_mounts(mountinfo: str, known: Collection[str]) -> list[Mount]:
    """The cgroup mounts in the text of ``/proc/self/mountinfo``; *known* are the v1 controllers' names."""
    mounts = []
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if not separator or len(left) < 6 or len(right) < 3 or right[0] not in {"cgroup", "cgroup2"}:
            continue
        # Options such as "rw" or "xattr" stand among the controllers.
        options = right[2].split(",") if right[0] == "cgroup" else []
        wanted = {*known, "name=systemd"}
        controllers = tuple(option.removeprefix("name=") for option in options if option in wanted)
        point = left[4].replace("\\040", " ").replace("\\134", "\\")
        mounts.append(Mount(Path(point), right[0], controllers))
    return mounts


def parse_controllers(proc_cgroups: str) -> set[str]:
    """The controllers that ``/proc/cgroups`` says the kernel has enabled."""
    rows = (line.split() for line in proc_cgroups.splitlines() if not line.startswith("#"))
    return {row[0] for row in rows if len(row) == 4 and row[3] == "1"}


def hugepage_text(size: int) -> str:
    """A huge page's size in bytes as the kernel names it in hugetlb files (``2MB``)."""
    for unit in ("B", "KB", "MB"):
        if size < 1024:
            return f"{size}{unit}"
        size //= 1024
    return f"{size}GB"


def hugepage_sizes(root: Path = Path("/")) -> tuple[int, ...]:
    """Sizes in bytes of the huge pages this kernel has, ascending."""
    sizes = []
    with contextlib.suppress(OSError):
        for entry in (root / "sys/kernel/mm/hugepages").iterdir():
            size = entry.name.removeprefix("hugepages-").removesuffix("kB")
            if size.isdecimal():
                sizes.append(int(size) * 1024)
    return tuple(sorted(sizes))


def components(name: str) -> tuple[str, ...]:
    """The parts of a cgroup's name.

    :raises ValueError: the name is not absolute or leads upwards.
    """
    path = PurePosixPath(name)
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError(f"cgroup name {name!r} is not an absolute path")
    return path.parts[1:]


def write_file(path: Path, value: str) -> None:
    """Write to a cgroup file in one system call; never creates one.

    :raises OSError: with the file's name and what was to be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OSError(error.errno, f"cannot write {value!r}: {error.strerror}", str(path)) from error


def read_text(path: Path, limit: int = _TEXT_LIMIT) -> str:
    """A cgroup file without its last newline.

    :raises OSError: it cannot be read.
    """
    return read_limited(path, limit).decode().rstrip("\n")


def read_number(path: Path) -> int:
    """A cgroup file that holds one number; ``max`` is -1.

    :raises OSError: it cannot be read.
    :raises CgroupError: it holds something else.
    """
    text = read_text(path).strip()
    try:
        return -1 if text == "max" else int(text)
    except ValueError as error:
        raise CgroupError(errno.EINVAL, f"{text!r} is no number", str(path)) from error


def whole_pages(size: int) -> int:
    """A memory limit in bytes as the kernel keeps it: in whole pages."""
    return size if size < 0 else size // _PAGE * _PAGE


def child_names(directory: Path) -> set[str]:
    """Names of the cgroups right below *directory*; empty if it is gone."""
    try:
        with os.scandir(directory) as entries:
            return {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def tree(directory: Path, depth: int = 0) -> Iterator[Path]:
    """*directory* and all cgroups below it, children before parents."""
    if depth > _MAX_DEPTH:
        raise CgroupError(errno.ELOOP, "cgroups are nested too deeply", str(directory))
    for name in sorted(child_names(directory)):
        yield from tree(directory / name, depth + 1)
    yield directory


def pids_below(directory: Path) -> set[int]:
    """Processes in *directory* and below; what vanishes meanwhile is left out."""
    found: set[int] = set()
    for cgroup in tree(directory):
        # ENODEV: the cgroup was removed while it was read; ENOTSUP: a threaded one.
        with contextlib.suppress(OSError):
            found.update(int(line) for line in read_text(cgroup / "cgroup.procs", _PROCS_LIMIT).split())
    return found


def kill_all(find: Callable[[], Iterable[int]], what: str) -> None:
    """SIGKILL the pids that *find* returns until it returns none, in at most five rounds.

    :raises CgroupError: something survived.
    """
    left: set[int] = set()
    for attempt in range(KILL_ROUNDS):
        # 0 stands for a process of another pid namespace.
        left = set(find()) - {0, 1, os.getpid()}
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01 * 2**attempt)
    left = set(find()) - {0, 1, os.getpid()}
    if left:
        raise CgroupError(errno.EBUSY, f"{len(left)} processes survived being killed", what)


def remove_tree(directory: Path, *, recursive: bool) -> None:
    """Remove *directory* bottom up; a kernel that is still busy with the dead gets about a second.

    :raises OSError: it is in use.
    """
    for cgroup in list(tree(directory)) if recursive else [directory]:
        _rmdir(cgroup)


def _rmdir(directory: Path) -> None:
    for attempt in range(_REMOVE_TRIES + 1):
        try:
            directory.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or attempt == _REMOVE_TRIES or child_names(directory):
                raise
        time.sleep(0.001 * 2**attempt)
