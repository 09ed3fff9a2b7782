"""What is mounted where: ``/proc/self/mountinfo``, parsed, and questions to it.

Parsing is pure. Paths are compared as text: give absolute paths without links.
"""

import os
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Propagation = Literal["shared", "slave", "shared+slave", "unbindable", "private"]

_ESCAPE = re.compile(rb"\\([0-7]{3})")
#: What the kernel writes in another way.
_ESCAPED = re.compile(rb"[\s\\#]")
#: One option; an SELinux label with commas stands in quotes.
_OPTION = re.compile(rb'(?:(?:fs|def|root)?context="[^"]*"|[^,])+')
_SELF = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo (proc(5))."""

    mount_id: int
    parent_id: int
    device: str
    root: str
    mount_point: str
    options: tuple[str, ...]
    optional: tuple[str, ...]
    fs_type: str
    source: str
    super_options: tuple[str, ...]

    @property
    def propagation(self) -> Propagation:
        """How mount events travel to and from this mount."""
        shared = any(field.startswith("shared:") for field in self.optional)
        slave = any(field.startswith("master:") for field in self.optional)
        if shared:
            return "shared+slave" if slave else "shared"
        if slave:
            return "slave"
        return "unbindable" if "unbindable" in self.optional else "private"

    @property
    def is_shared(self) -> bool:
        """Whether what is mounted below is seen by peers."""
        return self.propagation in ("shared", "shared+slave")

    @property
    def read_only(self) -> bool:
        """Whether this mount (not only its file system) is read-only."""
        return "ro" in self.options

    @property
    def context(self) -> str:
        """The SELinux label that all files of it have; empty when each has its own, or none."""
        told = (option.partition("=") for option in self.super_options)
        return next((label.strip('"') for key, _, label in told if key == "context"), "")


def unescape(field: bytes) -> str:
    r"""A field with its octal escapes (``\040``) undone; undecodable bytes as surrogates."""
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes((int(match[1], 8) & 0xFF,)), field))


def _options(field: bytes) -> tuple[str, ...]:
    # That is slow, and an overlay's options are long.
    options = _OPTION.findall(field) if b'context="' in field else field.split(b",")
    return tuple(unescape(option) for option in options if option)


def parse_line(line: bytes) -> Mount:
    """One line of mountinfo.

    :raises ValueError: it has not the form that proc(5) gives.
    """
    # Only spaces separate: other white space may stand in names, and the last two fields may be empty.
    before, separator, after = line.partition(b" - ")
    left, right = before.split(b" "), after.split(b" ")
    if not separator or len(left) < 6 or len(right) < 3:
        raise ValueError(f"not a line of mountinfo: {line!r}")
    return Mount(
        mount_id=int(left[0]),
        parent_id=int(left[1]),
        device=left[2].decode("ascii", "replace"),
        root=unescape(left[3]),
        mount_point=unescape(left[4]),
        options=_options(left[5]),
        optional=tuple(os.fsdecode(field) for field in left[6:] if field),
        fs_type=unescape(right[0]),
        source=unescape(right[1]),
        super_options=_options(b" ".join(right[2:])),
    )


def parse(table: bytes) -> tuple[Mount, ...]:
    """A whole table, in the kernel's order.

    :raises ValueError: a line has not the right form.
    """
    return tuple(parse_line(line) for line in table.split(b"\n") if line)


def read(path: Path = _SELF) -> tuple[Mount, ...]:
    """The table of this process now; blocking.

    :raises OSError: no ``/proc``.
    """
    return parse(path.read_bytes())


def is_mount_point(table: Iterable[Mount], path: str) -> bool:
    """Whether something is mounted exactly on *path*."""
    return any(mount.mount_point == path for mount in table)


def is_below(path: str, top: str) -> bool:
    """Whether *path* is *top* or lies below it, as text."""
    stem = top.rstrip("/")
    return path == stem or path.startswith(f"{stem}/")


def _depths(table: Iterable[Mount]) -> dict[int, int]:
    """How many mounts each one stands on; a mount comes to lie on one with a later number when moved."""
    parents = {mount.mount_id: mount.parent_id for mount in table}
    depths: dict[int, int] = {}
    for start in parents:
        chain: list[int] = []
        at = start
        while at in parents and at not in depths and len(chain) <= len(parents):
            chain.append(at)
            # The root of all mounts may name itself.
            if parents[at] == at:
                break
            at = parents[at]
        depth = depths.get(at, 0)
        for mount_id in reversed(chain):
            depth += 1
            depths[mount_id] = depth
    return depths


def mounts_below(table: Sequence[Mount], top: str) -> tuple[Mount, ...]:
    """The mounts on *top* and below it, in an order in which they can be unmounted."""
    below = [mount for mount in table if is_below(mount.mount_point, top)]
    if len(below) < 2:
        return tuple(below)
    depths = _depths(table)
    # What was mounted later comes first: it may cover what stands beside it on the same mount.
    below.reverse()
    return tuple(sorted(below, key=lambda mount: -depths[mount.mount_id]))


def read_below(top: str, path: Path = _SELF) -> tuple[Mount, ...]:
    """:func:`mounts_below` of the table now; blocking. Where there are many mounts, the fast way.

    :raises OSError: no ``/proc``.
    """
    name = os.fsencode(top.rstrip("/"))
    lines = path.read_bytes().split(b"\n")
    if not _ESCAPED.search(name):
        # Only what may be of interest is parsed.
        lines = [line for line in lines if name in line]
    return mounts_below(tuple(parse_line(line) for line in lines if line), top)


def linked_outside(table: Iterable[Mount], numbers: Collection[int]) -> list[str]:
    """Where those mounts of *numbers* lie that have mounts on them, and peers or slaves not among them."""
    mounts = list(table)
    outside = {
        group
        for mount in mounts
        if mount.mount_id not in numbers
        for kind, _, group in (field.partition(":") for field in mount.optional)
        if kind in ("shared", "master")
    }
    holding = {mount.parent_id for mount in mounts if mount.mount_id in numbers}
    return [
        mount.mount_point
        for mount in mounts
        if mount.mount_id in holding & set(numbers)
        and not outside.isdisjoint(
            field.removeprefix("shared:") for field in mount.optional if field.startswith("shared:")
        )
    ]


def mount_of(table: Sequence[Mount], path: str) -> Mount | None:
    """The mount that *path* lies on; None when the table does not hold it."""
    covering = [mount for mount in table if is_below(path, mount.mount_point)]
    depths = _depths(table)
    return max(covering, key=lambda mount: (len(mount.mount_point), depths[mount.mount_id]), default=None)


def same_tree(table: Sequence[Mount], path: str) -> tuple[Mount, ...]:
    """The mounts that show at their root what is at *path*, but for the mount that *path* lies on."""
    holder = mount_of(table, path)
    if holder is None:
        return ()
    inside = path[len(holder.mount_point.rstrip("/")) :]
    root = f"{holder.root.rstrip('/')}{inside}" or "/"
    return tuple(
        mount
        for mount in table
        if mount.mount_id != holder.mount_id and (mount.device, mount.root) == (holder.device, root)
    )
