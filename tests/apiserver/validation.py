"""What a real API server refuses of an object's content, as far as a kubelet can run into it. Pure."""

import base64
import binascii
import json

from cryptography import x509
from tests.apiserver import errors, resources
from tests.apiserver.resources import Object, Resource

#: What may change in the spec of a pod.
_POD_MUTABLE = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")
_RESTART_POLICIES = ("Always", "OnFailure", "Never")


def check(resource: Resource, obj: Object) -> None:
    """:raises ApiError: 400 or 422, the object makes no sense."""
    checker = _CHECKERS.get(resource)
    if checker is not None:
        checker(obj, obj["metadata"]["name"])
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if not condition.get("type"):
            problem = 'Invalid value: "": name part must be non-empty'
            raise errors.invalid(
                resource.kind, resource.group, obj["metadata"]["name"], "status.conditions[0].Type", problem
            )


def _pod(pod: Object, name: str) -> None:
    if not (pod.get("spec") or {}).get("containers"):
        raise errors.invalid("Pod", "", name, "spec.containers", "Required value")
    policy = pod["spec"].get("restartPolicy", "Always")
    if policy not in _RESTART_POLICIES:
        problem = f'Unsupported value: "{policy}": supported values: "Always", "OnFailure", "Never"'
        raise errors.invalid("Pod", "", name, "spec.restartPolicy", problem)


def _event(event: Object, name: str) -> None:
    namespace = (event.get("involvedObject") or {}).get("namespace", "")
    # Events of what has no namespace are kept in the default one.
    if namespace != event["metadata"]["namespace"] and (
        namespace or event["metadata"]["namespace"] != "default"
    ):
        problem = f'Invalid value: "{namespace}": does not match event.namespace'
        raise errors.invalid("Event", "", name, "involvedObject.namespace", problem)


def _csr(csr: Object, name: str) -> None:
    try:
        x509.load_pem_x509_csr(base64.b64decode((csr.get("spec") or {}).get("request") or ""))
    except (ValueError, binascii.Error):
        kind, group = resources.CSRS.kind, resources.CSRS.group
        problem = "Invalid value: PEM block type must be CERTIFICATE REQUEST"
        raise errors.invalid(kind, group, name, "spec.request", problem) from None


def _node(node: Object, name: str) -> None:
    addresses = (node.get("status") or {}).get("addresses") or []
    for index, address in enumerate(addresses):
        if address in addresses[:index]:
            field = f"status.addresses[{index}]"
            problem = f"Duplicate value: {address}"
            raise errors.invalid("Node", "", name, field, problem)


_CHECKERS = {resources.NODES: _node, resources.PODS: _pod, resources.EVENTS: _event, resources.CSRS: _csr}


def check_status_update(old: Object, new: Object) -> None:
    """:raises ApiError: 422, a pod's QoS class changes."""
    was, wanted = old.get("status", {}).get("qosClass"), new.get("status", {}).get("qosClass")
    if wanted and wanted != was:
        problem = f'Invalid value: "{wanted}": field is immutable'
        raise errors.invalid("Pod", "", new["metadata"]["name"], "status.qosClass", problem)


def check_csi_node_update(old: Object, new: Object) -> None:
    """:raises ApiError: 422, a driver that stays changes in more than how many volumes it can attach."""

    def fixed(driver: Object) -> Object:
        rest = {key: value for key, value in driver.items() if key not in ("allocatable", "topologyKeys")}
        return {**rest, "topologyKeys": driver.get("topologyKeys") or None}

    were = {driver["name"]: fixed(driver) for driver in old["spec"].get("drivers") or ()}
    for driver in new["spec"].get("drivers") or ():
        if were.get(driver["name"], fixed(driver)) != fixed(driver):
            problem = "Invalid value: field is immutable"
            raise errors.invalid(
                resources.CSI_NODES.kind,
                resources.CSI_NODES.group,
                new["metadata"]["name"],
                "spec.drivers",
                problem,
            )


def check_attachment_update(old: Object, new: Object) -> None:
    """:raises ApiError: 422, the spec changes."""
    if old["spec"] != new["spec"]:
        kind, group = resources.VOLUME_ATTACHMENTS.kind, resources.VOLUME_ATTACHMENTS.group
        problem = "Invalid value: field is immutable"
        raise errors.invalid(kind, group, new["metadata"]["name"], "spec", problem)


def check_ephemeral_containers(old: Object, new: Object) -> None:
    """:raises ApiError: one that is there already is changed or taken away."""
    now = {container["name"]: container for container in new["spec"].get("ephemeralContainers", [])}
    for index, container in enumerate(old["spec"].get("ephemeralContainers", [])):
        name = container["name"]
        if container.items() <= now.get(name, {}).items():
            continue
        what = "changed" if name in now else "removed"
        where = f"spec.ephemeralContainers[{index}]" if name in now else "spec.ephemeralContainers"
        problem = f"Forbidden: existing ephemeral containers {json.dumps(name)} may not be {what}"
        raise errors.invalid("Pod", "", new["metadata"]["name"], where, problem)


def check_pod_resize(old: Object, new: Object) -> None:
    """:raises ApiError: more changes than amounts of CPU and memory, or an amount is taken away."""

    def rest(spec: Object) -> Object:
        spec = {**spec, "resources": _without_amounts(spec.get("resources"))}
        for group in ("containers", "initContainers"):
            spec[group] = [
                {**each, "resources": _without_amounts(each.get("resources"))}
                for each in spec.get(group) or []
            ]
        return spec

    problem = ""
    if "kubernetes.io/config.mirror" in old["metadata"].get("annotations", {}):
        problem = "Forbidden: static pods cannot be resized"
    elif rest(old["spec"]) != rest(new["spec"]):
        problem = "Forbidden: only cpu and memory resources are mutable"
    elif any(
        set(was.get(kind, {})) - set(now.get(kind, {}))
        for was, now in zip(_all_resources(old), _all_resources(new), strict=True)
        for kind in ("requests", "limits")
    ):
        problem = "Forbidden: resource requests and limits cannot be removed"
    if problem:
        raise errors.invalid("Pod", "", new["metadata"]["name"], "spec", problem)


def _all_resources(pod: Object) -> list[Object]:
    spec = pod["spec"]
    containers = [*(spec.get("initContainers") or []), *spec["containers"]]
    return [each.get("resources") or {} for each in (spec, *containers)]


def _without_amounts(resources: Object | None) -> Object:
    """Resources without what a resize may change."""
    return {
        kind: {name: amount for name, amount in amounts.items() if name not in ("cpu", "memory")}
        if isinstance(amounts, dict)
        else amounts
        for kind, amounts in (resources or {}).items()
    }


def check_pod_update(old: Object, new: Object) -> None:
    """:raises ApiError: more of the spec changes than may."""

    def frozen(spec: Object) -> Object:
        rest = {key: value for key, value in spec.items() if key not in _POD_MUTABLE}
        for group in ("containers", "initContainers"):
            if group in rest:
                rest[group] = [{**container, "image": ""} for container in rest[group]]
        return rest

    if frozen(old["spec"]) != frozen(new["spec"]):
        problem = (
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions "
            "to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it "
            "was previously negative)"
        )
        raise errors.invalid("Pod", "", new["metadata"]["name"], "spec", problem)
