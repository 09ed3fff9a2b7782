"""A container runtime in memory, behind the same door as the real one.

For hollow nodes, what-if runs and tests: containers follow scripts, time is the
clock's (virtual time works), nothing runs in the background. Pids are always 0:
there is no process to watch.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext

from pykubelet.base.clock import Clock
from pykubelet.base.tasks import first_of
from pykubelet.cri.door import ANYONE, Turn
from pykubelet.cri.errors import Code, CommandTimedOutError, CriError
from pykubelet.cri.memory_faults import Fault, Faults
from pykubelet.cri.memory_views import (
    Listener,
    container_stats,
    container_status,
    container_summary,
    sandbox_stats,
    sandbox_status,
    sandbox_summary,
)
from pykubelet.cri.memory_world import SECOND, Box, Sandbox, Script, World, matches, normalized
from pykubelet.cri.slots import Slots
from pykubelet.cri.stats import (
    ContainerStats,
    SandboxStats,
)
from pykubelet.cri.types import (
    ContainerEvent,
    ContainerState,
    ContainerStatus,
    ContainerSummary,
    ExecResult,
    FilesystemUsage,
    Image,
    RuntimeCondition,
    RuntimeHandler,
    RuntimeStatus,
    RuntimeVersion,
    SandboxState,
    SandboxStatus,
    SandboxSummary,
)
from pykubelet.rpc import cri_v1

#: Gives the script of a container that is being created.
Scripts = Callable[[cri_v1.PodSandboxConfig, cri_v1.ContainerConfig], Script]


def forever(sandbox: cri_v1.PodSandboxConfig, config: cri_v1.ContainerConfig) -> Script:
    """The script of containers that run until they are stopped."""
    del sandbox, config
    return Script()


class MemoryRuntime:
    """Implements :class:`~pykubelet.cri.door.Runtime`.

    *scripts* gives each container its behaviour, *latency* each CRI method its time in
    seconds (``*`` for all others), *registry* says which images can be pulled (all
    when None), *slots* bounds the calls as the real client does. ``world`` is what
    exists, ``faults`` what goes wrong, ``calls`` how often each method was called.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        scripts: Scripts = forever,
        latency: Mapping[str, float] | None = None,
        registry: set[str] | None = None,
        slots: Slots | None = None,
        seed: int = 0,
    ) -> None:
        self._clock = clock
        self._scripts = scripts
        self._latency = dict(latency or {})
        self._registry = registry
        self._slots = slots
        self._listeners: set[Listener] = set()
        self.world = World(seed)
        self.world.listeners.append(self._tell)
        self.faults = Faults(clock)
        self.calls: Counter[str] = Counter()
        self.cgroup_driver = "cgroupfs"
        self.pod_cidr = ""
        self.network_ready = True
        self.handlers: tuple[RuntimeHandler, ...] = (RuntimeHandler(""),)

    # What tests and hollow nodes do to it.

    def end_container(self, container_id: str, exit_code: int = 0, reason: str = "") -> None:
        """A running container ends now, by itself."""
        self.world.settle(self._clock.now_ns())
        box = self.world.container("", container_id)
        if box.state is ContainerState.RUNNING:
            self.world.finish(box, self._clock.now_ns(), exit_code, reason)

    def end_sandbox(self, sandbox_id: str) -> None:
        """A sandbox's pause process dies now; its containers are killed with it."""
        self.world.settle(self._clock.now_ns())
        self.world.end_sandbox(self.world.sandbox("", sandbox_id), self._clock.now_ns())

    def inject(self, fault: Fault) -> None:
        """Make calls go wrong, see :class:`~pykubelet.cri.memory_faults.Fault`."""
        self.faults.inject(fault)

    def go_away(self) -> None:
        """The runtime stops: calls fail, event streams are cut, containers run on."""
        self.faults.away = True
        for listener in list(self._listeners):
            listener.cut()

    def come_back(self) -> None:
        """The runtime is there again."""
        self.faults.away = False

    async def close(self) -> None:
        """See :class:`~pykubelet.cri.door.Runtime`."""
        for listener in list(self._listeners):
            listener.cut()

    # How a call begins.

    async def _enter(self, method: str) -> int:
        """Count the call, take its time, let it fail; returns the time now."""
        self.calls[method] += 1
        await self.faults.pass_through(method)
        latency = self._latency.get(method, self._latency.get("*", 0.0))
        if latency:
            await self._clock.sleep(latency)
        now = self._clock.now_ns()
        self.world.settle(now)
        return now

    async def _leave(self, method: str) -> None:
        await self.faults.pass_through(method, after=True)

    def _slot(self, method: str, turn: Turn, *, ends: bool) -> AbstractAsyncContextManager[None]:
        return nullcontext() if self._slots is None else self._slots.hold(method, turn, ends=ends)

    def _tell(self, event: ContainerEvent) -> None:
        for listener in list(self._listeners):
            listener.put(event)

    # The runtime itself.

    async def version(self) -> RuntimeVersion:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        await self._enter("Version")
        return RuntimeVersion("memory", "1.0.0", "v1", "v1")

    async def status(self, *, verbose: bool = False) -> RuntimeStatus:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        await self._enter("Status")
        ready = self.network_ready
        network = RuntimeCondition("NetworkReady", ready, "" if ready else "NetworkPluginNotReady")
        return RuntimeStatus(
            (RuntimeCondition("RuntimeReady", True), network),
            self.handlers,
            info={"config": "{}"} if verbose else {},
        )

    async def runtime_config(self) -> str | None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        await self._enter("RuntimeConfig")
        return self.cgroup_driver

    async def update_runtime_config(self, pod_cidr: str) -> None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        await self._enter("UpdateRuntimeConfig")
        self.pod_cidr = pod_cidr

    # Sandboxes.

    async def list_sandboxes(
        self,
        *,
        sandbox_id: str = "",
        state: SandboxState | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> list[SandboxSummary]:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        await self._enter("ListPodSandbox")
        return [
            sandbox_summary(sandbox)
            for sandbox in self.world.sandboxes.values()
            if sandbox.id.startswith(sandbox_id)
            and state in {None, sandbox.state}
            and matches(sandbox.labels, labels)
        ]

    async def sandbox_status(self, sandbox_id: str, *, verbose: bool = False) -> SandboxStatus:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        del verbose
        await self._enter("PodSandboxStatus")
        return sandbox_status(self.world.sandbox("PodSandboxStatus", sandbox_id))

    async def run_sandbox(
        self, config: cri_v1.PodSandboxConfig, runtime_handler: str = "", *, turn: Turn = ANYONE
    ) -> str:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        async with self._slot("RunPodSandbox", turn, ends=False):
            now = await self._enter("RunPodSandbox")
            if runtime_handler not in {handler.name for handler in self.handlers}:
                text = f'failed to get sandbox runtime: no runtime for "{runtime_handler}" is configured'
                raise CriError(Code.Unknown, "RunPodSandbox", text)
            sandbox = self.world.add_sandbox(config, runtime_handler, now)
            await self._leave("RunPodSandbox")
            return sandbox.id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        now = await self._enter("StopPodSandbox")
        sandbox = self.world.sandboxes.get(sandbox_id)
        if sandbox is not None:
            self.world.end_sandbox(sandbox, now)
        await self._leave("StopPodSandbox")

    async def remove_sandbox(self, sandbox_id: str, *, turn: Turn = ANYONE) -> None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        async with self._slot("RemovePodSandbox", turn, ends=True):
            now = await self._enter("RemovePodSandbox")
            sandbox = self.world.sandboxes.get(sandbox_id)
            if sandbox is not None:
                self.world.drop_sandbox(sandbox, now)
            await self._leave("RemovePodSandbox")

    async def update_sandbox_resources(
        self,
        sandbox_id: str,
        overhead: cri_v1.LinuxContainerResources | None,
        resources: cri_v1.LinuxContainerResources | None,
    ) -> None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        await self._enter("UpdatePodSandboxResources")
        linux = self.world.sandbox("UpdatePodSandboxResources", sandbox_id).config.linux
        if overhead is not None:
            linux.overhead.CopyFrom(overhead)
        if resources is not None:
            linux.resources.CopyFrom(resources)

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
        await self._enter("ListContainers")
        return [
            container_summary(box)
            for box in self.world.containers.values()
            if box.id.startswith(container_id)
            and box.sandbox.id.startswith(sandbox_id)
            and state in {None, box.state}
            and matches(box.labels, labels)
        ]

    async def container_status(self, container_id: str, *, verbose: bool = False) -> ContainerStatus:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        await self._enter("ContainerStatus")
        return container_status(self.world.container("ContainerStatus", container_id), verbose=verbose)

    async def create_container(
        self,
        sandbox_id: str,
        config: cri_v1.ContainerConfig,
        sandbox_config: cri_v1.PodSandboxConfig,
        *,
        turn: Turn = ANYONE,
    ) -> str:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        async with self._slot("CreateContainer", turn, ends=False):
            now = await self._enter("CreateContainer")
            script = self._scripts(sandbox_config, config)
            box = self.world.add_container(sandbox_id, config, script, now)
            await self._leave("CreateContainer")
            return box.id

    async def start_container(self, container_id: str, *, turn: Turn = ANYONE) -> None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        async with self._slot("StartContainer", turn, ends=False):
            now = await self._enter("StartContainer")
            self.world.start(self.world.container("StartContainer", container_id), now)
            await self._leave("StartContainer")

    async def stop_container(self, container_id: str, timeout: int) -> None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        now = await self._enter("StopContainer")
        box = self.world.containers.get(container_id)
        if box is not None and box.state is ContainerState.RUNNING:
            self.world.signal(box, timeout, now)
            await self._ended(box)
        await self._leave("StopContainer")

    async def _ended(self, box: Box) -> None:
        """Wait until *box* has ended; its end may be moved nearer meanwhile."""
        with Listener(self._listeners) as listener:
            while True:
                self.world.settle(self._clock.now_ns())
                if box.state is not ContainerState.RUNNING:
                    return
                listener.clear()
                await self._until(listener, box.due)

    async def _until(self, listener: Listener, due: int | None) -> None:
        """Wait for the next event, or *due*."""
        if due is None:
            await listener.wait()
            return
        seconds = (due - self._clock.now_ns()) / SECOND
        await first_of(listener.wait(), self._clock.sleep(max(seconds, 1e-6)))

    async def remove_container(self, container_id: str, *, turn: Turn = ANYONE) -> None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        async with self._slot("RemoveContainer", turn, ends=True):
            now = await self._enter("RemoveContainer")
            box = self.world.containers.get(container_id)
            if box is not None:
                self.world.drop(box, now)
            await self._leave("RemoveContainer")

    async def update_container_resources(
        self,
        container_id: str,
        resources: cri_v1.LinuxContainerResources,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        del annotations
        await self._enter("UpdateContainerResources")
        box = self.world.container("UpdateContainerResources", container_id)
        box.config.linux.resources.MergeFrom(resources)

    async def reopen_container_log(self, container_id: str) -> None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        await self._enter("ReopenContainerLog")
        box = self.world.container("ReopenContainerLog", container_id)
        if box.state is not ContainerState.RUNNING:
            raise CriError(Code.Unknown, "ReopenContainerLog", "container is not running")

    async def checkpoint_container(self, container_id: str, location: str, timeout: int = 0) -> None:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        del container_id, location, timeout
        await self._enter("CheckpointContainer")
        text = "method CheckpointContainer not implemented"
        raise CriError(Code.Unimplemented, "CheckpointContainer", text)

    # Into containers.

    def _running(self, method: str, container_id: str) -> Box:
        box = self.world.container(method, container_id)
        if box.state is not ContainerState.RUNNING:
            text = f"failed to exec in container: container is in CONTAINER_{box.state.name} state"
            raise CriError(Code.Unknown, method, text)
        return box

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: float = 0) -> ExecResult:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        await self._enter("ExecSync")
        box = self._running("ExecSync", container_id)
        answer = box.script.exec(tuple(command))
        if timeout and answer.seconds > timeout:
            await self._clock.sleep(timeout)
            text = f"failed to exec in container: timeout {timeout:g}s exceeded: context deadline exceeded"
            raise CommandTimedOutError(command, timeout, text)
        if answer.seconds:
            await self._clock.sleep(answer.seconds)
        await self._leave("ExecSync")
        return answer.result

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
        """See :class:`~pykubelet.cri.door.RuntimeService`; nobody listens at the URL."""
        del command, stdin, stdout, stderr, tty
        await self._enter("Exec")
        return self._url("exec", self._running("Exec", container_id).id)

    async def attach(
        self,
        container_id: str,
        *,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        tty: bool = False,
    ) -> str:
        """See :class:`~pykubelet.cri.door.RuntimeService`; nobody listens at the URL."""
        del stdin, stdout, stderr, tty
        await self._enter("Attach")
        return self._url("attach", self._running("Attach", container_id).id)

    async def port_forward(self, sandbox_id: str, ports: Sequence[int] = ()) -> str:
        """See :class:`~pykubelet.cri.door.RuntimeService`; nobody listens at the URL."""
        del ports
        await self._enter("PortForward")
        return self._url("portforward", self.world.sandbox("PortForward", sandbox_id).id)

    @staticmethod
    def _url(kind: str, target: str) -> str:
        return f"http://127.0.0.1:9/{kind}/{target[:8]}"

    # Usage and events.

    async def container_stats(self, container_id: str) -> ContainerStats:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        now = await self._enter("ContainerStats")
        return container_stats(self.world.container("ContainerStats", container_id), now)

    async def list_container_stats(
        self, *, container_id: str = "", sandbox_id: str = "", labels: Mapping[str, str] | None = None
    ) -> list[ContainerStats]:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        now = await self._enter("ListContainerStats")
        return [
            container_stats(box, now)
            for box in self.world.containers.values()
            if box.state is ContainerState.RUNNING
            and box.id.startswith(container_id)
            and box.sandbox.id.startswith(sandbox_id)
            and matches(box.labels, labels)
        ]

    async def sandbox_stats(self, sandbox_id: str) -> SandboxStats:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        now = await self._enter("PodSandboxStats")
        return self._sandbox_stats(self.world.sandbox("PodSandboxStats", sandbox_id), now)

    async def list_sandbox_stats(
        self, *, sandbox_id: str = "", labels: Mapping[str, str] | None = None
    ) -> list[SandboxStats]:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        now = await self._enter("ListPodSandboxStats")
        return [
            self._sandbox_stats(sandbox, now)
            for sandbox in self.world.sandboxes.values()
            if sandbox.state is SandboxState.READY
            and sandbox.id.startswith(sandbox_id)
            and matches(sandbox.labels, labels)
        ]

    def _sandbox_stats(self, sandbox: Sandbox, now: int) -> SandboxStats:
        return sandbox_stats(sandbox, self.world.of_sandbox(sandbox.id), now)

    async def container_events(self) -> AsyncGenerator[ContainerEvent, None]:
        """See :class:`~pykubelet.cri.door.RuntimeService`."""
        with Listener(self._listeners) as listener:
            await self._enter("GetContainerEvents")
            while True:
                self.world.settle(self._clock.now_ns())
                while listener.events:
                    yield listener.events.popleft()
                if listener.ended:
                    raise CriError(Code.Unavailable, "GetContainerEvents", "error reading from server: EOF")
                listener.clear()
                await self._until(listener, self.world.next_due())

    # Images.

    async def list_images(self, image: str = "") -> list[Image]:
        """See :class:`~pykubelet.cri.door.ImageService`."""
        await self._enter("ListImages")
        if image:
            found = self.world.find_image(image)
            return [found] if found is not None else []
        return list(self.world.images.values())

    async def image_status(
        self, image: str, *, annotations: Mapping[str, str] | None = None, runtime_handler: str = ""
    ) -> Image | None:
        """See :class:`~pykubelet.cri.door.ImageService`."""
        del annotations, runtime_handler
        await self._enter("ImageStatus")
        return self.world.find_image(image)

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
        del auth, sandbox_config, annotations, runtime_handler
        await self._enter("PullImage")
        full = normalized(image)
        if self._registry is not None and full not in {normalized(name) for name in self._registry}:
            text = (
                f'failed to pull and unpack image "{full}": failed to resolve reference "{full}": '
                f"{full}: not found"
            )
            raise CriError(Code.NotFound, "PullImage", text)
        made = self.world.find_image(full) or self.world.add_image(full)
        await self._leave("PullImage")
        return made.id

    async def remove_image(self, image: str, *, runtime_handler: str = "") -> None:
        """See :class:`~pykubelet.cri.door.ImageService`."""
        del runtime_handler
        await self._enter("RemoveImage")
        found = self.world.find_image(image)
        if found is not None:
            del self.world.images[found.id]

    async def image_fs_info(self) -> tuple[tuple[FilesystemUsage, ...], tuple[FilesystemUsage, ...]]:
        """See :class:`~pykubelet.cri.door.ImageService`."""
        now = await self._enter("ImageFsInfo")
        used = sum(image.size for image in self.world.images.values())
        return (FilesystemUsage("/var/lib/memory", used, len(self.world.images), now),), ()
