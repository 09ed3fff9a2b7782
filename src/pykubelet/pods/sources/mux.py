"""The mux of all sources: complete sets in, ordered changes out.

Each source speaks for its own pods alone, so one that fails deletes nothing of another.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from pykubelet.api.core import Pod
from pykubelet.base.clock import Clock
from pykubelet.base.gotext import rfc3339_nano_fixed
from pykubelet.base.journal import Events, Journal, PodRef

from .merge import Merged, Op, PodUpdate, merge

__all__ = ["Op", "PodConfig", "PodUpdate", "Send"]

#: How many updates may wait for the sync loop before a source has to.
_QUEUE: Final = 50

#: Takes the complete set of one source's pods.
Send = Callable[[Sequence[Pod]], Awaitable[None]]


class PodConfig:
    """Merges the sets of all sources and hands the changes to the sync loop, in order."""

    def __init__(
        self,
        clock: Clock,
        journal: Journal,
        events: Events,
        *,
        adapt: Callable[[Pod], Pod] = lambda pod: pod,
    ) -> None:
        """*adapt* makes of a pod what this node takes it for."""
        self._adapt = adapt
        self._clock = clock
        self._journal = journal
        self._events = events
        self._registered: set[str] = set()
        #: What came of the last set of each source.
        self._merged: dict[str, Merged] = {}
        self._refused: dict[str, set[tuple[str, str]]] = {}
        self._processed: set[str] = set()
        self._outbox: deque[PodUpdate] = deque()
        self._queue: asyncio.Queue[PodUpdate] = asyncio.Queue(_QUEUE)
        self._sending = asyncio.Lock()

    def channel(self, source: str) -> Send:
        """Register *source* (``file``, ``http``, ``api``); what is returned takes its complete sets.

        A source is waited for from here on: see :meth:`all_sources_ready`.
        """
        self._registered.add(source)

        async def send(pods: Sequence[Pod]) -> None:
            await self._send(source, pods)

        return send

    def apply(self, source: str, pods: Sequence[Pod]) -> list[PodUpdate]:
        """Take the complete set of *source* without queueing its changes; for callers without a loop."""
        seen = rfc3339_nano_fixed(self._clock.now_ns())
        merged = merge(source, self._merged.get(source), pods, seen, self._adapt)
        self._merged[source] = merged
        self._tell_refused(source, merged)
        return list(merged.updates)

    def _tell_refused(self, source: str, merged: Merged) -> None:
        """An event for each pod that is refused, once as long as it stays so."""
        before = self._refused.get(source, set())
        self._refused[source] = {(refused.pod.metadata.uid, refused.message) for refused in merged.refused}
        for refused in merged.refused:
            meta = refused.pod.metadata
            if (meta.uid, refused.message) in before:
                continue
            ref = PodRef(meta.namespace, meta.name, meta.uid)
            self._events.pod_event(ref, "Warning", "FailedValidation", refused.message)
            self._journal.record(
                "PodRefused", refused.message, pod=ref, cause="duplicate in its source", source=source
            )

    async def _send(self, source: str, pods: Sequence[Pod]) -> None:
        # What was merged must be told even if this wait is cancelled: the next sender goes on with it.
        self._outbox.extend(self.apply(source, pods))
        async with self._sending:
            while self._outbox:
                await self._queue.put(self._outbox[0])
                self._outbox.popleft()

    async def next_update(self) -> PodUpdate:
        """Wait for the next change; call :meth:`processed` when it has been dealt with."""
        return await self._queue.get()

    def processed(self, update: PodUpdate) -> None:
        """The sync loop has dealt with *update*: its source counts as ready."""
        self._processed.add(update.source)

    def all_sources_ready(self) -> bool:
        """Whether every source delivered a set and the sync loop has dealt with it."""
        return self._registered <= self._processed and self._registered <= self._merged.keys()

    def pods(self, source: str) -> tuple[Pod, ...]:
        """What *source* names now."""
        merged = self._merged.get(source)
        return tuple(merged.pods.values()) if merged is not None else ()
