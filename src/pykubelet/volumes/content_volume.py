"""configMap, secret, downwardAPI and projected volumes: files that the kubelet writes, and renews.

They are one plug-in in four kinds: a directory (for all but config maps a tmpfs) whose files
come from the cluster and from the pod itself. Containers only ever read them.
"""

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from pykubelet.api.core import Pod
from pykubelet.api.downward import DownwardFacts
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volumes import Volume
from pykubelet.base.clock import Clock
from pykubelet.base.layout import Layout
from pykubelet.linux import safeopen

from . import atomic_writer, kinds, local_tree, nested, ownership, payload
from .doors import Feeds
from .identity import group_of
from .medium import Tmpfs, memory_size

T = TypeVar("T")

#: How often trust bundles are asked for, as often as a pod is synced.
_BUNDLE_PERIOD: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Content:
    """The files of one volume, as they were at one moment."""

    files: Mapping[str, payload.File]
    #: When they were gathered, in nanoseconds of wall time; their directory is named so.
    gathered_ns: int
    #: When to gather them again, whether something changed or not; None: never.
    refresh_at: datetime | None = None


class ContentVolume:
    """The plug-in; see :class:`~pykubelet.volumes.plugin.ContentPlugin`."""

    def __init__(
        self,
        name: str,
        kind: str,
        layout: Layout,
        clock: Clock,
        feeds: Feeds,
        node_memory: Callable[[], int],
        *,
        in_memory: bool = True,
    ) -> None:
        """A plug-in for volumes of *kind*; *node_memory* as for an emptyDir."""
        self.name = name
        self.kind = kind
        self._layout = layout
        self._clock = clock
        self._feeds = feeds
        self._node_memory = node_memory
        self._in_memory = in_memory

    async def gather(self, pod: Pod, volume: Volume) -> Content:
        """Fetch what the volume's files are made of.

        :raises VolumeError: something is missing, or cannot be had now; with all of it.
        """
        namespace, account = pod.metadata.namespace, pod.spec.serviceAccountName
        needs = payload.needed(volume)
        objects, tokens, bundles = self._feeds.objects, self._feeds.tokens, self._feeds.bundles
        requests = [payload.token_request(pod, source) for source in needs.tokens]
        facts = payload.Facts(
            {name: await _asked(objects.config_map(namespace, name)) for name in needs.config_maps},
            {name: await _asked(objects.secret(namespace, name)) for name in needs.secrets},
            [await _asked(tokens.token(namespace, account, request)) for request in requests],
            DownwardFacts(allocatable=self._feeds.node.allocatable),
            [await _asked(bundles.anchors(source)) for source in needs.bundles] if bundles else (),
        )
        files = payload.files_of(pod, volume, facts)
        ends = [tokens.refresh_at(namespace, account, request) for request in requests]
        if facts.bundles:
            # No change of a bundle is told.
            ends.append(self._clock.now() + _BUNDLE_PERIOD)
        refresh_at = min((end for end in ends if end is not None), default=None)
        return Content(files, self._clock.now_ns(), refresh_at)

    def set_up(self, pod: Pod, volume: Volume, content: Content) -> tuple[MountedVolume, bool]:
        """Let the volume hold *content*; whether anything had to be written.

        Readers of a volume that is there see its old files or its new ones, all at once.

        :raises OSError: the kernel refused.
        :raises VolumeError: a path in it is not valid.
        """
        atomic_writer.tree_of(content.files)
        group = group_of(pod)
        medium = Tmpfs(memory_size(pod, volume, self._node_memory())) if self._in_memory else None
        path = local_tree.set_up(
            self._layout, pod.metadata.uid, self.name, volume.name, medium=medium, group=group
        )
        with safeopen.opened(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW) as directory:
            nested.make(directory, pod, volume.name)
        give = partial(ownership.give_to_group, path, group, read_only=True) if group is not None else None
        changed = atomic_writer.write(path, content.files, content.gathered_ns, give)
        return MountedVolume(volume.name, path, read_only=True, selinux_relabel=True), changed

    def tear_down(self, uid: str, volume: str) -> None:
        """Unmount and remove it.

        :raises OSError: something is in use.
        """
        local_tree.tear_down(self._layout, uid, self.name, volume)

    def gone(self, uid: str) -> None:
        """A volume of that pod was torn down: tokens that were made for it are forgotten."""
        if self.kind == kinds.PROJECTED:
            self._feeds.tokens.forget_pod(uid)


async def _asked(answer: Awaitable[T]) -> T | payload.Missing:
    try:
        return await answer
    except LookupError as error:
        return payload.Missing(str(error.args[0]) if error.args else type(error).__name__)


#: Upstream's name, the API's field, and whether the files are kept in memory.
_KINDS: Final = (
    ("kubernetes.io/configmap", kinds.CONFIG_MAP, False),
    ("kubernetes.io/secret", kinds.SECRET, True),
    ("kubernetes.io/downward-api", kinds.DOWNWARD_API, True),
    ("kubernetes.io/projected", kinds.PROJECTED, True),
)


def content_volumes(
    layout: Layout, clock: Clock, feeds: Feeds, node_memory: Callable[[], int]
) -> tuple[ContentVolume, ...]:
    """The plug-ins of all kinds whose files the kubelet writes."""
    return tuple(
        ContentVolume(name, kind, layout, clock, feeds, node_memory, in_memory=in_memory)
        for name, kind, in_memory in _KINDS
    )
