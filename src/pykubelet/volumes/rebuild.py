"""The actual state found again after a restart: what the disk tells, and what the node's status tells."""

import logging
from collections.abc import Collection, Sequence
from typing import Final

from pykubelet.base.clock import Clock
from pykubelet.base.errors import VolumeError
from pykubelet.base.layout import Layout

from . import disk
from .book import Book
from .doors import Attachments
from .measures import Measures
from .plugin import Device, Found, PersistentPlugin
from .state import VolumeKey
from .telling import Telling
from .work import OffLoop

log = logging.getLogger(__name__)

#: Seconds between questions for the node's status, the first time and at most.
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 10.0


class Rebuild:
    """Finds what an earlier life left; everything found is uncertain until a pod has it again."""

    def __init__(
        self,
        layout: Layout,
        clock: Clock,
        book: Book,
        telling: Telling,
        measures: Measures,
        off_loop: OffLoop,
        *,
        own: Sequence[str],
        persistent: Sequence[PersistentPlugin],
        attachments: Attachments,
    ) -> None:
        """*own* are names of plug-ins whose volumes need no closer look."""
        self._layout = layout
        self._clock = clock
        self._book = book
        self._telling = telling
        self._measures = measures
        self._off_loop = off_loop
        self._own = frozenset(own)
        self._persistent = {plugin.name: plugin for plugin in persistent}
        self._attachments = attachments

    async def find(self) -> None:
        """Read the disk.

        :raises OSError: the directory of pods cannot be read.
        """
        found: dict[VolumeKey, bool] = {}
        for name, plugin in self._persistent.items():
            found |= {VolumeKey(uid, name, volume): True for uid, volume in await self._given(plugin)}
        found |= await self._off_loop(lambda: disk.volumes_found(self._layout))
        for key, block in sorted(found.items()):
            if key.plugin in self._own:
                self._take(key, Found())
            elif key.plugin in self._persistent:
                self._take(key, await self._look(key, block=block))
            else:
                log.warning("no plug-in here takes %s of pod %s: it stays as it is", key.unique_name, key.uid)
        for name, plugin in sorted(self._persistent.items()):
            for device in await self._devices(plugin):
                self._book.devices.found(device, name)

    def _take(self, key: VolumeKey, what: Found) -> None:
        self._book.found(key, what)
        self._measures.rebuilt(good=what.readable)
        text = f"volume {key.name} was left by an earlier life"
        self._telling.record("VolumeFound", text if what.readable else f"{text}, and cannot be read", key)

    async def _look(self, key: VolumeKey, *, block: bool) -> Found:
        plugin = self._persistent[key.plugin]
        try:
            told: Found = await self._off_loop(lambda: plugin.found(key.uid, key.name, block=block))
        except (OSError, VolumeError) as error:
            log.warning("volume %s of pod %s cannot be read: %s", key.name, key.uid, error)
            return Found(block=block, readable=False)
        return told

    async def _given(self, plugin: PersistentPlugin) -> Collection[tuple[str, str]]:
        try:
            given: Collection[tuple[str, str]] = await self._off_loop(plugin.given)
        except OSError as error:
            log.warning("which pods have devices of %s cannot be read: %s", plugin.name, error)
            return ()
        return given

    async def _devices(self, plugin: PersistentPlugin) -> Sequence[Device]:
        try:
            return sorted(await self._off_loop(plugin.devices_found))
        except (OSError, VolumeError) as error:
            log.warning("what %s staged cannot be read: %s", plugin.name, error)
            return ()

    async def learn_attached(self) -> None:
        """Read of the node's status which of the devices are attached; tried until it can be had."""
        pause = _FIRST_PAUSE
        while not self._book.devices.attachments_known:
            try:
                self._book.devices.know(await self._attachments.attached())
            except VolumeError as error:
                log.info("it is not known yet which volumes are attached: %s", error)
                await self._clock.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
