"""What the modules of this room ask of the API server's client; ``ApiClient`` implements it."""

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

T = TypeVar("T")

Query = Mapping[str, str]

#: (something with an object's metadata) → that object as it was last known or what stands for it; or None.
LastKnown = Callable[[Any], T | None]

#: The media type of patches.
STRATEGIC_MERGE = "application/strategic-merge-patch+json"


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """One event of a watch. BOOKMARK bears only a resourceVersion."""

    kind: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: T
    resource_version: str
    #: Whether a BOOKMARK ends the initial events of a watch-list.
    initial_events_end: bool = False


class Api(Protocol):
    """Requests to the API server. All raise ``Unreachable`` or ``Refused`` (both ``ClusterError``).

    *timeout* is in seconds and bounds the whole request; None means the client's own.
    """

    async def get(
        self, path: str, kind: type[T], *, query: Query | None = None, timeout: float | None = None
    ) -> T:
        """GET one object."""
        ...

    async def list(
        self, path: str, kind: type[T], *, query: Query | None = None, last_known: LastKnown[T] | None = None
    ) -> tuple[list[T], str]:
        """GET a list, all its pages: the items and the resourceVersion to watch from.

        In place of an item that cannot be decoded stands what *last_known* gives; without that
        it is left out. Either is told by a line in the log.
        """
        ...

    async def create(self, path: str, body: Any, kind: type[T], *, timeout: float | None = None) -> T:
        """POST *body*; the object as the server has it."""
        ...

    async def update(self, path: str, body: Any, kind: type[T], *, timeout: float | None = None) -> T:
        """PUT *body*; the object as the server has it."""
        ...

    async def patch(
        self,
        path: str,
        body: Any,
        kind: type[T],
        *,
        content_type: str = STRATEGIC_MERGE,
        timeout: float | None = None,
    ) -> T:
        """PATCH with *body*; the object as the server has it."""
        ...

    async def delete(self, path: str, *, grace: int | None = None, uid: str = "") -> None:
        """DELETE with a grace period in seconds and a UID as precondition."""
        ...

    def watch(
        self, path: str, kind: type[T], *, query: Query | None = None, last_known: LastKnown[T] | None = None
    ) -> AsyncGenerator[Change[T], None]:
        """GET with ``watch=true``: the changes as they come, until the server ends the stream.

        An ERROR event is raised as ``Refused``. Objects that cannot be decoded are treated as
        by ``list``. The caller closes the generator.
        """
        ...
