"""Measures the volumes of all pods from time to time, for statistics and eviction to read.

Few walks run at once, and a pod whose walk takes long is measured seldom: no pod costs more
than a small share of a processor, however many files it has. (pkg/kubelet/server/stats.)
"""

import asyncio
import logging
import random
import threading
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from pykubelet.api.mounted import MountedVolume
from pykubelet.base.clock import Clock
from pykubelet.base.errors import VolumeError
from pykubelet.base.layout import Layout
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner
from pykubelet.linux.diskusage import Limits

from . import usage
from .patient_threads import PatientThreads
from .usage import DriverUsage, Measured, Method, VolumeUsage

log = logging.getLogger(__name__)

#: Walks at once.
_WALKS: Final = 2
#: Looks at once at file systems that lie elsewhere.
_REMOTE: Final = 8
#: Looks given up that may still hang.
_GIVEN_UP: Final = 32
#: Seconds after which a file system or driver is asked no longer.
_REMOTE_LIMIT: Final = 20.0
#: Seconds that a pod's walks may take in all before they are given up as hanging.
_WALK_LIMIT: Final = 150.0
#: A pod is measured again at the earliest after this many times as long as measuring took.
_REST: Final = 20
#: Seconds between looks for pods that are due.
_TICK: Final = 3.0
#: Upstream's buckets of volume_metric_collection_duration_seconds are Prometheus' own.
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

Volumes = Mapping[str, MountedVolume]


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
        limits: Limits | None = None,
    ) -> None:
        """*period* is ``volumeStatsAggPeriod`` in seconds; with none above 0 only :meth:`collect` measures.

        *pods* tells the UIDs of the pods to measure, *mounted* the volumes of one that are there.
        *limits* are those of one walk.
        """
        self._layout = layout
        self._clock = clock
        self._rng = rng
        self._period = period
        self._pods = pods
        self._mounted = mounted
        self._drivers = drivers
        self._limits = limits or Limits()
        self._durations = metrics.histogram(
            "kubelet_volume_metric_collection_duration_seconds",
            "Duration in seconds to calculate volume stats",
            ["metric_source"],
            buckets=_BUCKETS,
        )
        self._known: dict[str, dict[str, Measured]] = {}
        self._due: dict[str, float] = {}
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._walkers = PatientThreads("volume usage", at_once=_WALKS, given_up=_GIVEN_UP)
        self._remote = PatientThreads("volume usage", at_once=_REMOTE, given_up=_GIVEN_UP)
        self._over = threading.Event()
        self._tasks = TaskOwner("volume usage")

    async def start(self) -> None:
        """Begin to measure."""
        if self._period > 0:
            self._tasks.forever("ticks", self._ticks, pause=self._clock.sleep)

    async def stop(self) -> None:
        """Measure no more; walks end soon."""
        self._over.set()
        await self._tasks.close()

    def usage(self, uid: str) -> Mapping[str, VolumeUsage]:
        """What was measured last, by the volume's name; without those of which nothing is known."""
        known = self._known.get(uid, {})
        return MappingProxyType({name: measured.usage for name, measured in known.items()})

    async def collect(self, uid: str) -> Mapping[str, VolumeUsage]:
        """Measure the pod's volumes now, or wait for the measuring that is under way."""
        await asyncio.shield(self._launch(uid))
        return self.usage(uid)

    # --- when -----------------------------------------------------------------

    async def _ticks(self) -> None:
        while True:
            self.tick()
            await self._clock.sleep(_TICK)

    def tick(self) -> None:
        """Begin to measure what is due; forget pods that are no more."""
        pods, now = set(self._pods()), self._clock.monotonic()
        for uid in self._due.keys() - pods:
            del self._due[uid]
        for uid in self._known.keys() - pods - self._under_way.keys():
            del self._known[uid]
        for uid in sorted(pods, key=lambda uid: self._due.get(uid, now)):
            # The rest stays due: the oldest goes first the next time.
            if len(self._under_way) >= _WALKS + _REMOTE:
                return
            if uid not in self._under_way and self._due.get(uid, now) <= now:
                self._launch(uid)

    def _launch(self, uid: str) -> "asyncio.Task[None]":
        task = self._under_way.get(uid)
        if task is None:
            task = self._under_way[uid] = self._tasks.spawn(uid, self._measure_pod(uid))
        return task

    async def _measure_pod(self, uid: str) -> None:
        began = self._clock.monotonic()
        try:
            found = await self._measure_volumes(uid, self._mounted(uid))
            if found:
                self._known[uid] = found
            else:
                self._known.pop(uid, None)
        finally:
            took = self._clock.monotonic() - began
            jittered = self._period * (1 + self._rng.random())
            self._due[uid] = began + max(jittered, _REST * took)
            del self._under_way[uid]

    # --- what -----------------------------------------------------------------

    async def _measure_volumes(self, uid: str, volumes: Volumes) -> dict[str, Measured]:
        ways = {name: usage.method_of(self._layout, uid, volume) for name, volume in volumes.items()}
        near = {name: way for name, way in ways.items() if way in ("du", "own files")}
        looks = [self._near(uid, volumes, near)] if near else []
        for name, way in ways.items():
            if way == "driver":
                looks.append(self._driven(uid, volumes[name]))
            elif way in ("statfs", "block"):
                looks.append(self._far(way, volumes[name]))
        found: dict[str, Measured] = {}
        for part in await asyncio.gather(*looks):
            found.update(part)
        return {name: found[name] for name in volumes if name in found}

    async def _near(self, uid: str, volumes: Volumes, ways: Mapping[str, Method]) -> dict[str, Measured]:
        """Volumes on this machine's own file systems, one after the other."""
        before, now = self._known.get(uid, {}), self._clock.now()

        def work() -> dict[str, Measured]:
            found = {}
            for name, way in ways.items():
                path = volumes[name].host_path
                try:
                    found[name] = self._walk(way, path, now, before.get(name))
                except OSError as error:
                    log.debug("the usage of %s is not known: %s", path, error)
            return found

        try:
            return await self._walkers.run(uid, work, _WALK_LIMIT)
        except TimeoutError as error:
            log.warning("the usage of the volumes of pod %s is not known: %s", uid, error)
            return {}

    def _walk(self, way: Method, path: str, now: datetime, before: Measured | None) -> Measured:
        with self._durations.labels("du").time():
            return usage.measure(way, path, now, before, limits=self._limits, pause=self._breathe)

    async def _far(self, way: Method, volume: MountedVolume) -> dict[str, Measured]:
        """A file system of which nobody knows whether it answers."""
        path, now = volume.host_path or volume.device_path, self._clock.now()
        try:
            with self._durations.labels("statfs").time():
                found = await self._remote.run(path, lambda: usage.measure(way, path, now), _REMOTE_LIMIT)
        except OSError as error:
            log.debug("the usage of %s is not known: %s", path, error)
            return {}
        return {volume.name: found}

    async def _driven(self, uid: str, volume: MountedVolume) -> dict[str, Measured]:
        if self._drivers is None:
            return {}
        try:
            async with asyncio.timeout(_WALK_LIMIT):
                told = await self._drivers.usage(uid, volume)
        except (VolumeError, OSError) as error:
            log.debug("the usage of volume %s of pod %s is not known: %s", volume.name, uid, error)
            return {}
        return {} if told is None else {volume.name: Measured(told)}

    def _breathe(self, seconds: float) -> None:
        if self._over.wait(seconds):
            raise InterruptedError("the kubelet ends")
