"""Host IDs for pods in user namespaces of their own (``hostUsers: false``), kept over restarts.

A pod's range is in the file ``pods/UID/userns`` before anything is made with it, and that
file is gone before another pod can get the range: killed at any instant, no two pods share IDs.
"""

import asyncio
import contextlib
import logging
import os
import pwd
import random
import shutil
import subprocess
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from pykubelet.api.core import Pod
from pykubelet.api.podinfo import pod_ref
from pykubelet.base.files import read_limited, write_atomic
from pykubelet.base.journal import Journal
from pykubelet.base.layout import Layout
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner

from .id_ranges import IdRanges, id_space, mapping_file, parse_mapping_file, parse_subids

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

#: The user whose subordinate IDs are the pods'.
_USER: Final = "kubelet"
#: Seconds that ``getsubids`` may take: it may ask a server.
_TIMEOUT: Final = 30
_FILE_LIMIT: Final = 1 << 16


class UserNamespaceError(Exception):
    """The node's ID ranges cannot be used; the daemon cannot start."""


def configured_ids() -> tuple[int, int] | None:
    """The range that ``getsubids`` tells of the user ``kubelet``; None without user or tool. Blocking.

    :raises UserNamespaceError: both are there, but no range, or not one for users and groups alike.
    """
    tool = shutil.which("getsubids")
    try:
        pwd.getpwnam(_USER)
    except KeyError:
        return None
    if tool is None:
        return None
    users, groups = _subids("uids", tool, _USER), _subids("gids", tool, "-g", _USER)
    if users != groups:
        raise UserNamespaceError(f'mismatched subuids and subgids for user "{_USER}"')
    try:
        return parse_subids(users)
    except ValueError as error:
        raise UserNamespaceError(str(error)) from error


def _subids(kind: str, *command: str) -> str:
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TIMEOUT)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise UserNamespaceError(f'error retrieving additional {kind} for user "{_USER}": {error}') from error
    return done.stdout


