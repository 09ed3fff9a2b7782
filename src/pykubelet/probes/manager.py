"""All probes of the node: one worker each, and the last verdict on each container instance."""

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from pykubelet.api.core import Container, ContainerStatus, Pod, PodStatus, Probe
from pykubelet.api.podinfo import is_sidecar, pod_ref
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Events, Journal
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner

from .handlers import Handlers
from .metrics import ProbeMetrics
from .types import ProbeKind
from .worker import ProbeTarget, ProbeWorker, instance_of

#: Called when a verdict changed: kind, pod UID, container, verdict.
OnVerdict = Callable[[ProbeKind, str, str, bool | None], None]
_VerdictKey = tuple[ProbeKind, str]
#: What of a running container makes its probes look at once when it changes.
_Seen = tuple[str, datetime | None, bool]


@dataclass(slots=True)
class _PodProbes:
    """What is kept for one pod."""

    workers: dict[tuple[str, str], ProbeWorker] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    verdicts: set[_VerdictKey] = field(default_factory=set)
    seen: dict[str, _Seen] = field(default_factory=dict)


class ProbeManager:
    """Implements the door ``Probes``; a status sink tells it of new statuses."""

    def __init__(
        self,
        handlers: Handlers,
        clock: Clock,
        journal: Journal,
        events: Events,
        *,
        status_of: Callable[[str], PodStatus | None],
        on_verdict: OnVerdict,
        rng: random.Random,
        metrics: Metrics | None = None,
    ) -> None:
        """*metrics* takes the probes' own families."""
        self._metrics = ProbeMetrics(metrics or Metrics())
        self._handlers = handlers
        self._clock = clock
        self._journal = journal
        self._events = events
        self._status_of = status_of
        self._on_verdict = on_verdict
        self._rng = rng
        self._began, self._began_ns = clock.monotonic(), clock.now_ns()
        self._pods: dict[str, _PodProbes] = {}
        self._verdicts: dict[_VerdictKey, bool | None] = {}
        self._tasks = TaskOwner("probe")

    async def stop(self) -> None:
        """End all probes."""
        await self._tasks.close()
        await self._handlers.close()

    # --- verdicts -------------------------------------------------------------

    def liveness(self, container_id: str) -> bool | None:
        """See ``Probes``."""
        return self._verdicts.get(("liveness", container_id))

    def readiness(self, container_id: str) -> bool | None:
        """See ``Probes``."""
        return self._verdicts.get(("readiness", container_id))

    def startup(self, container_id: str) -> bool | None:
        """See ``Probes``."""
        return self._verdicts.get(("startup", container_id))

    def has_worker(self, pod_uid: str, container: str, kind: str) -> bool:
        """See ``Probes``."""
        probes = self._pods.get(pod_uid)
        return probes is not None and (container, kind) in probes.workers

    def begin(
        self, kind: ProbeKind, pod: Pod, container: str, container_id: str, verdict: bool | None
    ) -> None:
        """What a new instance counts as until it is tried; the status shows anything but success already."""
        if self._set(pod.metadata.uid, (kind, container_id), verdict) and verdict is True:
            self._on_verdict(kind, pod.metadata.uid, container, verdict)

    def tell(
        self, kind: ProbeKind, pod: Pod, container: str, container_id: str, verdict: bool, why: str
    ) -> None:
        """Take a verdict from a worker; only a change is told on."""
        if not self._set(pod.metadata.uid, (kind, container_id), verdict):
            return
        self._journal.record(
            "ProbeVerdict",
            f"the {kind} probe {'succeeded' if verdict else 'failed'}",
            pod=pod_ref(pod),
            container=container,
            cause=why[:256],
        )
        self._on_verdict(kind, pod.metadata.uid, container, verdict)

    def _set(self, uid: str, key: _VerdictKey, verdict: bool | None) -> bool:
        """Keep the verdict; False if it is the known one, or the pod is gone."""
        probes = self._pods.get(uid)
        if probes is None or (key in self._verdicts and self._verdicts[key] is verdict):
            return False
        self._verdicts[key] = verdict
        probes.verdicts.add(key)
        return True

    def forget(self, kind: ProbeKind, pod_uid: str, container_id: str) -> None:
        """Forget the verdict on an instance that is gone."""
        self._verdicts.pop((kind, container_id), None)
        probes = self._pods.get(pod_uid)
        if probes is not None:
            probes.verdicts.discard((kind, container_id))

    # --- workers --------------------------------------------------------------

    def add_pod(self, pod: Pod) -> None:
        """See ``Probes``."""
        uid = pod.metadata.uid
        for container, kind, probe, sidecar in _probes_of(pod):
            probes = self._pods.setdefault(uid, _PodProbes())
            present = probes.workers.get((container.name, kind))
            if present is not None:
                present.adopt(pod)
                continue
            worker = ProbeWorker(
                ProbeTarget(pod, container, probe, kind, sidecar),
                self._handlers,
                self,
                self._clock,
                self._events,
                self._status_of,
                self._began_ns,
                self._metrics.of(kind, pod_ref(pod), container.name),
            )
            probes.workers[container.name, kind] = worker
            task = self._tasks.spawn(
                f"{kind}/{uid}/{container.name}",
                self._run(probes, (container.name, kind), worker, self._first_wait(probe)),
            )
            probes.tasks.add(task)
            task.add_done_callback(probes.tasks.discard)

    def _first_wait(self, probe: Probe) -> float:
        """Just after the daemon's start the probes of many running pods are spread over their period."""
        period = float(max(probe.periodSeconds, 1))
        return self._rng.random() * period if self._clock.monotonic() - self._began < period else 0.0

    async def _run(
        self, probes: _PodProbes, key: tuple[str, str], worker: ProbeWorker, first_wait: float
    ) -> None:
        try:
            await worker.run(first_wait)
        finally:
            if probes.workers.get(key) is worker:
                del probes.workers[key]

    def status_changed(self, pod: Pod, status: PodStatus) -> None:
        """Let probes look at once at containers that have just begun to run, or have started up."""
        probes = self._pods.get(pod.metadata.uid)
        if probes is None:
            return
        both = (*status.containerStatuses, *status.initContainerStatuses)
        now = {s.name: seen for s in both if (seen := _seen(s)) is not None}
        for (container, _), worker in probes.workers.items():
            if container in now and probes.seen.get(container) != now[container]:
                worker.poke()
        probes.seen = now

    def poke_readiness(self, pod_uid: str, container: str) -> None:
        """See ``Probes``."""
        probes = self._pods.get(pod_uid)
        worker = probes.workers.get((container, "readiness")) if probes is not None else None
        if worker is not None:
            worker.poke()

    def stop_liveness_and_startup(self, pod_uid: str) -> None:
        """See ``Probes``."""
        probes = self._pods.get(pod_uid)
        if probes is None:
            return
        for key, worker in list(probes.workers.items()):
            if key[1] != "readiness":
                worker.end_well()
                del probes.workers[key]

    def remove_pod(self, pod_uid: str) -> None:
        """See ``Probes``."""
        probes = self._pods.pop(pod_uid, None)
        if probes is None:
            return
        for task in probes.tasks:
            task.cancel()
        for key in probes.verdicts:
            self._verdicts.pop(key, None)

    def keep_only(self, uids: set[str]) -> None:
        """See ``Probes``."""
        for uid in self._pods.keys() - uids:
            self.remove_pod(uid)


def _seen(status: ContainerStatus) -> _Seen | None:
    running = status.state.running
    return None if running is None else (instance_of(status), running.startedAt, status.started is True)


def _probes_of(pod: Pod) -> Iterator[tuple[Container, ProbeKind, Probe, bool]]:
    """The probes of regular containers and of sidecars."""
    containers = [(c, False) for c in pod.spec.containers]
    containers += [(c, True) for c in pod.spec.initContainers if is_sidecar(c)]
    for container, sidecar in containers:
        if container.startupProbe is not None:
            yield container, "startup", container.startupProbe, sidecar
        if container.readinessProbe is not None:
            yield container, "readiness", container.readinessProbe, sidecar
        if container.livenessProbe is not None:
            yield container, "liveness", container.livenessProbe, sidecar
