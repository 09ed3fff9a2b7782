"""What a volume holds, as the rooms that measure volumes, show them and evict for them all see it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class VolumeUsage:
    """What a volume held at one moment; None where it is not known."""

    #: When it was measured.
    time: datetime
    used_bytes: int | None = None
    capacity_bytes: int | None = None
    #: What the pod could still write.
    available_bytes: int | None = None
    #: Of the whole file system.
    inodes: int | None = None
    inodes_used: int | None = None
    inodes_free: int | None = None
    #: Why ``used_bytes`` and ``inodes_used`` are only what was found so far; empty: they are all.
    unfinished: str = ""
    #: What its driver says of its condition; None: nothing.
    abnormal: bool | None = None
    message: str = ""
