"""core/v1 Event."""

from datetime import datetime

import msgspec

from .meta import Obj, ObjectMeta


class ObjectReference(Obj):
    """core/v1 ObjectReference."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    apiVersion: str = ""
    resourceVersion: str = ""
    fieldPath: str = ""


class EventSource(Obj):
    """core/v1 EventSource."""

    component: str = ""
    host: str = ""


class EventSeries(Obj):
    """core/v1 EventSeries."""

    count: int = 0
    lastObservedTime: str | None = None


class Event(Obj):
    """core/v1 Event."""

    apiVersion: str = "v1"
    kind: str = "Event"
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    involvedObject: ObjectReference = msgspec.field(default_factory=ObjectReference)
    reason: str = ""
    message: str = ""
    source: EventSource = msgspec.field(default_factory=EventSource)
    firstTimestamp: datetime | None = None
    lastTimestamp: datetime | None = None
    count: int = 0
    type: str = ""
    eventTime: str | None = None
    series: EventSeries | None = None
    action: str = ""
    reportingComponent: str = ""
    reportingInstance: str = ""
