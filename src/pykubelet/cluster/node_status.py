"""The node's status goes to the API server: in time, when something that matters changed, never in storms.

Source: ``syncNodeStatus``, ``fastStatusUpdateOnce`` in upstream's ``pkg/kubelet``. Two things are done
differently on purpose: a change is reported when it happens instead of at the next turn, and a Node
that was deleted while the daemon runs is registered again at once, not at the next start.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from pykubelet.api.node import Node
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Events, Journal
from pykubelet.base.tasks import TaskOwner

from .door import Api
from .errors import ClusterError, Refused
from .node_due import Reported, differences, due, newest, next_delay, node_patch, ready
from .paths import nodes
from .registration import LONGEST_WISH, NodeNews, Registration, Update

log = logging.getLogger(__name__)

#: Tries of one report; all but the first look at the Node afresh.
_TRIES: Final = 5
#: A period is longer by up to this part of itself.
_JITTER: Final = 0.04
#: Seconds between looks at what matters, and while the node is yet to become ready after its start.
_LOOK, _FAST_LOOK = 1.0, 0.1
#: Seconds after its start that it is waited for so eagerly.
_FAST_PHASE: Final = 120.0
#: Seconds too few to wait for: timers are not that exact.
_NEAR: Final = 0.001
#: Seconds between reports of changes at least, however often something changes.
_FLOOR: Final = 1.0
#: Seconds that the first report waits for a first look at the runtime.
_SETTLE: Final = 20.0


@dataclass(frozen=True, slots=True)
class ReporterDoors:
    """What the reporter asks of others."""

    #: The Node as it should be, from the Node as it is; quick and without effects.
    update: Callable[[Node], Update]
    #: The Node as a watch last brought it; None when it did not.
    cached: Callable[[], Node | None]
    #: What must not wait for the next turn, as a value to compare: whether the node is ready, its
    #: pressures. Errors that tell seconds do not belong here.
    outlook: Callable[[], object]
    #: Told of every Node that the API server answered with; quick.
    seen: Callable[[Node], None]
    #: Closes the client's connections.
    reset: Callable[[], Awaitable[None]]
    #: Returns when the runtime and what runs were looked at once: a restart must not tell NotReady before.
    settled: Callable[[], Awaitable[None]]
    #: Told of the Node whenever its status is as it was last wanted, be it by a write or by itself;
    #: None: the Node is gone. Quick.
    written: Callable[[Node | None], None] = lambda node: None


@dataclass(frozen=True, slots=True)
class ReporterSettings:
    """How often is reported; seconds."""

    #: ``nodeStatusUpdateFrequency``
    update_frequency: float
    #: ``nodeStatusReportFrequency``
    report_frequency: float
    #: Of one request.
    timeout: float


class NodeReporter:
    """Registers the node and reports its status."""

    def __init__(
        self,
        api: Api,
        name: str,
        clock: Clock,
        rng: random.Random,
        journal: Journal,
        events: Events,
        registration: Registration,
        doors: ReporterDoors,
        settings: ReporterSettings,
    ) -> None:
        """*api* is the client for heartbeats, without a limit of rate."""
        self._api = api
        self._name = name
        self._clock = clock
        self._rng = rng
        self._journal = journal
        self._events = events
        self._registration = registration
        self._doors = doors
        self._settings = settings
        self._tasks = TaskOwner("node-status")
        self._hint = asyncio.Event()
        self._causes: dict[str, None] = {}
        self._node: Node | None = None
        self._reported: Reported | None = None
        self._was_ready = False
        self._outlook: object = None
        self._unschedulable = False
        self._boot_told = False
        #: Monotonic seconds before which the server does not want to hear of us.
        self._not_before = 0.0
        self._failing = False

    async def start(self) -> None:
        """Begin to register and to report."""
        self._tasks.forever("report", self._run, pause=self._clock.sleep)

    async def stop(self) -> None:
        """Report no more."""
        await self._tasks.close()

    @property
    def node(self) -> Node | None:
        """The Node as the API server last answered; None before it is registered."""
        return self._node

    def changed(self, cause: str) -> None:
        """Something that the status tells of changed: report now. *cause* says what, for the journal."""
        if len(self._causes) < 8:
            self._causes[cause] = None
        self._hint.set()

    # --- when -----------------------------------------------------------------

    async def _run(self) -> None:
        await self._settle()
        fast_until = self._clock.monotonic() + _FAST_PHASE
        hurried_at = -_FLOOR
        while True:
            self._hint.clear()
            began = self._clock.monotonic()
            await self._sync()
            period = self._settings.update_frequency * (1 + self._rng.random() * _JITTER)
            if await self._hurry(began + period, fast_until):
                await self._until(hurried_at + _FLOOR)
                hurried_at = self._clock.monotonic()
            await self._until(self._not_before)

    async def _settle(self) -> None:
        try:
            async with asyncio.timeout(_SETTLE):
                await self._doors.settled()
        except TimeoutError:
            log.warning("the container runtime was not heard of within %.0fs", _SETTLE)

    async def _hurry(self, until: float, fast_until: float) -> bool:
        """Wait for the next turn; True as soon as something changed that must not wait for it.

        Some changes are nobody's event: a runtime counts as down when it was silent for long enough.
        """
        while (left := until - self._clock.monotonic()) > _NEAR:
            fast = not self._was_ready and self._clock.monotonic() < fast_until
            await self._hinted(min(left, _FAST_LOOK if fast else _LOOK))
            if self._hint.is_set() or self._doors.outlook() != self._outlook:
                return True
        return False

    async def _hinted(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._hint.wait()
        except TimeoutError:
            pass

    async def _until(self, moment: float) -> None:
        await self._clock.sleep(max(0.0, moment - self._clock.monotonic()))

    # --- what -----------------------------------------------------------------

    async def _sync(self) -> None:
        """Report if that is due; up to so many tries."""
        causes, self._causes = self._causes, {}
        self._outlook = self._doors.outlook()
        for attempt in range(_TRIES):
            try:
                if self._node is None:
                    self._took(await self._registration.run())
                await self._try(", ".join(causes), fresh=attempt > 0)
                self._worked()
                return
            except ClusterError as error:
                self._failed(error)
                if isinstance(error, Refused) and error.not_found:
                    self._gone()
                    continue
                if isinstance(error, Refused) and error.retry_after:
                    wish = min(error.retry_after, LONGEST_WISH)
                    self._not_before = self._clock.monotonic() + wish
                    break
            if attempt > 0:
                await self._doors.reset()
        # What was to be told is still to be told at the next turn.
        self._causes = {**causes, **self._causes}

    async def _try(self, cause: str, *, fresh: bool) -> None:
        old = newest(self._doors.cached(), self._node)
        if fresh or old is None or self._doors.cached() is None:
            old = await self._api.get(nodes(self._name), Node, timeout=self._settings.timeout)
        self._took(old)
        self._tell_schedulable(old)
        update = self._doors.update(old)
        found = differences(old, update.node)
        now, frequency = self._clock.monotonic(), self._settings.report_frequency
        if not found and not due(self._reported, now, frequency):
            self._doors.written(old)
            return
        delay = next_delay(self._reported, frequency, self._rng.random(), changed=bool(found))
        patch = node_patch(old, update.node)
        if patch is not None:
            path = nodes(self._name, "status")
            old = await self._api.patch(path, patch, Node, timeout=self._settings.timeout)
            self._took(old)
        self._doors.written(old)
        self._reported = Reported(self._clock.monotonic(), delay)
        for event in update.events:
            self._tell(event)
        if found:
            self._journal.record(
                "NodeStatusReported",
                f"the node's status changed: {', '.join(found)}",
                cause=cause,
                ready=next(
                    (each.message for each in update.node.status.conditions if each.type == "Ready"), ""
                ),
            )

    def _took(self, node: Node) -> None:
        self._node = node
        self._was_ready = self._was_ready or ready(node)
        self._doors.seen(node)

    def _tell(self, event: NodeNews) -> None:
        if event.reason == "Rebooted":
            if self._boot_told:
                return
            self._boot_told = True
        self._events.node_event(event.kind, event.reason, event.message)

    def _tell_schedulable(self, node: Node) -> None:
        if node.spec.unschedulable == self._unschedulable:
            return
        self._unschedulable = node.spec.unschedulable
        reason = "NodeNotSchedulable" if self._unschedulable else "NodeSchedulable"
        self._events.node_event("Normal", reason, f"Node {self._name} status is now: {reason}")

    def _gone(self) -> None:
        self._journal.record("NodeGone", "the Node was deleted; it is registered again")
        self._node, self._reported = None, None
        self._doors.written(None)

    def _failed(self, error: ClusterError) -> None:
        if not self._failing:
            log.error("the node's status cannot be reported, and is tried again: %s", error)
        self._failing = True

    def _worked(self) -> None:
        if self._failing:
            log.info("the node's status is reported again")
        self._failing = False
