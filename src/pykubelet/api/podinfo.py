"""What can be asked of a pod by its object alone: its containers, its kind, its importance."""

from collections.abc import Iterator

from pykubelet.base.journal import PodRef

from . import wellknown
from .core import Container, ContainerKind, Pod


def is_sidecar(container: Container) -> bool:
    """Whether an *init* container is restartable (KEP-753)."""
    return container.restartPolicy == "Always"


def all_containers(pod: Pod) -> Iterator[tuple[Container, ContainerKind]]:
    """Init, regular and ephemeral containers, in this order."""
    for container in pod.spec.initContainers:
        yield container, "init"
    for container in pod.spec.containers:
        yield container, "regular"
    for container in pod.spec.ephemeralContainers:
        yield container, "ephemeral"


def find_container(pod: Pod, name: str) -> tuple[Container, ContainerKind] | None:
    """The container of that name, and which kind it is."""
    return next((found for found in all_containers(pod) if found[0].name == name), None)


def field_path(pod: Pod, name: str) -> str:
    """A container as events name it: ``spec.containers{NAME}``; empty if there is none."""
    found = find_container(pod, name)
    if found is None:
        return ""
    names = {"init": "initContainers", "regular": "containers", "ephemeral": "ephemeralContainers"}
    return f"spec.{names[found[1]]}{{{name}}}"


def pod_ref(pod: Pod) -> PodRef:
    """What names the pod in the journal and in events."""
    return PodRef(pod.metadata.namespace, pod.metadata.name, pod.metadata.uid)


def full_name(pod: Pod) -> str:
    """``NAME_NAMESPACE``."""
    return f"{pod.metadata.name}_{pod.metadata.namespace}"


def source(pod: Pod) -> str:
    """Which source the pod came from; empty if it came from none."""
    return pod.metadata.annotations.get(wellknown.CONFIG_SOURCE, "")


def is_mirror(pod: Pod) -> bool:
    """Whether the pod only shows a static pod in the API."""
    return wellknown.CONFIG_MIRROR in pod.metadata.annotations


def is_static(pod: Pod) -> bool:
    """Whether the pod came from elsewhere than the API server."""
    return source(pod) not in ("", wellknown.SOURCE_API)


def priority(pod: Pod) -> int:
    """The pod's priority; 0 if none is given."""
    return pod.spec.priority or 0


def is_critical(pod: Pod) -> bool:
    """Whether the pod must run before others: static, mirror or of a system priority."""
    return is_static(pod) or is_mirror(pod) or priority(pod) >= wellknown.SYSTEM_CRITICAL_PRIORITY


def is_preemptable(pod: Pod, by: Pod) -> bool:
    """Whether *by* may push *pod* off the node; priorities count only where both state one."""
    if is_critical(by) and not is_critical(pod):
        return True
    mine, theirs = by.spec.priority, pod.spec.priority
    return mine is not None and theirs is not None and mine > theirs
