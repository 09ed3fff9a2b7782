"""The steps of the daemon's start that belong to no room, and the error that ends a start."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from pykubelet.base.journal import Events
from pykubelet.base.layout import Layout
from pykubelet.linux import selinux
from pykubelet.server import ListenError, TlsError
from pykubelet.volumes import ensure_shared_root

log = logging.getLogger(__name__)

#: What a node on cgroup v1 is told at its start.
CGROUP_V1_DEPRECATED = (
    "cgroup v1 detected. cgroup v1 support is deprecated and will be removed in a future release. "
    "Please migrate to cgroup v2. More information at "
    "https://git.k8s.io/enhancements/keps/sig-node/5573-remove-cgroup-v1"
)
OOM_SCORE = Path("/proc/self/oom_score_adj")
#: With it containers may use what plug-ins' containers put there: all of them share it.
SHARED_LABEL = "system_u:object_r:container_file_t:s0"


class StartError(Exception):
    """The daemon cannot start, or cannot go on; one line for the user."""


async def prepare_host(layout: Layout, oom_score_adj: int, *, labelled: bool = False) -> None:
    """Make the daemon's directories, share the mounts below its root, and set its own OOM score.

    *labelled*: SELinux is on, and those of plug-ins get a label that containers can use.

    :raises StartError: a directory cannot be made.
    """
    for directory, mode in (
        (layout.root, 0o750),
        (layout.pods, 0o750),
        (layout.plugins, 0o750),
        (layout.plugins_registry, 0o750),
        (layout.pod_logs, 0o750),
        (layout.container_log_links, 0o755),
    ):
        try:
            await asyncio.to_thread(partial(directory.mkdir, mode=mode, parents=True, exist_ok=True))
        except OSError as error:
            raise StartError(f"{directory} cannot be made: {error}") from error
    for directory in (layout.plugins_registry, layout.plugins) if labelled else ():
        try:
            await asyncio.to_thread(selinux.set_file_label, directory, SHARED_LABEL)
        except OSError as error:
            log.warning(
                "unprivileged plug-ins in containers may not work: %s has no label: %s", directory, error
            )
    await asyncio.to_thread(ensure_shared_root, layout)
    try:
        await asyncio.to_thread(OOM_SCORE.write_text, str(oom_score_adj))
    except OSError as error:
        log.warning("oomScoreAdj %d was not set: %s", oom_score_adj, error)


def tell_start(events: Events, cgroup_version: int) -> None:
    """The node's events of a start."""
    events.node_event("Normal", "Starting", "Starting kubelet.")
    if cgroup_version == 1:
        events.node_event("Warning", "CgroupV1", CGROUP_V1_DEPRECATED)


def listening(start: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """A server's start whose refusal ends the daemon's with one line."""

    async def begin() -> None:
        try:
            await start()
        except (ListenError, TlsError) as error:
            raise StartError(str(error)) from error

    return begin


def called(start: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    """A start that needs no waiting, as a stage wants it."""

    async def begin() -> None:
        start()

    return begin
