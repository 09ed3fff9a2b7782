"""The phase of a pod, from the states of its containers."""

from collections import Counter
from collections.abc import Mapping

from pykubelet.api.core import Container, ContainerStateTerminated, ContainerStatus, Pod, PodSpec
from pykubelet.api.podinfo import is_sidecar, is_static

from .restart import restarts_after

FINAL_PHASES = frozenset({"Succeeded", "Failed"})
#: Reason of an end that a restart of all containers brought about.
RESTARTING_ALL_CONTAINERS = "RestartingAllContainers"


def pod_phase(
    pod: Pod, statuses: Mapping[str, ContainerStatus], *, terminal: bool, regular_created: bool
) -> str:
    """The phase by what the containers' *statuses* (init and regular, by name) say.

    *terminal*: nothing is restarted any more, whatever the policy. *regular_created*:
    a regular container was created in the present sandbox, so a sidecar that is not
    started yet does not put the pod back to Pending.
    """
    init = _count_init(pod.spec, statuses)
    if init["failed"]:
        return "Failed"
    count = _count_sidecars(pod.spec, statuses)
    for container in pod.spec.containers:
        count.update(_regular_marks(container, pod.spec, statuses.get(container.name)))
    if init["pending"] or (count["unstarted"] and not regular_created) or count["waiting"]:
        return "Pending"
    if count["unknown"]:
        return "Pending"
    if count["running"]:
        return "Running"
    if not count["stopped"]:
        return "Pending"
    over = terminal and not is_static(pod)
    if not over and count["restartable"]:
        return "Running"
    return "Succeeded" if count["stopped"] == count["succeeded"] else "Failed"


def _restartable(container: Container, spec: PodSpec, end: ContainerStateTerminated) -> bool:
    return end.reason == RESTARTING_ALL_CONTAINERS or restarts_after(container, spec, end.exitCode)


def _count_init(spec: PodSpec, statuses: Mapping[str, ContainerStatus]) -> Counter[str]:
    """How many init containers (no sidecars) are ``pending``, or have ``failed`` for good."""
    count: Counter[str] = Counter()
    for container in spec.initContainers:
        if is_sidecar(container):
            continue
        status = statuses.get(container.name)
        end = None if status is None else _last_end(status)
        if end is None:
            count["pending"] += 1
        elif end.exitCode != 0 and not _restartable(container, spec, end):
            count["failed"] += 1
    return count


def _last_end(status: ContainerStatus) -> ContainerStateTerminated | None:
    """The end that counts: the present one, or the one before of a container that waits."""
    if status.state.terminated is not None:
        return status.state.terminated
    return status.lastState.terminated if status.state.waiting is not None else None


def _count_sidecars(spec: PodSpec, statuses: Mapping[str, ContainerStatus]) -> Counter[str]:
    """Marks of the sidecars; ended ones do not count."""
    count: Counter[str] = Counter()
    for container in spec.initContainers:
        if not is_sidecar(container):
            continue
        status = statuses.get(container.name)
        if status is None:
            count["unknown"] += 1
        elif status.state.running is not None:
            count["running"] += 1
            count["unstarted"] += status.started is not True
        elif status.state.waiting is not None:
            if status.lastState.terminated is None:
                count.update(("unstarted", "waiting"))
        elif status.state.terminated is None:
            count.update(("unstarted", "unknown"))
    return count


def _regular_marks(container: Container, spec: PodSpec, status: ContainerStatus | None) -> tuple[str, ...]:
    """What one regular container adds to the count."""
    if status is None:
        return ("unknown",)
    if status.state.running is not None:
        return ("running",)
    end = _last_end(status)
    if end is None:
        return ("unknown",) if status.state.waiting is None else ("waiting",)
    marks = ["stopped"]
    if _restartable(container, spec, end):
        marks.append("restartable")
    # A container that waits for its restart has not succeeded, however it ended before.
    if status.state.terminated is not None and end.exitCode == 0:
        marks.append("succeeded")
    return tuple(marks)
