"""Asks drivers again and again how many volumes the node can have, as often as their CSIDriver objects say.

A driver whose object names no period costs nothing: there is a task only for one that does.
(KEP-4876, mutable CSINode allocatable count.)
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from pykubelet.base.clock import Clock
from pykubelet.base.errors import VolumeError
from pykubelet.base.journal import Journal
from pykubelet.base.tasks import TaskOwner

from .doors import CsiObjects
from .lifecycle import refresh_period

log = logging.getLogger(__name__)


class Asked(Protocol):
    """The drivers; see :class:`~pykubelet.volumes.csi.drivers.Drivers`."""

    @property
    def registered(self) -> Mapping[str, object]:
        """Those that are there now, by name."""
        ...

    async def refresh(self, name: str) -> None:
        """Ask one about the node again, and tell the cluster.

        :raises VolumeError: it could not be asked, or the cluster not be told.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Running:
    period: float
    task: asyncio.Task[None]


class Refresher:
    """One task for each registered driver that wants it."""

    def __init__(self, drivers: Asked, objects: CsiObjects, clock: Clock, journal: Journal) -> None:
        self._drivers = drivers
        self._objects = objects
        self._clock = clock
        self._journal = journal
        self._running: dict[str, _Running] = {}
        self._tasks = TaskOwner("csi-refresh")
        self._stopped = False

    async def stop(self) -> None:
        """Ask no more."""
        self._stopped = True
        self._running.clear()
        await self._tasks.close()

    def look(self, name: str) -> None:
        """The driver came or went, or its CSIDriver object came, changed or went."""
        if self._stopped:
            return
        here = name in self._drivers.registered
        period = refresh_period(self._objects.cached_driver(name)) if here else 0.0
        running = self._running.get(name)
        if running is not None and running.period == period:
            return
        if running is not None:
            del self._running[name]
            running.task.cancel()
        if period:
            self._running[name] = _Running(period, self._tasks.spawn(name, self._run(name, period)))
        if period or running is not None:
            told = f"every {period:.0f} s" if period else "no more"
            self._journal.record(
                "CsiDriverAsked",
                f"driver {name} is asked {told} how many volumes the node can have",
                cause="nodeAllocatableUpdatePeriodSeconds of its CSIDriver" if here else "the driver is gone",
            )

    async def _run(self, name: str, period: float) -> None:
        trouble = ""
        while True:
            await self._clock.sleep(period)
            try:
                await self._drivers.refresh(name)
            except VolumeError as error:
                # Told once, not with each of many tries.
                if str(error) != trouble:
                    trouble = str(error)
                    log.warning("CSI driver %s: %s", name, error)
                    self._journal.record(
                        "CsiDriverSilent",
                        f"driver {name} does not tell how many volumes the node can have, "
                        f"next try in {period:.0f} s",
                        cause=trouble,
                    )
            except Exception:
                log.exception("asking CSI driver %s about the node failed", name)
            else:
                trouble = ""
