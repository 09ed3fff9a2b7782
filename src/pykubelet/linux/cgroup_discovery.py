"""Which cgroup interface this machine has, from its mounts."""

import errno
from pathlib import Path

from . import cgroup_v1, cgroup_v2
from .cgroup_v1 import CgroupV1
from .cgroup_v2 import CgroupV2
from .cgroups import (
    CgroupError,
    CgroupFs,
    Mount,
    Write,
    hugepage_sizes,
    parse_controllers,
    parse_mounts,
    write_file,
)

_UNIFIED = Path("/sys/fs/cgroup")


def discover(root: Path = Path("/"), *, write: Write = write_file) -> CgroupFs:
    """The cgroup tree of the machine whose files lie below *root*.

    v2 when the unified hierarchy is mounted at ``/sys/fs/cgroup``, else v1.

    :raises CgroupError: a controller that pods need is not there, with its name.
    :raises OSError: ``/proc`` cannot be read.
    """
    enabled = parse_controllers((root / "proc/cgroups").read_text())
    mounts = [
        Mount(root / mount.point.relative_to("/"), mount.kind, mount.controllers)
        for mount in parse_mounts((root / "proc/self/mountinfo").read_text(), enabled)
    ]
    unified = root / _UNIFIED.relative_to("/")
    sizes = hugepage_sizes(root)
    if any(mount.kind == "cgroup2" and mount.point == unified for mount in mounts):
        v2 = CgroupV2(unified, page_sizes=sizes, write=write)
        _require(cgroup_v2.REQUIRED, set(v2.available))
        return v2
    points = cgroup_v1.mount_points(mounts, root / cgroup_v1.HYBRID.relative_to("/"))
    _require(cgroup_v1.REQUIRED, set(points))
    return CgroupV1(points, page_sizes=sizes, write=write)


def _require(needed: tuple[str, ...], there: set[str]) -> None:
    lacking = sorted(set(needed) - there)
    if lacking:
        names = " ".join(lacking)
        raise CgroupError(errno.ENOENT, f"Following Cgroup subsystem not mounted: [{names}]")
