"""What passing through a real server's Go types makes of an object. Pure but for its argument.

Empty lists vanish, times lose their fractions, and what has no ``omitempty`` is always there.
"""

import re
from collections.abc import Callable
from typing import Any

from tests.apiserver import resources
from tests.apiserver.resources import Object, Resource

_FRACTION = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d+(Z|[+-]\d\d:\d\d)$")
_CONTAINER_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")


def normalize(resource: Resource, obj: Object) -> None:
    """Rewrite *obj* in place as a real server writes it."""
    for key in ("labels", "annotations", "finalizers", "ownerReferences"):
        if key in obj["metadata"] and not obj["metadata"][key]:
            del obj["metadata"][key]
    finish = _FINISHERS.get(resource)
    if finish is None:
        return
    for part in ("spec", "status"):
        if isinstance(obj.get(part), dict):
            obj[part] = _clean(obj[part])
    finish(obj)


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        cleaned = {key: _clean(item) for key, item in value.items()}
        return {key: item for key, item in cleaned.items() if item is not None and item != []}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, str) and (found := _FRACTION.match(value)):
        return "".join(found.groups())
    return value


def _pod(pod: Object) -> None:
    status = pod.get("status") or {}
    _conditions(status, "lastProbeTime", "lastTransitionTime")
    for group in _CONTAINER_STATUSES:
        for container in status.get(group) or ():
            empty: Object = {"state": {}, "lastState": {}, "ready": False, "restartCount": 0}
            for key, value in {**empty, "image": "", "imageID": ""}.items():
                container.setdefault(key, value)
    for one, all_ in (("podIP", "podIPs"), ("hostIP", "hostIPs")):
        # The single address is the authority, as old kubelets know no other.
        addresses: list[Object] = status.get(all_) or [{}]
        first = addresses[0].get("ip", "")
        if status.get(one) and status[one] != first:
            status[all_] = [{"ip": status[one]}]
        elif first:
            status[one] = first


def _node(node: Object) -> None:
    _conditions(node.get("status") or {}, "lastHeartbeatTime", "lastTransitionTime")


def _claim(claim: Object) -> None:
    _conditions(claim.get("status") or {}, "lastProbeTime", "lastTransitionTime")


def _csi_node(csi_node: Object) -> None:
    spec = csi_node.setdefault("spec", {})
    for driver in spec.setdefault("drivers", None) or ():
        driver.setdefault("topologyKeys", None)


def _conditions(status: Object, *times: str) -> None:
    for condition in status.get("conditions") or ():
        for name in times:
            condition.setdefault(name, None)


_FINISHERS: dict[Resource, Callable[[Object], None]] = {
    resources.PODS: _pod,
    resources.NODES: _node,
    resources.CLAIMS: _claim,
    resources.CSI_NODES: _csi_node,
}
