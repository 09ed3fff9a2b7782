"""The driver's Node service: what CSI says of each call, on :mod:`tests.csidriver.disk`."""

import asyncio
import os
import stat
from pathlib import Path

import grpc
import grpc.aio
from tests.csidriver import disk
from tests.csidriver.files import Files

from pykubelet.rpc import csi_v1

Code = grpc.StatusCode


class Refusal(Exception):
    """A call is answered with this code."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


def needs(value: object, field: str) -> None:
    if not value:
        raise Refusal(Code.INVALID_ARGUMENT, f"{field} missing in request")


class Node:
    """Directories without an fsType, images on loop devices with one and for block volumes.

    With the fsType ``tmpfs`` a volume has a size and can grow on any machine, but what
    is in it ends with the mount. ``volume_context["size"]`` is a size in bytes. Staging directories and
    targets' parents must be there already.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._top = files.root / "volumes"
        #: One call at a time for each volume: another is answered Aborted.
        self._busy: set[str] = set()

    def _can(self, capability: str) -> bool:
        return capability in self._files.settings.capabilities

    async def _work(self, volume_id: str, function, *arguments):
        needs(volume_id, "volume_id")
        if volume_id in self._busy:
            raise Refusal(Code.ABORTED, f"an operation on volume {volume_id} is under way")
        self._busy.add(volume_id)
        try:
            return await asyncio.to_thread(function, *arguments)
        except OSError as error:
            raise Refusal(Code.INTERNAL, str(error)) from None
        finally:
            self._busy.discard(volume_id)

    async def NodeGetInfo(self, request, context):
        told = self._files.settings
        return csi_v1.NodeGetInfoResponse(
            node_id=told.node_id,
            max_volumes_per_node=told.max_volumes,
            accessible_topology={"segments": told.topology} if told.topology else None,
        )

    async def NodeGetCapabilities(self, request, context):
        return csi_v1.NodeGetCapabilitiesResponse(
            capabilities=[{"rpc": {"type": name}} for name in self._files.settings.capabilities]
        )

    async def NodeStageVolume(self, request, context):
        needs(request.staging_target_path, "staging_target_path")
        needs(request.HasField("volume_capability"), "volume_capability")
        await self._work(request.volume_id, self._stage, request)
        return csi_v1.NodeStageVolumeResponse()

    def _stage(self, request) -> None:
        path = Path(request.staging_target_path)
        if not path.is_dir():
            raise Refusal(Code.INTERNAL, f"staging path {path} is no directory")
        volume = disk.Volume(self._top, request.volume_id)
        volume.create()
        self._put(volume, path, request.volume_capability, request.volume_context)

    def _put(self, volume: disk.Volume, path: Path, capability, context) -> None:
        """Mount the volume itself on *path*; a block volume is only attached."""
        size = int(context.get("size", disk.SIZE))
        if capability.HasField("block"):
            volume.attach(size)
            return
        mount = capability.mount
        if not disk.mounted(path):
            if mount.fs_type == "tmpfs":
                options = ",".join([f"size={size}", *mount.mount_flags])
                disk.run("mount", "-t", "tmpfs", "-o", options, "tmpfs", path)
            elif mount.fs_type:
                device = volume.attach(size)
                volume.format(device, mount.fs_type)
                flags = [flag for flag in mount.mount_flags if not flag.startswith("context=")]
                options = ["-o", ",".join(flags)] if flags else []
                disk.run("mount", "-t", mount.fs_type, *options, device, path)
            else:
                disk.bind(volume.data, path, mount.mount_flags)
        if mount.volume_mount_group and self._can("VOLUME_MOUNT_GROUP"):
            disk.give_group(path, int(mount.volume_mount_group))

    async def NodeUnstageVolume(self, request, context):
        needs(request.staging_target_path, "staging_target_path")
        await self._work(request.volume_id, self._unstage, request)
        return csi_v1.NodeUnstageVolumeResponse()

    def _unstage(self, request) -> None:
        disk.unmount(Path(request.staging_target_path))
        disk.Volume(self._top, request.volume_id).detach()

    async def NodePublishVolume(self, request, context):
        needs(request.target_path, "target_path")
        needs(request.HasField("volume_capability"), "volume_capability")
        await self._work(request.volume_id, self._publish, request)
        return csi_v1.NodePublishVolumeResponse()

    def _publish(self, request) -> None:
        target = Path(request.target_path)
        if not target.parent.is_dir():
            raise Refusal(Code.INTERNAL, f"the parent of target path {target} is no directory")
        volume = disk.Volume(self._top, request.volume_id)
        staged = self._can("STAGE_UNSTAGE_VOLUME")
        inline = request.volume_context.get("csi.storage.k8s.io/ephemeral") == "true"
        if staged and not inline:
            self._must_be_staged(volume, request)
        else:
            volume.create(ephemeral=inline)
        if disk.mounted(target):
            return
        block = request.volume_capability.HasField("block")
        disk.make_target(target, block=block)
        if block:
            disk.bind(volume.attach(), target)
        elif staged and not inline:
            disk.bind(request.staging_target_path, target)
        else:
            self._put(volume, target, request.volume_capability, request.volume_context)
        if request.readonly:
            disk.run("mount", "-o", "remount,bind,ro", target)

    def _must_be_staged(self, volume: disk.Volume, request) -> None:
        needs(request.staging_target_path, "staging_target_path")
        block = request.volume_capability.HasField("block")
        ready = (
            volume.image.exists() and volume.device()
            if block
            else disk.mounted(Path(request.staging_target_path))
        )
        if not ready:
            raise Refusal(Code.FAILED_PRECONDITION, f"volume {request.volume_id} is not staged")

    async def NodeUnpublishVolume(self, request, context):
        needs(request.target_path, "target_path")
        await self._work(request.volume_id, self._unpublish, request)
        return csi_v1.NodeUnpublishVolumeResponse()

    def _unpublish(self, request) -> None:
        target = Path(request.target_path)
        disk.unmount(target)
        disk.remove_target(target)
        volume = disk.Volume(self._top, request.volume_id)
        if volume.ephemeral:
            volume.delete()
        elif not self._can("STAGE_UNSTAGE_VOLUME"):
            volume.detach()

    async def NodeGetVolumeStats(self, request, context):
        needs(request.volume_path, "volume_path")
        return await self._work(request.volume_id, self._stats, request)

    def _stats(self, request):
        path = Path(request.volume_path)
        if not disk.mounted(path):
            raise Refusal(Code.NOT_FOUND, f"nothing is mounted at {path}")
        answer = csi_v1.NodeGetVolumeStatsResponse()
        if self._can("VOLUME_CONDITION"):
            text = self._files.settings.condition
            answer.volume_condition.abnormal = bool(text)
            answer.volume_condition.message = text
        if stat.S_ISBLK(path.stat().st_mode):
            size = int(disk.run("blockdev", "--getsize64", path))
            answer.usage.add(unit="BYTES", total=size)
            return answer
        told = os.statvfs(path)
        unit = told.f_frsize
        answer.usage.add(
            unit="BYTES",
            available=told.f_bavail * unit,
            total=told.f_blocks * unit,
            used=(told.f_blocks - told.f_bfree) * unit,
        )
        answer.usage.add(
            unit="INODES", available=told.f_favail, total=told.f_files, used=told.f_files - told.f_ffree
        )
        return answer

    async def NodeExpandVolume(self, request, context):
        needs(request.volume_path, "volume_path")
        size = await self._work(request.volume_id, self._expand, request)
        return csi_v1.NodeExpandVolumeResponse(capacity_bytes=size)

    def _expand(self, request) -> int:
        volume = disk.Volume(self._top, request.volume_id)
        if not volume.exists:
            raise Refusal(Code.NOT_FOUND, f"no volume {request.volume_id}")
        size = request.capacity_range.required_bytes
        if request.volume_capability.mount.fs_type == "tmpfs":
            path = request.staging_target_path or request.volume_path
            disk.run("mount", "-o", f"remount,size={size}", path)
            return size
        return volume.grow(size)
