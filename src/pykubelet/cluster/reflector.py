"""Keeps a replica of some of the API server's objects: a list, then watches from where the last one ended.

While the server is away the replica stays as it was. Nothing is taken for deleted
unless the server said so, by an event or by a complete list.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from pykubelet.base.clock import Clock
from pykubelet.base.tasks import TaskOwner

from .backoff import Backoff
from .door import Api, Change, Query
from .errors import ClusterError, Refused
from .replica import Ask, Course, Replica, key_of

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds for which a watch is asked, by chance between the two.
WATCH_SECONDS: Final = (300, 600)
#: Seconds without an event after which a watch-list counts as not understood by the server.
WATCH_LIST_SILENCE: Final = 30.0
#: Seconds that a watch must have lasted, if it brought nothing, for the next to follow at once.
_SHORT: Final = 1.0
#: Seconds that are waited at most because a server asks for it.
_LONGEST_WAIT: Final = 300.0


class Reflector(Generic[T]):
    """One kind of objects at one path."""

    def __init__(
        self,
        api: Api,
        path: str,
        kind: type[T],
        clock: Clock,
        rng: random.Random,
        *,
        query: Query | None = None,
        on_sync: Callable[[Mapping[str, T]], None] | None = None,
        on_change: Callable[[Change[T]], None] | None = None,
        key: Callable[[Any], str] = key_of,
        watch_list: bool = True,
        stand_in: Callable[[Any], T | None] = lambda named: None,
    ) -> None:
        """*query* selects by fields or labels; objects are known by *key*, which needs no
        more of them than the metadata; by default the UID.

        *stand_in* gives what stands for an object that cannot be decoded and was never known, from
        (something with) its metadata; with None such an object is left out.

        *on_change* is told each difference, whether an event or a new list showed it;
        *on_sync* is told all objects after each complete list. Both are called on the loop.
        """
        self._api = api
        self._path = path
        self._kind = kind
        self._clock = clock
        self._rng = rng
        self._query = dict(query or {})
        self._on_sync = on_sync or (lambda items: None)
        self._on_change = on_change or (lambda change: None)
        self._key = key
        self._stand_in = stand_in
        self._replica: Replica[T] = Replica(key)
        self._course = Course(watch_list=watch_list)
        self._backoff = Backoff(rng)
        self._trouble = ""
        self._tasks = TaskOwner(f"reflector {path}")
        #: Set once the objects have been listed, and ever after.
        self.synced = asyncio.Event()

    async def start(self) -> None:
        """Begin to list and watch."""
        self._tasks.forever("run", self._run, pause=self._clock.sleep)

    async def stop(self) -> None:
        """End the watch; the replica stays."""
        await self._tasks.close()

    @property
    def items(self) -> Mapping[str, T]:
        """All objects by key; a picture that later changes do not touch."""
        return self._replica.items

    def get(self, key: str) -> T | None:
        """The object of *key*, by default its UID."""
        return self._replica.get(key)

    # --- asking ---------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            asked, version = self._course.ask(self._replica.resource_version)
            began, before = self._clock.monotonic(), self._replica.resource_version
            try:
                await self._ask(asked, version)
            except ClusterError as error:
                lasted = self._clock.monotonic() - began
                at_once = self._course.failed(asked, error)
                # A watch that broke after it had worked is taken up again without a wait, once.
                broke = asked is Ask.WATCH and not isinstance(error, Refused)
                worked = broke and (lasted >= _SHORT and self._replica.resource_version != before)
                self._tell(asked, error, expected=asked is Ask.WATCH_LIST and at_once)
                if not at_once and not worked:
                    await self._pause(error)
            else:
                if asked is Ask.LIST:
                    continue
                brought = self._replica.resource_version != before
                short = self._clock.monotonic() - began < _SHORT
                if not self._course.complete or (short and not brought):
                    await self._pause(None)

    async def _ask(self, asked: Ask, version: str) -> None:
        if asked is Ask.LIST:
            # From the server's cache, which knows no pages, unless it must be the newest.
            limit = {} if version == "" else {"limit": "0"}
            query = {**self._query, **limit, **({"resourceVersion": version} if version else {})}
            items, listed = await self._api.list(
                self._path, self._kind, query=query, last_known=self._last_known
            )
            self._take(items, listed)
        else:
            await self._watch(asked, version)

    async def _watch(self, asked: Ask, version: str) -> None:
        query = {
            **self._query,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(self._rng.randint(*WATCH_SECONDS)),
            "resourceVersion": version,
        }
        if asked is Ask.WATCH_LIST:
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        watch = self._api.watch(self._path, self._kind, query=query, last_known=self._last_known)
        async with contextlib.aclosing(watch) as changes:
            if asked is Ask.WATCH_LIST and not await self._initial(changes):
                return
            async for change in changes:
                self._apply(change)

    async def _initial(self, changes: AsyncGenerator[Change[T], None]) -> bool:
        """Take the objects with which a watch-list begins; whether they were all."""
        initial: Replica[T] = Replica(self._key)
        while True:
            try:
                async with asyncio.timeout(WATCH_LIST_SILENCE):
                    change = await anext(changes, None)
            except TimeoutError:
                log.info("%s: the API server does no watch-list, it is listed instead", self._path)
                self._course.no_watch_list()
                return False
            if change is None:
                return False
            initial.apply(change)
            if change.initial_events_end:
                self._take(list(initial.items.values()), change.resource_version)
                return True

    async def _pause(self, error: ClusterError | None) -> None:
        wait = self._backoff.wait(self._clock.monotonic())
        if isinstance(error, Refused) and error.retry_after is not None:
            wait = max(wait, min(error.retry_after, _LONGEST_WAIT))
        await self._clock.sleep(wait)

    def _tell(self, asked: Ask, error: ClusterError, *, expected: bool) -> None:
        """Log trouble once, not at each of hundreds of attempts."""
        text = f"{asked.value} of {self._path} failed: {error}"
        level = logging.INFO if expected else logging.WARNING
        log.log(logging.DEBUG if text == self._trouble else level, "%s", text)
        self._trouble = text

    # --- taking ---------------------------------------------------------------

    def _last_known(self, named: Any) -> T | None:
        """What cannot be decoded is not gone: it stays as it was."""
        known = self._replica.get(self._key(named))
        return self._stand_in(named) if known is None else known

    def _take(self, items: list[T], version: str) -> None:
        differences = self._replica.replace(items, version)
        self._course.listed()
        self._trouble = ""
        self.synced.set()
        for change in differences:
            self._guarded(self._on_change, change)
        self._guarded(self._on_sync, self._replica.items)

    def _apply(self, change: Change[T]) -> None:
        self._trouble = ""
        self._course.moved()
        difference = self._replica.apply(change)
        if difference is not None:
            self._guarded(self._on_change, difference)

    def _guarded(self, told: Callable[[Any], None], what: Any) -> None:
        """A listener's failure must not stop the watch."""
        try:
            told(what)
        except Exception:
            log.exception("a listener of %s failed", self._path)
