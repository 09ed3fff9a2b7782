"""local: a directory or a block device of this node as a persistent volume.

A directory is bound to the pod's own; so is the file system of a block device, which is mounted
once for all pods, and made when the device is blank. With ``volumeMode: Block`` containers get
the device. Paths are the Go kubelet's.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from pykubelet.api.core import Pod
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.podinfo import pod_ref
from pykubelet.api.quantity import Quantity
from pykubelet.base.clock import Clock
from pykubelet.base.errors import ExpandError, Left, VolumeError
from pykubelet.base.journal import Events
from pykubelet.base.layout import Layout
from pykubelet.linux import mountinfo, mounts, safeopen

from . import block_map, errors, filesystems, local_source, local_tree, mountpoint
from .group_change import GroupChange
from .identity import group_of
from .ongoing import Ongoing
from .patient_threads import SLOW, PatientThreads
from .plugin import Device, Found
from .spec import VolumeSpec

log = logging.getLogger(__name__)

T = TypeVar("T")

NAME: Final = "kubernetes.io/local-volume"

#: Seconds for calls that only look at the node's own file systems, or change one mount.
_QUICK: Final = 60.0
#: Looks at once, and given up that still hang.
_AT_ONCE: Final = 32
_GIVEN_UP: Final = 256
#: A note beside the pod's volumes while a change of group is under way.
_NOTE: Final = "changing-group"


class LocalVolumes:
    """The plug-in; see :class:`~pykubelet.volumes.plugin.PersistentPlugin`."""

    name = NAME
    kinds: Collection[str] = ("local",)
    expandable = True

    def __init__(self, layout: Layout, clock: Clock, events: Events) -> None:
        self._layout = layout
        self._events = events
        # What is on a disk or a server that is gone holds one thread, however many pods want it.
        self._looks = PatientThreads("local volumes", at_once=_AT_ONCE, given_up=_GIVEN_UP, slow_after=SLOW)
        # Formatting and checking may last longer than any wait for a volume.
        self._staging = Ongoing("local volumes")
        self._groups = GroupChange(clock, events)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # --- what is made once a node -----------------------------------------------

    def device(self, spec: VolumeSpec) -> Device | None:
        """The volume itself, whether anything has to be mounted for it or not."""
        local_source.source_of(spec)
        return _device(spec.name, block=spec.block)

    async def attachable(self, spec: VolumeSpec) -> bool:
        """No local volume is ever attached."""
        return False

    async def labelled(self, spec: VolumeSpec) -> bool:
        """See the Protocol: upstream mounts none of them with labels."""
        return False

    async def exhausted(self, spec: VolumeSpec) -> bool:
        """See :meth:`attachable`."""
        return False

    async def unattached(self, spec: VolumeSpec) -> str:
        """See :meth:`attachable`."""
        return ""

    async def stage(self, spec: VolumeSpec, pod: Pod, device_path: str) -> None:
        """Mount the file system of a block device, made before if the device is blank.

        :raises VolumeError: the path is none that can be a volume, or a step failed.
        """
        path, target = local_source.path_of(spec), os.fspath(self._global(spec.name))
        if spec.block or await self._is_directory(path):
            return
        await self._staging.run(spec.name, lambda: self._mount(spec, path, target))

    async def _mount(self, spec: VolumeSpec, path: str, target: str) -> None:
        if await self._quick(path, lambda: local_source.mounted_from(path, target)):
            return
        await self._quick(target, lambda: local_tree.make_directories(target))
        options = sorted({*spec.mount_options, *(["ro"] if spec.read_only else [])})
        kind = local_source.source_of(spec).fsType or filesystems.DEFAULT
        try:
            await filesystems.format_and_mount(path, target, kind, options, looks=self._looks)
        except VolumeError as error:
            left = await self._cleared(target)
            text = f"local: failed to mount device {path} at {target} (fstype: {kind}), error {error}"
            mismatch = isinstance(error, errors.MismatchError)
            raise (errors.MismatchError if mismatch else VolumeError)(text, left=left) from error

    async def unstage(self, device: Device) -> None:
        """Unmount the file system of the block device; a directory needs nothing."""
        name = device.unique_name.removeprefix(f"{NAME}/")
        if device.block:
            path = self.map_path(name)
            await self._quick(path, lambda: block_map.remove_global(path))
        else:
            await self._staging.over(name)
            # Not bounded: all that was written goes to the device before it ends.
            path = os.fspath(self._global(name))
            await self._looks.run(path, lambda: mountpoint.take_off(path), None)

    # --- what each pod gets -----------------------------------------------------

    async def set_up(self, spec: VolumeSpec, pod: Pod, *, again: bool) -> MountedVolume:
        """Bind the volume to the pod's directory, or map the device; what is there stays.

        :raises VolumeError: the path is none that can be a volume, or is not mounted.
        :raises OSError: the kernel refused.
        """
        uid, path, read_only = pod.metadata.uid, local_source.path_of(spec), spec.read_only
        if spec.block:
            link = await self._quick(path, lambda: self._map(spec.name, uid, path))
            return MountedVolume(spec.volume.name, read_only=read_only, device_path=link)
        source = await self._to_bind(spec, path)
        target = self.mount_path(uid, spec.name)
        options = [*spec.mount_options, *(["ro"] if read_only else [])]
        async with self._locks.setdefault(source, asyncio.Lock()):
            others = await self._quick(source, lambda: self._others(source, uid))
            group = None if read_only else group_of(pod)
            if group is not None and others:
                await self._warn_of_group(source, pod, spec.name, group)
                group = None
            note = self._note(uid, spec.name)
            noted = note if group is not None else None
            if await self._quick(source, lambda: _bind(source, target, options, noted, again=again)):
                await self._groups.apply(target, pod)
                await self._quick(source, lambda: note.unlink(missing_ok=True))
        return MountedVolume(spec.volume.name, target, read_only=read_only, selinux_relabel=not read_only)

    async def tear_down(self, uid: str, name: str, *, block: bool) -> None:
        """Unmount the pod's directory, or unmap the device.

        :raises OSError: it is in use.
        """
        if block:
            await self._quick(self.map_path(name), lambda: self._unmap(name, uid))
            return
        target = self.mount_path(uid, name)

        def work() -> None:
            mountpoint.take_off(target)
            note = self._note(uid, name)
            note.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                note.parent.rmdir()

        await self._looks.run(target, work, None)

    async def expand(self, spec: VolumeSpec, pod: Pod, size: Quantity) -> None:
        """Let the file system on a block device have all of it; there is nothing to do for others.

        :raises ExpandError: it cannot grow.
        :raises VolumeError: the path is none that can be a volume.
        """
        path = local_source.path_of(spec)
        if spec.block or await self._is_directory(path):
            return
        if spec.read_only:
            raise ExpandError(f"{path} is mounted read-only", "in use", left="unchanged")
        await filesystems.grow(path, os.fspath(self._global(spec.name)))

    def republishes(self, spec: VolumeSpec) -> bool:
        """Nothing of it has to be renewed."""
        return False

    # --- where things are -------------------------------------------------------

    def mount_path(self, uid: str, name: str) -> str:
        """The pod's directory of the volume."""
        return os.fspath(self._layout.pod_volume(uid, NAME, name))

    def map_path(self, name: str) -> str:
        """The directory with a bind of the device for each pod."""
        return os.fspath(block_map.global_path(self._layout, NAME, name))

    def found(self, uid: str, name: str, *, block: bool) -> Found:
        """What an earlier life left rests on the volume's own device, be it a directory."""
        return Found(_device(name, block=block), block=block)

    def devices_found(self) -> Collection[Device]:
        """Every file system that was mounted, and every device that was mapped; blocks."""
        mounted, mapped = _names(self._global("x").parent), _names(Path(self.map_path("x")).parent)
        return [*(_device(n, block=False) for n in mounted), *(_device(n, block=True) for n in mapped)]

    def given(self) -> Collection[tuple[str, str]]:
        """See the Protocol."""
        top = Path(self.map_path("x")).parent
        return [(uid, name) for name in _names(top) for uid in block_map.pods(os.fspath(top / name))]

    def _global(self, name: str) -> Path:
        return self._layout.plugins / NAME / "mounts" / name

    def _note(self, uid: str, name: str) -> Path:
        return self._layout.pod_plugin(uid, NAME, name) / _NOTE

    # --- steps ------------------------------------------------------------------

    async def _to_bind(self, spec: VolumeSpec, path: str) -> str:
        """The directory that pods get, without links.

        :raises VolumeError: it is that of a device which is not mounted.
        """
        if await self._is_directory(path):
            return await self._quick(path, lambda: os.path.realpath(path))
        target = os.fspath(self._global(spec.name))
        if not await self._quick(target, lambda: mountpoint.is_mounted(target)):
            raise VolumeError(f"{path} is not mounted at {target}", left="unchanged")
        return await self._quick(target, lambda: os.path.realpath(target))

    async def _quick(self, path: str, work: Callable[[], T]) -> T:
        """What *work*, which looks at *path*, finds."""
        try:
            return await self._looks.run(path, work, _QUICK)
        except TimeoutError as error:
            raise VolumeError(f"{path} does not answer: {error}") from error

    async def _is_directory(self, path: str) -> bool:
        """Whether *path* is a directory; False for a block device.

        :raises VolumeError: it is neither.
        """
        kind = await self._quick(path, lambda: local_source.kind_of(path))
        if kind not in ("directory", "block"):
            raise local_source.unusable("only directory and block device are supported")
        return kind == "directory"

    def _others(self, source: str, uid: str) -> list[str]:
        """Where other pods have the volume."""
        pods = os.path.realpath(self._layout.pods)
        places = [mount.mount_point for mount in mountinfo.same_tree(mountinfo.read(), source)]
        return [
            place
            for place in places
            if mountinfo.is_below(place, pods) and not mountinfo.is_below(place, f"{pods}/{uid}")
        ]

    async def _warn_of_group(self, source: str, pod: Pod, name: str, group: int) -> None:
        has = await self._quick(source, lambda: os.stat(source).st_gid)
        if has != group:
            text = (
                f"The requested fsGroup is {group}, but the volume {name} has GID {has}. "
                "The volume may not be shareable."
            )
            self._events.pod_event(pod_ref(pod), "Warning", "AlreadyMountedVolume", text)

    def _map(self, name: str, uid: str, path: str) -> str:
        if local_source.kind_of(path) != "block":
            raise local_source.unusable(f"{path} is not a block device")
        link = os.fspath(block_map.link_path(self._layout, uid, NAME, name))
        return block_map.map_device(path, self.map_path(name), link, uid)

    def _unmap(self, name: str, uid: str) -> None:
        block_map.unmap_device(self.map_path(name), uid)
        block_map.forget(os.fspath(block_map.link_path(self._layout, uid, NAME, name)))

    async def _cleared(self, target: str) -> Left:
        """Take away what a failed mount left; whether that went well."""
        try:
            await self._quick(target, lambda: mountpoint.take_off(target))
        except (OSError, VolumeError) as error:
            log.warning("%s is left after a failed mount: %s", target, error)
            return "something"
        return "nothing"


def _bind(source: str, target: str, options: Sequence[str], note: Path | None, *, again: bool) -> bool:
    """Let *target* show *source*; whether the files' group is still to be changed.

    The *note* that it is stays until it was done, so that an end half way is made up for.
    """
    if mountpoint.is_mounted(target):
        if again or mountpoint.healthy(target):
            mounts.restrict(target, options)
            return note is not None and note.exists()
        mountpoint.take_off(target)
    local_tree.make_directories(target)
    if note is not None:
        local_tree.make_directories(os.fspath(note.parent))
        note.touch()
    try:
        with safeopen.opened(source) as found:
            mounts.bind_descriptor(found, mountpoint.real(target))
        mounts.restrict(target, options)
    except OSError:
        with contextlib.suppress(OSError):
            mountpoint.take_off(target)
        raise
    return note is not None


def _device(name: str, *, block: bool) -> Device:
    return Device(f"{NAME}/{name}", name, block)


def _names(directory: Path) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
