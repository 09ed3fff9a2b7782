"""``allocated_pods_state`` and ``actuated_pods_state``: amounts by pod, in upstream's file and form.

Upstream's kubelet reads the same files when it takes the node over, and we read its. What is
recorded is on the disk before anything is done that depends on it (:meth:`ResourceBook.stored`).
"""

import asyncio
import contextlib
import logging
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from pykubelet.api.core import ResourceRequirements
from pykubelet.base.files import read_limited, remove_temporary, write_atomic
from pykubelet.base.tasks import TaskOwner

from .amounts import PodAmounts
from .state_file import Entries, StateEncoder, decode_state

log = logging.getLogger(__name__)

#: The largest file that is read, in bytes.
_LIMIT: Final = 16 << 20
#: Seconds after which a write that failed is tried again, if nothing changes before.
RETRY: Final = 10.0


class ResourceBook:
    """Amounts by pod UID, and the file that holds them."""

    def __init__(self, file: Path, name: str) -> None:
        """*name* is for its task and thread."""
        self._file = file
        self._entries: dict[str, PodAmounts] = {}
        self._changed = asyncio.Event()
        #: How often the entries were changed, and which of these changes are in the file.
        self._version = self._written = 0
        self._progress = asyncio.Condition()
        self._encoder = StateEncoder()
        #: Whether the last write failed: what is in the file is older than ``_written`` says.
        self._failed = False
        # One thread: a write that was given up on must not land after the one that followed it.
        self._writer = ThreadPoolExecutor(1, name)
        self._tasks = TaskOwner(name)

    async def start(self) -> None:
        """Read what was recorded before, by whichever kubelet; then write changes as they come."""
        self._entries = await asyncio.to_thread(_load, self._file)
        self._tasks.forever("write", self._write_forever)

    async def stop(self) -> None:
        """Write what is not written yet, then end."""
        await self._tasks.close()
        if self._failed or self._written < self._version:
            await self._write()
        self._writer.shutdown(wait=False)

    def get(self, uid: str) -> PodAmounts | None:
        """What is recorded of the pod."""
        return self._entries.get(uid)

    def set(self, uid: str, amounts: PodAmounts) -> None:
        """Record *amounts* of the pod."""
        if self._entries.get(uid) != amounts:
            self._entries[uid] = amounts
            self._touch()

    def set_container(self, uid: str, name: str, resources: ResourceRequirements) -> None:
        """Record what one container has."""
        old = self._entries.get(uid) or PodAmounts()
        self.set(uid, PodAmounts({**old.containers, name: resources}, old.whole))

    def set_whole(self, uid: str, whole: ResourceRequirements | None) -> None:
        """Record what the pod as a whole has."""
        old = self._entries.get(uid) or PodAmounts()
        self.set(uid, PodAmounts(old.containers, whole))

    def remove(self, uid: str) -> None:
        """Forget the pod."""
        if self._entries.pop(uid, None) is not None:
            self._touch()

    def keep_only(self, uids: AbstractSet[str]) -> None:
        """Forget all other pods."""
        for uid in self._entries.keys() - uids:
            self.remove(uid)

    async def stored(self) -> None:
        """Wait until all that is recorded now is in the file (or could not be written, which is logged)."""
        wanted = self._version
        async with self._progress:
            await self._progress.wait_for(lambda: self._written >= wanted)

    def _touch(self) -> None:
        self._version += 1
        self._changed.set()

    async def _write_forever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY if self._failed else None):
                    await self._changed.wait()
            await self._write()

    async def _write(self) -> None:
        self._changed.clear()
        # Entries are replaced, never changed, so the thread may read them.
        version, entries = self._version, dict(self._entries)
        problem = await asyncio.get_running_loop().run_in_executor(
            self._writer, _store, self._file, self._encoder, entries
        )
        if problem:
            log.warning("%s cannot be written and is tried again: %s", self._file, problem)
        self._failed = bool(problem)
        async with self._progress:
            self._written = version
            self._progress.notify_all()


def _load(file: Path) -> dict[str, PodAmounts]:
    remove_temporary(file.parent, file.name)
    try:
        return decode_state(read_limited(file, _LIMIT))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read and is written anew: %s", file, error)
        return {}


def _store(file: Path, encoder: StateEncoder, entries: Entries) -> str:
    """Write the file; why that failed, or empty."""
    try:
        write_atomic(file, encoder.encode(entries))
    except OSError as error:
        return str(error) or type(error).__name__
    return ""
