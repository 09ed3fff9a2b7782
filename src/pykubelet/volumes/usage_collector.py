"""Measures the volumes of all pods from time to time, for statistics and eviction to read.

Few walks run at once, and a pod whose walk takes long is measured seldom: no pod costs more
than a small share of a processor, however many files it has. Each file system or driver that
may not answer is asked for itself, so that it holds up nothing else. Who unmounts has the looks
at that pod's volumes ended before: what is looked at is in use. (pkg/kubelet/server/stats.)
"""

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Literal

from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volume_usage import VolumeUsage
from pykubelet.base.clock import Clock
from pykubelet.base.errors import VolumeError
from pykubelet.base.layout import Layout
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner
from pykubelet.linux.diskusage import Limits

from . import usage
from .patient_threads import SLOW, PatientThreads
from .usage import DriverUsage, Measured, Method

log = logging.getLogger(__name__)

#: Walks at once.
_WALKS: Final = 2
#: Pods that wait for their walk, or have it.
_QUEUED: Final = 10
#: Looks at once at file systems that lie elsewhere.
_REMOTE: Final = 8
#: Looks given up that may still hang.
_GIVEN_UP: Final = 256
#: Seconds after which a file system is asked no longer.
_REMOTE_LIMIT: Final = 20.0
#: Seconds that a pod's walks may take in all before they are given up as hanging; a driver's answer, too.
_WALK_LIMIT: Final = 150.0
#: Seconds that are waited for looks to end; those that hang do not.
_LEAVE_LIMIT: Final = 1.0
#: A pod is walked again at the earliest after this many times as long as its walks took.
_REST: Final = 20
#: Seconds between looks for pods that are due.
_TICK: Final = 3.0

Volumes = Mapping[str, MountedVolume]
#: What is due by itself: a pod's walks, or all that is asked of others.
_Part = Literal["near", "far"]
_PARTS: Final[tuple[_Part, ...]] = ("near", "far")
_NEAR: Final[frozenset[Method]] = frozenset(["du", "own files"])


class _Look:
    """One look at volumes of a pod, on a thread or at a driver, and the way to end it."""

    def __init__(self, *, driver: bool = False) -> None:
        self.driver = driver
        self.task: asyncio.Task[None] | None = None
        #: Whether a thread is in a volume now.
        self.inside = False
        self._over = threading.Event()

    def end(self) -> bool:
        """Let it end soon; whether that has to be waited for."""
        self._over.set()
        if self.driver and self.task is not None:
            self.task.cancel()
        return self.driver or self.inside

    def measure(self, measure: Callable[[], Measured]) -> Measured:
        """Measure one volume, unless it is over; on a thread.

        :raises InterruptedError: it is over.
        """
        # Noted before that is asked: who ends the look sees it in the volume, or it sees the end.
        self.inside = True
        try:
            self.breathe(0.0)
            return measure()
        finally:
            self.inside = False

    def breathe(self, seconds: float) -> None:
        """Let others run; on a thread.

        :raises InterruptedError: it is over.
        """
        if self._over.wait(seconds):
            raise InterruptedError("the look was ended")


