"""What a volume holds, in words for ``describe``. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from pykubelet.base.gotext import format_size
from pykubelet.cli.podrows import human_duration, moment

Object = Mapping[str, Any]


def usage_words(usage: Object, now: datetime) -> Iterator[tuple[str, str]]:
    """Titles and words about the admin socket's *usage* of a volume."""
    used, capacity, free = (usage.get(f"{key}_bytes") for key in ("used", "capacity", "available"))
    least = "at least " if usage.get("unfinished") else ""
    # A device tells its size and nothing more; drivers say so with zeros.
    if used or free:
        yield "Used", f"{least}{_size(used)} of {_size(capacity)}, {_size(free)} free"
    elif capacity:
        yield "Size", _size(capacity)
    if usage.get("inodes"):
        files, free_files = usage.get("inodes_used"), usage.get("inodes_free")
        yield "Inodes", f"{least}{files} of {usage['inodes']}, {free_files} free"
    measured = moment(usage.get("time"))
    if measured is not None:
        why = f", not to the end: {usage['unfinished']}" if usage.get("unfinished") else ""
        yield "Measured", f"{human_duration((now - measured).total_seconds())} ago{why}"
    if usage.get("abnormal") is not None:
        yield "Condition", f"abnormal: {usage['message']}" if usage["abnormal"] else "normal"


def _size(size: int | None) -> str:
    return format_size(size or 0)
