"""Which dead containers and sandboxes are removed, and the logs and links that nobody needs any more.

The selection is pure; :class:`ContainerGC` reads, selects and removes.
"""

import asyncio
import contextlib
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from pykubelet.base.clock import Clock
from pykubelet.base.gotext import aggregate
from pykubelet.base.journal import Journal, PodRef
from pykubelet.base.layout import Layout
from pykubelet.cri.door import Runtime
from pykubelet.cri.errors import CriError
from pykubelet.cri.types import (
    ContainerState,
    ContainerStatus,
    ContainerSummary,
    SandboxState,
    SandboxSummary,
)
from pykubelet.linux.removetree import remove_tree

log = logging.getLogger(__name__)

Removable = Callable[[str], bool]

_POD_ENDED = "its pod is gone, or has ended and its containers may go"


@dataclass(frozen=True, slots=True)
class GCPolicy:
    """How many dead containers stay; negative numbers set no limit."""

    min_age: float = 0.0
    per_container: int = 1
    total: int = -1


class PodStates(Protocol):
    """What collection has to know of pods."""

    def content_removable(self, uid: str) -> bool:
        """Everything of the pod may go: it was deleted and has ended, or is not known."""
        ...

    def runtime_removable(self, uid: str) -> bool:
        """Its containers may go: it has ended."""
        ...


class Remover(Protocol):
    """Who removes dead containers and sandboxes with all that belongs to them."""

    async def stop_container(self, container_id: str, grace: int) -> None:
        """Stop a container whose state is unknown."""
        ...

    async def remove_container(self, status: ContainerStatus, *, keep_logs: bool = False) -> None:
        """Remove a dead container with its logs."""
        ...

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Stop a sandbox."""
        ...

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Remove a sandbox."""
        ...


def _newest_first(containers: Iterable[ContainerSummary]) -> list[ContainerSummary]:
    return sorted(containers, key=lambda c: (c.created_at, c.attempt), reverse=True)


