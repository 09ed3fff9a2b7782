"""The CRI client: a real runtime behind the door :class:`~pykubelet.cri.door.Runtime`."""

import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from google.protobuf.message import Message

from pykubelet.base.clock import Clock
from pykubelet.base.gotext import go_quote
from pykubelet.base.metrics import Metrics
from pykubelet.cri import convert
from pykubelet.cri.door import ANYONE, Turn
from pykubelet.cri.errors import Code, CommandTimedOutError, CriError
from pykubelet.cri.service import CallMetrics, ServiceClient
from pykubelet.cri.slots import Slots
from pykubelet.cri.stats import ContainerStats, SandboxStats
from pykubelet.cri.types import (
    ContainerEvent,
    ContainerState,
    ContainerStatus,
    ContainerSummary,
    ExecResult,
    FilesystemUsage,
    Image,
    RuntimeStatus,
    RuntimeVersion,
    SandboxState,
    SandboxStatus,
    SandboxSummary,
)
from pykubelet.rpc import cri_v1
from pykubelet.rpc._gen import cri_service_pb2
from pykubelet.rpc.channel import connect

#: What we send in Version, and what runtimes must answer: the kubelet's own API version.
KUBELET_API_VERSION = "0.1.0"


def _needs(value: str, method: str, text: str) -> str:
    """*value*, which no runtime may leave empty."""
    if not value:
        raise CriError(Code.Unknown, method, text)
    return value