class UserNamespaceManager:
    """Gives each pod its range, and takes it back; implements the door of the room ``containers``."""

    def __init__(
        self,
        layout: Layout,
        journal: Journal,
        *,
        ids_per_pod: int,
        max_pods: int,
        rng: random.Random,
        metrics: Metrics,
        configured: Callable[[], tuple[int, int] | None] = configured_ids,
    ) -> None:
        self._layout = layout
        self._journal = journal
        self._ids_per_pod = ids_per_pod
        self._max_pods = max_pods
        self._rng = rng
        self._configured = configured
        self._started = metrics.counter(
            "kubelet_started_user_namespaced_pods_total",
            "Cumulative number of pods with user namespaces started.",
        )
        self._failed = metrics.counter(
            "kubelet_started_user_namespaced_pods_errors_total",
            "Cumulative number of errors when starting pods with user namespaces.",
        )
        self._ranges: IdRanges | None = None
        #: By pod, what is wrong with its file: which IDs it has is not known.
        self._unknown: dict[str, str] = {}
        self._lock = asyncio.Lock()
        # One thread: a write that was given up on must not land after what followed it.
        self._files = ThreadPoolExecutor(1, "userns")
        self._tasks = TaskOwner("user namespaces")

    @property
    def pods(self) -> frozenset[str]:
        """UIDs of the pods that have a range."""
        return frozenset() if self._ranges is None else self._ranges.pods

    async def start(self) -> None:
        """Learn which IDs there are, and which pods have some.

        :raises UserNamespaceError: the IDs set apart cannot serve this node; upstream's text.
        """
        refused = "create user namespace manager"
        try:
            configured = await asyncio.to_thread(self._configured)
            ranges = IdRanges(id_space(configured, self._ids_per_pod, self._max_pods))
        except UserNamespaceError as error:
            raise UserNamespaceError(f"{refused}: kubelet mappings: {error}") from error
        except ValueError as error:
            raise UserNamespaceError(f"{refused}: {error}") from error
        found, self._unknown = await asyncio.to_thread(_read_all, self._layout)
        for uid, mapping in sorted(found.items()):
            try:
                ranges.record(uid, *mapping)
            except ValueError as error:
                self._unknown[uid] = str(error)
        for uid, why in sorted(self._unknown.items()):
            log.error("%s: %s", self._layout.pod_user_namespace(uid), why)
            self._journal.record(
                "UserNamespaceUnknown",
                f"no host IDs are given to pods until pod {uid} is gone: those it has are not known",
                cause=why,
            )
        self._ranges = ranges

    async def stop(self) -> None:
        """End what is under way."""
        await self._tasks.close()
        self._files.shutdown(wait=False)

    async def mapping(self, pod: Pod) -> tuple[int, int]:
        """First host ID and number of IDs of the pod's range; the same for users and groups.

        :raises LookupError: none is free, or the pod's file is damaged.
        :raises OSError: its file cannot be written or read.
        """
        uid = pod.metadata.uid
        if self._ranges is None:
            raise LookupError("user namespaces are not ready yet")
        async with self._lock:
            try:
                stated = await self._on_disk(_read, self._layout.pod_user_namespace(uid))
                if stated is not None:
                    self._ranges.record(uid, *stated)
            except ValueError as error:
                raise LookupError(f"user namespace: {error}") from error
            self._unknown.pop(uid, None)
            return stated or await self._give(self._ranges, pod)

    async def _give(self, ranges: IdRanges, pod: Pod) -> tuple[int, int]:
        uid = pod.metadata.uid
        if self._unknown:
            # A range given now might be theirs.
            other, why = min(self._unknown.items())
            raise LookupError(f"create user namespace: {self._layout.pod_user_namespace(other)}: {why}")
        try:
            given = ranges.take(uid, self._rng.randrange(ranges.space.slots))
        except ValueError as error:
            raise LookupError(f"create user namespace: {error}") from error
        try:
            await self._on_disk(_write, self._layout.pod_user_namespace(uid), mapping_file(*given))
        except OSError:
            ranges.release(uid)
            raise
        first, length = given
        self._journal.record(
            "UserNamespaceGiven",
            f"the pod's user namespace has the host IDs {first} to {first + length - 1}",
            pod=pod_ref(pod),
            first=first,
            length=length,
        )
        return given

    async def _on_disk(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._files, partial(work, *args, **kwargs))

    def started(self, pod: Pod, well: bool) -> None:
        """A sandbox was made for the pod, or was to be; *well*: all went well up to its containers."""
        if pod.spec.hostUsers is False:
            self._started.inc()
            self._failed.inc(0 if well else 1)

    def release(self, uid: str) -> None:
        """Nothing of the pod runs any more: take its range back soon."""
        if uid in self.pods or uid in self._unknown:
            self._tasks.spawn(f"release {uid}", self._release(uid))

    def keep_only(self, uids: AbstractSet[str]) -> None:
        """Take back the ranges of all other pods."""
        for uid in sorted((self.pods | self._unknown.keys()) - uids):
            self.release(uid)

    async def _release(self, uid: str) -> None:
        async with self._lock:
            try:
                await self._on_disk(_remove, self._layout.pod_user_namespace(uid))
            except OSError as error:
                # It is tried again when pods are tidied; until then nobody else gets the range.
                log.warning("the user namespace of pod %s is not given back: %s", uid, error)
                return
            self._unknown.pop(uid, None)
            if self._ranges is not None:
                self._ranges.release(uid)
            self._journal.record(
                "UserNamespaceTakenBack", f"the host IDs of pod {uid} are free", cause="nothing of it runs"
            )


def _read_all(layout: Layout) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
    """By pod, what its file states, or what is wrong with it."""
    found, wrong = {}, {}
    for path in layout.pods.iterdir() if layout.pods.is_dir() else ():
        try:
            mapping = _read(layout.pod_user_namespace(path.name))
        except (OSError, ValueError) as error:
            wrong[path.name] = str(error)
        else:
            if mapping is not None:
                found[path.name] = mapping
    return found, wrong


def _read(file: Path) -> tuple[int, int] | None:
    try:
        data = read_limited(file, _FILE_LIMIT)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return parse_mapping_file(data) if data else None


def _write(file: Path, data: bytes) -> None:
    file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    write_atomic(file, data)
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # The name must be there after a power cut, too: containers will have been made with it.
        os.fsync(directory)
    finally:
        os.close(directory)


def _remove(file: Path) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        file.unlink()
