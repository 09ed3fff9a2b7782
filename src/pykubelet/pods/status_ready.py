"""Whether containers have started and are ready, by their probes' verdicts."""

from datetime import datetime, timedelta

import msgspec

from pykubelet.api.core import Container, ContainerStatus, Pod, PodStatus
from pykubelet.api.podinfo import find_container, is_sidecar

from .doors import Verdicts
from .status_conditions import READY, find_condition, is_true

#: Containers that started this long before us were looked after by the daemon before us.
_BEFORE_US = timedelta(seconds=10)


def with_readiness(
    pod: Pod,
    old: PodStatus,
    statuses: list[ContainerStatus],
    verdicts: Verdicts,
    kubelet_started: datetime | None,
) -> list[ContainerStatus]:
    """*statuses* of init or regular containers with ``started`` and ``ready`` set.

    *kubelet_started* is when this daemon began: a container older than that keeps its
    readiness until its probe speaks.
    """
    result = []
    for status in statuses:
        found = find_container(pod, status.name)
        if found is None:
            result.append(status)
            continue
        container, kind = found
        started = _started(pod, status, verdicts)
        if kind == "init" and not is_sidecar(container):
            end = status.state.terminated
            ready = end is not None and end.exitCode == 0
        else:
            ready = started and _ready(pod, old, container, status, verdicts, kubelet_started)
        result.append(msgspec.structs.replace(status, started=started, ready=ready))
    return result


def unready_with_probe(pod: Pod, status: PodStatus, verdicts: Verdicts) -> tuple[str, ...]:
    """Containers that have started but are not ready though probed: their probe should run at once."""
    return tuple(
        container.name
        for container in (*status.initContainerStatuses, *status.containerStatuses)
        if container.started is True
        and not container.ready
        and container.state.running is not None
        and verdicts.has_worker(pod.metadata.uid, container.name, "readiness")
    )


def _id(status: ContainerStatus) -> str:
    return "" if isinstance(status.containerID, msgspec.UnsetType) else status.containerID.partition("://")[2]


def _started(pod: Pod, status: ContainerStatus, verdicts: Verdicts) -> bool:
    if status.state.running is None:
        return False
    verdict = verdicts.startup(_id(status))
    if verdict is not None:
        return verdict
    return status.started is True or not verdicts.has_worker(pod.metadata.uid, status.name, "startup")


def _ready(
    pod: Pod,
    old: PodStatus,
    container: Container,
    status: ContainerStatus,
    verdicts: Verdicts,
    kubelet_started: datetime | None,
) -> bool:
    """Readiness of a running, started container."""
    verdict = verdicts.readiness(_id(status))
    if verdict is True:
        return True
    ready = not verdicts.has_worker(pod.metadata.uid, container.name, "readiness")
    running = status.state.running
    if kubelet_started is None or running is None or running.startedAt is None:
        return ready
    if running.startedAt >= kubelet_started - _BEFORE_US:
        return ready
    if verdict is None:
        ready = True
    # Of this pod the daemon before us knew whether it was ready; that holds until the probe speaks.
    known = old if find_condition(old, READY) is not None else pod.status
    return ready and (container.readinessProbe is None or is_true(known, READY))
