"""The reported statuses where no API server keeps them: in memory, and on disk over a restart.

What a restarted daemon cannot see in the runtime (was the container ready? when did
the pod start?) is read back from one small file a pod.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from pykubelet.api.codec import decode, encode
from pykubelet.api.core import Pod, PodStatus
from pykubelet.base.files import read_limited, remove_temporary, write_atomic
from pykubelet.base.tasks import TaskOwner

from .status import terminal_status

log = logging.getLogger(__name__)

_LIMIT = 1 << 20


class LocalStatuses:
    """Implements ``StatusSink`` for a node that stands alone."""

    def __init__(
        self, directory: Path, on_change: Callable[[Pod, PodStatus | None, PodStatus], None] | None = None
    ) -> None:
        """*directory* holds one file a pod; *on_change* hears pod, old and new status."""
        self._directory = directory
        self._on_change = on_change or (lambda pod, old, new: None)
        self._statuses: dict[str, PodStatus] = {}
        self._dirty: set[str] = set()
        self._wake = asyncio.Event()
        # One thread: a write that was given up on must not land after the one that followed it.
        self._writer = ThreadPoolExecutor(1, "statuses")
        self._tasks = TaskOwner("statuses")

    async def start(self) -> None:
        """Read what the daemon before left, then write changes as they come."""
        self._statuses.update(await asyncio.to_thread(_load, self._directory))
        self._tasks.forever("write", self._write_forever)

    async def stop(self) -> None:
        """Write what is not written yet, then end."""
        await self._tasks.close()
        await self._flush()
        self._writer.shutdown(wait=False)

    def get(self, uid: str) -> PodStatus | None:
        """See ``StatusSink``."""
        return self._statuses.get(uid)

    def all(self) -> Mapping[str, PodStatus]:
        """Every status by pod UID."""
        return self._statuses

    def set(self, pod: Pod, status: PodStatus) -> None:
        """See ``StatusSink``."""
        uid = pod.metadata.uid
        old = self._statuses.get(uid)
        if old == status:
            return
        self._statuses[uid] = status
        self._touch(uid)
        self._on_change(pod, old, status)

    def terminate(self, pod: Pod) -> None:
        """See ``StatusSink``."""
        old = self._statuses.get(pod.metadata.uid)
        if old is not None:
            self.set(pod, terminal_status(pod, old))

    def remove(self, uid: str) -> None:
        """See ``StatusSink``."""
        if self._statuses.pop(uid, None) is not None:
            self._touch(uid)

    def keep_only(self, uids: AbstractSet[str]) -> None:
        """See ``StatusSink``."""
        for uid in self._statuses.keys() - uids:
            self.remove(uid)

    def _touch(self, uid: str) -> None:
        self._dirty.add(uid)
        self._wake.set()

    async def _write_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._flush()

    async def _flush(self) -> None:
        dirty, self._dirty = self._dirty, set()
        contents = {
            uid: encode(status) if (status := self._statuses.get(uid)) is not None else None for uid in dirty
        }
        if contents:
            await asyncio.get_running_loop().run_in_executor(self._writer, _store, self._directory, contents)


def _load(directory: Path) -> dict[str, PodStatus]:
    remove_temporary(directory)
    statuses: dict[str, PodStatus] = {}
    for file in sorted(directory.glob("*.json")) if directory.is_dir() else []:
        try:
            statuses[file.stem] = decode(read_limited(file, _LIMIT), PodStatus)
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            log.warning("status checkpoint %s cannot be read and is left out: %s", file, error)
    return statuses


def _store(directory: Path, contents: Mapping[str, bytes | None]) -> None:
    for uid, data in contents.items():
        path = directory / f"{uid}.json"
        try:
            if data is None:
                path.unlink(missing_ok=True)
            else:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                # A dead machine has no running container to remember: no fsync.
                write_atomic(path, data, fsync=False)
        except OSError as error:
            log.warning("status checkpoint %s cannot be written: %s", path, error)
