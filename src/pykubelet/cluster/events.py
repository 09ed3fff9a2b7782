"""Events about pods and the node, posted to the API server without anybody waiting for it.

Who has something to say puts it into a bounded queue; one sender combines, counts and
thins it out (``event_correlator.py``) and posts it, one event after the other.
(client-go, tools/record; unlike there, what is said again while it waits is posted once, with its
count: an outage neither fills the queue with repeats nor ends in a storm of them.)
"""

import asyncio
import logging
import random
import uuid
from collections.abc import Callable
from typing import Final, Literal

from msgspec.structs import replace

from pykubelet.api.events import Event, EventSource, ObjectReference
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.names import dns_subdomain
from pykubelet.base.clock import Clock, from_ns
from pykubelet.base.journal import ObjectRef, PodRef
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner, first_of

from .door import Api
from .errors import ClusterError, Refused
from .event_correlator import EventCorrelator, Key, event_key, repeat_patch
from .paths import core

log = logging.getLogger(__name__)

#: Events that may wait to be sent; more are dropped.
QUEUE_LIMIT: Final = 1000
#: Tries of one event when the server cannot be reached, and the seconds between them.
TRIES, TRY_AGAIN = 12, 10.0
#: Seconds that sending what is left may take when the kubelet stops.
FLUSH_LIMIT: Final = 2.0
#: Characters kept of one message.
MESSAGE_LIMIT: Final = 1 << 15

Kind = Literal["Normal", "Warning"]


def event_name(object_name: str, now_ns: int, rng: random.Random) -> str:
    """``OBJECT.HEXNANOSECONDS``; a random UUID where that is no name for an event."""
    name = f"{object_name}.{now_ns:x}"
    if dns_subdomain(name):
        return str(uuid.UUID(int=rng.getrandbits(128), version=4))
    return name


