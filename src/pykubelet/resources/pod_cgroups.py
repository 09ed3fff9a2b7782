"""The tree of pods' cgroups on this node: made at start, kept right, one cgroup for each pod.

Decisions (names, values) are pure and live beside this; here they are carried out, off
the event loop, and told.
"""

import asyncio
import errno
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pykubelet.api.core import Pod, ResourceList
from pykubelet.api.podinfo import pod_ref
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Events, Journal, PodRef
from pykubelet.linux.cgroups import CgroupError, CgroupFs, Limits

from . import names, values
from .allocatable import Reservations, enforced, with_pids
from .values import PodCgroupConfig

log = logging.getLogger(__name__)

#: Seconds between re-assertions of the QoS levels, and between tries to enforce Node Allocatable.
REASSERT_PERIOD = 60.0


@dataclass(frozen=True, slots=True)
class TreeConfig:
    """What the configuration says about the tree."""

    #: ``cgroupRoot``, an absolute cgroupfs path.
    cgroup_root: str = "/"
    #: ``cgroupsPerQOS``; without it there is no tree, and pods go right below the root.
    per_qos: bool = True
    #: ``enforceNodeAllocatable``.
    enforce: frozenset[str] = frozenset({"pods"})
    #: ``systemReservedCgroup`` and ``kubeReservedCgroup``.
    system_reserved_cgroup: str = ""
    kube_reserved_cgroup: str = ""
    pods: PodCgroupConfig = field(default_factory=PodCgroupConfig)


@dataclass(frozen=True, slots=True)
class NodeAmounts:
    """What the node has, and what of it is kept back."""

    capacity: ResourceList
    reservations: Reservations = field(default_factory=Reservations)
    #: How many processes the machine can have; 0 if unknown.
    max_pids: int = 0


def _no_exclusive_cpus(_: Pod) -> bool:
    return False


