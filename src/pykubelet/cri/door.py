"""The door to a container runtime: everything a node asks of CRI.

:class:`~pykubelet.cri.client.CriClient` speaks to a real runtime,
:class:`~pykubelet.cri.memory.MemoryRuntime` is one in memory; both pass the same
contract tests. What goes in as configuration are CRI v1 messages
(:mod:`pykubelet.rpc.cri_v1`), what comes out are the frozen types of
:mod:`pykubelet.cri.types`. Every method raises :class:`~pykubelet.cri.errors.CriError`
when the runtime refuses or cannot be reached; stopping or removing what is gone is
no error.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

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


@dataclass(frozen=True, slots=True)
class Turn:
    """For whom a call that holds a slot is made.

    Slots go round between pods, by *pod* (any key, normally the UID); among starts a
    higher *priority* (the pod's) goes first. Ends go before starts in any case.
    """

    pod: str = ""
    priority: int = 0


ANYONE = Turn()


class RuntimeService(Protocol):
    """CRI's RuntimeService."""

    async def version(self) -> RuntimeVersion:
        """Name and versions of the runtime."""
        ...

    async def status(self, *, verbose: bool = False) -> RuntimeStatus:
        """Conditions, handlers and features; *verbose* adds the runtime's own info."""
        ...

    async def runtime_config(self) -> str | None:
        """The runtime's cgroup driver, ``systemd`` or ``cgroupfs``; None when it does not tell.

        A runtime that does not have the call raises with ``unimplemented``.
        """
        ...

    async def update_runtime_config(self, pod_cidr: str) -> None:
        """Tell the runtime the node's pod CIDR."""
        ...

    async def list_sandboxes(
        self,
        *,
        sandbox_id: str = "",
        state: SandboxState | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> list[SandboxSummary]:
        """Sandboxes, all or those that match everything given; *sandbox_id* may be a prefix."""
        ...

    async def sandbox_status(self, sandbox_id: str, *, verbose: bool = False) -> SandboxStatus:
        """One sandbox; ``pid`` is only known when *verbose*. Raises with ``not_found``."""
        ...

    async def run_sandbox(
        self, config: cri_v1.PodSandboxConfig, runtime_handler: str = "", *, turn: Turn = ANYONE
    ) -> str:
        """Make and start a sandbox; returns its ID. Holds a slot."""
        ...

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Stop a sandbox, with all its containers at once."""
        ...

    async def remove_sandbox(self, sandbox_id: str, *, turn: Turn = ANYONE) -> None:
        """Remove a sandbox and all its containers. Holds a slot."""
        ...

    async def update_sandbox_resources(
        self,
        sandbox_id: str,
        overhead: cri_v1.LinuxContainerResources | None,
        resources: cri_v1.LinuxContainerResources | None,
    ) -> None:
        """Tell the runtime a pod's new resources. Often ``unimplemented``."""
        ...

    async def list_containers(
        self,
        *,
        container_id: str = "",
        sandbox_id: str = "",
        state: ContainerState | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> list[ContainerSummary]:
        """Containers, all or those that match everything given; IDs may be prefixes."""
        ...

    async def container_status(self, container_id: str, *, verbose: bool = False) -> ContainerStatus:
        """One container; ``pid`` and ``sandbox_id`` are only known when *verbose*.

        Raises with ``not_found``.
        """
        ...

    async def create_container(
        self,
        sandbox_id: str,
        config: cri_v1.ContainerConfig,
        sandbox_config: cri_v1.PodSandboxConfig,
        *,
        turn: Turn = ANYONE,
    ) -> str:
        """Make a container in a sandbox; returns its ID. Holds a slot."""
        ...

    async def start_container(self, container_id: str, *, turn: Turn = ANYONE) -> None:
        """Start a created container. Holds a slot."""
        ...

    async def stop_container(self, container_id: str, timeout: int) -> None:
        """End a container: its stop signal, SIGKILL after *timeout* seconds; returns when it ended."""
        ...

    async def remove_container(self, container_id: str, *, turn: Turn = ANYONE) -> None:
        """Remove a container, by force when it runs. Holds a slot."""
        ...

    async def update_container_resources(
        self,
        container_id: str,
        resources: cri_v1.LinuxContainerResources,
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """Change the limits of a container that is there."""
        ...

    async def reopen_container_log(self, container_id: str) -> None:
        """Make the runtime write to a fresh file at the container's log path."""
        ...

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: float = 0) -> ExecResult:
        """Run a command in a container and wait, at most *timeout* seconds (0: for ever).

        Raises with ``timeout`` when it took longer.
        """
        ...

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
        """URL at the runtime's streaming server that runs a command."""
        ...

    async def attach(
        self,
        container_id: str,
        *,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        tty: bool = False,
    ) -> str:
        """URL at the runtime's streaming server that joins the container's own streams."""
        ...

    async def port_forward(self, sandbox_id: str, ports: Sequence[int] = ()) -> str:
        """URL at the runtime's streaming server that forwards ports into a sandbox."""
        ...

    async def container_stats(self, container_id: str) -> ContainerStats:
        """Usage of one container. Raises with ``not_found``."""
        ...

    async def list_container_stats(
        self, *, container_id: str = "", sandbox_id: str = "", labels: Mapping[str, str] | None = None
    ) -> list[ContainerStats]:
        """Usage of running containers, all or those that match everything given."""
        ...

    async def sandbox_stats(self, sandbox_id: str) -> SandboxStats:
        """Usage of one sandbox. Raises with ``not_found``."""
        ...

    async def list_sandbox_stats(
        self, *, sandbox_id: str = "", labels: Mapping[str, str] | None = None
    ) -> list[SandboxStats]:
        """Usage of ready sandboxes, all or those that match everything given."""
        ...

    async def checkpoint_container(self, container_id: str, location: str, timeout: int = 0) -> None:
        """Write a checkpoint of a container to the file *location*, within *timeout* seconds."""
        ...

    def container_events(self) -> AsyncGenerator[ContainerEvent, None]:
        """What happens to containers from now on, until the runtime ends the stream.

        Often raises with ``unimplemented`` at the first step; ending normally or with
        ``unavailable`` means: read everything afresh, then call again. Close it
        (``contextlib.aclosing``) when it is left early.
        """
        ...


class ImageService(Protocol):
    """CRI's ImageService."""

    async def list_images(self, image: str = "") -> list[Image]:
        """Images on the node, all or those that *image* names."""
        ...

    async def image_status(
        self, image: str, *, annotations: Mapping[str, str] | None = None, runtime_handler: str = ""
    ) -> Image | None:
        """One image by name, digest or ID; None when it is not on the node."""
        ...

    async def pull_image(
        self,
        image: str,
        auth: cri_v1.AuthConfig | None = None,
        sandbox_config: cri_v1.PodSandboxConfig | None = None,
        *,
        annotations: Mapping[str, str] | None = None,
        runtime_handler: str = "",
    ) -> str:
        """Pull an image, however long it takes; returns the reference to run it by."""
        ...

    async def remove_image(self, image: str, *, runtime_handler: str = "") -> None:
        """Remove an image with all its names; one that is gone is fine."""
        ...

    async def image_fs_info(self) -> tuple[tuple[FilesystemUsage, ...], tuple[FilesystemUsage, ...]]:
        """Usage of the file systems of images, and of containers' writable layers."""
        ...


class Runtime(RuntimeService, ImageService, Protocol):
    """A container runtime with both its services."""

    async def close(self) -> None:
        """Let go of the connection; containers run on. Safe to call twice."""
        ...
