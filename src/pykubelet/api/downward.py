"""The downward API: what ``fieldRef`` and ``resourceFieldRef`` select of a pod (core/v1).

Shared by environment variables and by volumes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pykubelet.base.gotext import go_quote

from .core import Container, Pod, ResourceList
from .quantity import Quantity
from .volumes import ObjectFieldSelector, ResourceFieldSelector

_PLAIN = frozenset(
    {
        "metadata.annotations",
        "metadata.labels",
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.serviceAccountName",
        "spec.schedulerName",
        "status.phase",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    }
)
_MAPS = ("metadata.annotations", "metadata.labels")
_DEFAULTED = ("cpu", "memory", "ephemeral-storage")
_POD_LEVEL = ("cpu", "memory")


@dataclass(frozen=True, slots=True)
class DownwardFacts:
    """What the selectors read beside the pod itself."""

    pod_ips: Sequence[str] = ()
    host_ips: Sequence[str] = ()
    allocatable: ResourceList = field(default_factory=dict)


def format_map(items: Mapping[str, str]) -> str:
    """Labels or annotations as one text: sorted lines ``key="value"``."""
    return "\n".join(f"{key}={go_quote(items[key])}" for key in sorted(items))


def split_subscript(path: str) -> tuple[str, str | None]:
    """``metadata.labels['k']`` as ``("metadata.labels", "k")``; None without a subscript."""
    head, bracket, rest = path.partition("['")
    if not (path.endswith("']") and bracket and head):
        return path, None
    return head, rest[:-2]


def _maps(pod: Pod, path: str) -> Mapping[str, str]:
    return pod.metadata.annotations if path == "metadata.annotations" else pod.metadata.labels


def field_value(pod: Pod, selector: ObjectFieldSelector, facts: DownwardFacts) -> str:
    """The text that *selector* names.

    :raises ValueError: no such field, or not one that may be selected.
    """
    if selector.apiVersion not in ("v1", ""):
        raise ValueError(f"unsupported pod version: {selector.apiVersion}")
    path, key = split_subscript(selector.fieldPath)
    if key is not None:
        if path not in _MAPS:
            raise ValueError(f"field label does not support subscript: {selector.fieldPath}")
        return _maps(pod, path).get(key, "")
    if path == "spec.host":
        path = "spec.nodeName"
    if path not in _PLAIN:
        raise ValueError(f"field label not supported: {path}")
    if path in _MAPS:
        return format_map(_maps(pod, path))
    values = {
        "metadata.name": pod.metadata.name,
        "metadata.namespace": pod.metadata.namespace,
        "metadata.uid": pod.metadata.uid,
        "spec.nodeName": pod.spec.nodeName,
        "spec.serviceAccountName": pod.spec.serviceAccountName,
        "status.hostIP": facts.host_ips[0] if facts.host_ips else "",
        "status.hostIPs": ",".join(facts.host_ips),
        "status.podIP": facts.pod_ips[0] if facts.pod_ips else "",
        "status.podIPs": ",".join(facts.pod_ips),
    }
    if path not in values:
        raise ValueError(f"unsupported fieldPath: {path}")
    return values[path]


def _limit(pod: Pod, container: Container, name: str, allocatable: ResourceList) -> Quantity | None:
    own = container.resources.limits.get(name)
    if own or name not in _DEFAULTED:
        return own
    if pod.spec.resources is not None and name in _POD_LEVEL and name in allocatable:
        shared = pod.spec.resources.limits.get(name)
        if shared:
            return shared
    return allocatable.get(name, own)


def resource_value(
    pod: Pod, container: Container, selector: ResourceFieldSelector, facts: DownwardFacts
) -> str:
    """A request or limit divided by the selector's divisor, rounded up.

    A limit that is not set is the pod's, else the node's allocatable amount.

    :raises ValueError: an unknown container or resource.
    """
    if selector.containerName:
        named = [*pod.spec.containers, *pod.spec.initContainers]
        found = next((c for c in named if c.name == selector.containerName), None)
        if found is None:
            raise ValueError(f"container {selector.containerName} not found")
        container = found
    kind, _, name = selector.resource.partition(".")
    known = name in _DEFAULTED or name.startswith("hugepages-")
    if kind not in ("limits", "requests") or not known:
        raise ValueError(f"unsupported container resource : {selector.resource}")
    if kind == "limits":
        amount = _limit(pod, container, name, facts.allocatable)
    else:
        amount = container.resources.requests.get(name)
    divisor = selector.divisor or Quantity.parse("1")
    if amount is None:
        return "0"
    if name == "cpu":
        return str(-(-amount.milli_value() // divisor.milli_value()))
    return str(-(-amount.value() // divisor.value()))
