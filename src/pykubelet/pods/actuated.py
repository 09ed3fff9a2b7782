"""``actuated_pods_state``: the resources that each container was made with, in upstream's file and form.

Nobody here asks for it. Upstream's kubelet does when it takes the node over: a running
container without a record looks to it as if it had been resized, and one whose
``resizePolicy`` asks for that is restarted.
"""

import asyncio
import json
import logging
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from pykubelet.api import codec, wellknown
from pykubelet.api.core import Container, Pod, ResourceRequirements
from pykubelet.base.clock import Clock
from pykubelet.base.files import read_limited, write_atomic
from pykubelet.base.fnv import fnv1a
from pykubelet.base.gotext import go_json
from pykubelet.base.tasks import TaskOwner

log = logging.getLogger(__name__)

#: The largest file that is read, in bytes.
_LIMIT: Final = 16 << 20
#: Seconds that further containers are waited for before the file is written.
_COALESCE: Final = 0.5

#: By pod UID; values as upstream writes them (``ContainerResources``, ``PodLevelResources``).
Entries = dict[str, dict[str, Any]]


class UnreadableState(ValueError):
    """The file is not what a kubelet wrote; upstream's would refuse to start with it."""


def decode_state(data: bytes) -> Entries:
    """The entries of the file.

    :raises UnreadableState: its checksum or its form is wrong.
    """
    try:
        document = json.loads(data)
        text, checksum = document["data"], document["checksum"]
        entries = json.loads(text).get("entries") or {}
        fits = checksum == _checksum(text) and all(
            isinstance(entry.get("ContainerResources") or {}, dict) for entry in entries.values()
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnreadableState(f"{type(error).__name__}: {error}") from error
    if not fits:
        raise UnreadableState("its checksum is wrong")
    return dict(entries)


def encode_state(entries: Entries) -> bytes:
    """The file that holds *entries*."""
    text = go_json({"entries": {uid: entries[uid] for uid in sorted(entries)}} if entries else {})
    return go_json({"data": text, "checksum": _checksum(text)}).encode()


def _checksum(text: str) -> int:
    return fnv1a(f"(string){text}".encode(), 32)


def made_with(pod: Pod, container: Container) -> dict[str, Any]:
    """The resources that *container* is made with: limits of the pod as a whole hold where it has none."""
    own, whole = container.resources, pod.spec.resources or ResourceRequirements()
    inherited = {
        name: whole.limits[name]
        for name in (wellknown.CPU, wellknown.MEMORY)
        if name in whole.limits and whole.limits[name].value() and name not in own.limits
    }
    return _plain(ResourceRequirements(own.limits | inherited, own.requests, own.claims))


def _plain(resources: ResourceRequirements) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(codec.encode(resources, sort=True))
    return plain


class ActuatedResources:
    """Keeps the records of all pods, and the file that holds them."""

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._entries: Entries = {}
        self._wake = asyncio.Event()
        # One thread: a write that was given up on must not land after the one that followed it.
        self._writer = ThreadPoolExecutor(1, "actuated")
        self._tasks = TaskOwner("actuated")

    async def start(self) -> None:
        """Read what was recorded before, by whichever kubelet; then write changes as they come."""
        self._entries = await asyncio.to_thread(_load, self._file)
        self._tasks.forever("write", self._write_forever)

    async def stop(self) -> None:
        """Write what is not written yet, then end."""
        await self._tasks.close()
        if self._wake.is_set():
            await self._write()
        self._writer.shutdown(wait=False)

    def made(self, pod: Pod, container: Container) -> None:
        """An instance of *container* is being made."""
        uid = pod.metadata.uid
        whole = pod.spec.resources
        old = self._entries.get(uid, {}).get("ContainerResources") or {}
        entry = {
            "ContainerResources": dict(sorted({**old, container.name: made_with(pod, container)}.items())),
            "PodLevelResources": None if whole is None else _plain(whole),
        }
        if self._entries.get(uid) != entry:
            self._entries[uid] = entry
            self._wake.set()

    def keep_only(self, uids: AbstractSet[str]) -> None:
        """Forget all other pods."""
        gone = self._entries.keys() - uids
        for uid in gone:
            del self._entries[uid]
        if gone:
            self._wake.set()

    async def _write_forever(self) -> None:
        while True:
            await self._wake.wait()
            await self._clock.sleep(_COALESCE)
            await self._write()

    async def _write(self) -> None:
        self._wake.clear()
        # Entries are replaced, never changed, so the thread may read them.
        entries = dict(self._entries)
        await asyncio.get_running_loop().run_in_executor(self._writer, _store, self._file, entries)


def _load(file: Path) -> Entries:
    try:
        return decode_state(read_limited(file, _LIMIT))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read and is written anew: %s", file, error)
        return {}


def _store(file: Path, entries: Entries) -> None:
    try:
        write_atomic(file, encode_state(entries), fsync=False)
    except OSError as error:
        log.warning("%s cannot be written: %s", file, error)
