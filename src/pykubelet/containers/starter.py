"""Making and ending sandboxes and containers, each step in upstream's order with its events.

Every step leaves what it made under names by which the runtime's lists or the pod's own
directories give it back, so that being cancelled anywhere loses nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal
from weakref import WeakValueDictionary

from pykubelet.api.core import Container, ContainerKind, EphemeralContainer, Pod
from pykubelet.api.podinfo import pod_ref
from pykubelet.base.clock import Clock
from pykubelet.base.errors import SandboxError, StartError, VolumeError
from pykubelet.base.journal import Events, Journal
from pykubelet.base.layout import Layout
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner
from pykubelet.cri.door import Runtime, Turn
from pykubelet.cri.errors import CriError
from pykubelet.cri.types import ContainerStatus, Image
from pykubelet.observe.types import ObservedPod
from pykubelet.rpc import cri_v1

from . import files
from .assembly import Assembly
from .container_config import CONTAINER_NAME
from .credentials import Credentials
from .doors import (
    ContainerContributor,
    NodeView,
    NoObjects,
    NoPullSecrets,
    NoRuntimeClasses,
    NoServices,
    Objects,
    RuntimeClasses,
    Services,
    UserNamespaces,
    VolumePaths,
)
from .hooks import HookError, Hooks
from .image_name import with_default_tag
from .pod_images import ContainerImages, PodImages
from .pulled import PulledImages
from .sandbox_config import POD_NAME, POD_NAMESPACE, POD_UID
from .settings import ContainerSettings

log = logging.getLogger(__name__)

_LISTS = {"init": "initContainers", "regular": "containers", "ephemeral": "ephemeralContainers"}
#: Seconds that a start may still take when nobody wants it any more.
_START_PATIENCE = 10.0
#: Seconds that a container gets in any case.
_MIN_GRACE = 2


def turn_of(pod: Pod) -> Turn:
    """For whom the runtime is called."""
    return Turn(pod.metadata.uid, pod.spec.priority or 0)


def target_of(container: Container, observed: ObservedPod) -> str:
    """ID of the container whose PID namespace an ephemeral container joins; empty for none.

    :raises ValueError: there is no such container.
    """
    if not isinstance(container, EphemeralContainer) or not container.targetContainerName:
        return ""
    target = observed.newest(container.targetContainerName)
    if target is None:
        raise ValueError(f"unable to find target container {container.targetContainerName}")
    return target.id


def grace_of(pod: Pod) -> int:
    """Seconds that the pod's containers get to end."""
    if pod.metadata.deletionGracePeriodSeconds is not None:
        return pod.metadata.deletionGracePeriodSeconds
    own = pod.spec.terminationGracePeriodSeconds
    return own if own is not None else _MIN_GRACE


def _field_path(pod: Pod, container: Container) -> str:
    spec = pod.spec
    if any(c.name == container.name for c in spec.initContainers):
        return f"spec.{_LISTS['init']}{{{container.name}}}"
    kind = "ephemeral" if isinstance(container, EphemeralContainer) else "regular"
    return f"spec.{_LISTS[kind]}{{{container.name}}}"


