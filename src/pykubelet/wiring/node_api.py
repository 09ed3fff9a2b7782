"""The node as its server shows it: joins what the rooms know to the server's door ``NodeApi``."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from pykubelet.api.core import Container, ContainerState, ContainerStatus, Pod, PodSpec, PodStatus
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.podinfo import find_container, full_name, is_static
from pykubelet.api.volume_usage import VolumeUsage
from pykubelet.base.clock import Clock
from pykubelet.base.gotext import format_duration, go_quote
from pykubelet.base.layout import Layout
from pykubelet.base.metrics import Metrics
from pykubelet.config import KubeletConfiguration, as_v1beta1_json
from pykubelet.containers.image_name import parse_image_name
from pykubelet.containers.logs import LogOptions, read_logs
from pykubelet.containers.pod_images import PodImages
from pykubelet.containers.pulls import Pull
from pykubelet.cri.containerd_content import ContainerdContent
from pykubelet.cri.door import Runtime
from pykubelet.cri.errors import Code, CriError
from pykubelet.cri.types import ContainerState as RuntimeState
from pykubelet.cri.types import ContainerStatus as RuntimeContainer
from pykubelet.explain.journal import DecisionJournal
from pykubelet.explain.story import tell
from pykubelet.observe.observer import Observer
from pykubelet.pods.store import PodStore
from pykubelet.pods.worker import PodWorkers
from pykubelet.server.doors import (
    ApiError,
    EventView,
    HealthCheck,
    LogRequest,
    PullView,
    StreamRequest,
    VolumeView,
    WorkerView,
)
from pykubelet.volumes import VolumeManager

log = logging.getLogger(__name__)

#: Seconds after which a caller may come again when the runtime's streaming server is full.
_RETRY_AFTER = 60


class Statuses(Protocol):
    """What is asked of the keeper of reported statuses."""

    def get(self, uid: str) -> PodStatus | None:
        """The pod's last status."""
        ...


class Usages(Protocol):
    """What is asked of who measures volumes."""

    def usage(self, uid: str) -> Mapping[str, VolumeUsage]:
        """What the pod's volumes held when they were measured last, by their names."""
        ...


