"""Volumes with a file system: staged once a node, published for each pod, and both undone."""

from collections.abc import Mapping
from typing import Final

from pykubelet.api.core import Pod
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.storage import CSIDriver
from pykubelet.base.errors import VolumeError
from pykubelet.linux import mountinfo

from .. import errors, selinux
from ..group_change import GroupChange
from ..identity import group_of
from ..plugin import Device
from ..spec import VolumeSpec
from . import context, fsgroup, lifecycle, references, traces
from .capabilities import Capabilities, Capability, VolumeUse
from .data_file import EPHEMERAL, PERSISTENT, DataError, VolumeData
from .errors import CsiError
from .means import HEAD, Means, capabilities, unchanged
from .notes import Notes
from .paths import attachment_name, beside, split_unique_name
from .source import Source, persistent, source_of

_SET_UP: Final = "mounter.SetUpAt failed to"
_NO_CLIENT: Final = "failed to create newCsiDriverClient: "


class Filesystem:
    """The steps; each can be repeated after an end at any point."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._paths = means.paths
        self._notes = Notes(means)
        self._groups = GroupChange(means.clock, means.events)

    # --- once a node ----------------------------------------------------------

    async def stage(self, spec: VolumeSpec, pod: Pod) -> None:
        """Let the driver mount the volume where all pods of the node get it from.

        :raises VolumeError: it did not.
        """
        means = self._means
        pv, source = persistent(spec)
        driver = await means.objects.driver(source.driver)
        publish_context = await means.attached(source, driver)
        text = f"{HEAD}attacher.MountDevice {_NO_CLIENT}"
        client = means.client(source.driver, text, migrated=spec.migrated)
        can = await capabilities(client, "")
        stages = Capability.STAGE_UNSTAGE_VOLUME in can
        reference = source.nodeStageSecretRef if stages else None
        secrets = await means.credentials(reference, "fetching NodeStageSecretRef {} failed")
        staging = self._paths.staging(source.driver, source.volumeHandle)
        if not stages:
            await self._notes.make(staging)
            return
        data = VolumeData(source.driver, source.volumeHandle, selinux=spec.label or None)
        await self._notes.take(self._paths.staged(source.driver, source.volumeHandle), data, staging)
        use = VolumeUse(
            access_mode=context.access_mode(pv.spec.accessModes),
            fs_type=source.fsType,
            mount_flags=selinux.with_label(pv.spec.mountOptions, spec.label),
            mount_group=_mount_group(can, pod),
        )
        try:
            await client.node_stage_volume(
                source.volumeHandle,
                staging,
                use,
                can,
                publish_context=publish_context,
                volume_context=source.volumeAttributes,
                secrets=secrets,
            )
        except CsiError as error:
            raise await self._notes.failed(error, staging) from error
        self._notes.succeeded(beside(staging))

    async def unstage(self, device: Device) -> None:
        """Undo :meth:`stage`.

        :raises VolumeError: it is still in use, or the driver failed.
        """
        means = self._means
        driver, handle = split_unique_name(device.unique_name)
        directory, staging = self._paths.staged(driver, handle), self._paths.staging(driver, handle)
        # The device's own name tells all that is needed: a data file that is damaged does no harm.
        if await means.off_loop(lambda: traces.is_bare(staging) and not traces.is_noted(directory)):
            # A driver that does not stage, or an end in the midst of what follows.
            await self._notes.clean_up(staging, f"failed to clean up global mount {directory}")
            return
        users = await means.off_loop(lambda: references.users(self._paths, driver, handle))
        if users:
            listed = " ".join(users)
            raise VolumeError(
                f'the device mount path "{staging}" is still mounted by other references [{listed}]',
                left="something",
            )
        client = means.client(driver, f"{HEAD}attacher.UnmountDevice {_NO_CLIENT}")
        can = await capabilities(
            client, f"{HEAD}attacher.UnmountDevice failed to check whether STAGE_UNSTAGE_VOLUME set: "
        )
        if Capability.STAGE_UNSTAGE_VOLUME in can:
            try:
                await client.node_unstage_volume(handle, staging)
            except CsiError as error:
                raise VolumeError(f"{HEAD}attacher.UnmountDevice failed: {error}") from error
        await self._notes.clean_up(staging, f"failed to clean up global mount {directory}")

    # --- for each pod ---------------------------------------------------------

    async def publish(self, spec: VolumeSpec, pod: Pod, *, again: bool) -> MountedVolume:
        """Let the driver mount the volume for the pod; *again*: it is, and stays so whatever fails.

        :raises VolumeError: it did not.
        """
        means, uid = self._means, pod.metadata.uid
        source = source_of(spec, pod)
        text = f"{HEAD}{_SET_UP} get CSI client: "
        client = means.client(source.driver, text, migrated=spec.migrated)
        driver = await means.objects.driver(source.driver)
        refused = lifecycle.refusal(source.driver, driver, source.lifecycle)
        if refused:
            raise unchanged(f"{HEAD}mounter.SetupAt failed to check volume lifecycle mode: {refused}")
        policy = self._policy(driver)
        can = await capabilities(client, f"{HEAD}{_capability_text(source)}")
        publish_context = await self._publish_context(spec, driver)
        secrets = await means.credentials(source.secret, "fetching NodePublishSecretRef {} failed")
        volume_context = dict(source.attributes)
        ephemeral = source.lifecycle == EPHEMERAL
        if context.wants_pod_info(driver):
            volume_context |= context.pod_info(pod, ephemeral=ephemeral)
        tokens = await self._tokens(pod, driver)
        (secrets if context.tokens_in_secrets(driver) else volume_context).update(tokens)
        target = self._paths.target(uid, spec.name)
        await self._notes.take(self._paths.pod_volume(uid, spec.name), self._data(spec, source))
        stages = not ephemeral and Capability.STAGE_UNSTAGE_VOLUME in can
        use = VolumeUse(
            access_mode=source.access_mode,
            fs_type=source.fs_type,
            mount_flags=selinux.with_label(source.mount_options, spec.label),
            mount_group=_mount_group(can, pod),
        )
        try:
            await client.node_publish_volume(
                source.handle,
                target,
                use,
                can,
                staging_path=self._paths.staging(source.driver, source.handle) if stages else "",
                readonly=source.read_only,
                publish_context=publish_context,
                volume_context=volume_context,
                secrets=secrets,
            )
        except CsiError as error:
            if again:
                raise unchanged(str(error)) from error
            raise await self._notes.failed(error, target) from error
        self._notes.succeeded(beside(target))
        if Capability.VOLUME_MOUNT_GROUP not in can and fsgroup.applies(
            policy,
            group_of(pod),
            read_only=source.read_only,
            fs_type=source.fs_type,
            access_modes=None if spec.pv is None else spec.pv.spec.accessModes,
        ):
            await self._give(target, pod, source.handle, again=again)
        # As upstream, which relabels only what pods can write to.
        relabel = means.labels and not spec.label and not source.read_only
        relabel = relabel and await means.off_loop(lambda: _takes_labels(target))
        return MountedVolume(spec.volume.name, target, read_only=source.read_only, selinux_relabel=relabel)

    async def unpublish(self, uid: str, name: str) -> None:
        """Undo :meth:`publish`.

        :raises VolumeError: the driver failed, or left something.
        """
        means, target = self._means, self._paths.target(uid, name)
        data = await self._noted(uid, name)
        if data is None:
            await self._notes.clean_up_bare(target)
            return
        client = means.client(data.driver, f"{HEAD}Unmounter.TearDownAt failed to get CSI client: ")
        try:
            await client.node_unpublish_volume(data.handle, target)
        except CsiError as error:
            raise VolumeError(f"{HEAD}Unmounter.TearDownAt failed: {error}") from error
        await self._notes.clean_up(target, f"Unmounter.TearDownAt failed to clean mount dir [{target}]")

    # --- parts of them --------------------------------------------------------

    async def _noted(self, uid: str, name: str) -> VolumeData | None:
        """What is noted of a pod's volume, or what its mount tells where the notes are lost; else None.

        :raises VolumeError: there are notes that cannot be read.
        """
        directory, target = self._paths.pod_volume(uid, name), self._paths.target(uid, name)
        text = f"{HEAD}unmounter failed to load volume data file [{target}]: {HEAD}"
        problem = ""
        try:
            return await self._means.off_loop(lambda: traces.load(directory, text))
        except FileNotFoundError:
            pass
        except DataError as error:
            problem = str(error)
        found = await self._means.off_loop(lambda: references.staged_at(self._paths, target))
        if found is None and problem:
            raise unchanged(problem)
        return found

    def _data(self, spec: VolumeSpec, source: Source) -> VolumeData:
        node = self._means.node
        return VolumeData(
            driver=source.driver,
            handle=source.handle,
            name=spec.name,
            node=node,
            attachment=attachment_name(source.handle, source.driver, node),
            lifecycle=source.lifecycle,
            selinux=spec.label or None,
        )

    def _policy(self, driver: CSIDriver | None) -> str:
        try:
            return fsgroup.policy_of(driver)
        except VolumeError as error:
            raise unchanged(f"{HEAD}mounter.SetupAt failed to check fsGroup policy: {error}") from None

    async def _publish_context(self, spec: VolumeSpec, driver: CSIDriver | None) -> Mapping[str, str]:
        if spec.pv is None:
            return {}
        text = f"{HEAD}{_SET_UP} fetch publishContext: "
        return await self._means.publish_context(persistent(spec)[1], driver, text)

    async def _tokens(self, pod: Pod, driver: CSIDriver | None) -> dict[str, str]:
        requests = context.token_requests(driver, pod)
        if not requests:
            return {}
        account = pod.spec.serviceAccountName
        tokens = {}
        try:
            for audience, request in requests.items():
                answer = await self._means.tokens.token(pod.metadata.namespace, account, request)
                tokens[audience] = answer.status
        except LookupError as error:
            why = error.args[0] if error.args else type(error).__name__
            raise unchanged(f"{HEAD}{_SET_UP} get service accoount token attributes: {why}") from error
        return {context.TOKENS: context.tokens_text(tokens)}

    async def _give(self, target: str, pod: Pod, handle: str, *, again: bool) -> None:
        try:
            await self._groups.apply(target, pod)
        except OSError as error:
            text = f"applyFSGroup failed for vol {handle}: {errors.describe(error)}"
            raise VolumeError(text, left="unchanged" if again else "something") from error


def _capability_text(source: Source) -> str:
    if source.lifecycle == PERSISTENT:
        return f"{_SET_UP} check for STAGE_UNSTAGE_VOLUME capability: "
    return f"{_SET_UP} determine if the node service has VOLUME_MOUNT_GROUP capability: "


def _mount_group(can: Capabilities, pod: Pod) -> int | None:
    return group_of(pod) if Capability.VOLUME_MOUNT_GROUP in can else None


def _takes_labels(path: str) -> bool:
    """Whether the file system at *path* takes SELinux labels."""
    found = mountinfo.mount_of(mountinfo.read(), traces.real(path))
    return found is not None and "seclabel" in (*found.options, *found.super_options)
