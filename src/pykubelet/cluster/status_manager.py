"""The statuses of this node's pods: kept here, and told to the API server as far as it does not know them.

``StatusSink`` of the room ``pods``. The newest status of each pod is all there is to send:
what an outage or a burst of changes skips is never missed. The base of each patch is the
pod as the watch last brought it (or as our own last request showed it, if that is newer),
so a change costs one request. When nothing of a deleted pod is left, its object is deleted.
"""

import random
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, TypeVar

from pykubelet.api import wellknown
from pykubelet.api.core import Pod, PodStatus
from pykubelet.api.podinfo import is_static, pod_ref
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Journal
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner

from . import paths
from .door import Api
from .errors import ClusterError, NotAsked, Refused
from .patch import pod_status_patch
from .status_doors import ApiPods, Keeper, StatusRules
from .status_merge import (
    Merged,
    matters,
    may_be_deleted,
    merge_for_api,
    same_for_kubelet,
)
from .work_queue import WorkQueue

T = TypeVar("T")

#: Seconds between looks at whether the API server still shows what we sent.
RECONCILE_PERIOD: Final = 10.0
#: Seconds that a change may wait for others when nobody waits for it.
COALESCE: Final = 0.5
#: Seconds of one request.
TIMEOUT: Final = 15.0
_DURATIONS: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 20, 30, 45, 60)


@dataclass(slots=True, eq=False)
class _Entry:
    pod: Pod
    status: PodStatus
    version: int = 1
    #: The version that the API server has, and the UID of the object that bears it.
    sent: int = 0
    sent_to: str = ""
    #: Monotonic second of the first change that is not sent yet.
    since: float | None = None
    #: The pod as our last request showed it, while that is newer than the watch's.
    answer: Pod | None = None
    #: The watch's pod may be wrong: read it from the server first.
    reread: bool = False
    #: A final phase is not shown yet, because containers may still run.
    held: bool = False
    #: UID of the API server's object that nothing more is to be told about: it goes, or is gone.
    done_with: str = ""
    #: What the last look at the API server's object was made of; the same again says nothing new.
    looked_at: tuple[str, str, int, bool] | None = None


