"""What is allocated to each pod, and the resizes that wait to be.

What was admitted is what runs: a pod whose spec asks for something else keeps what it has
until the change is accepted. The allocation is on the disk before anything depends on it,
so that a daemon that was killed goes on where it was.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from pykubelet.api.admission import Rejection
from pykubelet.api.core import Pod, PodStatus
from pykubelet.api.podinfo import pod_ref
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Events, Journal
from pykubelet.base.tasks import TaskOwner

from .amounts import PodAmounts, amounts_of, laid_over, operations
from .checkpoint import ResourceBook
from .conditions import DEFERRED, INFEASIBLE, ResizeConditions
from .judge import PendingResize, ResizeRules, in_order, infeasible
from .metrics import ResizeMetrics
from .story import amounts_text, resize_message

log = logging.getLogger(__name__)

#: Seconds until waiting resizes are tried again when nothing else causes it: while not all sources
#: are ready, and after.
FIRST_RETRY, RETRY = 30.0, 180.0

#: Why waiting resizes are tried again, as ``pod_deferred_accepted_resizes_total`` names it.
POD_RESIZED, POD_UPDATED, PODS_ADDED, PODS_REMOVED, POD_TERMINATED, PERIODIC = (
    "pod_resized",
    "pod_updated",
    "pods_added",
    "pods_removed",
    "pod_terminated",
    "periodic_retry",
)


@dataclass(frozen=True, slots=True)
class AllocationDoors:
    """What the allocation needs from others."""

    #: The desired pod of a UID.
    desired: Callable[[str], Pod | None]
    #: The pods whose resources are in use, as allocated.
    active_pods: Callable[[], Sequence[Pod]]
    #: What speaks against a pod beside those others, if anything does.
    rejection: Callable[[Pod, Sequence[Pod]], Rejection | None]
    #: What was last reported of a pod.
    status: Callable[[str], PodStatus | None]
    sources_ready: Callable[[], bool]
    #: Let the pod's worker look now, and why.
    sync: Callable[[str, str], None]


class Allocation:
    """Keeps what is allocated, and decides about changes of it."""

    def __init__(
        self,
        book: ResourceBook,
        conditions: ResizeConditions,
        rules: ResizeRules,
        clock: Clock,
        journal: Journal,
        events: Events,
        metrics: ResizeMetrics,
        doors: AllocationDoors,
    ) -> None:
        self._book = book
        self._conditions = conditions
        self._rules = rules
        self._clock = clock
        self._journal = journal
        self._events = events
        self._metrics = metrics
        self._doors = doors
        #: UIDs of the pods whose spec asks for something else than is allocated.
        self._pending: list[str] = []
        #: The pods as allocated, by UID, with what they were made of.
        self._overlaid: dict[str, tuple[Pod, PodAmounts, Pod]] = {}
        self._tried = asyncio.Event()
        self._tasks = TaskOwner("allocation")

    async def start(self) -> None:
        """Read what is allocated, by whichever kubelet; then try what waits from time to time."""
        await self._book.start()
        self._tasks.forever("retry", self._retry_forever)

    async def stop(self) -> None:
        """End; what is not written yet is written."""
        await self._tasks.close()
        await self._book.stop()

    # --- what is allocated ----------------------------------------------------

    def allocated(self, pod: Pod) -> Pod:
        """The pod with the resources that are allocated to it, in the place of those that it asks for."""
        uid = pod.metadata.uid
        amounts = self._book.get(uid)
        if amounts is None:
            return pod
        known = self._overlaid.get(uid)
        if known is not None and known[0] is pod and known[1] is amounts:
            return known[2]
        made = laid_over(pod, amounts, self._rules.gates)
        self._overlaid[uid] = (pod, amounts, made)
        return made

    def all_allocated(self, pods: Iterable[Pod]) -> list[Pod]:
        """All *pods* as allocated."""
        return [self.allocated(pod) for pod in pods]

    def admitted(self, pod: Pod) -> None:
        """The pod, as it is given, was admitted: that is allocated to it."""
        self._book.set(pod.metadata.uid, amounts_of(pod, self._rules.gates))

    async def stored(self) -> None:
        """Wait until what is allocated is on the disk."""
        await self._book.stored()

    def removed(self, uid: str) -> None:
        """No source has the pod any more."""
        self._book.remove(uid)
        self._overlaid.pop(uid, None)

    def keep_only(self, uids: AbstractSet[str]) -> None:
        """Forget all other pods."""
        self._book.keep_only(uids)
        self._conditions.keep_only(uids)
        self._metrics.tell(self._conditions)
        for uid in self._overlaid.keys() - uids:
            del self._overlaid[uid]

    # --- what is asked for ----------------------------------------------------

    def added(self, pods: Iterable[Pod]) -> None:
        """These pods were brought and looked at; a restarted daemon finds resizes among them."""
        waiting = False
        for pod in pods:
            status = self._doors.status(pod.metadata.uid) or pod.status
            self._conditions.recall(pod.metadata.uid, status.conditions)
            if self._waits(pod):
                waiting = True
                self._push(pod.metadata.uid)
            else:
                self._withdrawn(pod)
        self._metrics.tell(self._conditions)
        if waiting:
            self.retry(PODS_ADDED)

    def changed(self, old: Pod | None, new: Pod) -> None:
        """The desired pod is another than before."""
        if old is None:
            return
        asked = operations(old, new, self._rules.gates)
        self._metrics.requested(asked)
        if not asked and old.spec.resources == new.spec.resources:
            return
        uid = new.metadata.uid
        if self._waits(new):
            self._push(uid)
            self.retry(POD_UPDATED)
            return
        self._withdrawn(new)
        self._metrics.tell(self._conditions)

    def _withdrawn(self, pod: Pod) -> None:
        """The pod asks for what it has; perhaps it did not before, or before this daemon began."""
        uid = pod.metadata.uid
        if self._conditions.pending_reason(uid):
            self._journal.record("ResizeWithdrawn", "the pod asks for what it has again", pod=pod_ref(pod))
        self._conditions.clear_pending(uid)

    def _waits(self, pod: Pod) -> bool:
        return self.allocated(pod) is not pod

    def _push(self, uid: str) -> None:
        if uid not in self._pending:
            self._pending.append(uid)

    # --- deciding -------------------------------------------------------------

    def retry(self, trigger: str) -> None:
        """Try all resizes that wait, in their order; *trigger* is why."""
        if not self._doors.sources_ready():
            # The pods that are not known yet have resources too.
            return
        self._tried.set()
        waiting = []
        for uid in self._pending:
            pod = self._doors.desired(uid)
            if pod is not None:
                since = self._conditions.pending_since(uid)
                waiting.append(PendingResize(pod, self.allocated(pod), since))
        self._pending = []
        for resize in in_order(waiting):
            try:
                self._try(resize.desired, trigger)
            except Exception:
                # The others must not be forgotten for it.
                log.exception("deciding about the resize of pod %s failed", pod_ref(resize.desired))
                self._push(resize.desired.metadata.uid)
        self._metrics.tell(self._conditions)

    def _try(self, desired: Pod, trigger: str) -> None:
        uid = desired.metadata.uid
        before = self._conditions.of(uid)
        deferred = self._conditions.pending_reason(uid) == DEFERRED
        accepted = self._decide(desired, trigger)
        if self._conditions.pending_reason(uid) == DEFERRED:
            self._push(uid)
        if accepted and deferred:
            self._metrics.deferred_accepted(trigger)
        if accepted or self._conditions.of(uid) != before:
            self._doors.sync(uid, "a resize of it was decided about")

    def _decide(self, desired: Pod, trigger: str) -> bool:
        """Accept the resize or say why not; whether it was accepted."""
        uid = desired.metadata.uid
        allocated = self.allocated(desired)
        if allocated is desired:
            self._conditions.clear_pending(uid)
            return False
        never = infeasible(desired, allocated, self._rules)
        if never is not None:
            self._metrics.infeasible(never.detail)
            self._reject(desired, allocated, INFEASIBLE, never.message, trigger)
            return False
        others = [pod for pod in self._doors.active_pods() if pod.metadata.uid != uid]
        rejection = self._doors.rejection(desired, others)
        if rejection is not None:
            self._reject(desired, allocated, rejection.reason, rejection.message, trigger)
            return False
        self._accept(desired, allocated, trigger)
        return True

    def _accept(self, desired: Pod, allocated: Pod, trigger: str) -> None:
        ref, generation = pod_ref(desired), desired.metadata.generation
        self.admitted(desired)
        self._conditions.begin(ref.uid, generation, self._clock.now())
        self._events.pod_event(ref, "Normal", "ResizeStarted", resize_message("started", desired, generation))
        self._journal.record(
            "ResizeAccepted",
            f"allocated: {amounts_text(desired)}",
            pod=ref,
            cause=f"it fits beside the others ({trigger})",
            before=amounts_text(allocated),
            generation=generation,
        )

    def _reject(self, desired: Pod, allocated: Pod, reason: str, message: str, trigger: str) -> None:
        ref, generation = pod_ref(desired), desired.metadata.generation
        news = self._conditions.set_pending(ref.uid, reason, message, generation, self._clock.now())
        if not news:
            return
        shown = self._conditions.pending_reason(ref.uid)
        text = resize_message(reason, desired, generation, message)
        self._events.pod_event(ref, "Warning", f"Resize{shown}", text)
        self._journal.record(
            f"Resize{shown}",
            f"it keeps what it has: {amounts_text(allocated)}",
            pod=ref,
            cause=f"{message} ({reason})",
            wanted=amounts_text(desired),
            trigger=trigger,
        )

    async def _retry_forever(self) -> None:
        wait = FIRST_RETRY
        while True:
            self._tried.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._tried.wait()
            except TimeoutError:
                self.retry(PERIODIC)
            # Whatever caused the last try, the next one is a whole period away.
            wait = RETRY if self._doors.sources_ready() else FIRST_RETRY
