"""Config maps and secrets followed by watches, one for each object that a pod needs.

A node may read single objects only, so every one has a watch of its own. It is listed
when the first pod names it (a pod's start waits for that one request), and watched from
there in the background, also when it does not exist yet. What cannot change any more,
and what no volume shows and nobody asked for lately, is not watched.

A ``Reflector`` would do it too, but with a connection for each first list; here it goes over
a pooled one, and what is immutable never gets a connection of its own.
(pkg/kubelet/util/manager.)
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Generic

from pykubelet.base.clock import Clock
from pykubelet.base.tasks import TaskOwner, first_of

from .backoff import Backoff
from .door import Api
from .errors import ClusterError
from .object_kinds import ObjectKind, T, not_registered
from .paths import core
from .replica import Ask, Course

log = logging.getLogger(__name__)

#: Seconds that asking for an object waits for its first list.
FIRST_LIST_WAIT: Final = 1.0
#: Seconds between looks for watches that nobody needs, and how long one stays unused at least.
IDLE_PERIOD: Final = 60.0
#: Seconds of one watch: by chance between once and twice this, so that they do not end all at once.
WATCH_TIME: Final = 1800
#: The longest wait in seconds between the list and the watch; pods' starts go first.
STAGGER: Final = 1.5
#: Seconds before the first new try. The server may learn later than we that a pod on this node
#: lets us read the object; the pod's start waits.
FIRST_WAIT: Final = 0.2
#: A watch that ends within this many seconds without a word was no good.
TOO_SHORT: Final = 1.0

#: Told of an object whose contents changed: namespace, name, the UIDs of the pods that need it.
Changed = Callable[[str, str, Collection[str]], None]


@dataclass(slots=True, eq=False)
class _Item(Generic[T]):
    """One object and what is known of it."""

    namespace: str
    name: str
    last_used: float
    #: UIDs of the pods that need it, and whether a volume of the pod shows it.
    users: dict[str, bool] = field(default_factory=dict)
    found: T | None = None
    #: ``found`` is what the server has, as far as one can know.
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    #: It was in sync at some time: changes since then are worth telling.
    known: bool = False
    #: Somebody asked in vain before the first list came.
    missed: bool = False
    #: The last version heard of, where the next watch begins.
    version: str = ""
    error: ClusterError | None = None
    task: asyncio.Task[None] | None = None

    @property
    def final(self) -> bool:
        """It cannot change any more."""
        return self.found is not None and self.found.immutable is True


class WatchStore(Generic[T]):
    """Implements ``ObjectStore`` with watches."""

    def __init__(
        self,
        api: Api,
        clock: Clock,
        rng: random.Random,
        kind: ObjectKind[T],
        *,
        idle_after: float,
        on_change: Changed,
    ) -> None:
        """*idle_after*: seconds (60 at least) without a question after which a watch ends."""
        self._api = api
        self._clock = clock
        self._rng = rng
        self._kind = kind
        self._idle_after = max(idle_after, IDLE_PERIOD)
        self._on_change = on_change
        self._items: dict[tuple[str, str], _Item[T]] = {}
        self._tasks = TaskOwner(kind.resource)
        self._stopped = False

    async def start(self) -> None:
        """See ``ObjectStore``."""
        self._tasks.forever("idle", self._stop_idle_forever, pause=self._clock.sleep)

    async def stop(self) -> None:
        """See ``ObjectStore``."""
        self._stopped = True
        await self._tasks.close()
        self._items.clear()

    def add(self, namespace: str, name: str, user: str, *, mounted: bool) -> None:
        """See ``ObjectStore``."""
        item = self._items.get((namespace, name))
        if item is None:
            item = self._items[namespace, name] = _Item(namespace, name, self._clock.monotonic())
        item.users[user] = mounted
        if mounted or not item.known:
            self._follow(item)

    def drop(self, namespace: str, name: str, user: str) -> None:
        """See ``ObjectStore``."""
        item = self._items.get((namespace, name))
        if item is None:
            return
        item.users.pop(user, None)
        if not item.users:
            self._leave(item)
            del self._items[namespace, name]

    async def get(self, namespace: str, name: str) -> T | None:
        """See ``ObjectStore``."""
        item = self._items.get((namespace, name))
        if item is None:
            raise not_registered(namespace, name)
        item.last_used = self._clock.monotonic()
        self._follow(item)
        if not item.synced.is_set():
            await first_of(item.synced.wait(), self._clock.sleep(FIRST_LIST_WAIT))
        if not item.synced.is_set():
            item.missed = True
            cause = f" ({item.error})" if item.error is not None else ""
            raise LookupError(
                f"failed to sync {self._kind.name} cache: timed out waiting for the condition{cause}"
            )
        return item.found

    @property
    def watched(self) -> int:
        """How many objects are followed now."""
        return sum(item.task is not None for item in self._items.values())

    # --- following one object -------------------------------------------------

    def _follow(self, item: _Item[T]) -> None:
        if item.task is None and not item.final and not self._stopped:
            body = partial(self._follow_on, item)
            item.task = self._tasks.forever(f"{item.namespace}/{item.name}", body, pause=self._clock.sleep)

    def _leave(self, item: _Item[T]) -> None:
        """Follow it no more; what is known of it grows old from now on."""
        if item.task is not None:
            item.task.cancel()
            item.task = None
            item.synced.clear()

    async def _follow_on(self, item: _Item[T]) -> None:
        course = Course(watch_list=False)
        backoff = Backoff(self._rng, first=FIRST_WAIT)
        while not item.final:
            asked, version = course.ask(item.version)
            began = self._clock.monotonic()
            try:
                if asked is Ask.LIST:
                    # The newest, whatever version the course knows: it is what a pod starts with.
                    await self._list(item)
                    course.listed()
                    await self._clock.sleep(self._rng.uniform(0, STAGGER))
                    continue
                if await self._watch(item, version, course) or self._clock.monotonic() - began > TOO_SHORT:
                    continue
            except ClusterError as error:
                self._failed(item, error)
                if course.failed(asked, error):
                    continue
            await self._clock.sleep(backoff.wait(self._clock.monotonic()))
        item.task = None

    def _failed(self, item: _Item[T], error: ClusterError) -> None:
        # Hundreds of objects are followed at once: one line for each when a server goes away is enough.
        level = logging.DEBUG if item.error is not None else logging.WARNING
        log.log(level, "following %s %s/%s failed: %s", self._kind.name, item.namespace, item.name, error)
        item.error = error

    def _query(self, item: _Item[T]) -> dict[str, str]:
        return {"fieldSelector": f"metadata.name={item.name}"}

    async def _list(self, item: _Item[T]) -> None:
        path = core(self._kind.resource, item.namespace)
        found, version = await self._api.list(
            path, self._kind.type, query=self._query(item), last_known=lambda named: item.found
        )
        item.version = version
        item.error = None
        self._take(item, found[0] if found else None)

    async def _watch(self, item: _Item[T], version: str, course: Course) -> bool:
        """Follow the object until the stream ends; whether anything was heard."""
        query = {
            **self._query(item),
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(self._rng.randrange(WATCH_TIME, 2 * WATCH_TIME)),
        }
        heard = False
        path = core(self._kind.resource, item.namespace)
        watch = self._api.watch(path, self._kind.type, query=query, last_known=lambda named: item.found)
        async with contextlib.aclosing(watch) as changes:
            async for change in changes:
                heard = True
                course.moved()
                item.error = None
                item.version = change.resource_version
                if change.kind == "BOOKMARK":
                    continue
                self._take(item, None if change.kind == "DELETED" else change.object)
                if item.final:
                    break
        return heard

    def _take(self, item: _Item[T], found: T | None) -> None:
        """The server has *found* now."""
        changed = item.known and self._contents(item.found) != self._contents(found)
        tell = changed or item.missed
        item.found = found
        item.known = True
        item.missed = False
        item.synced.set()
        if tell and item.users:
            self._tell(item)

    def _tell(self, item: _Item[T]) -> None:
        try:
            self._on_change(item.namespace, item.name, tuple(item.users))
        except Exception:
            # A listener's failure must not end the watch.
            log.exception("telling that %s %s/%s changed", self._kind.name, item.namespace, item.name)

    def _contents(self, found: T | None) -> object:
        return None if found is None else self._kind.contents(found)

    # --- what nobody needs ----------------------------------------------------

    async def _stop_idle_forever(self) -> None:
        while True:
            await self._clock.sleep(IDLE_PERIOD)
            now = self._clock.monotonic()
            for item in self._items.values():
                shown = any(item.users.values())
                if not shown and item.synced.is_set() and now - item.last_used > self._idle_after:
                    self._leave(item)