class LocalNodeApi:
    """Implements the server's ``NodeApi`` for the node of this process."""

    def __init__(
        self,
        *,
        node_name: str,
        config: KubeletConfiguration,
        layout: Layout,
        clock: Clock,
        store: PodStore,
        statuses: Statuses,
        workers: PodWorkers,
        observer: Observer,
        runtime: Runtime,
        volumes: VolumeManager,
        usage: Usages,
        journal: DecisionJournal,
        metrics: Metrics,
        probe_metrics: Metrics,
        process_started: float | None,
        loop_problem: Callable[[], str],
        allocated: Callable[[Pod], Pod],
        images: PodImages,
        content: ContainerdContent | None,
    ) -> None:
        """*loop_problem* tells what is wrong with the sync loop, in one line; empty when nothing is.

        *process_started* is when this process began, in seconds since the epoch, if that is known.
        *allocated* gives a pod with the resources that are allocated to it.
        """
        self._node_name = node_name
        self._config = config
        self._layout = layout
        self._clock = clock
        self._store = store
        self._statuses = statuses
        self._workers = workers
        self._observer = observer
        self._runtime = runtime
        self._volumes = volumes
        self._usage = usage
        self._journal = journal
        self._metrics = metrics
        self._probe_metrics = probe_metrics
        if process_started is not None:
            probe_metrics.gauge(
                "process_start_time_seconds", "Start time of the process since unix epoch in seconds."
            ).set(process_started)
        self._loop_problem = loop_problem
        self._allocated = allocated
        self._images = images
        self._content = content

    @property
    def node_name(self) -> str:
        """See ``NodeApi``."""
        return self._node_name

    # --- pods -----------------------------------------------------------------

    def pods(self) -> Sequence[Pod]:
        """See ``NodeApi``."""
        return [self._live(pod) for pod in self._known()]

    def _known(self) -> Sequence[Pod]:
        """What is wanted, and what is still being ended though nobody wants it any more."""
        pods = {pod.metadata.uid: pod for pod in (*self._workers.pods(), *self._store.pods())}
        return list(pods.values())

    def listed_pods(self) -> Sequence[Pod]:
        """See ``NodeApi``."""
        return [self._live(pod) if is_static(pod) else pod for pod in self._known()]

    def pod(self, namespace: str, name: str) -> Pod | None:
        """See ``NodeApi``."""
        wanted = self._store.by_name(namespace, name)
        named = [p for p in self._known() if (p.metadata.namespace, p.metadata.name) == (namespace, name)]
        pod = wanted or (named[-1] if named else None)
        return None if pod is None else self._live(pod)

    def _live(self, pod: Pod) -> Pod:
        status = self._statuses.get(pod.metadata.uid)
        return pod if status is None else msgspec.structs.replace(pod, status=status)

    def running_pods(self) -> Sequence[Pod]:
        """See ``NodeApi``."""
        pods = []
        for uid in self._observer.cached_uids():
            observed = self._observer.cached(uid)
            if observed is None:
                continue
            running = observed.running
            if not observed.alive:
                continue
            pods.append(
                Pod(
                    metadata=ObjectMeta(name=observed.name, namespace=observed.namespace, uid=uid),
                    spec=PodSpec(containers=[Container(name=c.name, image=c.image) for c in running]),
                )
            )
        return pods

    def config_json(self) -> Mapping[str, Any]:
        """See ``NodeApi``."""
        return as_v1beta1_json(self._config)

    def health(self) -> Sequence[HealthCheck]:
        """See ``NodeApi``."""
        return [HealthCheck("syncloop", self._loop_problem())]

    def metrics(self) -> bytes:
        """See ``NodeApi``."""
        return self._metrics.render()

    def probe_metrics(self) -> bytes:
        """See ``NodeApi``."""
        return self._probe_metrics.render()

    # --- logs -----------------------------------------------------------------

    async def logs(self, pod: Pod, container: str, request: LogRequest) -> AsyncGenerator[bytes, None]:
        """See ``NodeApi``."""
        full_id = log_instance(pod, container, previous=request.previous)
        container_id = full_id.rpartition("://")[2]
        observed = await self._instance(pod.metadata.uid, container_id)
        if observed is None:
            raise ApiError(400, f"unable to retrieve container logs for {full_id}")
        path = self._layout.container_log(
            pod.metadata.namespace, pod.metadata.name, pod.metadata.uid, container, observed.restart_count
        )

        async def running() -> bool:
            now = await self._instance(pod.metadata.uid, container_id)
            return now is not None and now.state is RuntimeState.RUNNING

        options = LogOptions(
            follow=request.follow,
            tail_lines=request.tail_lines,
            since=request.since,
            limit_bytes=request.limit_bytes,
            timestamps=request.timestamps,
            stream=request.stream,
        )
        return _told(path, read_logs(path, options, running))

    async def _instance(self, uid: str, container_id: str) -> RuntimeContainer | None:
        """The container instance as it was observed, or as the runtime knows it now."""
        observed = self._observer.cached(uid)
        if observed is not None:
            for found in observed.containers:
                if found.id == container_id:
                    return found
        try:
            return await self._runtime.container_status(container_id)
        except CriError as error:
            if not error.not_found:
                log.info("container %s cannot be looked at: %s", container_id[:12], error)
            return None

    # --- ways into containers -------------------------------------------------

    async def exec_url(
        self, pod: Pod, uid: str, container: str, command: Sequence[str], streams: StreamRequest
    ) -> str:
        """See ``NodeApi``."""
        container_id = self._running(pod, uid, container, f"container not found ({go_quote(container)})")
        try:
            return await self._runtime.exec(
                container_id,
                command,
                stdin=streams.stdin,
                stdout=streams.stdout,
                stderr=streams.stderr,
                tty=streams.tty,
            )
        except CriError as error:
            raise _refused(error) from error

    async def attach_url(self, pod: Pod, uid: str, container: str, streams: StreamRequest) -> str:
        """See ``NodeApi``."""
        missing = f"container {container} not found in pod {full_name(pod)}"
        container_id = self._running(pod, uid, container, missing)
        found = find_container(pod, container)
        tty = found is not None and found[0].tty
        try:
            return await self._runtime.attach(
                container_id,
                stdin=streams.stdin,
                stdout=streams.stdout,
                # A terminal has one output; asking for another is refused by runtimes.
                stderr=streams.stderr and not tty,
                tty=tty,
            )
        except CriError as error:
            raise _refused(error) from error

    async def port_forward_url(self, pod: Pod, ports: Sequence[int]) -> str:
        """See ``NodeApi``."""
        observed = self._observer.cached(pod.metadata.uid)
        if observed is None or observed.empty:
            raise ApiError(500, f"pod not found ({go_quote(full_name(pod))})")
        if not observed.sandboxes:
            raise ApiError(500, f"failed to find sandboxID for pod {full_name(pod)}({pod.metadata.uid})")
        try:
            return await self._runtime.port_forward(observed.sandboxes[0].id, ports)
        except CriError as error:
            raise _refused(error) from error

    async def run_command(self, pod: Pod, uid: str, container: str, command: Sequence[str]) -> bytes:
        """See ``NodeApi``."""
        container_id = self._running(pod, uid, container, f"container not found ({go_quote(container)})")
        try:
            result = await self._runtime.exec_sync(container_id, command)
        except CriError as error:
            raise ApiError(500, str(error)) from error
        if result.exit_code != 0:
            errors = result.stderr.decode(errors="replace")
            raise ApiError(500, f"command '{' '.join(command)}' exited with {result.exit_code}: {errors}")
        return result.stdout + result.stderr

    async def checkpoint(self, pod: Pod, container: str, timeout: int) -> str:
        """See the server's ``Checkpoints``."""
        container_id = self._running(pod, "", container, f"container {container} not found")
        moment = self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        directory = self._layout.checkpoints
        path = directory / f"checkpoint-{full_name(pod)}-{container}-{moment}.tar"
        try:
            await asyncio.to_thread(directory.mkdir, mode=0o700, parents=True, exist_ok=True)
            await self._runtime.checkpoint_container(container_id, str(path), timeout)
        except CriError as error:
            raise _refused(error) from error
        except OSError as error:
            raise ApiError(500, f"checkpointing of {full_name(pod)}/{container} failed: {error}") from error
        return str(path)

    def _running(self, pod: Pod, uid: str, container: str, missing: str) -> str:
        """ID of the running instance; *uid*, when given, must be the pod's."""
        observed = self._observer.cached(pod.metadata.uid)
        found = observed.newest(container) if observed is not None else None
        if found is None or found.state is not RuntimeState.RUNNING or uid not in ("", pod.metadata.uid):
            raise ApiError(500, missing)
        return found.id

    # --- the story ------------------------------------------------------------

    def events(self, uid: str) -> Sequence[EventView]:
        """See ``NodeApi``."""
        return [
            EventView(
                type=entry.type,
                reason=entry.what,
                message=entry.text,
                count=entry.count,
                first=entry.first or entry.time,
                last=entry.time,
                container=entry.container,
            )
            for entry in self._journal.events_of(uid)
        ]

    def explain_pod(self, namespace: str, name: str) -> Sequence[str]:
        """See ``NodeApi``."""
        return tell(self._journal.of_name(namespace, name))

    def explain_node(self) -> Sequence[str]:
        """See ``NodeApi``."""
        return tell(self._journal.of_node())

    async def volumes(self, uid: str) -> Sequence[VolumeView]:
        """See ``NodeApi``."""
        unattached = await self._volumes.unattached(uid)
        usage = self._usage.usage(uid)
        return [
            VolumeView(
                volume=story.volume,
                plugin=story.plugin,
                state=story.state,
                since=story.since,
                failures=story.failures,
                error=story.error or unattached.get(story.volume, ""),
                next_try=story.next_try,
                claim=story.claim,
                persistent_volume=story.persistent_volume,
                waits_for=story.waits_for,
                step=story.step,
                device=story.device,
                usage=usage.get(story.volume),
            )
            for story in self._volumes.explain(uid)
        ]

    def allocated(self, pod: Pod) -> Pod:
        """See ``NodeApi``."""
        return self._allocated(pod)

    async def pulls(self, uid: str) -> Sequence[PullView]:
        """See ``NodeApi``."""
        return await asyncio.gather(*map(self._pull_view, self._images.under_way(uid)))

    async def _pull_view(self, pull: Pull) -> PullView:
        image, path = pull.need.image, pull.need.field_path
        container = path.partition("{")[2].rstrip("}")
        seconds = self._clock.monotonic() - (pull.asked if pull.began is None else pull.began)
        lasting = format_duration(int(seconds) * 1_000_000_000)
        if pull.began is None:
            text = f"waiting for {lasting} for the turn to pull {image}"
            return PullView(image, container, seconds, text)
        text, progress = f"pulling {image} for {lasting}", None
        if self._content is not None:
            progress = await self._content.progress(parse_image_name(pull.image).repository)
        if progress is None:
            return PullView(image, container, seconds, text)
        text += f", {_mib(progress.done)} of {_mib(progress.total)} MiB so far"
        return PullView(image, container, seconds, text, progress.done, progress.total)

    def worker(self, uid: str) -> WorkerView | None:
        """See ``NodeApi``."""
        state = self._workers.state(uid)
        return None if state is None else WorkerView(state.phase.value, state.cause)


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f}"


