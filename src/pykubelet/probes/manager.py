"""All probes of the node: one worker each, and the last verdict on each container instance."""

import logging
import random
from collections.abc import Callable, Iterator
from typing import get_args

from pykubelet.api.core import Container, Pod, PodStatus, Probe
from pykubelet.api.podinfo import is_sidecar
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Events, Journal, PodRef
from pykubelet.base.tasks import TaskOwner

from .handlers import Handlers
from .types import ProbeKind
from .worker import ProbeTarget, ProbeWorker, find_status, instance_of

log = logging.getLogger(__name__)

#: Called when a verdict changed: kind, pod UID, container, verdict.
OnVerdict = Callable[[ProbeKind, str, str, bool | None], None]
_Key = tuple[str, str, ProbeKind]


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
    ) -> None:
        self._handlers = handlers
        self._clock = clock
        self._journal = journal
        self._events = events
        self._status_of = status_of
        self._on_verdict = on_verdict
        self._rng = rng
        self._began = clock.monotonic()
        self._workers: dict[_Key, ProbeWorker] = {}
        self._verdicts: dict[tuple[ProbeKind, str], bool | None] = {}
        self._seen: dict[tuple[str, str], tuple[str, object, bool]] = {}
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
        return any(key == (pod_uid, container, kind) for key in self._workers)

    def tell(
        self, kind: ProbeKind, pod: Pod, container: str, container_id: str, verdict: bool | None, why: str
    ) -> None:
        """Take a verdict from a worker; only a change is told on."""
        key = (kind, container_id)
        if key in self._verdicts and self._verdicts[key] is verdict:
            return
        first = key not in self._verdicts
        self._verdicts[key] = verdict
        if first and verdict is not True:
            # The initial value of a container that was never tried: the status shows it already.
            return
        meta = pod.metadata
        words = {True: "succeeded", False: "failed", None: "is unknown"}[verdict]
        if not first:
            self._journal.record(
                "ProbeVerdict",
                f"the {kind} probe {words}",
                pod=PodRef(meta.namespace, meta.name, meta.uid),
                container=container,
                cause=why[:256],
            )
        self._on_verdict(kind, meta.uid, container, verdict)

    def forget(self, kind: ProbeKind, container_id: str) -> None:
        """Forget the verdict on an instance that is gone."""
        self._verdicts.pop((kind, container_id), None)

    # --- workers --------------------------------------------------------------

    def add_pod(self, pod: Pod) -> None:
        """See ``Probes``."""
        uid = pod.metadata.uid
        for container, kind, probe, sidecar in _probes_of(pod):
            key = (uid, container.name, kind)
            present = self._workers.get(key)
            if present is not None:
                present.adopt(pod)
                continue
            worker = ProbeWorker(
                ProbeTarget(pod, container, probe, kind, sidecar),
                self._handlers,
                self,
                self._clock,
                self._journal,
                self._events,
                self._status_of,
            )
            self._workers[key] = worker
            self._tasks.spawn(
                f"{kind}/{uid}/{container.name}", self._run(key, worker, self._first_wait(probe))
            )

    def _first_wait(self, probe: Probe) -> float:
        """Just after the daemon's start the probes of many running pods are spread over their period."""
        period = float(max(probe.periodSeconds, 1))
        return self._rng.random() * period if self._clock.monotonic() - self._began < period else 0.0

    async def _run(self, key: _Key, worker: ProbeWorker, first_wait: float) -> None:
        try:
            await worker.run(first_wait)
        finally:
            if self._workers.get(key) is worker:
                del self._workers[key]

    def status_changed(self, pod: Pod, status: PodStatus) -> None:
        """Let probes look at once at containers that have just begun to run, or have started up."""
        uid = pod.metadata.uid
        for (owner, container, _), worker in list(self._workers.items()):
            if owner != uid:
                continue
            of_container = find_status(status, container)
            if of_container is None or of_container.state.running is None:
                continue
            now = (
                instance_of(of_container),
                of_container.state.running.startedAt,
                of_container.started is True,
            )
            if self._seen.get((uid, container)) != now:
                worker.poke()
        for of_container in (*status.containerStatuses, *status.initContainerStatuses):
            if of_container.state.running is not None:
                self._seen[uid, of_container.name] = (
                    instance_of(of_container),
                    of_container.state.running.startedAt,
                    of_container.started is True,
                )

    def poke_readiness(self, pod_uid: str, container: str) -> None:
        """See ``Probes``."""
        worker = self._workers.get((pod_uid, container, "readiness"))
        if worker is not None:
            worker.poke()

    def stop_liveness_and_startup(self, pod_uid: str) -> None:
        """See ``Probes``."""
        for key, worker in list(self._workers.items()):
            if key[0] == pod_uid and key[2] != "readiness":
                worker.end_well()
                del self._workers[key]

    def remove_pod(self, pod_uid: str) -> None:
        """See ``Probes``."""
        for key in [key for key in self._workers if key[0] == pod_uid]:
            self._workers.pop(key)
        prefixes = tuple(f"{self._tasks.name}/{kind}/{pod_uid}/" for kind in get_args(ProbeKind))
        for task in self._tasks.tasks:
            if task.get_name().startswith(prefixes):
                task.cancel()
        for seen in [seen for seen in self._seen if seen[0] == pod_uid]:
            del self._seen[seen]
        status = self._status_of(pod_uid)
        for of_container in (*status.containerStatuses, *status.initContainerStatuses) if status else ():
            for kind in get_args(ProbeKind):
                self.forget(kind, instance_of(of_container))

    def keep_only(self, uids: set[str]) -> None:
        """See ``Probes``."""
        for uid in {key[0] for key in self._workers} - uids:
            self.remove_pod(uid)


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