class EventPoster:
    """Implements ``Events`` on the API server."""

    def __init__(
        self,
        api: Api,
        clock: Clock,
        rng: random.Random,
        metrics: Metrics,
        node_name: str,
        *,
        resource_version: Callable[[PodRef], str] = lambda pod: "",
    ) -> None:
        """*api* is a client of the events' own, with its own rate limit: they must not delay anything else.

        *resource_version* tells that of a pod, empty if it is not known.
        """
        self._api = api
        self._clock = clock
        self._rng = rng
        self._node = node_name
        self._resource_version = resource_version
        self._correlator = EventCorrelator()
        #: Events that wait, in order by what they say; one that is said again meanwhile is counted.
        self._waiting: dict[Key, Event] = {}
        self._queue: asyncio.Queue[Key] = asyncio.Queue(QUEUE_LIMIT)
        #: Whether the API server cannot be reached, and events lost since the last one that was posted.
        self._failing = False
        self._lost = 0
        self._closing = asyncio.Event()
        self._tasks = TaskOwner("events")
        self._dropped = metrics.counter(
            "pykubelet_events_dropped_total", "Events that were not posted.", ["cause"]
        )

    async def start(self) -> None:
        """Begin to post."""
        self._tasks.forever("send", self._send_forever, pause=self._clock.sleep)

    async def stop(self) -> None:
        """Post what is left, once and for 2 s at most, then nothing more."""
        self._closing.set()
        if self._tasks.tasks:
            await first_of(self._queue.join(), self._clock.sleep(FLUSH_LIMIT))
        await self._tasks.close()
        if self._queue.qsize():
            log.warning("%d events are not posted: the kubelet stops", self._queue.qsize())

    # --- the door -------------------------------------------------------------

    def pod_event(self, pod: PodRef, kind: Kind, reason: str, message: str, *, field_path: str = "") -> None:
        """See ``Events``."""
        about = ObjectReference(
            kind="Pod",
            namespace=pod.namespace,
            name=pod.name,
            uid=pod.uid,
            apiVersion="v1",
            resourceVersion=self._resource_version(pod),
            fieldPath=field_path,
        )
        self._put(about, kind, reason, message)

    def node_event(self, kind: Kind, reason: str, message: str) -> None:
        """See ``Events``."""
        # No UID: upstream's reference to its own node has none either.
        self._put(ObjectReference(kind="Node", name=self._node, apiVersion="v1"), kind, reason, message)

    def object_event(self, about: ObjectRef, kind: Kind, reason: str, message: str) -> None:
        """See ``Events``."""
        reference = ObjectReference(
            kind=about.kind,
            namespace=about.namespace,
            name=about.name,
            uid=about.uid,
            apiVersion=about.api_version,
            resourceVersion=about.resource_version,
        )
        self._put(reference, kind, reason, message)

    def _put(self, about: ObjectReference, kind: Kind, reason: str, message: str) -> None:
        now_ns = self._clock.now_ns()
        now = from_ns(now_ns).replace(microsecond=0)
        event = Event(
            metadata=ObjectMeta(
                name=event_name(about.name, now_ns, self._rng), namespace=about.namespace or "default"
            ),
            involvedObject=about,
            reason=reason,
            message=message[:MESSAGE_LIMIT],
            source=EventSource(component="kubelet", host=self._node),
            firstTimestamp=now,
            lastTimestamp=now,
            count=1,
            type=kind,
            reportingComponent="kubelet",
            reportingInstance=self._node,
        )
        key = event_key(event)
        waits = self._waiting.get(key)
        if waits is not None:
            self._waiting[key] = replace(waits, count=waits.count + 1, lastTimestamp=now)
            return
        try:
            self._queue.put_nowait(key)
        except asyncio.QueueFull:
            self._drop("queue-full", "too many wait", event)
        else:
            self._waiting[key] = event

    # --- the sender -----------------------------------------------------------

    async def _send_forever(self) -> None:
        while True:
            key = await self._queue.get()
            try:
                await self._send(self._waiting.pop(key))
            finally:
                self._queue.task_done()

    async def _send(self, event: Event) -> None:
        correlated = self._correlator.correlate(event, self._clock.monotonic())
        if correlated is None:
            self._dropped.labels("spam").inc()
            return
        repeats = correlated.metadata.name != event.metadata.name
        for attempt in range(1, TRIES + 1):
            try:
                self._correlator.stored(await self._post(correlated, repeats=repeats))
                self._reached()
                return
            except Refused as error:
                # The same event would be refused again, whatever the reason is.
                expected = error.already_exists or _namespace_ends(error)
                self._drop("refused", f"the API server refused it ({error})", correlated, expected=expected)
                return
            except ClusterError as error:
                self._failed(error)
            if self._closing.is_set() or attempt == TRIES:
                break
            # The first wait is random: all nodes of a cluster miss a server that restarts.
            wait = TRY_AGAIN * (self._rng.random() if attempt == 1 else 1.0)
            await first_of(self._clock.sleep(wait), self._closing.wait())
        self._drop("unreachable", "the API server could not be reached", correlated)

    # An outage has hundreds of events: its begin and its end are logged, not each of them.

    def _failed(self, error: ClusterError) -> None:
        level = logging.DEBUG if self._failing else logging.WARNING
        log.log(level, "events wait for the API server: %s", error)
        self._failing = True

    def _drop(self, cause: str, why: str, event: Event, *, expected: bool = False) -> None:
        self._dropped.labels(cause).inc()
        level = logging.DEBUG if self._lost or expected else logging.ERROR
        log.log(level, "an event is dropped, %s: %s", why, _words(event))
        self._lost += not expected

    def _reached(self) -> None:
        if self._failing or self._lost:
            log.info("the API server takes events again, %d were dropped meanwhile", self._lost)
        self._failing, self._lost = False, 0

    async def _post(self, event: Event, *, repeats: bool) -> Event:
        namespace = event.metadata.namespace
        if repeats:
            try:
                return await self._api.patch(
                    core("events", namespace, event.metadata.name), repeat_patch(event), Event
                )
            except Refused as error:
                # Events live for an hour only: the one that this repeats may be gone.
                if not error.not_found:
                    raise
            event = replace(event, metadata=replace(event.metadata, resourceVersion=""))
        return await self._api.create(core("events", namespace), event, Event)


def _namespace_ends(error: Refused) -> bool:
    return error.forbidden and "being terminated" in str(error)


def _words(event: Event) -> str:
    about = event.involvedObject
    return f"{about.kind} {about.namespace}/{about.name}: {event.reason}: {event.message[:256]}"
