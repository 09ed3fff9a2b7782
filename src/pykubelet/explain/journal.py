"""The journal itself: every decision and event in order, bounded in memory and on disk."""

import asyncio
import contextlib
import logging
from collections import OrderedDict, deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import msgspec

from pykubelet.base.clock import Clock
from pykubelet.base.journal import Fact, ObjectRef, PodRef
from pykubelet.base.tasks import TaskOwner

log = logging.getLogger(__name__)

#: Entries kept of each pod, of the node, and of all pods together.
PER_POD, OF_NODE, OF_PODS = 256, 1024, 4096
#: Bytes of one journal file; the one before is kept beside it.
FILE_LIMIT = 4 << 20
#: Seconds that entries may wait to be written.
WRITE_PERIOD = 1.0
#: Entries that may wait to be written; more are only kept in memory.
UNWRITTEN = 4096
#: Characters kept of one text.
TEXT_LIMIT = 1024


class Entry(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One decision or event."""

    seq: int
    #: Wall time in nanoseconds since the epoch, of the last time for an event that repeated.
    time: int
    kind: Literal["decision", "event"]
    #: Decision's name or event's reason.
    what: str
    text: str
    namespace: str = ""
    name: str = ""
    uid: str = ""
    container: str = ""
    cause: str = ""
    facts: dict[str, Fact] = {}
    #: Events only: Normal or Warning, how often, and the first time.
    type: str = ""
    count: int = 1
    first: int = 0

    @property
    def pod(self) -> PodRef | None:
        """The pod that it is about."""
        return PodRef(self.namespace, self.name, self.uid) if self.uid else None


class DecisionJournal:
    """Implements the doors ``Journal`` and ``Events``."""

    def __init__(self, clock: Clock, file: Path | None = None) -> None:
        """*file* keeps the journal over a restart; None keeps it in memory alone."""
        self._clock = clock
        self._file = file
        self._seq = 0
        self._pods: OrderedDict[str, deque[Entry]] = OrderedDict()
        self._of_pods = 0
        self._node: deque[Entry] = deque(maxlen=OF_NODE)
        self._unwritten: deque[Entry] = deque(maxlen=UNWRITTEN)
        self._wake = asyncio.Event()
        # One thread keeps the order of writes, also of one that was given up on.
        self._writer = ThreadPoolExecutor(1, "journal")
        self._tasks = TaskOwner("journal")

    async def start(self) -> None:
        """Read what was kept, then keep on writing."""
        if self._file is None:
            return
        kept = await asyncio.to_thread(_load, self._file)
        early = sorted((*self._node, *(e for of in self._pods.values() for e in of)), key=lambda e: e.seq)
        self._pods.clear()
        self._of_pods = 0
        self._node.clear()
        for entry in kept:
            self._keep(entry)
        # What was said before this start comes after what was kept, and must not take its numbers.
        self._seq = max((entry.seq for entry in kept), default=0)
        for entry in early:
            entry.seq = self._next()
            self._keep(entry)
        self._tasks.forever("write", self._write_forever)

    async def stop(self) -> None:
        """Write what is left."""
        await self._tasks.close()
        await self._flush()
        self._writer.shutdown(wait=False)

    # --- doors ----------------------------------------------------------------

    def record(
        self,
        decision: str,
        text: str,
        *,
        pod: PodRef | None = None,
        container: str = "",
        cause: str = "",
        **facts: Fact,
    ) -> None:
        """See ``Journal``."""
        self._add(
            Entry(
                seq=self._next(),
                time=self._clock.now_ns(),
                kind="decision",
                what=decision,
                text=text[:TEXT_LIMIT],
                container=container,
                cause=cause[:TEXT_LIMIT],
                facts=facts,
            ),
            pod,
        )

    def pod_event(
        self,
        pod: PodRef,
        kind: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        *,
        field_path: str = "",
    ) -> None:
        """See ``Events``."""
        container = field_path.partition("{")[2].rstrip("}")
        self._event(pod, kind, reason, message[:TEXT_LIMIT], container)

    def node_event(self, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """See ``Events``."""
        self._event(None, kind, reason, message[:TEXT_LIMIT], "")

    def object_event(
        self, about: ObjectRef, kind: Literal["Normal", "Warning"], reason: str, message: str
    ) -> None:
        """See ``Events``; kept with what is about the node, with the object's name before it."""
        self._event(None, kind, reason, f"{about}: {message}"[:TEXT_LIMIT], "")

    def _event(self, pod: PodRef | None, kind: str, reason: str, message: str, container: str) -> None:
        now = self._clock.now_ns()
        for entry in self._entries_of(pod):
            same = (entry.kind, entry.what, entry.text, entry.container) == (
                "event", reason, message, container,
            )  # fmt: skip
            if same:
                entry.count += 1
                entry.first = entry.first or entry.time
                entry.time = now
                self._write_soon(entry)
                return
        self._add(
            Entry(
                seq=self._next(),
                time=now,
                kind="event",
                what=reason,
                text=message,
                container=container,
                type=kind,
            ),
            pod,
        )

    # --- what can be asked ----------------------------------------------------

    def of_pod(self, uid: str) -> list[Entry]:
        """Everything kept of the pod, in order."""
        return sorted(self._pods.get(uid, ()), key=lambda entry: entry.seq)

    def of_name(self, namespace: str, name: str) -> list[Entry]:
        """Everything kept of pods of that name, whatever their UID, in order."""
        return sorted(
            (
                entry
                for entries in self._pods.values()
                for entry in entries
                if entry.namespace == namespace and entry.name == name
            ),
            key=lambda entry: entry.seq,
        )

    def of_node(self) -> list[Entry]:
        """Everything kept of the node itself, in order."""
        return list(self._node)

    def events_of(self, uid: str) -> list[Entry]:
        """The pod's events, by the last time they happened."""
        return sorted((e for e in self.of_pod(uid) if e.kind == "event"), key=lambda entry: entry.time)

    # --- keeping --------------------------------------------------------------

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    def _entries_of(self, pod: PodRef | None) -> Iterable[Entry]:
        return self._node if pod is None else self._pods.get(pod.uid, ())

    def _add(self, entry: Entry, pod: PodRef | None) -> None:
        if pod is not None:
            entry.namespace, entry.name, entry.uid = pod.namespace, pod.name, pod.uid
        self._keep(entry)
        self._write_soon(entry)

    def _keep(self, entry: Entry) -> None:
        if not entry.uid:
            self._node.append(entry)
            return
        entries = self._pods.get(entry.uid)
        if entries is None:
            entries = self._pods[entry.uid] = deque(maxlen=PER_POD)
        else:
            self._pods.move_to_end(entry.uid)
            # One text for all of a pod's entries.
            first = entries[0]
            entry.namespace, entry.name, entry.uid = first.namespace, first.name, first.uid
        self._of_pods += len(entries) < PER_POD
        entries.append(entry)
        while self._of_pods > OF_PODS and len(self._pods) > 1:
            _, forgotten = self._pods.popitem(last=False)
            self._of_pods -= len(forgotten)

    def _write_soon(self, entry: Entry) -> None:
        if self._file is not None:
            self._unwritten.append(entry)
            self._wake.set()

    async def _write_forever(self) -> None:
        while True:
            await self._wake.wait()
            await self._clock.sleep(WRITE_PERIOD)
            self._wake.clear()
            await self._flush()

    async def _flush(self) -> None:
        if self._file is None or not self._unwritten:
            return
        # An event that repeated stands in the queue more than once, but only its last state counts.
        entries = list({entry.seq: entry for entry in self._unwritten}.values())
        self._unwritten.clear()
        lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries)
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, _append, self._file, lines)
        except OSError as error:
            log.warning("the journal cannot be written to %s: %s", self._file, error)


def _older(file: Path) -> Path:
    return file.with_name(f"{file.name}.1")


def _append(file: Path, lines: bytes) -> None:
    file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    if file.exists() and file.stat().st_size + len(lines) > FILE_LIMIT:
        file.replace(_older(file))
    file.touch(mode=0o600)
    with file.open("ab") as stream:
        stream.write(lines)


# Made and learnt as the module is read, by one thread; no struct of the API.
_entry = msgspec.json.Decoder(Entry)  # noqa: TID251


def _load(file: Path) -> list[Entry]:
    """The newest entries of both files in order, the last state of each; a torn last line is left out."""
    entries: OrderedDict[int, Entry] = OrderedDict()
    for path in (_older(file), file):
        try:
            with path.open("rb") as lines:
                for line in lines:
                    with contextlib.suppress(msgspec.MsgspecError):
                        entry = _entry.decode(line)
                        entries[entry.seq] = entry
                    # Never more than is kept: what memory was once taken is seldom given back.
                    if len(entries) > OF_PODS + OF_NODE:
                        entries.popitem(last=False)
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("the journal %s cannot be read: %s", path, error)
    return [entries[seq] for seq in sorted(entries)]
