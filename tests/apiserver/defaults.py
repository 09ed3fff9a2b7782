"""What a real API server fills into new objects, as far as a kubelet relies on it."""

import base64
import zlib
from typing import Any

from tests.apiserver import resources
from tests.apiserver.resources import Object, Resource

_PROJECTED_MODE = 0o644
_VOLUME_MODES = ("configMap", "secret", "downwardAPI", "projected")
_NOT_READY = "node.kubernetes.io/not-ready"
_NODE_INFO = (
    "machineID",
    "systemUUID",
    "bootID",
    "kernelVersion",
    "osImage",
    "containerRuntimeVersion",
    "kubeletVersion",
    "kubeProxyVersion",
    "operatingSystem",
    "architecture",
)
_UNREACHABLE = "node.kubernetes.io/unreachable"


def apply(resource: Resource, obj: Object) -> None:
    """Fill *obj* in place."""
    filler = _FILLERS.get(resource)
    if filler is not None:
        filler(obj)


def _pod(pod: Object) -> None:
    spec = pod.setdefault("spec", {})
    for key, value in {
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30,
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
        "priority": 0,
    }.items():
        spec.setdefault(key, value)
    spec.setdefault("securityContext", {})
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            _container(container)
    for volume in spec.get("volumes") or ():
        _volume(volume)
    status = pod.setdefault("status", {})
    status.setdefault("phase", "Pending")
    status["qosClass"] = _qos(spec)


def _container(container: dict[str, Any]) -> None:
    tag = container.get("image", "").rpartition("/")[2].partition("@")[0].partition(":")[2]
    latest = tag in ("", "latest") and "@" not in container.get("image", "")
    container.setdefault("imagePullPolicy", "Always" if latest else "IfNotPresent")
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    limits = container["resources"].get("limits")
    if limits:
        container["resources"]["requests"] = {**limits, **(container["resources"].get("requests") or {})}
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(name):
            _probe(container[name])
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference:
            reference.setdefault("apiVersion", "v1")


def _probe(probe: dict[str, Any]) -> None:
    for key, value in {
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }.items():
        probe.setdefault(key, value)
    if "httpGet" in probe:
        probe["httpGet"].setdefault("path", "/")
        probe["httpGet"].setdefault("scheme", "HTTP")
    if "grpc" in probe:
        probe["grpc"].setdefault("service", "")


def _volume(volume: dict[str, Any]) -> None:
    if set(volume) == {"name"}:
        volume["emptyDir"] = {}
    for source in _VOLUME_MODES:
        if isinstance(volume.get(source), dict):
            volume[source].setdefault("defaultMode", _PROJECTED_MODE)
    if isinstance(volume.get("hostPath"), dict):
        volume["hostPath"].setdefault("type", "")
    items = (volume.get("downwardAPI") or {}).get("items") or []
    for source in (volume.get("projected") or {}).get("sources") or ():
        items = [*items, *((source.get("downwardAPI") or {}).get("items") or ())]
        if "serviceAccountToken" in source:
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
    for item in items:
        if item.get("fieldRef"):
            item["fieldRef"].setdefault("apiVersion", "v1")


def _qos(spec: dict[str, Any]) -> str:
    containers = [*(spec.get("initContainers") or ()), *spec.get("containers", ())]
    asked = [container.get("resources") or {} for container in containers]
    if spec.get("resources"):
        # What the pod states as a whole decides alone.
        asked = [spec["resources"]]
    if not any((of.get("requests") or {}) or (of.get("limits") or {}) for of in asked):
        return "BestEffort"
    for of in asked:
        limits, requests = of.get("limits") or {}, of.get("requests") or {}
        if any(not limits.get(name) or requests.get(name) != limits[name] for name in ("cpu", "memory")):
            return "Burstable"
    return "Guaranteed"


def _namespace(namespace: Object) -> None:
    name = namespace["metadata"]["name"]
    namespace["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name
    namespace.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    namespace.setdefault("status", {}).setdefault("phase", "Active")


def _secret(secret: Object) -> None:
    secret.setdefault("type", "Opaque")
    for key, text in (secret.pop("stringData", None) or {}).items():
        secret.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()


def _address(key: str) -> str:
    hashed = zlib.crc32(key.encode())
    return f"10.96.{hashed % 64}.{hashed // 64 % 254 + 1}"


def _service(service: Object) -> None:
    spec = service.setdefault("spec", {})
    for key, value in {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
    }.items():
        spec.setdefault(key, value)
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port["port"])
    if spec["type"] != "ExternalName":
        # An address per name: a real server takes any that is free.
        key = f"{service['metadata'].get('namespace')}/{service['metadata']['name']}"
        spec.setdefault("clusterIP", _address(key))
        spec.setdefault("clusterIPs", [spec["clusterIP"]])
    service.setdefault("status", {}).setdefault("loadBalancer", {})


def _node(node: Object) -> None:
    node.setdefault("spec", {})
    status = node.setdefault("status", {})
    # What is no pointer in Go is written even when it is empty.
    status.setdefault("daemonEndpoints", {}).setdefault("kubeletEndpoint", {"Port": 0})
    info = status.setdefault("nodeInfo", {})
    for key in _NODE_INFO:
        info.setdefault(key, "")


def _csr(csr: Object) -> None:
    csr.setdefault("status", {})


def _claim(claim: Object) -> None:
    claim.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
    claim.setdefault("status", {}).setdefault("phase", "Pending")


def _persistent_volume(volume: Object) -> None:
    spec = volume.setdefault("spec", {})
    spec.setdefault("volumeMode", "Filesystem")
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    volume.setdefault("status", {}).setdefault("phase", "Pending")


def _csi_driver(driver: Object) -> None:
    spec = driver.setdefault("spec", {})
    for key, value in {
        "attachRequired": True,
        "podInfoOnMount": False,
        "fsGroupPolicy": "ReadWriteOnceWithFSType",
        "volumeLifecycleModes": ["Persistent"],
        "requiresRepublish": False,
        "seLinuxMount": False,
        "storageCapacity": False,
    }.items():
        spec.setdefault(key, value)


def _attachment(attachment: Object) -> None:
    attachment.setdefault("status", {}).setdefault("attached", False)


def not_ready_taint(node: Object) -> None:
    """What the TaintNodesByCondition admission adds to a new node."""
    taints = node["spec"].setdefault("taints", [])
    if not any(taint["key"] == _NOT_READY for taint in taints):
        taints.append({"key": _NOT_READY, "effect": "NoSchedule"})


def tolerations(pod: Object) -> None:
    """What the DefaultTolerationSeconds admission adds."""
    present = pod["spec"].setdefault("tolerations", [])
    for key in (_NOT_READY, _UNREACHABLE):
        if not any(
            item.get("key") in (key, None) and item.get("effect") in ("NoExecute", None) for item in present
        ):
            present.append(
                {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            )


_FILLERS = {
    resources.PODS: _pod,
    resources.NAMESPACES: _namespace,
    resources.SECRETS: _secret,
    resources.SERVICES: _service,
    resources.NODES: _node,
    resources.CSRS: _csr,
    resources.CLAIMS: _claim,
    resources.PERSISTENT_VOLUMES: _persistent_volume,
    resources.CSI_DRIVERS: _csi_driver,
    resources.VOLUME_ATTACHMENTS: _attachment,
}
