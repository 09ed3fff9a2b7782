"""Which images are removed, and when: pure decisions. :mod:`.image_collector` acts on them.

An image is known by its ID; with the gate RuntimeClassInImageCriApi by its ID and the runtime
handler it was pulled for. Times are nanoseconds since the epoch.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

from pykubelet.cri.types import ContainerSummary, Image

#: ID and runtime handler; the handler is empty without the gate.
Key = tuple[str, str]

_SECOND = 1_000_000_000
#: What names of Docker Hub's images begin with though few write it.
_USUAL: Final = ("docker.io/library/", "docker.io/")


@dataclass(frozen=True, slots=True)
class ImagePolicy:
    """When images are removed, and which never are."""

    #: Percent of the file system in use from which images are removed, and to which.
    high: int = 85
    low: int = 80
    #: Seconds since an image was first seen before which it is not removed.
    min_age: float = 120.0
    #: Seconds after which an unused image goes whatever the disk is like; 0 never.
    max_age: float = 0.0
    #: Patterns (``*``, ``?``, ``[…]``) of names that are never removed.
    keep: tuple[str, ...] = ()

    @property
    def disabled(self) -> bool:
        """Nothing is ever removed but by request."""
        return self.high == 100 and not self.max_age


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image, and what was seen of it."""

    id: str
    handler: str
    names: tuple[str, ...]
    size: int
    pinned: bool
    first_detected: int
    #: 0: never.
    last_used: int = 0

    @property
    def key(self) -> Key:
        """What it is known by."""
        return self.id, self.handler


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """Bytes of the file system that images are on."""

    capacity: int
    available: int

    @property
    def percent(self) -> int:
        """How much is in use, as upstream rounds it; *capacity* must not be 0."""
        return 100 - min(self.available, self.capacity) * 100 // self.capacity

    def to_free(self, policy: ImagePolicy) -> int:
        """Bytes to free to get to the low threshold."""
        return self.capacity * (100 - policy.low) // 100 - min(self.available, self.capacity)


def key_of(image: Image, *, handlers: bool) -> Key:
    """What *image* is known by; *handlers*: the gate is on."""
    return image.id, image.runtime_handler if handlers else ""


def used_images(
    images: Iterable[Image],
    containers: Iterable[ContainerSummary],
    others: Collection[str],
    *,
    handlers: bool,
) -> set[Key]:
    """The images that any container has, whatever its state, or that *others* name (ID, tag or digest).

    *others* are mounted images and the runtime's sandbox image.
    """
    refs: set[tuple[str, str | None]] = {(ref, None) for ref in others}
    for container in containers:
        handler = container.runtime_handler if handlers else ""
        # Newer runtimes give a digest as the reference, older ones know no image ID.
        refs |= {(ref, handler) for ref in (container.image_id, container.image_ref) if ref}
    used = set()
    for image in images:
        key = key_of(image, handlers=handlers)
        names = (image.id, *image.repo_tags, *image.repo_digests)
        if any((name, handler) in refs for name in names for handler in (key[1], None)):
            used.add(key)
    return used


def detected(
    records: Mapping[Key, ImageRecord],
    images: Iterable[Image],
    used: Collection[Key],
    now: int,
    *,
    handlers: bool,
) -> dict[Key, ImageRecord]:
    """The records after a look: new ones for new images, none for those that are gone."""
    after = {}
    for image in images:
        key = key_of(image, handlers=handlers)
        before = records.get(key)
        after[key] = ImageRecord(
            id=image.id,
            handler=key[1],
            names=(*image.repo_tags, *image.repo_digests),
            size=image.size,
            pinned=image.pinned,
            first_detected=now if before is None else before.first_detected,
            last_used=before.last_used if before is not None else 0,
        )
        if key in used:
            after[key] = replace(after[key], last_used=now)
    return after


def kept(record: ImageRecord, patterns: Sequence[str]) -> bool:
    """Whether a pattern says that the image stays."""
    names = {record.id, *record.names}
    for usual in _USUAL:
        names |= {name.removeprefix(usual) for name in record.names}
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def removable(
    records: Mapping[Key, ImageRecord], used: Collection[Key], policy: ImagePolicy
) -> list[ImageRecord]:
    """The images that may go, first those that were used least lately, then those first seen earlier."""
    free = [
        record
        for key, record in records.items()
        if key not in used and not record.pinned and not kept(record, policy.keep)
    ]
    return sorted(free, key=lambda record: (record.last_used, record.first_detected, record.key))


def too_old(images: Iterable[ImageRecord], policy: ImagePolicy, now: int, began: int) -> list[ImageRecord]:
    """Those among the *removable* that were unused for too long.

    None goes before the kubelet has itself watched for that long (since *began*). An image never used
    counts from when it was first seen, where upstream takes it for endlessly old.
    """
    longest = int(policy.max_age * _SECOND)
    if not longest or now - began <= longest:
        return []
    return [image for image in images if now - max(image.last_used, image.first_detected) > longest]


def old_enough(images: Iterable[ImageRecord], policy: ImagePolicy, now: int) -> list[ImageRecord]:
    """Those that may go to free space: what was just pulled may be about to be used."""
    return [
        image
        for image in images
        if image.last_used < now and now - image.first_detected >= int(policy.min_age * _SECOND)
    ]
