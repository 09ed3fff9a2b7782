"""nfs: a server's export, mounted for each pod by ``mount(8)``, which knows its helper's ways.

Every look and command is bounded in time: a server that is gone holds up its own volumes only.
"""

import ipaddress
import logging
import os
from collections.abc import Callable, Collection
from typing import Final, TypeVar

from pykubelet.api.core import Pod
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.quantity import Quantity
from pykubelet.api.volumes import NFSVolumeSource
from pykubelet.base.errors import ExpandError, VolumeError
from pykubelet.base.layout import Layout
from pykubelet.linux import mountinfo, mounts

from . import commands, local_tree, mountpoint
from .patient_threads import SLOW, PatientThreads
from .plugin import Device, Found
from .spec import VolumeSpec

log = logging.getLogger(__name__)

T = TypeVar("T")

NAME: Final = "kubernetes.io/nfs"

#: Seconds in which a server that is there answers a look at its mount.
LOOK_LIMIT: Final = 10.0
#: Seconds for a mount: the helper itself gives up after two minutes.
MOUNT_LIMIT: Final = 180.0
#: Seconds for an unmount; after that it is forced (upstream's unMountTimeout).
UNMOUNT_LIMIT: Final = 60.0
#: Looks at once, and looks given up that may still hang.
_AT_ONCE: Final = 16
_GIVEN_UP: Final = 64


class NfsVolumes:
    """The plug-in; see :class:`~pykubelet.volumes.plugin.PersistentPlugin`. Nothing is made once a node."""

    name = NAME
    kinds: Collection[str] = ("nfs",)
    expandable = False

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._looks = PatientThreads("nfs", at_once=_AT_ONCE, given_up=_GIVEN_UP, slow_after=SLOW)

    def device(self, spec: VolumeSpec) -> Device | None:
        """Each pod has a mount of its own."""
        _export(spec)
        if spec.block:
            raise VolumeError("nfs volumes cannot be block devices", left="unchanged")
        return None

    async def attachable(self, spec: VolumeSpec) -> bool:
        """See :meth:`device`."""
        return False

    async def labelled(self, spec: VolumeSpec) -> bool:
        """See the Protocol: upstream mounts none of them with labels."""
        return False

    async def exhausted(self, spec: VolumeSpec) -> bool:
        """See :meth:`device`."""
        return False

    async def unattached(self, spec: VolumeSpec) -> str:
        """See :meth:`device`."""
        return ""

    async def stage(self, spec: VolumeSpec, pod: Pod, device_path: str) -> None:
        """See :meth:`device`."""

    async def unstage(self, device: Device) -> None:
        """See :meth:`device`."""

    async def set_up(self, spec: VolumeSpec, pod: Pod, *, again: bool) -> MountedVolume:
        """Mount the export in the pod's directory; a mount whose server forgot it is made anew.

        :raises VolumeError: the mount failed, or the server does not answer.
        """
        source, target = _export(spec), self.mount_path(pod.metadata.uid, spec.name)
        mounted = MountedVolume(spec.volume.name, target, read_only=spec.read_only)
        if await self._quick(lambda: mountpoint.is_mounted(target), target):
            if again or await self._quick(lambda: mountpoint.healthy(target), source):
                return mounted
            log.warning("the mount of %s at %s is broken: it is made anew", source, target)
            await self._take_off(target)
        await self._quick(lambda: local_tree.make_directories(target), target)
        options = sorted({*spec.mount_options, *(["ro"] if spec.read_only else [])})
        try:
            await commands.mount(source, target, "nfs", options, seconds=MOUNT_LIMIT)
        except VolumeError as error:
            try:
                await self._take_off(target)
            except (OSError, VolumeError) as left:
                log.warning("%s is left after a failed mount: %s", target, left)
                raise error from None
            raise VolumeError(str(error), left="nothing") from error
        return mounted

    async def tear_down(self, uid: str, name: str, *, block: bool) -> None:
        """Unmount it, by force if the server does not answer, but never lazily.

        :raises OSError, VolumeError: it is in use.
        """
        await self._take_off(self.mount_path(uid, name))

    async def expand(self, spec: VolumeSpec, pod: Pod, size: Quantity) -> None:
        """An export is as large as its server makes it.

        :raises ExpandError: always.
        """
        raise ExpandError("nfs volumes are not expanded by nodes", "unsupported", left="unchanged")

    def republishes(self, spec: VolumeSpec) -> bool:
        """Nothing of it has to be renewed."""
        return False

    def mount_path(self, uid: str, name: str) -> str:
        """The pod's directory of the volume."""
        return os.fspath(self._layout.pod_volume(uid, NAME, name))

    def map_path(self, name: str) -> str:
        """There are no block volumes of this kind."""
        return ""

    def found(self, uid: str, name: str, *, block: bool) -> Found:
        """What an earlier life left rests on nothing."""
        return Found()

    def devices_found(self) -> Collection[Device]:
        """See :meth:`device`."""
        return ()

    def given(self) -> Collection[tuple[str, str]]:
        """See :meth:`device`."""
        return ()

    async def _quick(self, work: Callable[[], T], what: str) -> T:
        try:
            # What hangs is not looked at again: only its own volumes are held up.
            return await self._looks.run(what, work, LOOK_LIMIT)
        except TimeoutError as error:
            raise VolumeError(f"{what} does not answer: {error}", left="unchanged") from error

    async def _take_off(self, target: str) -> None:
        await self._quick(lambda: _unmount_inner(target), target)
        if await self._quick(lambda: mountpoint.is_mounted(target), target):
            await self._unmount(target)
        await self._quick(lambda: mountpoint.remove_unmounted(target), target)

    async def _unmount(self, target: str) -> None:
        try:
            await commands.unmount(target, seconds=UNMOUNT_LIMIT)
        except commands.TookTooLong as error:
            log.warning("%s, %s is unmounted by force", error, target)
            await commands.unmount(target, seconds=UNMOUNT_LIMIT, force=True)


def _unmount_inner(target: str) -> None:
    """Unmount what a container mounted in the volume."""
    directory = mountpoint.real(target)
    for mount in mountinfo.mounts_below(mountinfo.read(), directory):
        if mount.mount_point != directory:
            mounts.unmount(mount.mount_point)


def _export(spec: VolumeSpec) -> str:
    """``SERVER:PATH``, as mount(8) takes it."""
    source: NFSVolumeSource | None = spec.volume.nfs if spec.pv is None else spec.pv.spec.nfs
    if source is None:
        raise VolumeError("Spec does not reference a NFS volume type", left="unchanged")
    if not source.server or source.server.startswith("-"):
        # mount(8) would take such a name for an option.
        raise VolumeError(f'nfs.server: "{source.server}" is not the name of a server', left="unchanged")
    return f"{_host(source.server)}:{source.path}"


def _host(server: str) -> str:
    try:
        ipaddress.IPv6Address(server)
    except ValueError:
        return server
    return f"[{server}]"