class UsageCollector:
    """Knows what each pod's volumes hold."""

    def __init__(
        self,
        layout: Layout,
        clock: Clock,
        rng: random.Random,
        metrics: Metrics,
        *,
        period: float,
        pods: Callable[[], Collection[str]],
        mounted: Callable[[str], Volumes],
        drivers: DriverUsage | None = None,
        on_abnormal: Callable[[str, str, str], object] = lambda uid, volume, message: None,
        limits: Limits | None = None,
    ) -> None:
        """*period* is ``volumeStatsAggPeriod`` in seconds; with none above 0 only :meth:`collect` measures.

        *pods* tells the UIDs of the pods to measure, *mounted* the volumes of one that are there.
        *on_abnormal* hears of a pod's volume that its driver finds ill, and the driver's message.
        *limits* are those of one walk.
        """
        self._layout = layout
        self._clock = clock
        self._rng = rng
        self._period = period
        self._pods = pods
        self._mounted = mounted
        self._drivers = drivers
        self._on_abnormal = on_abnormal
        self._limits = limits or Limits()
        self._durations = usage.durations(metrics)
        self._known: dict[str, dict[str, Measured]] = {}
        self._due: dict[tuple[str, _Part], float] = {}
        #: Before when a pod is not walked again.
        self._rests: dict[str, float] = {}
        #: By the pod's UID, and the volume's name where it has a look of its own.
        self._looks: dict[tuple[str, str], _Look] = {}
        self._walkers = PatientThreads("volume usage", at_once=_WALKS, given_up=_GIVEN_UP)
        self._remote = PatientThreads("volume usage", at_once=_REMOTE, given_up=_GIVEN_UP, slow_after=SLOW)
        self._tasks = TaskOwner("volume usage")

    async def start(self) -> None:
        """Begin to measure."""
        if self._period > 0:
            self._tasks.forever("ticks", self._ticks, pause=self._clock.sleep)

    async def stop(self) -> None:
        """Measure no more; walks end soon."""
        for look in self._looks.values():
            look.end()
        await self._tasks.close()

    def usage(self, uid: str) -> Mapping[str, VolumeUsage]:
        """What was measured last, by the volume's name; without those of which nothing is known."""
        known = self._known.get(uid, {})
        return MappingProxyType({name: measured.usage for name, measured in known.items()})

    async def collect(self, uid: str) -> Mapping[str, VolumeUsage]:
        """Measure the pod's volumes now, or wait for the measuring that is under way.

        A file system that does not answer is waited for 20 s, a driver 150 s.
        """
        tasks = [look.task for part in _PARTS for look in self._launch(uid, part) if look.task is not None]
        if tasks:
            await asyncio.wait(tasks)
        return self.usage(uid)

    # --- what others tell -------------------------------------------------------

    def changed(self, uid: str) -> None:
        """A volume of the pod came, or is another one now: it is measured soon."""
        if self._period > 0:
            self._due |= dict.fromkeys(((uid, part) for part in _PARTS), self._clock.monotonic())

    async def leave(self, uid: str) -> None:
        """A volume of the pod is about to be unmounted: be out of it, and forget it.

        Returns when nothing of this is in the pod's volumes any more, or after a second: a look that
        hangs in a file system stays in it.
        """
        looks = [look for (of, _), look in self._looks.items() if of == uid]
        waited = [look.task for look in looks if look.end() and look.task is not None]
        self._keep_mounted(uid)
        if waited:
            await asyncio.wait(waited, timeout=_LEAVE_LIMIT)

    # --- when -----------------------------------------------------------------

    async def _ticks(self) -> None:
        while True:
            self.tick()
            await self._clock.sleep(_TICK)

    def tick(self) -> None:
        """Begin to measure what is due; forget pods that are no more."""
        pods, now = set(self._pods()), self._clock.monotonic()
        self._forget(pods)
        for _, uid, part in sorted(each for each in self._times(pods, now) if each[0] <= now):
            # The rest stays due: the oldest goes first the next time.
            walking = sum(1 for _, volume in self._looks if not volume)
            if part == "far" or (walking < _QUEUED and (uid, "") not in self._looks):
                self._launch(uid, part)

    def _times(self, pods: Collection[str], now: float) -> Iterator[tuple[float, str, _Part]]:
        for uid in pods:
            for part in _PARTS:
                due = self._due.get((uid, part), now)
                yield max(due, self._rests.get(uid, due)) if part == "near" else due, uid, part

    def _forget(self, pods: Collection[str]) -> None:
        for key in [key for key in self._due if key[0] not in pods]:
            del self._due[key]
        for notes in (self._known, self._rests):
            for uid in notes.keys() - pods:
                del notes[uid]

    def _keep_mounted(self, uid: str) -> None:
        """Forget what the pod does not have any more."""
        known, there = self._known.get(uid, {}), self._mounted(uid)
        for name in known.keys() - there.keys():
            del known[name]
        if not known:
            self._known.pop(uid, None)

    # --- looks ------------------------------------------------------------------

    def _launch(self, uid: str, part: _Part) -> list[_Look]:
        """Begin to look at that part of the pod's volumes; all looks at it that are under way then."""
        volumes = self._mounted(uid)
        ways = {name: usage.method_of(self._layout, uid, volume) for name, volume in volumes.items()}
        if self._period > 0:
            self._due[uid, part] = self._clock.monotonic() + self._period * (1 + self._rng.random())
        if part == "near":
            near = {name: way for name, way in ways.items() if way in _NEAR}
            return [self._look(uid, "", lambda look: self._near(look, uid, volumes, near))] if near else []
        return [
            self._look_far(uid, volumes[name], way)
            for name, way in ways.items()
            if way is not None and way not in _NEAR
        ]

    def _look_far(self, uid: str, volume: MountedVolume, way: Method) -> _Look:
        if way == "driver":
            return self._look(uid, volume.name, lambda _: self._driven(uid, volume), driver=True)
        return self._look(uid, volume.name, lambda look: self._far(look, uid, way, volume))

    def _look(
        self, uid: str, name: str, body: Callable[[_Look], Coroutine[Any, Any, None]], *, driver: bool = False
    ) -> _Look:
        key = (uid, name)
        look = self._looks.get(key)
        if look is None:
            look = _Look(driver=driver)
            look.task = self._tasks.spawn(f"{uid} {name}".rstrip(), body(look))
            self._looks[key] = look
            # Also of a task that is cancelled before its first step.
            look.task.add_done_callback(lambda _: self._looks.pop(key))
        return look

    def _found(self, uid: str, names: Collection[str], found: Mapping[str, Measured]) -> None:
        """Keep what was found of the volumes *names*, and nothing of the others of them."""
        known = {name: each for name, each in self._known.get(uid, {}).items() if name not in names}
        self._known[uid] = {**known, **found}
        self._keep_mounted(uid)

    async def _near(self, look: _Look, uid: str, volumes: Volumes, ways: Mapping[str, Method]) -> None:
        """Volumes on this machine's own file systems, one after the other."""
        before, now, began = self._known.get(uid, {}), self._clock.now(), self._clock.monotonic()
        found: dict[str, Measured] = {}

        def work() -> float:
            began = time.monotonic()
            for name, way in ways.items():
                path = volumes[name].host_path
                walk = partial(
                    usage.measure, way, path, now, before.get(name), limits=self._limits, pause=look.breathe
                )
                try:
                    found[name] = self._timed(look, "du", walk)
                except OSError as error:
                    log.debug("the usage of %s is not known: %s", path, error)
            return time.monotonic() - began

        try:
            took = await self._walkers.run(uid, work, _WALK_LIMIT)
        except TimeoutError as error:
            log.warning("the usage of volumes of pod %s is not known: %s", uid, error)
            took = self._clock.monotonic() - began
            look.end()
        if self._period > 0:
            self._rests[uid] = self._clock.monotonic() + _REST * took
        # A thread that was given up may still add to it.
        self._found(uid, ways, dict(found))

    async def _far(self, look: _Look, uid: str, way: Method, volume: MountedVolume) -> None:
        """A file system of which nobody knows whether it answers."""
        path, now = volume.host_path or volume.device_path, self._clock.now()
        found: dict[str, Measured] = {}
        try:
            found[volume.name] = await self._remote.run(
                path, lambda: self._timed(look, way, lambda: usage.measure(way, path, now)), _REMOTE_LIMIT
            )
        except OSError as error:
            log.debug("the usage of %s is not known: %s", path, error)
        self._found(uid, [volume.name], found)

    def _timed(self, look: _Look, source: str, measure: Callable[[], Measured]) -> Measured:
        """Measure one volume in a look; on a thread."""
        with self._durations.labels(source).time():
            return look.measure(measure)

    async def _driven(self, uid: str, volume: MountedVolume) -> None:
        told = None
        try:
            if self._drivers is not None:
                async with asyncio.timeout(_WALK_LIMIT):
                    told = await self._drivers.usage(uid, volume)
        except (VolumeError, OSError) as error:
            log.debug("the usage of volume %s of pod %s is not known: %s", volume.name, uid, error)
        self._found(uid, [volume.name], {} if told is None else {volume.name: Measured(told)})
        if told is not None and told.abnormal and volume.name in self._known.get(uid, {}):
            self._on_abnormal(uid, volume.name, told.message)
