"""What an emptyDir lies on: the disk, memory (tmpfs) or huge pages (hugetlbfs).

Which one, and how large, is decided purely; only a medium's own functions touch the kernel, and block.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from pykubelet.api.core import Container, Pod, ResourceList
from pykubelet.api.quantity import Quantity
from pykubelet.api.volumes import Volume
from pykubelet.api.wellknown import HUGEPAGES_PREFIX
from pykubelet.base.errors import VolumeError
from pykubelet.linux import mountinfo, mounts

MEMORY: Final = "Memory"
HUGE_PAGES: Final = "HugePages"
_SIZED: Final = f"{HUGE_PAGES}-"
_PAGE_SIZE: Final = "pagesize="


class Mounted(Protocol):
    """A medium that is a file system of its own, mounted on the volume's directory."""

    def is_on(self, path: str) -> bool:
        """Whether it is mounted on *path*.

        :raises VolumeError: another one of its kind is.
        """
        ...

    def mount(self, path: str) -> None:
        """Mount it on *path*.

        :raises OSError: refused.
        """
        ...


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """Memory, at most *size* bytes of it (0: the kernel's default)."""

    size: int

    def is_on(self, path: str) -> bool:
        """See :class:`Mounted`."""
        return mounts.has_tmpfs(path)

    def mount(self, path: str) -> None:
        """See :class:`Mounted`; what lies in it never swaps, where the kernel can promise that."""
        mounts.mount_tmpfs(path, size=self.size)


@dataclass(frozen=True, slots=True)
class HugePages:
    """Huge pages of one size; *any_size*: a mount with pages of another size will do too."""

    page_size: Quantity
    any_size: bool = False

    def is_on(self, path: str) -> bool:
        """See :class:`Mounted`."""
        real = os.path.realpath(path)
        found = [mount for mount in mountinfo.read() if mount.mount_point == real]
        if not found or found[-1].fs_type != "hugetlbfs":
            return False
        if self.any_size:
            return True
        there = page_size_of(found[-1].super_options)
        if there is None:
            raise VolumeError(f"mounted dir {path} pagesize is not determined")
        if there != self.page_size:
            raise VolumeError(
                f"mounted dir {path} pagesize '{there}' and requested medium size '{self.page_size}' differ"
            )
        return True

    def mount(self, path: str) -> None:
        """See :class:`Mounted`."""
        mounts.mount_hugetlbfs(path, page_size=str(self.page_size))


def page_size_of(options: Iterable[str]) -> Quantity | None:
    """The page size among a hugetlbfs' options, where the kernel writes 2 MiB as ``2M``."""
    for option in options:
        if option.startswith(_PAGE_SIZE):
            size = option.removeprefix(_PAGE_SIZE)
            return Quantity.parse(size if size.endswith("i") else f"{size}i")
    return None


def medium_of(pod: Pod, volume: Volume, node_memory: int) -> Mounted | None:
    """What has to be mounted for an emptyDir; None: it is a plain directory.

    :raises VolumeError: the medium is unknown, or the pod asks for no such huge pages.
    """
    name = volume.emptyDir.medium if volume.emptyDir is not None else ""
    if not name:
        return None
    if name == MEMORY:
        return Tmpfs(memory_size(pod, volume, node_memory))
    if name == HUGE_PAGES or name.startswith(_SIZED):
        return HugePages(_page_size(name, pod), any_size=name == HUGE_PAGES)
    raise VolumeError(f'unknown storage medium "{name}"')


# --- memory -------------------------------------------------------------------


def memory_size(pod: Pod, volume: Volume, node_memory: int) -> int:
    """Bytes that a volume in memory may hold: the node's, the pod's or its own limit, the least."""
    limits = [node_memory, pod_memory_limit(pod)]
    if volume.emptyDir is not None and volume.emptyDir.sizeLimit is not None:
        limits.append(volume.emptyDir.sizeLimit.value())
    return min((limit for limit in limits if limit > 0), default=0)


def pod_memory_limit(pod: Pod) -> int:
    """The memory limit in bytes that the pod's cgroup gets; 0 when it gets none.

    Without a limit of the pod itself every container must have one. Init containers run
    one by one, beside the sidecars that started before them.
    """
    spec = pod.spec
    if spec.resources is not None and "memory" in spec.resources.limits:
        return spec.resources.limits["memory"].value()
    if not all(_limit(container) for container in [*spec.initContainers, *spec.containers]):
        return 0
    sidecars, peak = 0, 0
    for container in spec.initContainers:
        if container.restartPolicy == "Always":
            sidecars += _limit(container)
            peak = max(peak, sidecars)
        else:
            peak = max(peak, sidecars + _limit(container))
    needed = max(peak, sidecars + _sum(spec.containers))
    overhead = spec.overhead.get("memory")
    return needed + (overhead.value() if overhead is not None else 0) if needed else 0


def _limit(container: Container) -> int:
    limit = container.resources.limits.get("memory")
    return limit.value() if limit is not None else 0


def _sum(containers: Iterable[Container]) -> int:
    return sum(_limit(container) for container in containers)


# --- huge pages ---------------------------------------------------------------


def _page_size(medium: str, pod: Pod) -> Quantity:
    """The size of the pages that the pod requests, which a medium with a size must be one of."""
    requested = [_parsed(name.removeprefix(HUGEPAGES_PREFIX)) for name in _huge_page_names(pod)]
    if medium == HUGE_PAGES:
        if any(size != requested[0] for size in requested):
            raise VolumeError(
                f"medium: {medium} can't be used if container requests multiple huge page sizes"
            )
    else:
        wanted = _parsed(medium.removeprefix(_SIZED))
        requested = [size for size in requested if size == wanted]
    if not requested:
        raise VolumeError(
            f"medium {medium}: hugePages storage requested, but there is no resource request for huge pages"
        )
    return requested[0]


def _huge_page_names(pod: Pod) -> Iterator[str]:
    for requests in _requests(pod):
        yield from (name for name in requests if name.startswith(HUGEPAGES_PREFIX))


def _requests(pod: Pod) -> Iterator[ResourceList]:
    spec = pod.spec
    if spec.resources is not None:
        yield spec.resources.requests
    for container in [*spec.containers, *spec.initContainers]:
        yield container.resources.requests


def _parsed(size: str) -> Quantity:
    try:
        return Quantity.parse(size)
    except ValueError as error:
        raise VolumeError(str(error)) from error
