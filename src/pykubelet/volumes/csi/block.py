"""Raw block volumes: staged once a node, published for each pod as a device, and both undone."""

import os
from typing import Final

from pykubelet.api.core import Pod
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.storage import CSIPersistentVolumeSource
from pykubelet.base.errors import VolumeError
from pykubelet.base.gotext import go_list, go_quote

from .. import block_map, errors
from ..plugin import Device
from ..spec import VolumeSpec
from . import block_traces, context, references, traces
from .capabilities import Capability, VolumeUse
from .data_file import DataError, VolumeData
from .errors import CsiError
from .means import HEAD, Means, capabilities, unchanged
from .notes import Notes
from .paths import attachment_name, beside, split_unique_name
from .source import persistent

_STAGE: Final = "blockMapper.stageVolumeForBlock"
_UNSTAGE: Final = "blockMapper.unstageVolumeForBlock"
_PUBLISH: Final = "blockMapper.publishVolumeForBlock"
_CHECK: Final = "failed to check STAGE_UNSTAGE_VOLUME capability: "


class Block:
    """The steps; each can be repeated after an end at any point."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._paths = means.paths
        self._notes = Notes(means)

    # --- once a node ----------------------------------------------------------

    async def stage(self, spec: VolumeSpec) -> None:
        """Let the driver make the device ready on this node.

        :raises VolumeError: it did not.
        """
        means, name = self._means, spec.name
        pv, source = persistent(spec)
        driver = await means.objects.driver(source.driver)
        publish_context = await means.attached(source, driver)
        text = f"{HEAD}blockMapper.SetUpDevice failed to get CSI client: "
        client = means.client(source.driver, text, migrated=spec.migrated)
        can = await capabilities(client, f"{HEAD}{_STAGE} {_CHECK}")
        stages = Capability.STAGE_UNSTAGE_VOLUME in can
        text = f"{HEAD}failed to get NodeStageSecretRef {{}}"
        secrets = await means.credentials(source.nodeStageSecretRef if stages else None, text)
        await self._note(name, source)
        if not stages:
            return
        staging = self._paths.block_staging(name)
        await self._make(staging, f"{_STAGE} failed to create dir {staging}")
        try:
            await client.node_stage_volume(
                source.volumeHandle,
                staging,
                VolumeUse(access_mode=context.access_mode(pv.spec.accessModes), block=True),
                can,
                publish_context=publish_context,
                volume_context=source.volumeAttributes,
                secrets=secrets,
            )
        except CsiError as error:
            if error.uncertain or not self._notes.is_ours(self._paths.block_data(name)):
                raise VolumeError(str(error), left="something") from error
            await self._remove(name)
            raise VolumeError(str(error), left="nothing") from error
        self._notes.succeeded(self._paths.block_data(name))

    async def unstage(self, device: Device) -> None:
        """Undo :meth:`stage`.

        :raises VolumeError: a pod still has the device, or the driver failed.
        """
        means, name = self._means, device.name
        driver, handle = split_unique_name(device.unique_name)
        directory, staging = self._paths.block_map(name), self._paths.block_staging(name)
        await self._see_own(name, driver, handle)
        users = await means.off_loop(lambda: block_traces.users(self._paths, name))
        if users:
            text = f"the device {go_quote(directory)} is still referenced from other Pods {go_list(users)}"
            raise VolumeError(text)
        if await means.off_loop(lambda: os.path.lexists(staging)):
            client = means.client(driver, f"{HEAD}blockMapper.TearDownDevice failed to get CSI client: ")
            can = await capabilities(client, f"{HEAD}{_UNSTAGE} {_CHECK}")
            if Capability.STAGE_UNSTAGE_VOLUME in can:
                try:
                    await client.node_unstage_volume(handle, staging)
                except CsiError as error:
                    raise VolumeError(f"{HEAD}{_UNSTAGE} failed: {error}") from error
                await means.off_loop(lambda: block_traces.remove_staging(self._paths, name))
        await self._remove(name)

    # --- for each pod ---------------------------------------------------------

    async def publish(self, spec: VolumeSpec, pod: Pod, *, again: bool) -> MountedVolume:
        """Let the driver make the device for the pod, and link it; *again*: it is there, and stays.

        :raises VolumeError: it did not.
        """
        means, name, uid = self._means, spec.name, pod.metadata.uid
        pv, source = persistent(spec)
        driver = await means.objects.driver(source.driver)
        attachment = attachment_name(source.volumeHandle, source.driver, means.node)
        text = f"{HEAD}blockMapper.MapPodDevice failed to get volume attachment [id={attachment}]: "
        publish_context = await means.publish_context(source, driver, text)
        text = f"{HEAD}blockMapper.MapPodDevice failed to get CSI client: "
        client = means.client(source.driver, text, migrated=spec.migrated)
        volume_context = dict(source.volumeAttributes)
        if context.wants_pod_info(driver):
            volume_context |= context.pod_info(pod, ephemeral=False)
        text = f"{HEAD}{_PUBLISH} failed to get NodePublishSecretRef {{}}"
        secrets = await means.credentials(source.nodePublishSecretRef, text)
        # Which access modes the driver knows.
        can = await capabilities(client, f"{HEAD}{_PUBLISH} failed to check capabilities: ")
        await self._note(name, source)
        target = self._paths.block_target(uid, name)
        await self._make(beside(target), f"{_PUBLISH} failed to create dir {beside(target)}")
        await self._begin(self._paths.pod_device(uid, name), target)
        try:
            await client.node_publish_volume(
                source.volumeHandle,
                target,
                VolumeUse(access_mode=context.access_mode(pv.spec.accessModes), block=True),
                can,
                staging_path=self._paths.block_staging(name),
                readonly=spec.read_only,
                publish_context=publish_context,
                volume_context=volume_context,
                secrets=secrets,
            )
        except CsiError as error:
            raise await self._failed(error, uid, name, again=again) from error
        await self._map(uid, name)
        link = self._paths.pod_device(uid, name)
        return MountedVolume(spec.volume.name, read_only=spec.read_only, device_path=link)

    async def unpublish(self, uid: str, name: str) -> None:
        """Undo :meth:`publish`.

        :raises VolumeError: the driver failed, or left something.
        """
        means, target = self._means, self._paths.block_target(uid, name)
        link, directory = self._paths.pod_device(uid, name), self._paths.block_data(name)
        await means.off_loop(lambda: block_map.unmap_device(self._paths.block_map(name), uid))
        text = f"{HEAD}unmapper failed to load volume data file [{directory}]: {HEAD}"
        try:
            data = await means.off_loop(lambda: traces.load(directory, text))
        except FileNotFoundError:
            if await means.off_loop(lambda: os.path.lexists(target)):
                raise VolumeError(f"{text}{directory} is missing, while {target} is in use") from None
            await means.off_loop(lambda: block_map.forget(link))
            return
        except DataError as error:
            raise VolumeError(str(error)) from None
        client = means.client(data.driver, f"{HEAD}blockMapper.UnmapPodDevice failed to get CSI client: ")
        try:
            await client.node_unpublish_volume(data.handle, target)
        except CsiError as error:
            raise VolumeError(f"{HEAD}blockMapper.unpublishVolumeForBlock failed: {error}") from error
        if await means.off_loop(lambda: traces.is_mounted(target)):
            raise VolumeError(f"{HEAD}blockMapper.unpublishVolumeForBlock: the driver left {target} mounted")
        await means.off_loop(lambda: block_map.forget(link))

    # --- parts of them --------------------------------------------------------

    async def _see_own(self, name: str, driver: str, handle: str) -> None:
        """See that the directories, which a name has, are this volume's: it may have been made anew.

        :raises VolumeError: another volume of that name is not undone yet.
        """
        noted = await self._means.off_loop(lambda: references.noted(self._paths.block_data(name)))
        if noted is not None and (noted.driver, noted.handle) != (driver, handle):
            raise unchanged(
                f"{HEAD}the volume {noted.handle} of driver {noted.driver} has the name {name}, too, "
                "and is not undone yet"
            )

    async def _note(self, name: str, source: CSIPersistentVolumeSource) -> None:
        await self._see_own(name, source.driver, source.volumeHandle)
        node = self._means.node
        attachment = attachment_name(source.volumeHandle, source.driver, node)
        data = VolumeData(source.driver, source.volumeHandle, name, node, attachment)
        await self._notes.take(self._paths.block_data(name), data)

    async def _make(self, directory: str, text: str) -> None:
        try:
            await self._means.off_loop(lambda: traces.make(directory))
        except OSError as error:
            raise unchanged(f"{HEAD}{text}: {errors.describe(error)}") from error

    async def _begin(self, link: str, target: str) -> None:
        """Note with the pod that it is to have the device: only so is that found again."""
        try:
            await self._means.off_loop(lambda: block_map.begin(link, target))
        except OSError as error:
            raise unchanged(f"{HEAD}{_PUBLISH} failed: {errors.describe(error)}") from error

    async def _map(self, uid: str, name: str) -> None:
        target, directory = self._paths.block_target(uid, name), self._paths.block_map(name)
        link = self._paths.pod_device(uid, name)
        try:
            await self._means.off_loop(lambda: block_map.map_device(target, directory, link, uid))
        except OSError as error:
            told = errors.describe(error)
            raise VolumeError(
                f"blkUtil.MapDevice failed. devicePath: {target}, globalMapPath:{directory}, "
                f"podUID: {uid}, bindMount: true: {told}"
            ) from error

    async def _failed(self, error: CsiError, uid: str, name: str, *, again: bool) -> VolumeError:
        if again:
            return unchanged(str(error))
        if error.uncertain or await self._means.off_loop(lambda: self._has_traces(uid, name)):
            return VolumeError(str(error), left="something")
        await self._means.off_loop(lambda: block_map.forget(self._paths.pod_device(uid, name)))
        return VolumeError(str(error), left="nothing")

    def _has_traces(self, uid: str, name: str) -> bool:
        target = self._paths.block_target(uid, name)
        return os.path.lexists(target) or block_map.is_mapped(self._paths.block_map(name), uid)

    async def _remove(self, name: str) -> None:
        await self._means.off_loop(lambda: block_traces.remove(self._paths, name))
        self._notes.forget(self._paths.block_data(name))
