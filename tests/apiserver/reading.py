"""Lists and watches: what is read of the store, and how it crosses the wire."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from tests.apiserver import errors, selectors
from tests.apiserver.resources import PODS, Object, Resource, Target
from tests.apiserver.store import Change, Store, Stored

WatchList = Literal["on", "refused", "error"]

INITIAL_EVENTS_END = "k8s.io/initial-events-end"
#: Seconds that a list waits for a version that is not there yet.
FRESHNESS_WAIT = 3.0
#: Seconds of a watch that names no time-out (a real server draws 30 to 60 minutes).
LONGEST_WATCH = 1800.0

#: Seconds too few to wait for: in virtual time a wait may end that much too early.
_NEAR = 0.001

encode = msgspec.json.encode

_OLD_TOKEN = (
    "The provided continue parameter is too old to display a consistent list result. You can start a "
    "new list without the continue parameter, or use the continue token in this response to "
    "retrieve the remainder of the results."
)
_NO_PROGRESS = errors.ApiError(
    500,
    "InternalError",
    "a watch stream was requested by the client but the required storage feature RequestWatchProgress "
    "is disabled",
)


def number(query: Mapping[str, str], name: str, default: int = 0) -> int:
    """:raises ApiError: the parameter is no number."""
    text = query.get(name, "")
    try:
        return int(text) if text else default
    except ValueError:
        raise errors.bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None


def true(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "") in ("1", "true", "True")


def version(query: Mapping[str, str]) -> int:
    """The resourceVersion; 0 when none is asked for.

    :raises ApiError: 400, it is no number.
    """
    text = query.get("resourceVersion", "")
    if text and not text.isdigit():
        raise errors.bad_request(
            f'invalid resource version: resourceVersion: Invalid value: "{text}": strconv.ParseUint: '
            f'parsing "{text}": invalid syntax'
        )
    return int(text or 0)


def matcher(target: Target, query: Mapping[str, str]) -> selectors.Matches:
    """What the selectors, the namespace and the name of the path let through."""
    matches = selectors.both(
        selectors.fields(target.resource, query.get("fieldSelector", "")),
        selectors.labels(query.get("labelSelector", "")),
    )
    for key, value in (("namespace", target.namespace), ("name", target.name)):
        if value:
            matches = selectors.both(_metadata(key, value), matches)
    return matches


def _metadata(key: str, value: str) -> selectors.Matches:
    return lambda obj: obj["metadata"].get(key) == value


async def read_list(store: Store, target: Target, query: Mapping[str, str]) -> bytes:
    """The answer of a list.

    :raises ApiError: it cannot be given as asked.
    """
    resource, matches = target.resource, matcher(target, query)
    asked, limit, match = version(query), number(query, "limit"), query.get("resourceVersionMatch", "")
    _check_list(query)
    after: tuple[str, str] | None = None
    if query.get("continue"):
        asked, after = _continued(query["continue"])
        found = _snapshot(store, resource, asked, _OLD_TOKEN)
    elif match == "Exact" or (asked and limit and not match):
        await _fresh(store, resource, asked)
        found = _snapshot(store, resource, asked, "The resourceVersion for the provided list is too old.")
    else:
        await _fresh(store, resource, asked)
        if query.get("resourceVersion") == "0":
            limit = 0
        asked, found = store.version, store.all(resource)
    items = [item for item in found if (after is None or item.key > after) and matches(item.obj)]
    metadata: dict[str, Any] = {"resourceVersion": str(asked)}
    if limit and len(items) > limit:
        metadata["continue"] = _token(asked, items[limit - 1])
        if not query.get("fieldSelector") and not query.get("labelSelector"):
            metadata["remainingItemCount"] = len(items) - limit
        items = items[:limit]
    return encode(
        {
            "kind": f"{resource.kind}List",
            "apiVersion": resource.api_version,
            "metadata": metadata,
            # Within a list, a real server's items bear no kind.
            "items": [
                {k: v for k, v in item.obj.items() if k not in ("kind", "apiVersion")} for item in items
            ],
        }
    )


def _check_list(query: Mapping[str, str]) -> None:
    match = query.get("resourceVersionMatch", "")
    if match and not query.get("resourceVersion"):
        raise _forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided")
    if match and query.get("continue"):
        raise _forbidden("resourceVersionMatch is forbidden when continue is provided")
    if match == "Exact" and query.get("resourceVersion") == "0":
        raise _forbidden('resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
    if "sendInitialEvents" in query:
        raise _forbidden("sendInitialEvents is forbidden for list", "sendInitialEvents")


def _forbidden(problem: str, field: str = "resourceVersionMatch") -> errors.ApiError:
    return errors.invalid("ListOptions", "meta.k8s.io", "", field, f"Forbidden: {problem}")


def _token(at: int, last: Stored) -> str:
    return base64.urlsafe_b64encode(encode([at, *last.key])).decode().rstrip("=")


def _continued(token: str) -> tuple[int, tuple[str, str]]:
    try:
        at, namespace, name = msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, msgspec.DecodeError):
        raise errors.bad_request("invalid continue token: continue key is not valid") from None
    return int(at), (namespace, name)


def _snapshot(store: Store, resource: Resource, at: int, why_not: str) -> list[Stored]:
    try:
        return store.at(resource, at)
    except errors.ApiError:
        raise errors.expired(why_not) from None


async def _fresh(store: Store, resource: Resource, asked: int) -> None:
    """Wait until the store has come to version *asked*."""
    try:
        async with asyncio.timeout(FRESHNESS_WAIT):
            while store.version < asked:
                await store.written(resource).wait()
    except TimeoutError:
        raise errors.too_large_version(asked, store.version) from None


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """How the double watches."""

    #: Seconds between bookmarks.
    bookmark_period: float = 60.0
    #: What sendInitialEvents brings: the events, a refusal as of a server without the feature,
    #: or the ERROR event of a server whose etcd is too old for it.
    watch_list: WatchList = "on"


class Watch:
    """One watch: its events as lines."""

    def __init__(
        self, store: Store, target: Target, query: Mapping[str, str], settings: WatchSettings
    ) -> None:
        """:raises ApiError: it cannot be watched as asked."""
        self._store = store
        self._resource = target.resource
        self._matches = matcher(target, query)
        self._settings = settings
        self._initial = self._check(query)
        self._bookmarks = true(query, "allowWatchBookmarks")
        self._from = version(query)
        self._timeout = float(number(query, "timeoutSeconds")) or LONGEST_WATCH

    def _check(self, query: Mapping[str, str]) -> bool | None:
        match = query.get("resourceVersionMatch", "")
        if "sendInitialEvents" not in query:
            if match:
                raise _forbidden(
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
                )
            return None
        if match != "NotOlderThan":
            raise _forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        if self._settings.watch_list == "refused":
            raise _forbidden(
                "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
                "sendInitialEvents",
            )
        return true(query, "sendInitialEvents")

    async def events(self) -> AsyncGenerator[bytes, None]:
        """The lines of the stream, until its time is over or its history is gone."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._timeout
        cursor = self._from
        if self._initial or (not cursor and self._initial is None):
            if self._initial and self._settings.watch_list == "error":
                yield line("ERROR", encode(_NO_PROGRESS.status()))
                return
            await _fresh(self._store, self._resource, cursor)
            cursor, present = self._store.version, self._store.all(self._resource)
            for item in present:
                if self._matches(item.obj):
                    yield line("ADDED", item.raw)
            if self._initial and self._bookmarks:
                yield self._bookmark(cursor, {INITIAL_EVENTS_END: "true"})
        elif not cursor:
            cursor = self._store.version
        bookmark_at = loop.time() + self._settings.bookmark_period
        while True:
            written = self._store.written(self._resource)
            try:
                changes = self._store.since(self._resource, cursor)
            except errors.ApiError as gone:
                yield line("ERROR", encode(gone.status()))
                return
            for change in changes:
                cursor = change.version
                event = self._event(change)
                if event is not None:
                    yield event
            now = loop.time() + _NEAR
            if now >= end:
                return
            if now >= bookmark_at:
                bookmark_at = loop.time() + self._settings.bookmark_period
                if self._bookmarks:
                    # Nothing of this resource happened since, else it would have been sent.
                    cursor = max(cursor, self._store.version)
                    yield self._bookmark(cursor)
            if changes:
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(written.wait(), max(0.0, min(end, bookmark_at) - loop.time()))

    def _event(self, change: Change) -> bytes | None:
        before = change.before if change.before and self._matches(change.before.obj) else None
        after = change.after if change.after and self._matches(change.after.obj) else None
        if after is not None:
            return line("MODIFIED" if before is not None else "ADDED", after.raw)
        if before is not None:
            return line("DELETED", before.at(change.version).raw)
        return None

    def _bookmark(self, at: int, annotations: dict[str, str] | None = None) -> bytes:
        metadata: Object = {"resourceVersion": str(at), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        obj: Object = {
            "kind": self._resource.kind,
            "apiVersion": self._resource.api_version,
            "metadata": metadata,
        }
        if self._resource is PODS:
            # An empty pod as Go writes it.
            obj |= {"spec": {"containers": None}, "status": {}}
        return line("BOOKMARK", encode(obj))


def line(kind: str, raw: bytes) -> bytes:
    """One event of a watch."""
    return b'{"type":"%b","object":%b}\n' % (kind.encode(), raw)