class StatusManager:
    """Implements ``StatusSink`` for a node of a cluster."""

    def __init__(
        self,
        api: Api,
        pods: ApiPods,
        rules: StatusRules,
        clock: Clock,
        journal: Journal,
        metrics: Metrics,
        rng: random.Random,
        *,
        keeper: Keeper | None = None,
        on_change: Callable[[Pod, PodStatus | None, PodStatus], None] | None = None,
        at_once: int = 6,
    ) -> None:
        """*on_change* hears pod, old and new status; *at_once* bounds the requests in flight."""
        self._api = api
        self._pods = pods
        self._rules = rules
        self._clock = clock
        self._journal = journal
        self._keeper = keeper
        self._on_change = on_change or (lambda pod, old, new: None)
        self._entries: dict[str, _Entry] = {}
        #: What mirrors show of static pods that were not heard of yet, by the pods' UIDs.
        self._recalled: dict[str, PodStatus] = {}
        self._queue = WorkQueue("status", self._sync, clock, rng, at_once=at_once)
        self._tasks = TaskOwner("status-reconcile")
        self._durations = metrics.histogram(
            "kubelet_pod_status_sync_duration_seconds",
            "Duration in seconds to sync a pod status update. Measures time from detection of a change "
            "to pod status until the API is successfully updated for that pod, even if multiple "
            "intevening changes to pod status occur.",
            buckets=_DURATIONS,
        )
        self._requests = metrics.counter(
            "pykubelet_pod_status_requests_total", "Requests made for pods' statuses.", ["verb", "result"]
        )

    async def start(self) -> None:
        """Begin to send."""
        await self._queue.start()
        self._tasks.forever("look", self._look_forever)

    async def stop(self) -> None:
        """End; what is not sent yet is left to the next daemon, which computes it anew."""
        await self._tasks.close()
        await self._queue.stop()

    # --- StatusSink -----------------------------------------------------------

    def get(self, uid: str) -> PodStatus | None:
        """The last status that was set; of a static pod also what its mirror or the last daemon told."""
        entry = self._entries.get(uid)
        if entry is not None:
            return entry.status
        recalled = self._recalled.get(uid)
        if recalled is not None or self._keeper is None:
            return recalled
        return self._keeper.get(uid)

    def set(self, pod: Pod, status: PodStatus) -> None:
        """See ``StatusSink``."""
        entry = self._entries.get(pod.metadata.uid)
        if entry is not None and same_for_kubelet(entry.status, status, self._rules.owned):
            entry.pod = pod
            if entry.held and not self._pods.may_run(pod.metadata.uid):
                self._queue.add(pod.metadata.uid, urgent=True)
            return
        self._take(pod, status)

    def terminate(self, pod: Pod) -> None:
        """See ``StatusSink``."""
        old = self.get(pod.metadata.uid) or pod.status
        status = self._rules.settle(pod, old, self._rules.terminal(pod, old), self._clock.now())
        # Even the same status is news: what was held back may now be told.
        self._take(pod, status, urgent=True)

    def remove(self, uid: str) -> None:
        """See ``StatusSink``."""
        self._entries.pop(uid, None)
        self._recalled.pop(uid, None)
        self._queue.discard(uid)
        if self._keeper is not None:
            self._keeper.remove(uid)

    def keep_only(self, uids: AbstractSet[str]) -> None:
        """See ``StatusSink``."""
        for uid in (self._entries.keys() | self._recalled.keys()) - uids:
            self.remove(uid)
        if self._keeper is not None:
            self._keeper.keep_only(uids)

    def recheck(self, uid: str) -> None:
        """The pod's worker finished, or the API server's object (a static pod's mirror) changed.

        A changed status there is not contradicted at once (others may insist as well), but by
        the next look every 10 s; what was waiting for the change goes on now.
        """
        entry = self._entries.get(uid)
        shown = self._shown(entry) if entry is not None else None
        if entry is None or shown is None or entry.done_with == shown.metadata.uid:
            return
        if self._unsent(entry, shown) or self._deletable(entry, shown):
            self._queue.add(uid, urgent=True)

    def recall(self, mirror: Pod) -> None:
        """Keep what *mirror* shows of its static pod until that is heard of, at the start of the daemon.

        If the daemon before this one was another kubelet, nothing else remembers that the
        pod was ready, and since when.
        """
        if mirror.metadata.deletionTimestamp is None and mirror.status.phase == "Running":
            uid = mirror.metadata.annotations.get(wellknown.CONFIG_MIRROR, "")
            self._recalled.setdefault(uid, mirror.status)

    def _take(self, pod: Pod, status: PodStatus, *, urgent: bool = False) -> None:
        uid = pod.metadata.uid
        entry, before = self._entries.get(uid), self.get(uid)
        urgent = urgent or matters(before or pod.status, status)
        self._recalled.pop(uid, None)
        if entry is None:
            entry = self._entries[uid] = _Entry(pod, status)
        else:
            entry.pod, entry.status, entry.version = pod, status, entry.version + 1
        if entry.since is None:
            entry.since = self._clock.monotonic()
        self._queue.add(uid, delay=0.0 if urgent else COALESCE, urgent=urgent)
        if self._keeper is not None and is_static(pod):
            self._keeper.set(pod, status)
        self._on_change(pod, before, status)

    # --- what the API server shows --------------------------------------------

    def _shown(self, entry: _Entry) -> Pod | None:
        """The newest view of the API server's object that shows the pod."""
        watched = self._pods.shown(entry.pod)
        if watched is None or entry.answer is None:
            return watched
        if watched.metadata.uid == entry.answer.metadata.uid and _newer(entry.answer, watched):
            return entry.answer
        entry.answer = None
        return watched

    def _unsent(self, entry: _Entry, shown: Pod) -> bool:
        if entry.sent < entry.version or entry.sent_to != shown.metadata.uid:
            return True
        return entry.held and not self._pods.may_run(entry.pod.metadata.uid)

    def _deletable(self, entry: _Entry, shown: Pod) -> bool:
        return may_be_deleted(shown, finished=self._pods.finished(entry.pod.metadata.uid))

    def _merged(self, entry: _Entry, shown: Pod) -> Merged:
        return merge_for_api(
            shown,
            entry.status,
            may_run=self._pods.may_run(entry.pod.metadata.uid),
            owned=self._rules.owned,
            now=self._clock.now(),
        )

    async def _look_forever(self) -> None:
        while True:
            await self._clock.sleep(RECONCILE_PERIOD)
            for uid, entry in list(self._entries.items()):
                if uid not in self._queue and self._out_of_step(entry):
                    self._queue.add(uid)

    def _out_of_step(self, entry: _Entry) -> bool:
        """Whether the API server is to be told something, though nothing here happened."""
        shown = self._shown(entry)
        if shown is None or entry.done_with == shown.metadata.uid:
            return False
        if self._unsent(entry, shown) or self._deletable(entry, shown):
            return True
        facts = (*_version(shown), entry.version, self._pods.may_run(entry.pod.metadata.uid))
        if facts == entry.looked_at:
            return False
        entry.looked_at = facts
        if same_for_kubelet(shown.status, self._merged(entry, shown).status, self._rules.owned):
            return False
        self._journal.record(
            "StatusCorrected", "the API server shows another status than this node's", pod=pod_ref(entry.pod)
        )
        return True

    # --- sending --------------------------------------------------------------

    async def _sync(self, uid: str) -> bool:
        """Tell the API server what it does not know of one pod; whether that took a request.

        :raises ClusterError: try again later.
        """
        entry = self._entries.get(uid)
        shown = self._shown(entry) if entry is not None else None
        if entry is None or shown is None or entry.done_with == shown.metadata.uid:
            # Nobody to tell: the object is gone, or the mirror of a static pod is yet to come.
            return False
        known = shown
        try:
            if entry.reread:
                shown = await self._read(entry, shown)
            shown = await self._send(entry, shown)
            if self._deletable(entry, shown):
                await self._delete(entry, shown)
                return True
        except Refused as error:
            self._refused(entry, shown, error)
            return True
        except ClusterError as error:
            # It may have been done all the same.
            entry.reread = entry.reread or not isinstance(error, NotAsked)
            raise
        return shown is not known

    async def _read(self, entry: _Entry, shown: Pod) -> Pod:
        meta = shown.metadata
        found = await self._request(
            "get", self._api.get(paths.pods(meta.namespace, meta.name), Pod, timeout=TIMEOUT)
        )
        if found.metadata.uid != meta.uid:
            raise Refused(404, "NotFound", f"another pod {meta.name} has taken the place of {meta.uid}")
        entry.answer, entry.reread = found, False
        return found

    async def _send(self, entry: _Entry, shown: Pod) -> Pod:
        """PATCH what differs; the object as it is then."""
        version, meta = entry.version, shown.metadata
        merged = self._merged(entry, shown)
        patch = pod_status_patch(meta.uid, shown.status, merged.status)
        if patch is not None:
            path = paths.pods(meta.namespace, meta.name, "status")
            shown = entry.answer = await self._request(
                "patch", self._api.patch(path, patch, Pod, timeout=TIMEOUT)
            )
            self._journal.record(
                "StatusSent",
                f"the API server now shows phase {merged.status.phase}",
                pod=pod_ref(entry.pod),
                version=version,
                changed=", ".join(key for key in patch["status"] if not key.startswith("$")),
            )
        if merged.held and not entry.held:
            self._journal.record(
                "FinalPhaseHeld",
                f"phase {entry.status.phase} is told when no container may run any more",
                pod=pod_ref(entry.pod),
                shown=merged.status.phase,
            )
        entry.held, entry.sent, entry.sent_to = merged.held, version, meta.uid
        if entry.since is not None:
            self._durations.observe(self._clock.monotonic() - entry.since)
            # A change that came while this one was on its way counts from about now.
            entry.since = None if entry.version == version else self._clock.monotonic()
        return shown

    async def _delete(self, entry: _Entry, shown: Pod) -> None:
        meta = shown.metadata
        await self._request(
            "delete", self._api.delete(paths.pods(meta.namespace, meta.name), grace=0, uid=meta.uid)
        )
        entry.done_with = shown.metadata.uid
        self._journal.record(
            "PodDeleted",
            "the API server may forget the pod",
            pod=pod_ref(entry.pod),
            cause="nothing of it is left here",
        )

    def _refused(self, entry: _Entry, shown: Pod, error: Refused) -> None:
        """Give up what cannot be done any more.

        :raises Refused: it is to be tried again.
        """
        if error.not_found:
            entry.done_with = shown.metadata.uid
            self._journal.record(
                "StatusGivenUp", "the pod is not to be told about any more",
                pod=pod_ref(entry.pod), cause=str(error),
            )  # fmt: skip
            return
        if not error.passing:
            entry.reread = True
            self._journal.record(
                "StatusRefused", "the API server did not take the status",
                pod=pod_ref(entry.pod), cause=str(error), code=error.code,
            )  # fmt: skip
        raise error

    async def _request(self, verb: str, made: Awaitable[T]) -> T:
        try:
            answer = await made
        except ClusterError as error:
            code = str(error.code) if isinstance(error, Refused) else "unreachable"
            self._requests.labels(verb, code).inc()
            raise
        self._requests.labels(verb, "done").inc()
        return answer


def _version(pod: Pod) -> tuple[str, str]:
    return pod.metadata.uid, pod.metadata.resourceVersion


def _newer(pod: Pod, other: Pod) -> bool:
    """Whether *pod* is a later version; etcd's numbers grow."""
    mine, theirs = pod.metadata.resourceVersion, other.metadata.resourceVersion
    return mine.isdigit() and theirs.isdigit() and int(mine) > int(theirs)
