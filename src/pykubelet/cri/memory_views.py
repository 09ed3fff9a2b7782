"""The in-memory runtime's sandboxes and containers as the door shows them, and who hears its events."""

import asyncio
from collections import deque
from types import TracebackType

from pykubelet.cri.memory_world import SECOND, Box, Sandbox
from pykubelet.cri.stats import ContainerStats, CpuUsage, MemoryUsage, SandboxStats
from pykubelet.cri.types import (
    ContainerEvent,
    ContainerState,
    ContainerStatus,
    ContainerSummary,
    LinuxResources,
    MountStatus,
    SandboxState,
    SandboxStatus,
    SandboxSummary,
)
from pykubelet.rpc import cri_v1

#: Events that one listener may be behind before its stream is cut.
_BACKLOG = 10_000


class Listener:
    """Somebody who hears events; used as a context manager, in which it is among *group*."""

    def __init__(self, group: "set[Listener]") -> None:
        self._group = group
        self._wake = asyncio.Event()
        self.events: deque[ContainerEvent] = deque()
        self.ended = False

    def __enter__(self) -> "Listener":
        self._group.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._group.discard(self)

    def put(self, event: ContainerEvent) -> None:
        """One more event; a listener that is too far behind is cut instead."""
        if len(self.events) >= _BACKLOG:
            self.ended = True
        else:
            self.events.append(event)
        self._wake.set()

    def cut(self) -> None:
        """No more events come."""
        self.ended = True
        self._wake.set()

    def clear(self) -> None:
        """Forget that something came, before waiting."""
        self._wake.clear()

    async def wait(self) -> None:
        """Wait for the next event or the cut."""
        await self._wake.wait()


def sandbox_summary(sandbox: Sandbox) -> SandboxSummary:
    """One sandbox of a list."""
    about = sandbox.config.metadata
    return SandboxSummary(
        id=sandbox.id,
        name=about.name,
        namespace=about.namespace,
        uid=about.uid,
        attempt=about.attempt,
        state=sandbox.state,
        created_at=sandbox.created_at,
        labels=dict(sandbox.labels),
        annotations=dict(sandbox.annotations),
        runtime_handler=sandbox.handler,
    )


def sandbox_status(sandbox: Sandbox) -> SandboxStatus:
    """One sandbox's status; its address goes when it is ready no more."""
    about = sandbox.config.metadata
    host = sandbox.config.linux.security_context.namespace_options.network == cri_v1.NODE
    return SandboxStatus(
        id=sandbox.id,
        name=about.name,
        namespace=about.namespace,
        uid=about.uid,
        attempt=about.attempt,
        state=sandbox.state,
        created_at=sandbox.created_at,
        ips=() if host or sandbox.state is not SandboxState.READY else (sandbox.ip,),
        host_network=host,
        labels=dict(sandbox.labels),
        annotations=dict(sandbox.annotations),
        runtime_handler=sandbox.handler,
    )


def container_summary(box: Box) -> ContainerSummary:
    """One container of a list."""
    return ContainerSummary(
        id=box.id,
        sandbox_id=box.sandbox.id,
        name=box.name,
        attempt=box.config.metadata.attempt,
        state=box.state,
        created_at=box.created_at,
        image=box.config.image.image,
        image_ref=box.image.id,
        image_id=box.image.id,
        labels=dict(box.labels),
        annotations=dict(box.annotations),
    )


def _resources(box: Box) -> LinuxResources:
    linux = box.config.linux.resources
    return LinuxResources(
        cpu_period=linux.cpu_period,
        cpu_quota=linux.cpu_quota,
        cpu_shares=linux.cpu_shares,
        memory_limit_in_bytes=linux.memory_limit_in_bytes,
        cpuset_cpus=linux.cpuset_cpus,
        cpuset_mems=linux.cpuset_mems,
    )


def _log_path(box: Box) -> str:
    directory = box.sandbox.config.log_directory
    return f"{directory}/{box.config.log_path}" if directory and box.config.log_path else ""


def container_status(box: Box, *, verbose: bool) -> ContainerStatus:
    """One container's status."""
    return ContainerStatus(
        id=box.id,
        name=box.name,
        attempt=box.config.metadata.attempt,
        state=box.state,
        created_at=box.created_at,
        started_at=box.started_at,
        finished_at=box.finished_at,
        exit_code=box.exit_code,
        image=(box.image.repo_tags or (box.image.id,))[0],
        image_ref=box.image.id,
        image_id=box.image.id,
        reason=box.reason,
        message=box.message,
        labels=dict(box.labels),
        annotations=dict(box.annotations),
        mounts=tuple(
            MountStatus(m.container_path, m.host_path, m.readonly, m.recursive_read_only)
            for m in box.config.mounts
        ),
        log_path=_log_path(box),
        resources=_resources(box),
        sandbox_id=box.sandbox.id if verbose else "",
    )


def _memory(now: int, used: int) -> MemoryUsage:
    """Usage of memory where all of it is the working set."""
    return MemoryUsage(now, used, 0, used, used, 0, 0)


def container_stats(box: Box, now: int) -> ContainerStats:
    """One container's usage, as its script has it."""
    running = box.state is ContainerState.RUNNING
    ran = max((now if running else box.finished_at) - box.started_at, 0) if box.started_at else 0
    return ContainerStats(
        id=box.id,
        name=box.name,
        attempt=box.config.metadata.attempt,
        labels=dict(box.labels),
        annotations=dict(box.annotations),
        cpu=CpuUsage(now, ran * box.script.nano_cores // SECOND, box.script.nano_cores if running else 0),
        memory=_memory(now, box.script.memory_bytes if running else 0),
    )


def sandbox_stats(sandbox: Sandbox, boxes: list[Box], now: int) -> SandboxStats:
    """One sandbox's usage: its running containers' together."""
    about = sandbox.config.metadata
    running = [box for box in boxes if box.state is ContainerState.RUNNING]
    containers = tuple(container_stats(box, now) for box in running)
    cpu = sum(c.cpu.usage_core_nano_seconds or 0 for c in containers if c.cpu is not None)
    return SandboxStats(
        id=sandbox.id,
        name=about.name,
        namespace=about.namespace,
        uid=about.uid,
        attempt=about.attempt,
        labels=dict(sandbox.labels),
        annotations=dict(sandbox.annotations),
        cpu=CpuUsage(now, cpu, sum(box.script.nano_cores for box in running)),
        memory=_memory(now, sum(box.script.memory_bytes for box in running)),
        process_count=len(containers) + 1,
        containers=containers,
    )
