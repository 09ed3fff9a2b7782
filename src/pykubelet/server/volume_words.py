"""What ``explain`` says of a volume that a pod waits for, or that gives it trouble. Pure."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from pykubelet.api.volume_usage import VolumeUsage
from pykubelet.base.gotext import format_size

from .doors import VolumeView

#: A volume of which less than this part is free is told of.
_NEARLY_FULL: Final = 0.05
_EMPTY_DIR: Final = "kubernetes.io/empty-dir"


def waits(view: VolumeView) -> str:
    """One line: the volume and what is behind it, since when and for what it waits, last error, next try."""
    parts = [f"{_named(view)}: {view.state} for {view.since:.0f}s"]
    if view.waits_for:
        parts.append(f"waits for {view.waits_for}")
    if view.failures:
        parts.append(f"{view.step or 'it'} failed {view.failures} times")
    if view.error:
        parts.append(f"the last error is: {view.error}" if view.failures else view.error)
    if view.next_try is not None:
        parts.append(f"next try in {view.next_try:.0f}s")
    return ", ".join(parts)


def trouble(view: VolumeView, now: datetime) -> str:
    """One line about a volume that the pod writes to and that is nearly full, or ill; else empty."""
    usage = view.usage
    if usage is None or not (view.claim or view.plugin == _EMPTY_DIR):
        return ""
    parts = [*_shortages(usage), *([f"its driver says: {usage.message}"] if usage.abnormal else [])]
    if not parts:
        return ""
    age = max(0.0, (now - usage.time).total_seconds())
    return f"{_named(view)}: {', '.join(parts)} (measured {age:.0f}s ago)"


def _shortages(usage: VolumeUsage) -> Iterator[str]:
    if _scarce(usage.available_bytes, usage.capacity_bytes):
        free, size = format_size(usage.available_bytes or 0), format_size(usage.capacity_bytes or 0)
        yield f"{free} of {size} are free"
    if _scarce(usage.inodes_free, usage.inodes):
        yield f"{usage.inodes_free} of {usage.inodes} inodes are free"


def _scarce(free: int | None, total: int | None) -> bool:
    return bool(total) and free is not None and free < (total or 0) * _NEARLY_FULL


def _named(view: VolumeView) -> str:
    behind = [
        f"{word} {value}"
        for word, value in (("claim", view.claim), ("persistent volume", view.persistent_volume))
        if value
    ]
    return f"volume {view.volume}" + (f" ({', '.join(behind)})" if behind else "")
