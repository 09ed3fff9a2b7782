"""Numbers from samples, and the table they are shown in."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


def percentile(samples: Sequence[float], share: float) -> float:
    """The value below which *share* (0 … 1) of the samples lie, between two samples linearly."""
    ordered = sorted(samples)
    place = (len(ordered) - 1) * share
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


@dataclass(frozen=True)
class Row:
    """One line of the table; *goal* is the highest value that is good enough, None without a goal."""

    what: str
    value: float
    unit: str
    goal: float | None = None
    note: str = ""

    def text(self) -> str:
        goal = "" if self.goal is None else f"≤ {self.goal:g}"
        mark = "" if self.goal is None else ("ok" if self.value <= self.goal else "MISSED")
        return (
            f"  {self.what:<58}{self.value:>10.2f} {self.unit:<7}{goal:>8}  {mark:<6}  {self.note}".rstrip()
        )


def spread(what: str, seconds: Sequence[float], *, note: str = "") -> list[Row]:
    """Median and 95th percentile of *seconds*, in milliseconds."""
    return [
        Row(f"{what}, p50", percentile(seconds, 0.5) * 1e3, "ms", note=note or f"n={len(seconds)}"),
        Row(f"{what}, p95", percentile(seconds, 0.95) * 1e3, "ms"),
    ]


def machine() -> str:
    """On what the figures were taken."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return (
        f"{cores} × {model}, Linux {platform.release()}, Python {platform.python_version()}, "
        f"load {load:.2f} at the start"
    )
