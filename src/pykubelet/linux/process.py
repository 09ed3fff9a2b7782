"""What the kernel knows of this process."""

import os
from pathlib import Path


def started_at(proc: Path = Path("/proc")) -> float:
    """When this process began, in seconds since the epoch (``/proc/self/stat`` and ``/proc/stat``).

    :raises OSError, ValueError: the kernel does not tell.
    """
    ticks = int((proc / "self/stat").read_text().rpartition(")")[2].split()[19])
    boot = next(line for line in (proc / "stat").read_text().splitlines() if line.startswith("btime "))
    return int(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
