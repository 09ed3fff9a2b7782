"""Reads what the API server answers: bodies, refusals, and the events of a watch, within limits.

An object that cannot be decoded must not hide the others: it is left out, or what is known stands for it.
"""

import logging
from collections.abc import AsyncGenerator
from typing import Final, TypeVar

import aiohttp
import msgspec

from pykubelet.api.codec import InvalidField, decode
from pykubelet.api.machinery import Status, WatchEnvelope
from pykubelet.api.meta import Obj, ObjectMeta

from .door import Change, LastKnown
from .errors import Refused, Unreachable

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Bytes of an answer, of one event of a watch, and of an error.
_BODY_LIMIT: Final = 256 << 20
_EVENT_LIMIT: Final = 32 << 20
_ERROR_LIMIT: Final = 1 << 20
#: The annotation of the bookmark that ends a watch-list's initial events.
_INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"


class _Meta(Obj):
    """What every object has."""

    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)


class _Name(Obj):
    """What tells an object from others, whatever else of it cannot be read."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resourceVersion: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class _Named(Obj):
    """An object reduced to that."""

    metadata: _Name = msgspec.field(default_factory=_Name)


async def refusal_of(answer: aiohttp.ClientResponse) -> Refused:
    """The error that *answer* tells."""
    data = bytearray()
    async for chunk in answer.content.iter_any():
        data += chunk
        if len(data) > _ERROR_LIMIT:
            break
    wait = answer.headers.get("Retry-After", "")
    seconds = float(wait) if wait.isascii() and wait.isdigit() else None
    try:
        status = decode(bytes(data), Status)
    except InvalidField:
        status = Status(message=data[:1024].decode(errors="replace").strip())
    return Refused.from_status(status, answer.status, seconds)


async def body_of(answer: aiohttp.ClientResponse) -> bytes:
    """The whole body.

    :raises Unreachable: it is too long.
    """
    chunks, size = [], 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > _BODY_LIMIT:
            raise Unreachable("the API server's answer is too long")
        chunks.append(chunk)
    return b"".join(chunks)


def decoded(data: bytes, kind: type[T]) -> T:
    """What *data* says.

    :raises Unreachable: it cannot be read.
    """
    try:
        return decode(data, kind)
    except InvalidField as error:
        raise Unreachable(f"the API server's answer cannot be read: {error}") from error


async def split_lines(stream: aiohttp.StreamReader, limit: int = _EVENT_LIMIT) -> AsyncGenerator[bytes, None]:
    """The whole lines of *stream*; each byte is looked at once and copied at most twice.

    :raises Unreachable: a line is longer than *limit* bytes.
    """
    pieces: list[bytes] = []
    size = 0
    async for chunk in stream.iter_any():
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            pieces.append(chunk[start:end])
            line = b"".join(pieces) if len(pieces) > 1 else pieces[0]
            pieces, size, start = [], 0, end + 1
            if line:
                yield line
        if start < len(chunk):
            pieces.append(chunk[start:])
            size += len(chunk) - start
            if size > limit:
                raise Unreachable("an event of a watch is too long")


def item_of(raw: bytes, kind: type[T], last_known: LastKnown[T] | None) -> T | None:
    """An object of a list; None when it cannot be decoded and is not known."""
    try:
        return decode(raw, kind)
    except InvalidField as error:
        known, _ = _instead(raw, kind, error, last_known)
        return known


def _instead(
    raw: bytes, kind: type[T], error: InvalidField, last_known: LastKnown[T] | None
) -> tuple[T | None, str]:
    """What stands in for an object that cannot be decoded, and the resourceVersion that it has now."""
    try:
        named = decode(raw, _Named)
    except InvalidField:
        named = _Named()
    known = last_known(named) if last_known is not None and named.metadata.name else None
    done = "is left out" if known is None else "stays as it is on this node"
    log.warning("%s %s cannot be read and %s: %s", kind.__name__, named.metadata, done, error)
    return known, named.metadata.resourceVersion


def change_of(line: bytes, path: str, kind: type[T], last_known: LastKnown[T] | None) -> Change[T] | None:
    """The event of *line*; None when its object cannot be decoded and is not known.

    :raises Refused: the event is the end of a watch that the server can serve no longer.
    :raises Unreachable: it is no event.
    """
    envelope = decoded(line, WatchEnvelope)
    raw = bytes(envelope.object)
    if envelope.type == "ERROR":
        status = decoded(raw, Status)
        raise Refused.from_status(status, status.code or 500)
    if envelope.type not in {"ADDED", "MODIFIED", "DELETED", "BOOKMARK"}:
        raise Unreachable(f"a watch of {path} brought the unknown event {envelope.type!r}")
    try:
        found = decode(raw, kind)
    except InvalidField as error:
        known, version = _instead(raw, kind, error, last_known)
        return None if known is None else Change(envelope.type, known, version)  # type: ignore[arg-type]
    # The structs of objects have their metadata; anything else is decoded a second time for it.
    meta = getattr(found, "metadata", None)
    if not isinstance(meta, ObjectMeta):
        meta = decoded(raw, _Meta).metadata
    return Change(
        envelope.type,  # type: ignore[arg-type]
        found,
        meta.resourceVersion,
        initial_events_end=meta.annotations.get(_INITIAL_EVENTS_END) == "true",
    )
