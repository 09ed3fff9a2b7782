"""How much of each volume is used: which way of measuring fits a volume, and the measuring.

As upstream: what a directory takes is counted (``du``), what a file system of its own holds is
asked of it (``statfs``), a CSI driver is asked for its volumes, and of host paths and images
nothing is told. Where a volume lies tells what it is, so that nothing has to be remembered.
(pkg/volume/metrics_du.go, metrics_statfs.go, metrics_block.go.)
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, Protocol

from prometheus_client import Histogram

from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volume_usage import VolumeUsage
from pykubelet.base.layout import Layout
from pykubelet.base.metrics import Metrics
from pykubelet.linux import diskusage, mounts, syscalls
from pykubelet.linux.diskusage import Limits

from . import atomic_writer

#: How a volume is measured: its files are counted; the same, though only the kubelet ever
#: changes them; its file system is asked, here or far away; the device's size; its driver is asked.
Method = Literal["du", "own files", "statfs", "block", "driver"]

_DIRECTORIES: Final[dict[str, Method]] = {
    "kubernetes.io~empty-dir": "du",
    "kubernetes.io~git-repo": "du",
    "kubernetes.io~configmap": "own files",
    "kubernetes.io~secret": "own files",
    "kubernetes.io~downward-api": "own files",
    "kubernetes.io~projected": "own files",
    "kubernetes.io~csi": "driver",
}
#: Upstream's buckets are Prometheus' own.
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def durations(metrics: Metrics) -> Histogram:
    """How long measuring took, by what measured: ``du``, ``statfs``, ``block``, or the driver's name."""
    return metrics.histogram(
        "kubelet_volume_metric_collection_duration_seconds",
        "Duration in seconds to calculate volume stats",
        ["metric_source"],
        buckets=_BUCKETS,
    )


class DriverUsage(Protocol):
    """The door to the drivers of volumes that measure themselves."""

    async def usage(self, uid: str, volume: MountedVolume) -> VolumeUsage | None:
        """What the driver tells of the pod's volume; None when it tells nothing of any volume.

        :raises VolumeError: it cannot tell now.
        """
        ...


@dataclass(frozen=True, slots=True)
class Measured:
    """A usage, and by what to see that it still holds."""

    usage: VolumeUsage
    #: Where equal ones prove that no file changed.
    stamp: tuple[str, int, int] | None = field(default=None, repr=False)


def method_of(layout: Layout, uid: str, volume: MountedVolume) -> Method | None:
    """How the pod's *volume* is measured; None: it is not (a host path, an image). Pure."""
    if volume.device_path:
        return "driver" if "/kubernetes.io~csi/" in volume.device_path else "block"
    try:
        below = Path(volume.host_path).relative_to(layout.pod_volumes(uid))
    except ValueError:
        return None
    return _DIRECTORIES.get(below.parts[0], "statfs") if below.parts else None


def measure(
    method: Method,
    path: str,
    now: datetime,
    before: Measured | None = None,
    *,
    limits: Limits | None = None,
    pause: Callable[[float], object] = time.sleep,
) -> Measured:
    """Measure the volume at *path* as it is *now*; *before* is what was found last time.

    Blocks, for long where there are many files. *limits* and *pause* are those of the walk.

    :raises OSError: it is not there, or cannot be read.
    :raises ValueError: the method is its driver's.
    """
    if method == "block":
        return Measured(VolumeUsage(now, capacity_bytes=_device_size(path)))
    if method == "driver":
        raise ValueError("only its driver can measure it")
    told = diskusage.file_system(path)
    usage = VolumeUsage(
        now,
        used_bytes=told.used,
        capacity_bytes=told.capacity,
        available_bytes=told.available,
        inodes=told.inodes,
        inodes_used=told.inodes - told.inodes_free,
        inodes_free=told.inodes_free,
    )
    # A tmpfs holds nothing but the volume: it knows at once what a walk would find. Huge pages are
    # counted. What else is mounted there came from a container: it is not walked.
    if method == "statfs" or mounts.mounted_type(path) not in (None, syscalls.HUGETLBFS_MAGIC):
        return Measured(usage)
    stamp = _stamp(path) if method == "own files" else None
    if before is not None and stamp is not None and before.stamp == stamp:
        known = before.usage
        return Measured(replace(usage, used_bytes=known.used_bytes, inodes_used=known.inodes_used), stamp)
    found = diskusage.disk_usage(path, limits or Limits(), pause=pause)
    counted = replace(
        usage, used_bytes=found.used_bytes, inodes_used=found.inodes, unfinished=found.unfinished
    )
    return Measured(counted, None if found.unfinished else stamp)


def _stamp(path: str) -> tuple[str, int, int] | None:
    # Files are never changed in place there: each update is a directory of its own, to which
    # this link leads, named by the nanosecond. The clock may be set back, the times tell then.
    try:
        version = os.readlink(f"{path}/{atomic_writer.DATA}")
    except OSError:
        return None
    status = os.lstat(path)
    return version, status.st_ino, status.st_mtime_ns


def _device_size(path: str) -> int:
    device = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(device, 0, os.SEEK_END)
    finally:
        os.close(device)
