"""The plug-in for CSI: each step of a volume handed to the file that knows it."""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final

from pykubelet.api.core import Pod
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.quantity import Quantity
from pykubelet.base.errors import VolumeError

from ..plugin import Device, Found
from ..spec import VolumeSpec
from . import lifecycle, on_disk
from .block import Block
from .expand import expand
from .filesystem import Filesystem
from .means import DriverAwayError, Means
from .paths import PLUGIN, attachment_name, unique_name
from .source import persistent

log = logging.getLogger(__name__)

#: Drivers of which it is remembered that they were missed, and pods of each; others wait their time.
_MANY: Final = 1000


class CsiPlugin:
    """The plug-in; see :class:`~pykubelet.volumes.plugin.PersistentPlugin`."""

    name = PLUGIN
    kinds: Collection[str] = ("csi",)
    expandable = True

    def __init__(self, means: Means) -> None:
        self._means = means
        self._filesystem = Filesystem(means)
        self._block = Block(means)
        self._missed: dict[str, set[str]] = {}

    def device(self, spec: VolumeSpec) -> Device | None:
        """See the Protocol."""
        if spec.pv is None:
            return None
        _, source = persistent(spec)
        return Device(unique_name(source.driver, source.volumeHandle), spec.name, spec.block)

    async def attachable(self, spec: VolumeSpec) -> bool:
        """See the Protocol."""
        if spec.pv is None:
            return False
        _, source = persistent(spec)
        return lifecycle.attached(await self._means.objects.driver(source.driver))

    async def labelled(self, spec: VolumeSpec) -> bool:
        """See the Protocol."""
        source = spec.volume.csi if spec.pv is None else persistent(spec)[1]
        if source is None:
            return False
        driver = await self._means.objects.driver(source.driver)
        return driver is not None and driver.spec.seLinuxMount is True

    async def exhausted(self, spec: VolumeSpec) -> bool:
        """See the Protocol."""
        if spec.pv is None:
            return False
        _, source = persistent(spec)
        name = attachment_name(source.volumeHandle, source.driver, self._means.node)
        objects = self._means.objects
        try:
            driver = await objects.driver(source.driver)
            if not lifecycle.exhausted(driver, await objects.attachment(name)):
                return False
        except VolumeError as error:
            log.warning("why volume %s is not attached is not known: %s", spec.name, error)
            return False
        try:
            await self._means.clients.refresh(source.driver)
        except VolumeError as error:
            log.warning(
                "driver %s does not tell how many volumes the node can have: %s", source.driver, error
            )
        return True

    async def unattached(self, spec: VolumeSpec) -> str:
        """See the Protocol."""
        if spec.pv is None:
            return ""
        _, source = persistent(spec)
        objects = self._means.objects
        if not lifecycle.attached(await objects.driver(source.driver)):
            return ""
        name = attachment_name(source.volumeHandle, source.driver, self._means.node)
        return lifecycle.hindrance(name, await objects.attachment(name))

    async def stage(self, spec: VolumeSpec, pod: Pod, device_path: str) -> None:
        """See the Protocol; drivers find devices by themselves, *device_path* tells them nothing."""
        with self._missing(pod.metadata.uid):
            if spec.block:
                await self._block.stage(spec)
            else:
                await self._filesystem.stage(spec, pod)

    async def set_up(self, spec: VolumeSpec, pod: Pod, *, again: bool) -> MountedVolume:
        """See the Protocol."""
        with self._missing(pod.metadata.uid):
            part = self._block if spec.block else self._filesystem
            return await part.publish(spec, pod, again=again)

    async def tear_down(self, uid: str, name: str, *, block: bool) -> None:
        """See the Protocol."""
        with self._missing(uid):
            part = self._block if block else self._filesystem
            await part.unpublish(uid, name)

    async def unstage(self, device: Device) -> None:
        """See the Protocol."""
        with self._missing(""):
            part = self._block if device.block else self._filesystem
            await part.unstage(device)

    async def expand(self, spec: VolumeSpec, pod: Pod, size: Quantity) -> None:
        """See the Protocol."""
        with self._missing(pod.metadata.uid):
            await expand(self._means, spec, pod, size)

    def republishes(self, spec: VolumeSpec) -> bool:
        """See the Protocol."""
        own = spec.volume.csi if spec.pv is None else spec.pv.spec.csi
        return own is not None and lifecycle.republished(self._means.objects.cached_driver(own.driver))

    def mount_path(self, uid: str, name: str) -> str:
        """See the Protocol."""
        return self._means.paths.target(uid, name)

    def map_path(self, name: str) -> str:
        """See the Protocol."""
        return self._means.paths.block_map(name)

    def found(self, uid: str, name: str, *, block: bool) -> Found:
        """See the Protocol."""
        return on_disk.found(self._means.paths, uid, name, block=block, labels=self._means.labels)

    def devices_found(self) -> Collection[Device]:
        """See the Protocol."""
        return on_disk.devices(self._means.paths, labels=self._means.labels)

    def given(self) -> Collection[tuple[str, str]]:
        """See the Protocol."""
        return on_disk.given(self._means.paths)

    def registered(self, driver: str) -> frozenset[str]:
        """The driver is there now: the UIDs of pods for which it was missed, to be tried again at once.

        An empty UID among them stands for devices that no pod has any more.
        """
        return frozenset(self._missed.pop(driver, ()))

    @contextmanager
    def _missing(self, uid: str) -> Iterator[None]:
        try:
            yield
        except VolumeError as error:
            for away in (error, error.__cause__):
                if isinstance(away, DriverAwayError):
                    self._miss(away.driver, uid)
            raise

    def _miss(self, driver: str, uid: str) -> None:
        if driver in self._missed or len(self._missed) < _MANY:
            uids = self._missed.setdefault(driver, set())
            if len(uids) < _MANY:
                uids.add(uid)