def select_containers(
    containers: Sequence[ContainerSummary], policy: GCPolicy, now_ns: int, removable: Removable
) -> list[ContainerSummary]:
    """The containers to remove, in the order of removal (of each name the oldest first)."""
    units: dict[tuple[str, str], list[ContainerSummary]] = defaultdict(list)
    youngest = now_ns - int(policy.min_age * 1e9)
    chosen: list[ContainerSummary] = []
    seen: set[tuple[str, str]] = set()
    for container in _newest_first(containers):
        key = (container.pod_uid, container.name)
        newest = key not in seen
        seen.add(key)
        if container.state is ContainerState.RUNNING or container.created_at > youngest:
            continue
        if container.state is ContainerState.CREATED and not removable(container.pod_uid):
            # The newest may be about to start; an older one never will, and has nothing to tell.
            if not newest:
                chosen.append(container)
            continue
        units[key].append(container)

    def trim(keep: int) -> None:
        for unit in units.values():
            while len(unit) > keep:
                chosen.append(unit.pop())

    for key in [key for key in units if removable(key[0])]:
        chosen += reversed(units.pop(key))
    if policy.per_container >= 0:
        trim(policy.per_container)
    left = sum(map(len, units.values()))
    if policy.total >= 0 and left > policy.total:
        trim(max(1, policy.total // len(units)))
        rest = _newest_first(c for unit in units.values() for c in unit)
        chosen += reversed(rest[policy.total :])
    return chosen


def select_sandboxes(
    sandboxes: Sequence[SandboxSummary], containers: Sequence[ContainerSummary], removable: Removable
) -> list[SandboxSummary]:
    """The sandboxes to remove: dead, empty, and not the newest of a pod that is still there."""
    used = {container.sandbox_id for container in containers}
    pods: dict[str, list[SandboxSummary]] = defaultdict(list)
    for sandbox in sorted(sandboxes, key=lambda s: (s.created_at, s.attempt), reverse=True):
        pods[sandbox.uid].append(sandbox)
    chosen: list[SandboxSummary] = []
    for uid, own in pods.items():
        old = own if removable(uid) else own[1:]
        chosen += [s for s in reversed(old) if s.state is not SandboxState.READY and s.id not in used]
    return chosen


def uid_of_log_dir(name: str) -> str:
    """The pod's UID in the name of its log directory."""
    return name.rpartition("_")[2]


def container_of_link(name: str) -> str | None:
    """The container's ID in the name of a flat log link; None if it is no such link."""
    stem, dot, kind = name.rpartition(".")
    container_id = stem.rpartition("-")[2]
    return container_id if dot and kind == "log" and "-" in stem and container_id else None


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _dangling(directory: Path) -> list[Path]:
    links = (directory / name for name in _names(directory) if name.endswith(".log"))
    return [link for link in links if link.is_symlink() and not link.exists()]


def _pod_of(labels: Mapping[str, str]) -> PodRef:
    names = (labels.get(f"io.kubernetes.pod.{key}", "") for key in ("namespace", "name", "uid"))
    return PodRef(*names)


class ContainerGC:
    """Removes what is dead, once for each call of :meth:`collect`."""

    def __init__(
        self,
        runtime: Runtime,
        layout: Layout,
        clock: Clock,
        journal: Journal,
        policy: GCPolicy,
        pods: PodStates,
        remover: Remover,
    ) -> None:
        self._runtime = runtime
        self._layout = layout
        self._clock = clock
        self._journal = journal
        self._policy = policy
        self._pods = pods
        self._remover = remover

    async def collect(self, *, sources_ready: bool, evict_ended: bool = False) -> None:
        """Remove dead containers, sandboxes, log directories and links.

        Until all sources were seen (*sources_ready*) no pod counts as gone. With
        *evict_ended* (disk pressure) all containers of pods that have ended go, too.

        :raises RuntimeError: some step failed; the others were done.
        """

        def removable(uid: str) -> bool:
            return self._pods.content_removable(uid) or (evict_ended and self._pods.runtime_removable(uid))

        errors: list[object] = []
        known = removable if sources_ready else lambda uid: False
        for step in (
            partial(self._containers, known),
            partial(self._sandboxes, known),
            partial(self._log_dirs, sources_ready=sources_ready),
            self._links,
        ):
            try:
                await step()
            except (CriError, OSError) as error:
                errors.append(error)
        if errors:
            raise RuntimeError(aggregate(errors))

    async def _containers(self, removable: Removable) -> None:
        listed = await self._runtime.list_containers()
        for container in select_containers(listed, self._policy, self._clock.now_ns(), removable):
            try:
                if container.state is ContainerState.UNKNOWN:
                    # It may run after all.
                    await self._remover.stop_container(container.id, 2)
                await self._remover.remove_container(await self._runtime.container_status(container.id))
            except (CriError, OSError) as error:
                # Its pod may have removed it since the list was made.
                if not (isinstance(error, CriError) and error.not_found):
                    log.warning("container %s was not removed: %s", container.id, error)
                continue
            gone = removable(container.pod_uid)
            self._journal.record(
                "ContainerRemoved",
                f"removed dead instance {container.attempt} of {container.name}",
                pod=_pod_of(container.labels),
                container=container.name,
                cause=_POD_ENDED if gone else "more dead containers are there than are to be kept",
                id=container.id,
            )

    async def _sandboxes(self, removable: Removable) -> None:
        # In this order: a container made between the calls must not be missed.
        sandboxes = await self._runtime.list_sandboxes()
        containers = await self._runtime.list_containers()
        for sandbox in select_sandboxes(sandboxes, containers, removable):
            try:
                await self._remover.stop_sandbox(sandbox.id)
                await self._remover.remove_sandbox(sandbox.id)
            except CriError as error:
                log.warning("sandbox %s was not removed: %s", sandbox.id, error)
                continue
            self._journal.record(
                "SandboxRemoved",
                f"removed dead sandbox {sandbox.id[:12]}",
                pod=PodRef(sandbox.namespace, sandbox.name, sandbox.uid),
                cause=_POD_ENDED if removable(sandbox.uid) else "the pod has a newer sandbox",
                id=sandbox.id,
            )

    async def _log_dirs(self, *, sources_ready: bool) -> None:
        if not sources_ready:
            return
        for name in await asyncio.to_thread(_names, self._layout.pod_logs):
            if not self._pods.content_removable(uid_of_log_dir(name)):
                continue
            try:
                await asyncio.to_thread(remove_tree, str(self._layout.pod_logs / name))
            except OSError as error:
                log.warning("the logs in %s were not removed: %s", self._layout.pod_logs / name, error)
                continue
            self._journal.record("LogsRemoved", f"removed the logs in {name}", cause=_POD_ENDED)

    async def _links(self) -> None:
        for link in await asyncio.to_thread(_dangling, self._layout.container_log_links):
            container_id = container_of_link(link.name)
            if container_id is not None and not await self._dead(container_id):
                continue
            with contextlib.suppress(FileNotFoundError):
                await asyncio.to_thread(os.unlink, link)

    async def _dead(self, container_id: str) -> bool:
        """Whether the container has ended or is gone; while it runs its log may just be rotating."""
        try:
            status = await self._runtime.container_status(container_id)
        except CriError as error:
            return error.not_found
        return status.state is ContainerState.EXITED