class Starter:
    """Implements the door ``ContainerStarter`` of pods' workers on a container runtime."""

    def __init__(
        self,
        runtime: Runtime,
        layout: Layout,
        clock: Clock,
        journal: Journal,
        events: Events,
        settings: ContainerSettings,
        volumes: VolumePaths,
        node: NodeView,
        cgroup_parent: Callable[[Pod], str],
        contributors: Sequence[ContainerContributor] = (),
        *,
        objects: Objects | None = None,
        services: Services | None = None,
        runtime_classes: RuntimeClasses | None = None,
        user_namespaces: UserNamespaces | None = None,
        metrics: Metrics | None = None,
        credentials: Credentials | None = None,
        pulled: PulledImages | None = None,
    ) -> None:
        """Without *pulled* every pod may use every image that is on the node."""
        self._runtime = runtime
        self._layout = layout
        self._clock = clock
        self._node = node
        self._journal = journal
        self._events = events
        self._contributors = contributors
        self._starts = TaskOwner("starts")
        self._removals: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._image_handlers = settings.image_handlers
        self.images = PodImages(
            runtime,
            clock,
            journal,
            events,
            settings,
            metrics or Metrics(),
            credentials or Credentials(layout.root, clock, events, NoPullSecrets()),
            pulled,
        )
        self._hooks = Hooks(runtime, clock, journal, events, metrics or Metrics())
        self._assembly = Assembly(
            layout,
            settings,
            volumes,
            node,
            cgroup_parent,
            contributors,
            objects or NoObjects(),
            services or NoServices(),
            runtime_classes or NoRuntimeClasses(),
            user_namespaces,
        )

    async def check_resolver(self) -> None:
        """Tell once, at start-up, if the node's resolver file is more than pods can be given."""
        problem = await self._assembly.resolver_problem()
        if problem:
            self._events.node_event("Warning", "CheckLimitsForResolvConf", problem)

    # --- beginnings -----------------------------------------------------------

    async def prepare_pod(self, pod: Pod) -> None:
        """Make the pod's directories.

        :raises OSError: they cannot be made.
        """
        await asyncio.to_thread(files.make_pod_dirs, self._layout, pod.metadata.uid)

    async def create_sandbox(self, pod: Pod, attempt: int) -> str:
        """Create and start a sandbox; returns its ID.

        :raises SandboxError: it failed (the event is not yet recorded).
        """
        ref = pod_ref(pod)
        try:
            handler = self._assembly.handler(pod)
            resolver, warnings = await self._assembly.resolver(pod)
            config = await self._assembly.sandbox(pod, attempt, resolver)
            logs = self._layout.pod_log_dir(ref.namespace, ref.name, ref.uid)
            await asyncio.to_thread(files.make_log_dir, logs)
        except LookupError as error:
            raise SandboxError(str(error.args[0])) from error
        except (OSError, ValueError) as error:
            raise SandboxError(str(error)) from error
        for warning in warnings:
            self._events.pod_event(ref, "Warning", warning.reason, warning.message)
            if warning.node_message:
                self._events.node_event("Warning", warning.reason, warning.node_message)
        try:
            sandbox_id = await self._runtime.run_sandbox(config, handler, turn=turn_of(pod))
        except CriError as error:
            raise SandboxError(str(error)) from error
        self._journal.record(
            "SandboxCreated",
            f"sandbox {sandbox_id[:12]} was made",
            pod=ref,
            attempt=attempt,
            sandbox=sandbox_id,
            handler=handler,
        )
        return sandbox_id

    async def start_container(
        self, pod: Pod, container: Container, kind: ContainerKind, sandbox_id: str, observed: ObservedPod
    ) -> str:
        """Image, create, start, postStart; records upstream's events; returns the container's ID.

        :raises StartError: with the waiting reason to show.
        """
        path = f"spec.{_LISTS[kind]}{{{container.name}}}"
        sandbox = await self._sandbox_again(pod, sandbox_id, observed, path)
        images, image = await self._image(pod, container, path, sandbox)
        count = await self._restart_count(pod, container, observed)
        config = await self._configure(pod, container, path, count, images, image, observed)
        container_id = await self._create(pod, container, path, sandbox_id, config, sandbox, images)
        await self._start(pod, container, path, container_id)
        await self._link(pod, container, count, container_id)
        self._journal.record(
            "ContainerStarted",
            f"container {container.name} runs as {container_id[:12]}",
            pod=pod_ref(pod),
            container=container.name,
            id=container_id,
            restart_count=count,
            image=container.image,
        )
        await self._post_start(pod, container, path, container_id, self._pod_ips(pod, observed.ips))
        return container_id

    def _event(
        self, pod: Pod, path: str, kind: Literal["Normal", "Warning"], reason: str, message: str
    ) -> None:
        self._events.pod_event(pod_ref(pod), kind, reason, message, field_path=path)

    def _fail(
        self, pod: Pod, path: str, reason: str, error: BaseException, before: str = "Error"
    ) -> StartError:
        """The error to raise after telling the event; the runtime's own words without their code."""
        message = error.message if isinstance(error, CriError | StartError) else str(error)
        if isinstance(error, LookupError) and error.args:
            message = str(error.args[0])
        self._event(pod, path, "Warning", "Failed", f"{before}: {message}")
        return StartError(reason, message)

    async def _sandbox_again(
        self, pod: Pod, sandbox_id: str, observed: ObservedPod, path: str
    ) -> cri_v1.PodSandboxConfig:
        """The sandbox's configuration, which the runtime wants with each of its containers."""
        attempt = next((s.attempt for s in observed.sandboxes if s.id == sandbox_id), 0)
        try:
            resolver, _ = await self._assembly.resolver(pod)
            return await self._assembly.sandbox(pod, attempt, resolver)
        except (OSError, ValueError, LookupError) as error:
            raise self._fail(pod, path, "CreateContainerConfigError", error) from error

    async def _image(
        self, pod: Pod, container: Container, path: str, sandbox: cri_v1.PodSandboxConfig
    ) -> tuple[ContainerImages, Image | None]:
        try:
            handler = self._assembly.handler(pod) if self._image_handlers else ""
            images = await self.images.ensure(pod, container, path, sandbox, handler)
        except LookupError as error:
            raise self._fail(pod, path, "CreateContainerConfigError", error) from error
        except StartError as error:
            self._event(pod, path, "Warning", "Failed", f"Error: {error.reason}")
            raise
        if images.own.info is not None:
            return images, images.own.info
        try:
            name = with_default_tag(container.image)
            return images, await self._runtime.image_status(name, runtime_handler=handler)
        except CriError as error:
            raise self._fail(pod, path, "CreateContainerConfigError", error) from error

    async def _restart_count(self, pod: Pod, container: Container, observed: ObservedPod) -> int:
        before = observed.newest(container.name)
        if before is not None:
            return before.restart_count + 1
        meta = pod.metadata
        directory = self._layout.pod_log_dir(meta.namespace, meta.name, meta.uid) / container.name
        return await asyncio.to_thread(files.restart_count_from_logs, directory)

    async def _configure(
        self,
        pod: Pod,
        container: Container,
        path: str,
        count: int,
        images: ContainerImages,
        image: Image | None,
        observed: ObservedPod,
    ) -> cri_v1.ContainerConfig:
        try:
            target = target_of(container, observed)
            ips = self._pod_ips(pod, observed.ips)
            return await self._assembly.container(
                pod, container, count, images.own.ref, image, ips, target, images.volumes
            )
        except StartError as error:
            raise self._fail(pod, path, error.reason, error) from error
        except (OSError, ValueError, LookupError, VolumeError) as error:
            raise self._fail(pod, path, "CreateContainerConfigError", error) from error

    async def _create(
        self,
        pod: Pod,
        container: Container,
        path: str,
        sandbox_id: str,
        config: cri_v1.ContainerConfig,
        sandbox: cri_v1.PodSandboxConfig,
        images: ContainerImages,
    ) -> str:
        try:
            container_id = await self._runtime.create_container(
                sandbox_id, config, sandbox, turn=turn_of(pod)
            )
        except CriError as error:
            self.images.created(images, container, error.message)
            raise self._fail(pod, path, "CreateContainerError", error) from error
        self.images.created(images, container, "")
        for contributor in self._contributors:
            try:
                contributor.created(pod, container, container_id)
            except (OSError, ValueError) as error:
                before = "Internal PreStartContainer hook failed"
                raise self._fail(pod, path, "PreStartHookError", error, before) from error
        self._event(pod, path, "Normal", "Created", "Container created")
        return container_id

    async def _start(self, pod: Pod, container: Container, path: str, container_id: str) -> None:
        call = self._starts.spawn(container_id, self._start_once(pod, container_id))
        try:
            error = await asyncio.shield(call)
        except asyncio.CancelledError:
            # Cut short, the runtime shows a container that failed to start, and that as the pod's end.
            await asyncio.wait([call], timeout=_START_PATIENCE)
            call.cancel()
            raise
        if error is not None:
            # Events that name the instance would each be a new one.
            message = error.message.replace(container_id, container.name)
            self._event(pod, path, "Warning", "Failed", f"Error: {message}")
            raise StartError("RunContainerError", error.message) from error
        self._event(pod, path, "Normal", "Started", "Container started")

    async def _start_once(self, pod: Pod, container_id: str) -> CriError | None:
        try:
            await self._runtime.start_container(container_id, turn=turn_of(pod))
        except CriError as error:
            return error
        return None

    async def _link(self, pod: Pod, container: Container, count: int, container_id: str) -> None:
        meta = pod.metadata
        logs = self._layout.container_log(meta.namespace, meta.name, meta.uid, container.name, count)
        link = self._layout.container_log_link(meta.name, meta.namespace, container.name, container_id)
        try:
            await asyncio.to_thread(files.link_log, logs, link)
        except OSError as error:
            # Only collectors of logs miss the link; the container runs.
            log.warning("link %s to the log of container %s was not made: %s", link, container.name, error)

    async def _post_start(
        self, pod: Pod, container: Container, path: str, container_id: str, ips: tuple[str, ...]
    ) -> None:
        hook = container.lifecycle.postStart if container.lifecycle is not None else None
        if hook is None:
            return
        try:
            await self._hooks.run(pod, container, container_id, "postStart", hook, ips)
        except HookError as error:
            # The event has no details: what a server answered may be secret.
            self._event(pod, path, "Warning", "FailedPostStartHook", "PostStartHook failed")
            await self._kill_after_hook(pod, container, path, container_id, ips)
            raise StartError("PostStartHookError", str(error)) from error

    async def _kill_after_hook(
        self, pod: Pod, container: Container, path: str, container_id: str, ips: tuple[str, ...]
    ) -> None:
        self._event(pod, path, "Normal", "Killing", "FailedPostStartHook")
        grace = grace_of(pod)
        began = self._clock.monotonic()
        try:
            if grace > 0:
                await self.pre_stop(pod, container, container_id, ips, grace)
            left = grace - int(self._clock.monotonic() - began)
            await self.stop_container(container_id, max(left, _MIN_GRACE))
        except CriError as error:
            log.warning("container %s was not stopped after its failed hook: %s", container.name, error)

    def _pod_ips(self, pod: Pod, ips: tuple[str, ...]) -> tuple[str, ...]:
        """The pod's IPs; one on the host's network has the node's, whatever its sandbox says."""
        return tuple(self._node.host_ips) if pod.spec.hostNetwork else ips

    # --- ends -----------------------------------------------------------------

    async def pre_stop(
        self, pod: Pod, container: Container, container_id: str, ips: tuple[str, ...], timeout: float
    ) -> None:
        """Run the preStop hook if there is one, at most *timeout* seconds; failures are events."""
        hook = container.lifecycle.preStop if container.lifecycle is not None else None
        if hook is None or timeout <= 0:
            return
        try:
            async with asyncio.timeout(timeout):
                own = self._pod_ips(pod, ips)
                await self._hooks.run(pod, container, container_id, "preStop", hook, own)
        except TimeoutError:
            log.info("preStop hook of container %s did not end within %.0f s", container.name, timeout)
        except HookError:
            path = _field_path(pod, container)
            self._event(pod, path, "Warning", "FailedPreStopHook", "PreStopHook failed")

    async def stop_container(self, container_id: str, grace: int) -> None:
        """CRI StopContainer with *grace* seconds; a container that is gone is fine.

        :raises CriError: the runtime failed.
        """
        await self._runtime.stop_container(container_id, grace)

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """CRI StopPodSandbox; a sandbox that is gone is fine.

        :raises CriError: the runtime failed.
        """
        await self._runtime.stop_sandbox(sandbox_id)

    async def remove_container(self, status: ContainerStatus, *, keep_logs: bool = False) -> None:
        """Remove a dead container, with its log file and link unless *keep_logs*.

        :raises OSError: its logs cannot be removed; the container stays, to be found again.
        :raises CriError: the runtime failed.
        """
        uid = status.labels.get(POD_UID, "")
        if not keep_logs:
            await asyncio.to_thread(self._remove_logs, status)
        # A worker, the trimmer and the collector may want it at once: containerd refuses all but the
        # first while that is under way, while removing one that is gone is fine.
        async with self._removals.setdefault(status.id, asyncio.Lock()):
            await self._runtime.remove_container(status.id, turn=Turn(uid))
        paths = [mount.host_path for mount in status.mounts]
        await asyncio.to_thread(files.remove_termination_logs, self._layout, uid, paths)
        for contributor in self._contributors:
            contributor.removed(status.id)

    def _remove_logs(self, status: ContainerStatus) -> None:
        files.remove_logs(self._layout, status.log_path)
        link = self._link_of(status.labels, status.id)
        link.unlink(missing_ok=True)

    def _link_of(self, labels: Mapping[str, str], container_id: str) -> Path:
        names = [labels.get(key, "") for key in (POD_NAME, POD_NAMESPACE, CONTAINER_NAME)]
        return self._layout.container_log_link(names[0], names[1], names[2], container_id)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """CRI RemovePodSandbox; a sandbox that is gone is fine.

        :raises CriError: the runtime failed.
        """
        await self._runtime.remove_sandbox(sandbox_id)

    async def clean_pod(self, pod_uid: str, namespace: str, name: str) -> None:
        """Remove the pod's log directory and other files this room made for it.

        :raises OSError: something cannot be removed.
        """
        await asyncio.to_thread(files.remove_pod_files, self._layout, pod_uid, namespace, name)