class PodCgroupManager:
    """The cgroupfs driver: makes, corrects and removes the cgroups of pods."""

    def __init__(
        self,
        fs: CgroupFs,
        config: TreeConfig,
        node: NodeAmounts,
        *,
        journal: Journal,
        events: Events,
        clock: Clock,
        page_sizes: Sequence[int] = (),
        exclusive_cpus: Callable[[Pod], bool] = _no_exclusive_cpus,
    ) -> None:
        """*exclusive_cpus* tells whether a pod has CPUs of its own (its quota is lifted then)."""
        self._fs = fs
        self._config = config
        self._node = node
        self._journal = journal
        self._events = events
        self._clock = clock
        self._page_sizes = tuple(page_sizes)
        self._exclusive_cpus = exclusive_cpus
        self._root = names.kubepods(config.cgroup_root)
        #: The burstable level's limits as they were last written.
        self._burstable: Limits | None = None
        self._levels = asyncio.Lock()

    # --- the tree -------------------------------------------------------------

    async def ensure_tree(self) -> None:
        """Make the cgroup of all pods where it is missing, and the QoS levels with their limits.

        :raises CgroupError: the configured root is not there; upstream's text.
        :raises OSError: the kernel refused.
        """
        if not self._config.per_qos:
            return
        created = await asyncio.to_thread(self._make_tree)
        if created:
            self._journal.record(
                "CgroupTreeCreated", f"made the cgroup of all pods, {names.to_cgroupfs(self._root)}"
            )

    def _make_tree(self) -> bool:
        root = names.parse_cgroupfs(self._config.cgroup_root)
        missing = self._fs.missing(self._config.cgroup_root)
        if missing:
            raise CgroupError(errno.ENOENT, f"invalid configuration: {_lacking(self._fs, root, missing)}")
        path = names.to_cgroupfs(self._root)
        created = bool(self._fs.missing(path))
        if created:
            self._fs.create(path)
            self._fs.apply(path, self._kubepods_limits())
        _, burstable, best_effort = names.qos_levels(self._root)
        for level, limits in (
            (burstable, Limits(hugepages=values.unbounded(self._page_sizes))),
            (best_effort, values.best_effort_values(self._page_sizes)),
        ):
            self._fs.create(names.to_cgroupfs(level))
            self._fs.apply(names.to_cgroupfs(level), limits)
        return created

    def _kubepods_limits(self) -> Limits:
        node = self._node
        if "pods" in self._config.enforce:
            return values.node_values(enforced(node.capacity, node.reservations, node.max_pids))
        return values.node_values(with_pids(node.capacity, node.max_pids))

    async def enforce_allocatable(self) -> None:
        """Hold all pods together to Node Allocatable; returns once the kernel accepted it.

        While pods use more than the new limit it refuses: tried again every minute.
        """
        if not self._config.per_qos:
            return
        path, limits = names.to_cgroupfs(self._root), self._kubepods_limits()
        while True:
            try:
                await asyncio.to_thread(self._fs.apply, path, limits)
            except OSError as error:
                message = f"Failed to update Node Allocatable Limits {_quoted(self._root)}: {error}"
                log.warning("%s", message)
                self._events.node_event("Warning", "FailedNodeAllocatableEnforcement", message)
            else:
                self._events.node_event(
                    "Normal", "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods"
                )
                self._journal.record(
                    "NodeAllocatableEnforced",
                    "all pods together are held to Node Allocatable",
                    cpu_shares=limits.cpu_shares,
                    memory=limits.memory,
                    pids=limits.pids,
                )
                return
            await self._clock.sleep(REASSERT_PERIOD)

    async def enforce_reserved(self) -> None:
        """Hold the system's and Kubernetes' own cgroups to what is reserved for them, where asked.

        :raises CgroupError: such a cgroup is missing or refuses; the start has to end.
        """
        reservations = self._node.reservations
        for kind, cgroup, reserved in (
            ("system", self._config.system_reserved_cgroup, reservations.system),
            ("kube", self._config.kube_reserved_cgroup, reservations.kube),
        ):
            if f"{kind}-reserved" in self._config.enforce:
                await self._enforce_one(f"{kind} reserved", "", cgroup, values.node_values(reserved))
            if f"{kind}-reserved-compressible" in self._config.enforce:
                limits = values.compressible_values(reserved)
                await self._enforce_one(f"{kind} reserved", " Compressible", cgroup, limits)

    async def _enforce_one(self, what: str, variant: str, cgroup: str, limits: Limits) -> None:
        def work() -> None:
            name = names.parse_cgroupfs(cgroup)
            missing = self._fs.missing(names.to_cgroupfs(name))
            if missing:
                raise CgroupError(errno.ENOENT, _lacking(self._fs, name, missing))
            self._fs.apply(names.to_cgroupfs(name), limits)

        try:
            await asyncio.to_thread(work)
        except OSError as error:
            title = what.title() + variant
            message = f'Failed to enforce {title} Cgroup Limits on "{cgroup}": {error.strerror or error}'
            self._events.node_event("Warning", "FailedNodeAllocatableEnforcement", message)
            raise CgroupError(error.errno, message) from error
        message = f"Updated limits on {what} cgroup {cgroup}"
        self._events.node_event("Normal", "NodeAllocatableEnforced", message)

    async def reassert(self, active: Callable[[], Sequence[Pod]]) -> None:
        """Never ends: writes the QoS levels' limits anew every minute, whoever changed them meanwhile."""
        while self._config.per_qos:
            try:
                await self._set_levels(active(), force=True)
            except OSError:
                log.exception("failed to update the QoS level cgroups")
            await self._clock.sleep(REASSERT_PERIOD)

    # --- the door of the pods -------------------------------------------------

    async def exists(self, pod: Pod) -> bool:
        """See :class:`pykubelet.pods.doors.PodCgroups`."""
        if not self._config.per_qos:
            return True
        return not await asyncio.to_thread(self._fs.missing, self._path(pod))

    async def ensure(self, pod: Pod) -> tuple[Limits, Limits]:
        """See :class:`pykubelet.pods.doors.PodCgroups`."""
        if not self._config.per_qos:
            return Limits(), Limits()
        path = self._path(pod)
        wanted = values.pod_values(pod, self._config.pods, exclusive_cpus=self._exclusive_cpus(pod))

        def work() -> tuple[bool, Limits]:
            if self._fs.missing(path):
                self._fs.create(path)
                self._fs.apply(path, wanted)
                return True, self._fs.shown(wanted)
            self._fs.apply(path, Limits(pids=wanted.pids, hugepages=wanted.hugepages))
            return False, self._fs.limits(path)

        new, found = await asyncio.to_thread(work)
        if new:
            self._journal.record(
                "PodCgroupCreated",
                f"made the pod's cgroup {path}",
                pod=pod_ref(pod),
                cpu_shares=wanted.cpu_shares,
                cpu_quota=wanted.cpu_quota,
                memory=wanted.memory,
                pids=wanted.pids,
            )
        return found, self._fs.shown(wanted)

    async def limits(self, pod: Pod) -> Limits:
        """See :class:`pykubelet.pods.doors.PodCgroups`."""
        if not self._config.per_qos:
            return Limits()
        return await asyncio.to_thread(self._fs.limits, self._path(pod))

    async def set_limits(self, pod: Pod, limits: Limits) -> None:
        """See :class:`pykubelet.pods.doors.PodCgroups`."""
        if self._config.per_qos:
            await asyncio.to_thread(self._fs.apply, self._path(pod), limits)

    async def memory_usage(
        self, pod: Pod, container_ids: Sequence[str]
    ) -> tuple[int | None, Mapping[str, int | None]]:
        """See :class:`pykubelet.pods.doors.PodCgroups`."""
        if not self._config.per_qos:
            return None, {}
        return await asyncio.to_thread(self._memory_usage, self._path(pod), container_ids)

    def _memory_usage(
        self, path: str, container_ids: Sequence[str]
    ) -> tuple[int | None, Mapping[str, int | None]]:
        # A container's cgroup has its ID in its name, whatever the driver.
        children = self._fs.children(path)
        found: dict[str, int | None] = {}
        for container_id in container_ids:
            name = next((child for child in children if container_id in child), None)
            found[container_id] = None if name is None else self._fs.memory_usage(f"{path}/{name}")
        return self._fs.memory_usage(path), found

    async def destroy(self, uid: str) -> None:
        """See :class:`pykubelet.pods.doors.PodCgroups`.

        :raises OSError: a process survived, or the kernel refused; the cgroup is left.
        """
        if self._config.per_qos and await asyncio.to_thread(self._destroy, uid):
            self._journal.record("PodCgroupRemoved", "removed the pod's cgroup", pod=PodRef("", "", uid))

    def _destroy(self, uid: str) -> bool:
        found = False
        for candidate in names.pod_candidates(self._root, uid):
            # Asked at the level above: the cgroup may be left in a single hierarchy only.
            if candidate[-1] in self._fs.children(names.to_cgroupfs(candidate[:-1])):
                found = True
                self._fs.kill(names.to_cgroupfs(candidate))
                self._fs.remove(names.to_cgroupfs(candidate))
        return found

    async def update_qos(self, active: Sequence[Pod]) -> None:
        """See :class:`pykubelet.pods.doors.PodCgroups`; writes nothing when nothing changed.

        :raises OSError: the kernel refused.
        """
        if self._config.per_qos:
            await self._set_levels(active, force=False)

    async def _set_levels(self, active: Sequence[Pod], *, force: bool) -> None:
        async with self._levels:
            limits = values.burstable_values(active, self._page_sizes)
            if limits == self._burstable and not force:
                return
            self._burstable = None
            await asyncio.to_thread(self._write_levels, limits)
            self._burstable = limits

    def _write_levels(self, limits: Limits) -> None:
        _, burstable, best_effort = names.qos_levels(self._root)
        self._fs.apply(names.to_cgroupfs(burstable), limits)
        self._fs.apply(names.to_cgroupfs(best_effort), values.best_effort_values(self._page_sizes))

    async def list_pods(self) -> set[str]:
        """See :class:`pykubelet.pods.doors.PodCgroups`; one hierarchy that has a cgroup is enough."""
        return await asyncio.to_thread(self._list_pods) if self._config.per_qos else set()

    def _list_pods(self) -> set[str]:
        children: set[str] = set()
        for level in names.qos_levels(self._root):
            children |= self._fs.children(names.to_cgroupfs(level))
        return {uid for child in children if (uid := names.uid_of(child)) is not None}

    def parent(self, pod: Pod) -> str:
        """See :class:`pykubelet.pods.doors.PodCgroups`."""
        return self._path(pod) if self._config.per_qos else self._config.cgroup_root

    def _path(self, pod: Pod) -> str:
        return names.to_cgroupfs(names.pod_name(self._root, pod))


def _quoted(name: names.Name) -> str:
    return "[" + " ".join(f'"{part}"' for part in name) + "]"


def _lacking(fs: CgroupFs, name: names.Name, missing: Sequence[str]) -> str:
    what = "paths" if fs.version == 1 else "controllers"
    return f"cgroup {_quoted(name)} has some missing {what}: {', '.join(missing)}"