class CriClient:
    """A runtime at *endpoint*, its images at *image_endpoint* (the same one by default).

    *request_timeout* is the configuration's ``runtimeRequestTimeout`` in seconds:
    twice it for RunPodSandbox, it and the grace for StopContainer, it and the given
    time for ExecSync (none without), none for PullImage and streams. Calls fail at
    once while the runtime is away and go on by themselves when it is back.

    :raises ValueError: an endpoint is not a Unix socket.
    """

    def __init__(
        self,
        endpoint: str,
        image_endpoint: str | None = None,
        *,
        request_timeout: float = 120.0,
        clock: Clock,
        metrics: Metrics | None = None,
        slots: Slots | None = None,
    ) -> None:
        calls = CallMetrics(metrics) if metrics is not None else None
        services = cri_service_pb2.DESCRIPTOR.services_by_name
        channel = connect(endpoint)
        self._channels = [channel]
        if image_endpoint and image_endpoint != endpoint:
            self._channels.append(connect(image_endpoint))
        self._runtime = ServiceClient(channel, services["RuntimeService"], clock, calls)
        self._images = ServiceClient(self._channels[-1], services["ImageService"], clock, calls)
        self._timeout = request_timeout
        self.slots = slots or Slots(clock)

    @property
    def api(self) -> str:
        """The CRI package in use, ``v1`` or ``v1alpha2``."""
        return self._runtime.api

    async def close(self) -> None:
        """See :class:`~pykubelet.cri.door.Runtime`."""
        for channel in self._channels:
            await channel.close(None)

    async def _call(self, method: str, operation: str, request: Message) -> Any:
        return await self._runtime.call(method, operation, request, self._timeout)

    async def _end(self, method: str, operation: str, request: Message, timeout: float) -> None:
        """A call that stops or removes: what is gone is as it should be."""
        try:
            await self._runtime.call(method, operation, request, timeout)
        except CriError as error:
            if not error.not_found:
                raise

    # The runtime itself.

    async def version(self) -> RuntimeVersion:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        answer = await self._call("Version", "version", cri_v1.VersionRequest(version=KUBELET_API_VERSION))
        fields = {
            "Version": answer.version,
            "RuntimeName": answer.runtime_name,
            "RuntimeApiVersion": answer.runtime_api_version,
            "RuntimeVersion": answer.runtime_version,
        }
        missing = ", ".join(name for name, value in fields.items() if not value)
        if missing:
            text = f"not all fields are set in VersionResponse (missing {missing})"
            raise CriError(Code.Unknown, "Version", text)
        return RuntimeVersion(
            answer.runtime_name, answer.runtime_version, answer.runtime_api_version, self._runtime.api
        )

    async def status(self, *, verbose: bool = False) -> RuntimeStatus:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        answer = await self._call("Status", "status", cri_v1.StatusRequest(verbose=verbose))
        if len(answer.status.conditions) < 2:
            text = "RuntimeReady or NetworkReady condition are not set"
            raise CriError(Code.Unknown, "Status", text)
        return convert.runtime_status(answer)

    async def runtime_config(self) -> str | None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        answer = await self._call("RuntimeConfig", "runtime_config", cri_v1.RuntimeConfigRequest())
        if not answer.HasField("linux"):
            return None
        return {cri_v1.SYSTEMD: "systemd", cri_v1.CGROUPFS: "cgroupfs"}.get(answer.linux.cgroup_driver)

    async def update_runtime_config(self, pod_cidr: str) -> None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        config = cri_v1.RuntimeConfig(network_config=cri_v1.NetworkConfig(pod_cidr=pod_cidr))
        await self._call(
            "UpdateRuntimeConfig",
            "update_runtime_config",
            cri_v1.UpdateRuntimeConfigRequest(runtime_config=config),
        )

    # Sandboxes.

    async def list_sandboxes(
        self,
        *,
        sandbox_id: str = "",
        state: SandboxState | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> list[SandboxSummary]:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        wanted = cri_v1.PodSandboxFilter(id=sandbox_id, label_selector=dict(labels or {}))
        if state is not None:
            wanted.state.state = state.value  # type: ignore[assignment]
        answer = await self._call(
            "ListPodSandbox", "list_podsandbox", cri_v1.ListPodSandboxRequest(filter=wanted)
        )
        return [convert.sandbox_summary(item) for item in answer.items]

    async def sandbox_status(self, sandbox_id: str, *, verbose: bool = False) -> SandboxStatus:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        request = cri_v1.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id, verbose=verbose)
        answer = await self._call("PodSandboxStatus", "podsandbox_status", request)
        if not answer.HasField("status"):
            raise CriError(Code.Unknown, "PodSandboxStatus", "pod sandbox status is nil")
        return convert.sandbox_status(answer.status, answer.info.get("info", ""))

    async def run_sandbox(
        self, config: cri_v1.PodSandboxConfig, runtime_handler: str = "", *, turn: Turn = ANYONE
    ) -> str:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        request = cri_v1.RunPodSandboxRequest(config=config, runtime_handler=runtime_handler)
        async with self.slots.hold("RunPodSandbox", turn):
            answer = await self._runtime.call("RunPodSandbox", "run_podsandbox", request, 2 * self._timeout)
        text = f"PodSandboxId is not set for sandbox {go_quote(config.metadata.name)}"
        return _needs(answer.pod_sandbox_id, "RunPodSandbox", text)

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        request = cri_v1.StopPodSandboxRequest(pod_sandbox_id=sandbox_id)
        await self._end("StopPodSandbox", "stop_podsandbox", request, self._timeout)

    async def remove_sandbox(self, sandbox_id: str, *, turn: Turn = ANYONE) -> None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        request = cri_v1.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id)
        async with self.slots.hold("RemovePodSandbox", turn, ends=True):
            await self._end("RemovePodSandbox", "remove_podsandbox", request, self._timeout)

    async def update_sandbox_resources(
        self,
        sandbox_id: str,
        overhead: cri_v1.LinuxContainerResources | None,
        resources: cri_v1.LinuxContainerResources | None,
    ) -> None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        request = cri_v1.UpdatePodSandboxResourcesRequest(
            pod_sandbox_id=sandbox_id, overhead=overhead, resources=resources
        )
        await self._call("UpdatePodSandboxResources", "update_podsandbox_resources", request)

    # Containers.

    async def list_containers(
        self,
        *,
        container_id: str = "",
        sandbox_id: str = "",
        state: ContainerState | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> list[ContainerSummary]:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        wanted = cri_v1.ContainerFilter(
            id=container_id, pod_sandbox_id=sandbox_id, label_selector=dict(labels or {})
        )
        if state is not None:
            wanted.state.state = state.value  # type: ignore[assignment]
        answer = await self._call(
            "ListContainers", "list_containers", cri_v1.ListContainersRequest(filter=wanted)
        )
        return [convert.container_summary(item) for item in answer.containers]

    async def container_status(self, container_id: str, *, verbose: bool = False) -> ContainerStatus:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        request = cri_v1.ContainerStatusRequest(container_id=container_id, verbose=verbose)
        answer = await self._call("ContainerStatus", "container_status", request)
        if not answer.HasField("status"):
            raise CriError(Code.Unknown, "ContainerStatus", "container status is nil")
        return convert.container_status(answer.status, answer.info.get("info", ""))

    async def create_container(
        self,
        sandbox_id: str,
        config: cri_v1.ContainerConfig,
        sandbox_config: cri_v1.PodSandboxConfig,
        *,
        turn: Turn = ANYONE,
    ) -> str:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        request = cri_v1.CreateContainerRequest(
            pod_sandbox_id=sandbox_id, config=config, sandbox_config=sandbox_config
        )
        async with self.slots.hold("CreateContainer", turn, goes_on=True):
            answer = await self._call("CreateContainer", "create_container", request)
        text = f"ContainerId is not set for container {go_quote(config.metadata.name)}"
        return _needs(answer.container_id, "CreateContainer", text)

    async def start_container(self, container_id: str, *, turn: Turn = ANYONE) -> None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        request = cri_v1.StartContainerRequest(container_id=container_id)
        async with self.slots.hold("StartContainer", turn, goes_on=True):
            await self._call("StartContainer", "start_container", request)

    async def stop_container(self, container_id: str, timeout: int) -> None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        request = cri_v1.StopContainerRequest(container_id=container_id, timeout=timeout)
        await self._end("StopContainer", "stop_container", request, self._timeout + max(timeout, 0))

    async def remove_container(self, container_id: str, *, turn: Turn = ANYONE) -> None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        request = cri_v1.RemoveContainerRequest(container_id=container_id)
        async with self.slots.hold("RemoveContainer", turn, ends=True):
            await self._end("RemoveContainer", "remove_container", request, self._timeout)

    async def update_container_resources(
        self,
        container_id: str,
        resources: cri_v1.LinuxContainerResources,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        request = cri_v1.UpdateContainerResourcesRequest(
            container_id=container_id, linux=resources, annotations=dict(annotations or {})
        )
        await self._call("UpdateContainerResources", "update_container", request)

    async def reopen_container_log(self, container_id: str) -> None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        request = cri_v1.ReopenContainerLogRequest(container_id=container_id)
        await self._call("ReopenContainerLog", "reopen_container_log", request)

    async def checkpoint_container(self, container_id: str, location: str, timeout: int = 0) -> None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        seconds = max(timeout, int(self._timeout))
        request = cri_v1.CheckpointContainerRequest(
            container_id=container_id, location=location, timeout=seconds
        )
        await self._runtime.call("CheckpointContainer", "checkpoint_container", request, float(seconds))

    # Into containers.

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: float = 0) -> ExecResult:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        # Rounded up: zero on the wire would mean for ever.
        request = cri_v1.ExecSyncRequest(container_id=container_id, cmd=command, timeout=math.ceil(timeout))
        deadline = self._timeout + timeout if timeout else None
        try:
            answer = await self._runtime.call("ExecSync", "exec_sync", request, deadline)
        except CriError as error:
            if error.timeout:
                raise CommandTimedOutError(command, timeout, error.message) from None
            raise
        return ExecResult(answer.stdout, answer.stderr, answer.exit_code)

    async def exec(
        self,
        container_id: str,
        command: Sequence[str],
        *,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        tty: bool = False,
    ) -> str:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        request = cri_v1.ExecRequest(
            container_id=container_id, cmd=command, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr
        )
        answer = await self._call("Exec", "exec", request)
        return _needs(answer.url, "Exec", "URL is not set")

    async def attach(
        self,
        container_id: str,
        *,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        tty: bool = False,
    ) -> str:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        request = cri_v1.AttachRequest(
            container_id=container_id, stdin=stdin, tty=tty, stdout=stdout, stderr=stderr
        )
        answer = await self._call("Attach", "attach", request)
        return _needs(answer.url, "Attach", "URL is not set")

    async def port_forward(self, sandbox_id: str, ports: Sequence[int] = ()) -> str:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        request = cri_v1.PortForwardRequest(pod_sandbox_id=sandbox_id, port=ports)
        answer = await self._call("PortForward", "port_forward", request)
        return _needs(answer.url, "PortForward", "URL is not set")

    # Usage and events.

    async def container_stats(self, container_id: str) -> ContainerStats:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        request = cri_v1.ContainerStatsRequest(container_id=container_id)
        answer = await self._call("ContainerStats", "container_stats", request)
        return convert.container_stats(answer.stats)

    async def list_container_stats(
        self, *, container_id: str = "", sandbox_id: str = "", labels: Mapping[str, str] | None = None
    ) -> list[ContainerStats]:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        wanted = cri_v1.ContainerStatsFilter(
            id=container_id, pod_sandbox_id=sandbox_id, label_selector=dict(labels or {})
        )
        request = cri_v1.ListContainerStatsRequest(filter=wanted)
        answer = await self._call("ListContainerStats", "list_container_stats", request)
        return [convert.container_stats(item) for item in answer.stats]

    async def sandbox_stats(self, sandbox_id: str) -> SandboxStats:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        request = cri_v1.PodSandboxStatsRequest(pod_sandbox_id=sandbox_id)
        answer = await self._call("PodSandboxStats", "podsandbox_stats", request)
        return convert.sandbox_stats(answer.stats)

    async def list_sandbox_stats(
        self, *, sandbox_id: str = "", labels: Mapping[str, str] | None = None
    ) -> list[SandboxStats]:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        wanted = cri_v1.PodSandboxStatsFilter(id=sandbox_id, label_selector=dict(labels or {}))
        request = cri_v1.ListPodSandboxStatsRequest(filter=wanted)
        answer = await self._call("ListPodSandboxStats", "list_podsandbox_stats", request)
        return [convert.sandbox_stats(item) for item in answer.stats]

    async def container_events(self) -> AsyncGenerator[ContainerEvent, None]:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        answers = self._runtime.stream(
            "GetContainerEvents", "get_container_events", cri_v1.GetEventsRequest()
        )
        async with aclosing(answers):
            async for answer in answers:
                yield convert.event(answer)

    # Images.

    async def list_images(self, image: str = "") -> list[Image]:
        """See :class:`~pykubelet.cri.door.ImageService`."""
        request = cri_v1.ListImagesRequest()
        if image:
            request.filter.image.image = image
        answer = await self._images.call("ListImages", "list_images", request, self._timeout)
        return [convert.image(item) for item in answer.images]

    async def image_status(
        self, image: str, *, annotations: Mapping[str, str] | None = None, runtime_handler: str = ""
    ) -> Image | None:
        """See :class:`~pykubelet.cri.door.ImageService`."""
        spec = _image_spec(image, annotations, runtime_handler)
        request = cri_v1.ImageStatusRequest(image=spec)
        answer = await self._images.call("ImageStatus", "image_status", request, self._timeout)
        if not answer.HasField("image"):
            return None
        if not answer.image.id or not answer.image.size:
            text = f"Id or size of image {go_quote(image)} is not set"
            raise CriError(Code.Unknown, "ImageStatus", text)
        return convert.image(answer.image)

    async def pull_image(
        self,
        image: str,
        auth: cri_v1.AuthConfig | None = None,
        sandbox_config: cri_v1.PodSandboxConfig | None = None,
        *,
        annotations: Mapping[str, str] | None = None,
        runtime_handler: str = "",
    ) -> str:
        """See :class:`~pykubelet.cri.door.ImageService`."""
        spec = _image_spec(image, annotations, runtime_handler)
        request = cri_v1.PullImageRequest(image=spec, auth=auth, sandbox_config=sandbox_config)
        answer = await self._images.call("PullImage", "pull_image", request, None)
        return _needs(answer.image_ref, "PullImage", f"imageRef of image {go_quote(image)} is not set")

    async def remove_image(self, image: str, *, runtime_handler: str = "") -> None:
        """See :class:`~pykubelet.cri.door.ImageService`."""
        request = cri_v1.RemoveImageRequest(image=_image_spec(image, None, runtime_handler))
        try:
            await self._images.call("RemoveImage", "remove_image", request, self._timeout)
        except CriError as error:
            if not error.not_found:
                raise

    async def image_fs_info(self) -> tuple[tuple[FilesystemUsage, ...], tuple[FilesystemUsage, ...]]:
        """See :class:`~pykubelet.cri.door.ImageService`."""
        answer = await self._images.call(
            "ImageFsInfo", "image_fs_info", cri_v1.ImageFsInfoRequest(), self._timeout
        )
        return (
            tuple(convert.filesystem(usage) for usage in answer.image_filesystems),
            tuple(convert.filesystem(usage) for usage in answer.container_filesystems),
        )


def _image_spec(image: str, annotations: Mapping[str, str] | None, runtime_handler: str) -> cri_v1.ImageSpec:
    return cri_v1.ImageSpec(image=image, annotations=dict(annotations or {}), runtime_handler=runtime_handler)
