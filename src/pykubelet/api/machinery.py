"""What the API server answers beside objects: errors (``Status``), events of a watch, bodies of deletes."""

from collections.abc import Sequence

import msgspec

from .core import ListMeta
from .meta import Obj


class StatusCause(Obj):
    """metav1.StatusCause."""

    reason: str = ""
    message: str = ""
    field: str = ""


class StatusDetails(Obj):
    """metav1.StatusDetails."""

    name: str = ""
    group: str = ""
    kind: str = ""
    uid: str = ""
    causes: list[StatusCause] = []
    #: Seconds after which the request may be made again.
    retryAfterSeconds: int = 0


class Status(Obj):
    """metav1.Status: how a request failed."""

    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = msgspec.field(default_factory=ListMeta)
    status: str = ""
    message: str = ""
    reason: str = ""
    details: StatusDetails | None = None
    code: int = 0


class StatusError(Exception):
    """A request that is answered with a ``Status``; the text is its message."""

    def __init__(
        self, code: int, reason: str, message: str, causes: Sequence[StatusCause] = (), *, name: str = ""
    ) -> None:
        """*code* is HTTP's, *reason* one word of the API's; *causes* name the fields at fault."""
        super().__init__(message)
        self.status = Status(
            apiVersion="v1",
            kind="Status",
            status="Failure",
            message=message,
            reason=reason,
            details=StatusDetails(name=name, causes=list(causes)) if causes or name else None,
            code=code,
        )


class WatchEnvelope(Obj):
    """metav1.WatchEvent; the object is decoded when its type is known."""

    type: str = ""
    object: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))


class RawList(Obj):
    """Any list, its items yet to be decoded one by one: none of them keeps the whole list in memory."""

    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = msgspec.field(default_factory=ListMeta)
    items: list[msgspec.Raw] | None = None


class Preconditions(Obj):
    """metav1.Preconditions."""

    uid: str | None = None
    resourceVersion: str | None = None


class DeleteOptions(Obj):
    """metav1.DeleteOptions."""

    apiVersion: str = "v1"
    kind: str = "DeleteOptions"
    gracePeriodSeconds: int | None = None
    preconditions: Preconditions | None = None
