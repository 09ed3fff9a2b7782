"""``allocated_pods_state`` and ``actuated_pods_state``: amounts by pod, in upstream's file and form.

Upstream's kubelet reads the same files when it takes the node over, and we read its. What is
recorded is on the disk before anything is done that depends on it (:meth:`ResourceBook.stored`).
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from pykubelet.api import codec
from pykubelet.api.core import ResourceRequirements
from pykubelet.base.files import read_limited, remove_temporary, write_atomic
from pykubelet.base.fnv import fnv1a
from pykubelet.base.gotext import go_json
from pykubelet.base.tasks import TaskOwner

from .amounts import PodAmounts

log = logging.getLogger(__name__)

#: The largest file that is read, in bytes.
_LIMIT: Final = 16 << 20

Entries = Mapping[str, PodAmounts]


class UnreadableState(ValueError):
    """The file is not what a kubelet wrote; upstream's would refuse to start with it."""


def decode_state(data: bytes) -> dict[str, PodAmounts]:
    """The entries of the file, by pod UID.

    :raises UnreadableState: its checksum or its form is wrong.
    """
    try:
        document = json.loads(data)
        text, checksum = document["data"], document["checksum"]
        entries = json.loads(text).get("entries") or {}
        read = {str(uid): _amounts(entry) for uid, entry in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnreadableState(f"{type(error).__name__}: {error}") from error
    if checksum != state_checksum(text):
        raise UnreadableState("its checksum is wrong")
    return read


def _amounts(entry: dict[str, Any]) -> PodAmounts:
    containers = entry.get("ContainerResources") or {}
    whole = entry.get("PodLevelResources")
    return PodAmounts(
        {str(name): codec.convert(each, ResourceRequirements) for name, each in containers.items()},
        None if whole is None else codec.convert(whole, ResourceRequirements),
    )


def encode_state(entries: Entries) -> bytes:
    """The file that holds *entries*."""
    plain = {uid: _plain_amounts(entries[uid]) for uid in sorted(entries)}
    text = go_json({"entries": plain} if plain else {})
    return go_json({"data": text, "checksum": state_checksum(text)}).encode()


def _plain_amounts(amounts: PodAmounts) -> dict[str, Any]:
    return {
        "ContainerResources": {name: _plain(amounts.containers[name]) for name in sorted(amounts.containers)},
        "PodLevelResources": None if amounts.whole is None else _plain(amounts.whole),
    }


def _plain(resources: ResourceRequirements) -> Any:
    return json.loads(codec.encode(resources, sort=True))


def state_checksum(text: str) -> int:
    """What upstream writes beside the data *text*."""
    return fnv1a(f"(string){text}".encode(), 32)


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
        if self._written < self._version:
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
            await self._changed.wait()
            await self._write()

    async def _write(self) -> None:
        self._changed.clear()
        # Entries are replaced, never changed, so the thread may read them.
        version, entries = self._version, dict(self._entries)
        await asyncio.get_running_loop().run_in_executor(self._writer, _store, self._file, entries)
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


def _store(file: Path, entries: Entries) -> None:
    try:
        write_atomic(file, encode_state(entries))
    except OSError as error:
        log.warning("%s cannot be written: %s", file, error)