def _status_of(pod: Pod, container: str) -> ContainerStatus | None:
    status = pod.status
    every = (*status.containerStatuses, *status.initContainerStatuses, *status.ephemeralContainerStatuses)
    return next((one for one in every if one.name == container), None)


def _ended_id(state: ContainerState) -> str:
    ended = state.terminated
    return ended.containerID if ended is not None and isinstance(ended.containerID, str) else ""


def log_instance(pod: Pod, container: str, *, previous: bool) -> str:
    """Full ID of the container instance whose log is meant, by the pod's status alone.

    :raises ApiError: 400, there is none; its text says why.
    """
    which = f"container {go_quote(container)} in pod {go_quote(pod.metadata.name)}"
    status = _status_of(pod, container)
    if status is None:
        raise ApiError(400, f"{which} is not available")
    last = _ended_id(status.lastState)
    if previous:
        if not last:
            raise ApiError(400, f"previous terminated {which} not found")
        return last
    state = status.state
    if state.running is not None:
        return status.containerID if isinstance(status.containerID, str) else ""
    if state.terminated is not None or status.lastState.terminated is not None:
        found = _ended_id(state) or last
        if not found:
            raise ApiError(400, f"{which} is terminated")
        return found
    if state.waiting is None:
        raise ApiError(400, f"{which} is waiting to start - no logs yet")
    reasons = {
        "ErrImagePull": "image can't be pulled",
        "ImagePullBackOff": "trying and failing to pull image",
    }
    reason = state.waiting.reason
    raise ApiError(400, f"{which} is waiting to start: {reasons.get(reason, reason)}")


async def _told(path: Path, blocks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The blocks, with what goes wrong turned into an answer."""
    try:
        async with contextlib.aclosing(blocks):
            async for block in blocks:
                yield block
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ApiError(400, f"failed to open log file {go_quote(str(path))}: {reason.lower()}") from error


def _refused(error: CriError) -> ApiError:
    if error.not_found:
        return ApiError(404, str(error))
    if error.code is Code.ResourceExhausted:
        return ApiError(429, str(error), retry_after=_RETRY_AFTER)
    return ApiError(500, str(error))
