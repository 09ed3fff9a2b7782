"""The plug-in watcher: sees sockets come and go, and hands their plug-ins to those who take them.

A loop looks (:mod:`.scan`), decides (:mod:`.reconcile`) and starts what is to be done,
one task a socket. inotify only hints that a look is due; a slow pass finds what it
missed. Nothing is kept on disk: after a restart every socket is asked again.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pykubelet.base.clock import Clock
from pykubelet.base.gotext import go_quote
from pykubelet.base.journal import Journal
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner

from .announcement import Announcement, AnnouncementError, PluginInfo
from .doors import PluginHandler, PluginRefusedError
from .reconcile import (
    FIRST_WAIT,
    LONGEST_WAIT,
    Deregister,
    Failure,
    Order,
    Register,
    Registered,
    decide,
    failed,
    next_try,
)
from .scan import Found, Mark, scan
from .watch import TreeWatch

log = logging.getLogger(__name__)

#: Seconds between looks while inotify works, and while it does not.
_SLOW: Final = 30.0
_POLL: Final = 2.0
#: Seconds of the shortest wait.
_SHORTEST: Final = 0.001
#: Seconds that a burst of changes is given to end.
_BURST: Final = 0.01


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock
    users: int = 0


class PluginManager:
    """Watches *directory* (``Layout.plugins_registry``) between :meth:`start` and :meth:`stop`.

    *first* and *longest* are the waits after failures, in seconds.
    """

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        journal: Journal,
        metrics: Metrics,
        first: float = FIRST_WAIT,
        longest: float = LONGEST_WAIT,
        slow: float = _SLOW,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._journal = journal
        self._waits = (first, longest)
        self._slow = slow
        self._handlers: dict[str, PluginHandler] = {}
        self._owner = TaskOwner("plugins")
        self._seen: Mapping[str, Mark] = {}
        self._registered: dict[str, Registered] = {}
        self._running: set[str] = set()
        self._failures: dict[str, Failure] = {}
        self._turns: dict[tuple[str, str], _Turn] = {}
        self._wake = asyncio.Event()
        self._hinted = True
        self._watching = True
        self._look_at = 0.0
        self._missed = metrics.counter(
            "pykubelet_plugin_watch_missed_changes_total",
            "Changes of plug-in sockets that only a slow look found.",
        )
        metrics.add(_Plugins(self))

    def add_handler(self, plugin_type: str, handler: PluginHandler) -> None:
        """Let *handler* take the plug-ins of that type; before :meth:`start`."""
        self._handlers[plugin_type] = handler

    @property
    def seen(self) -> Mapping[str, Mark]:
        """The sockets that were there at the last look, by path."""
        return dict(self._seen)

    @property
    def registered(self) -> Mapping[str, Registered]:
        """The plug-ins that are taken, by the path of their socket."""
        return dict(self._registered)

    async def start(self) -> None:
        """Begin to watch; plug-ins that are there are taken soon after."""
        self._owner.forever("watcher", self._live)

    async def stop(self) -> None:
        """Watch no more. Plug-ins stay registered: they outlive the daemon."""
        await self._owner.close()

    # --- the loop -------------------------------------------------------------

    async def _live(self) -> None:
        watch = TreeWatch(self._hint)
        self._hinted = True
        try:
            while True:
                if self._hinted or self._clock.monotonic() >= self._look_at:
                    await self._look(watch)
                self._act()
                await self._wait()
        finally:
            await watch.close()

    def _hint(self) -> None:
        self._hinted = True
        self._wake.set()

    async def _look(self, watch: TreeWatch) -> None:
        hinted, self._hinted = self._hinted, False
        try:
            found = await asyncio.to_thread(scan, self._directory)
            new, self._watching = watch.cover(found.directories)
            if new:
                # What appeared before the watch was set.
                hinted = True
                found = await asyncio.to_thread(scan, self._directory)
                self._hinted = self._hinted or watch.cover(found.directories)[0]
        except OSError as error:
            # What is known stays: a directory that cannot be read tells nothing about its plug-ins.
            log.error("plug-ins in %s cannot be looked for: %s", self._directory, error)
            self._watching = False
            return
        finally:
            pause = self._slow if self._watching else min(_POLL, self._slow)
            self._look_at = self._clock.monotonic() + pause
        self._note(found, hinted=hinted)

    def _note(self, found: Found, *, hinted: bool) -> None:
        if not hinted and found.sockets != self._seen and self._watching:
            self._missed.inc()
        self._seen = found.sockets
        for path in [path for path in self._failures if path not in self._seen]:
            del self._failures[path]

    async def _wait(self) -> None:
        """Until something happened, a wait after a failure ends, or the next slow look is due."""
        due = next_try(self._seen, self._running, self._failures)
        until = self._look_at if due is None else min(due, self._look_at)
        # The loop's timers and its clock differ by a hair: no wait is so short that it never ends.
        pause = max(_SHORTEST, until - self._clock.monotonic())
        if not self._hinted:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
        self._wake.clear()
        if self._hinted:
            await asyncio.sleep(_BURST)

    def _act(self) -> None:
        now = self._clock.monotonic()
        for order in decide(self._seen, self._registered, self._running, self._failures, now):
            self._running.add(order.path)
            self._owner.spawn(order.path, self._carry_out(order))

    # --- the work -------------------------------------------------------------

    async def _carry_out(self, order: Order) -> None:
        try:
            if isinstance(order, Deregister):
                await self._deregister(order)
            else:
                await self._register(order)
        finally:
            self._running.discard(order.path)
            self._wake.set()

    async def _register(self, order: Register) -> None:
        try:
            info = await self._introduce(order)
        except (AnnouncementError, PluginRefusedError) as error:
            self._refuse(order, str(error))
            return
        except Exception as error:
            log.exception("the plug-in at %s could not be taken", order.path)
            self._refuse(order, f"{type(error).__name__}: {error}")
            return
        self._failures.pop(order.path, None)
        self._journal.record(
            "PluginRegistered",
            f"{info.type} {go_quote(info.name)} at {order.path} is taken",
            cause=order.cause,
            endpoint=info.endpoint,
            versions=" ".join(info.versions),
        )

    async def _introduce(self, order: Register) -> PluginInfo:
        """Ask who is there, let its handler decide and take it, and tell it.

        :raises AnnouncementError: it does not talk.
        :raises PluginRefusedError: it is not taken, and was told so.
        """
        async with Announcement(order.path) as announcement:
            info = await announcement.info()
            try:
                handler = self._handler(info, order.path)
                async with self._alone(info):
                    await self._take_in(order, info, handler, announcement)
            except PluginRefusedError as error:
                await announcement.notify(str(error))
                raise
        return info

    def _handler(self, info: PluginInfo, path: str) -> PluginHandler:
        handler = self._handlers.get(info.type)
        if handler is None:
            raise PluginRefusedError(
                f"RegisterPlugin error -- no handler registered for plugin type: {info.type} at socket {path}"
            )
        return handler

    async def _take_in(
        self, order: Register, info: PluginInfo, handler: PluginHandler, announcement: Announcement
    ) -> None:
        try:
            handler.validate(info.name, info.endpoint, info.versions)
        except PluginRefusedError as error:
            text = f"RegisterPlugin error -- plugin validation failed with err: {error}"
            raise PluginRefusedError(text) from None
        try:
            await handler.register(info.name, info.endpoint, info.versions)
        except PluginRefusedError as error:
            text = f"RegisterPlugin error -- plugin registration failed with err: {error}"
            raise PluginRefusedError(text) from None
        try:
            await announcement.notify()
        except AnnouncementError:
            # It does not know that it is registered, so it is not.
            await handler.deregister(info.name, info.endpoint)
            raise
        self._registered[order.path] = Registered(order.mark, info.type, info.name, info.endpoint)

    def _refuse(self, order: Register, error: str) -> None:
        now = self._clock.monotonic()
        failure = failed(self._failures.get(order.path), order.mark, now, *self._waits)
        self._failures[order.path] = failure
        wait = round(failure.until - now, 3)
        log.error("the plug-in at %s is not taken, next try in %ss: %s", order.path, wait, error)
        self._journal.record(
            "PluginRefused",
            f"the plug-in at {order.path} is not taken: {error}",
            cause=order.cause,
            attempt=failure.count,
            next_try_seconds=wait,
        )

    async def _deregister(self, order: Deregister) -> None:
        plugin = self._registered.pop(order.path)
        async with self._alone(plugin):
            await self._handlers[plugin.type].deregister(plugin.name, plugin.endpoint)
        text = f"{plugin.type} {go_quote(plugin.name)} at {order.path} is let go"
        self._journal.record("PluginDeregistered", text, cause=order.cause)

    @asynccontextmanager
    async def _alone(self, plugin: PluginInfo | Registered) -> AsyncIterator[None]:
        """One call at a time about plug-ins of that type and name."""
        key = (plugin.type, plugin.name)
        turn = self._turns.setdefault(key, _Turn(asyncio.Lock()))
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[key]


class _Plugins(Collector):
    """Upstream's family about plug-ins, computed at each reading."""

    def __init__(self, manager: PluginManager) -> None:
        self._manager = manager

    def collect(self) -> Iterator[Metric]:
        """One sample a socket and state."""
        family = GaugeMetricFamily(
            "plugin_manager_total_plugins",
            "Plug-ins that are wanted and that are registered.",
            labels=("socket_path", "state"),
        )
        for path in self._manager.registered:
            family.add_metric((path, "actual_state_of_world"), 1)
        for path in self._manager.seen:
            family.add_metric((path, "desired_state_of_world"), 1)
        yield family
