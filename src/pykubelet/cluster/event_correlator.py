"""What becomes of an event before it is sent: combined with similar ones, counted, or dropped as spam.

Many different messages of one kind become one event with a changing message; an exact
repeat raises the count of the first; an object about which too much is said is not
spoken of for a while. Pure: the time is told to it. (client-go, tools/record.)
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Generic, TypeVar

from msgspec.structs import replace

from pykubelet.api.events import Event
from pykubelet.api.meta import ObjectMeta

from .rate_limit import Bucket

V = TypeVar("V")

#: Entries of each cache.
CACHE_LIMIT: Final = 4096
#: Different messages of one kind that are combined, if not this many seconds passed between two.
SIMILAR_LIMIT, SIMILAR_WITHIN = 10, 600.0
#: Events about one object: at once, and then a second.
SPAM_BURST, SPAM_RATE = 25, 1 / 300

_COMBINED: Final = "(combined from similar events): "

Key = tuple[str, ...]


@dataclass(slots=True)
class _Similar:
    """Messages of one kind of event; in order, so that it is the oldest that is forgotten."""

    last: float
    messages: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Sent:
    """What the server is believed to have of an event."""

    count: int
    first: datetime | None
    name: str
    resource_version: str


class _Lru(Generic[V]):
    """The values used last."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: OrderedDict[Hashable, V] = OrderedDict()

    def get(self, key: Hashable) -> V | None:
        found = self._items.get(key)
        if found is not None:
            self._items.move_to_end(key)
        return found

    def put(self, key: Hashable, value: V) -> None:
        self._items[key] = value
        self._items.move_to_end(key)
        if len(self._items) > self._limit:
            self._items.popitem(last=False)


class EventCorrelator:
    """What was said lately, about whom, how often."""

    def __init__(self, cache_limit: int = CACHE_LIMIT) -> None:
        self._similar: _Lru[_Similar] = _Lru(cache_limit)
        self._sent: _Lru[_Sent] = _Lru(cache_limit)
        self._spam: _Lru[Bucket] = _Lru(cache_limit)

    def correlate(self, event: Event, now: float) -> Event | None:
        """What to send for *event* at *now* (monotonic seconds); None: nothing, it is spam.

        Its count is how often it was said since the last time. If what is to be sent repeats an
        event that the server has, it bears that one's name.
        """
        event, key = self._combine(event, now)
        event = self._count(event, key)
        return None if self._too_much(event, now) else event

    def stored(self, event: Event) -> None:
        """The server has *event*, as it answered."""
        self._remember(event_key(event), event)

    # --- the three steps ------------------------------------------------------

    def _combine(self, event: Event, now: float) -> tuple[Event, Key]:
        """The event, or that which stands for it and similar ones; and the key to count it under."""
        kind = _kind_key(event)
        similar = self._similar.get(kind)
        if similar is None or now - similar.last > SIMILAR_WITHIN:
            similar = _Similar(now)
            self._similar.put(kind, similar)
        similar.messages.setdefault(event.message)
        similar.last = now
        if len(similar.messages) < SIMILAR_LIMIT:
            return event, event_key(event)
        del similar.messages[next(iter(similar.messages))]
        combined = Event(
            metadata=ObjectMeta(name=event.metadata.name, namespace=event.metadata.namespace),
            involvedObject=event.involvedObject,
            reason=event.reason,
            message=_COMBINED + event.message,
            source=event.source,
            firstTimestamp=event.lastTimestamp,
            lastTimestamp=event.lastTimestamp,
            count=event.count,
            type=event.type,
        )
        return combined, kind

    def _count(self, event: Event, key: Key) -> Event:
        """The event as the next repeat of the one that was sent under *key*, if there is one."""
        sent = self._sent.get(key)
        if sent is not None:
            metadata = replace(event.metadata, name=sent.name, resourceVersion=sent.resource_version)
            count = sent.count + event.count
            event = replace(event, metadata=metadata, firstTimestamp=sent.first, count=count)
        self._remember(key, event)
        return event

    def _too_much(self, event: Event, now: float) -> bool:
        key = _spam_key(event)
        bucket = self._spam.get(key)
        if bucket is None:
            bucket = Bucket(SPAM_RATE, SPAM_BURST, now)
            self._spam.put(key, bucket)
        if bucket.take(now) == 0:
            return False
        bucket.give_back()
        return True

    def _remember(self, key: Key, event: Event) -> None:
        self._sent.put(
            key,
            _Sent(event.count, event.firstTimestamp, event.metadata.name, event.metadata.resourceVersion),
        )


def repeat_patch(event: Event) -> dict[str, object]:
    """What changes in the server's event when *event* is its next repeat (a strategic merge patch)."""
    return {"count": event.count, "lastTimestamp": event.lastTimestamp, "message": event.message}


def _spam_key(event: Event) -> Key:
    """Who speaks about whom, in which tone."""
    about = event.involvedObject
    return (
        event.source.component,
        event.source.host,
        about.kind,
        about.namespace,
        about.name,
        about.uid,
        about.apiVersion,
        event.type,
    )


def _kind_key(event: Event) -> Key:
    """Events that differ in their message only (or in the container that they are about)."""
    return (*_spam_key(event), event.reason, event.reportingComponent, event.reportingInstance)


def event_key(event: Event) -> Key:
    """Exactly this event."""
    return (*_spam_key(event), event.involvedObject.fieldPath, event.reason, event.message)
