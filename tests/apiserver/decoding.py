"""What a real API server cannot even decode into its types, as far as a kubelet can run into it. Pure."""

import re
from typing import Any

from tests.apiserver import errors, resources
from tests.apiserver.resources import Object, Resource

#: A MicroTime has exactly six digits behind the second, be they zeros.
_MICRO_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$")
_MICRO_TIMES = {
    resources.LEASES: ("spec.acquireTime", "spec.renewTime"),
    resources.EVENTS: ("eventTime", "series.lastObservedTime"),
}
_LISTS = {
    resources.PODS: ("spec.containers", "spec.volumes", "status.conditions", "status.containerStatuses"),
    resources.NODES: ("spec.taints", "status.conditions", "status.addresses", "status.images"),
}


def check(resource: Resource, obj: Object) -> None:
    """:raises ApiError: 400, a field is not of its type."""
    for path in _LISTS.get(resource, ()):
        value = _at(obj, path)
        if value is not None and not isinstance(value, list):
            raise _refusal(resource, f"json: cannot unmarshal {path} into Go struct field")
    for path in _MICRO_TIMES.get(resource, ()):
        text = _at(obj, path)
        if text is not None and not _MICRO_TIME.match(text):
            problem = f'parsing time "{text}" as "2006-01-02T15:04:05.000000Z07:00": cannot parse'
            raise _refusal(resource, problem)


def _at(obj: Object, path: str) -> Any:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _refusal(resource: Resource, problem: str) -> errors.ApiError:
    kind, version = resource.kind, resource.version
    return errors.bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {problem}')
