"""The texts of a resize's events, as upstream writes them: a summary of the resources, as JSON. Pure."""

import json
from typing import Any, Final

from pykubelet.api import codec
from pykubelet.api.core import Container, Pod, ResourceList, ResourceRequirements
from pykubelet.base.gotext import go_json

#: The order of Go's struct.
_FIELDS: Final = ("limits", "requests", "claims")


def resize_message(what: str, pod: Pod, generation: int, error: str = "") -> str:
    """The message of an event: *what* happened (``started``, ``completed``, …) and the pod's resources."""
    summary: dict[str, Any] = {}
    for key, containers in (("initContainers", pod.spec.initContainers), ("containers", pod.spec.containers)):
        if containers:
            summary[key] = [_container(container) for container in containers]
    summary["generation"] = generation
    if error:
        summary["error"] = error
    return f"Pod resize {what}: {go_json(summary)}"


def _container(container: Container) -> dict[str, Any]:
    plain = json.loads(codec.encode(container.resources, sort=True))
    return {"name": container.name, "resources": {key: plain[key] for key in _FIELDS if key in plain}}


def amounts_text(pod: Pod) -> str:
    """The pod's requests and limits of CPU and memory, in words for the journal."""
    parts = []
    if pod.spec.resources is not None:
        parts.append(f"pod {_amounts(pod.spec.resources)}")
    containers = (*pod.spec.initContainers, *pod.spec.containers)
    parts += [f"{container.name} {_amounts(container.resources)}" for container in containers]
    return "; ".join(parts)


def _amounts(resources: ResourceRequirements) -> str:
    return f"requests {_list(resources.requests)}, limits {_list(resources.limits)}"


def _list(amounts: ResourceList) -> str:
    return ", ".join(f"{name}={amount}" for name, amount in sorted(amounts.items())) or "none"
