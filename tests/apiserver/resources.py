"""Which resources the double serves, and what sets each of them apart."""

from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of objects and the path that it is served at."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    #: Subresources that write a part of the object.
    subresources: frozenset[str] = frozenset()
    #: Whether ``metadata.generation`` counts the changes of the spec.
    generation: bool = False
    #: Whether PUT makes an object that is not there.
    create_on_update: bool = False
    #: Whether PUT without a resourceVersion overwrites.
    unconditional_update: bool = True
    #: Whether DELETE answers the object, not a Status.
    returns_deleted: bool = False
    #: Field selectors beside metadata.name and metadata.namespace.
    fields: frozenset[str] = frozenset()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of a collection, an object or its subresource."""
        parts = [self.root]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        return "/".join([*parts, *(part for part in (name, subresource) if part)])


def _of(group_version: str, plural: str, kind: str, **more: Any) -> Resource:
    group, _, version = group_version.rpartition("/")
    for key in ("subresources", "fields"):
        if key in more:
            more[key] = frozenset(more[key].split())
    return Resource(group, version, plural, kind, **more)


PODS = _of(
    "v1",
    "pods",
    "Pod",
    subresources="status binding eviction ephemeralcontainers resize",
    generation=True,
    returns_deleted=True,
    fields="spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName spec.hostNetwork "
    "status.phase status.podIP status.nominatedNodeName",
)
NODES = _of("v1", "nodes", "Node", namespaced=False, subresources="status", fields="spec.unschedulable")
NAMESPACES = _of(
    "v1", "namespaces", "Namespace", namespaced=False, subresources="status finalize", fields="status.phase"
)
SERVICE_ACCOUNTS = _of("v1", "serviceaccounts", "ServiceAccount", subresources="token", returns_deleted=True)
CONFIG_MAPS = _of("v1", "configmaps", "ConfigMap")
SECRETS = _of("v1", "secrets", "Secret", fields="type")
SERVICES = _of(
    "v1",
    "services",
    "Service",
    subresources="status",
    create_on_update=True,
    fields="spec.clusterIP spec.type",
)
EVENTS = _of(
    "v1",
    "events",
    "Event",
    create_on_update=True,
    fields="involvedObject.kind involvedObject.namespace involvedObject.name involvedObject.uid "
    "involvedObject.apiVersion involvedObject.resourceVersion involvedObject.fieldPath reason "
    "reportingComponent source type",
)
LEASES = _of("coordination.k8s.io/v1", "leases", "Lease", create_on_update=True, unconditional_update=False)
CSRS = _of(
    "certificates.k8s.io/v1",
    "certificatesigningrequests",
    "CertificateSigningRequest",
    namespaced=False,
    subresources="status approval",
    fields="spec.signerName",
)
RUNTIME_CLASSES = _of(
    "node.k8s.io/v1", "runtimeclasses", "RuntimeClass", namespaced=False, unconditional_update=False
)
PERSISTENT_VOLUMES = _of(
    "v1", "persistentvolumes", "PersistentVolume", namespaced=False, subresources="status"
)
CLAIMS = _of("v1", "persistentvolumeclaims", "PersistentVolumeClaim", subresources="status")
CSI_DRIVERS = _of(
    "storage.k8s.io/v1",
    "csidrivers",
    "CSIDriver",
    namespaced=False,
    generation=True,
    unconditional_update=False,
)
CSI_NODES = _of("storage.k8s.io/v1", "csinodes", "CSINode", namespaced=False, unconditional_update=False)
VOLUME_ATTACHMENTS = _of(
    "storage.k8s.io/v1",
    "volumeattachments",
    "VolumeAttachment",
    namespaced=False,
    subresources="status",
    unconditional_update=False,
)

RESOURCES = (
    PODS,
    NODES,
    NAMESPACES,
    SERVICE_ACCOUNTS,
    CONFIG_MAPS,
    SECRETS,
    SERVICES,
    EVENTS,
    LEASES,
    CSRS,
    RUNTIME_CLASSES,
    PERSISTENT_VOLUMES,
    CLAIMS,
    CSI_DRIVERS,
    CSI_NODES,
    VOLUME_ATTACHMENTS,
    _of("storage.k8s.io/v1", "storageclasses", "StorageClass", namespaced=False),
    _of("scheduling.k8s.io/v1", "priorityclasses", "PriorityClass", namespaced=False),
    _of("resource.k8s.io/v1", "resourceclaims", "ResourceClaim", subresources="status"),
    _of("resource.k8s.io/v1", "resourceslices", "ResourceSlice", namespaced=False, fields="spec.nodeName"),
    _of(
        "certificates.k8s.io/v1beta1",
        "clustertrustbundles",
        "ClusterTrustBundle",
        namespaced=False,
        fields="spec.signerName",
    ),
)

#: What is only asked, never stored.
REVIEWS = {
    "/apis/authentication.k8s.io/v1/tokenreviews": "TokenReview",
    "/apis/authorization.k8s.io/v1/subjectaccessreviews": "SubjectAccessReview",
}

BY_PLURAL = {(resource.root, resource.plural): resource for resource in RESOURCES}


@dataclass(frozen=True, slots=True)
class Target:
    """What a path means."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def parse(path: str) -> Target | None:
    """The resource, namespace, name and subresource of *path*; None for an unknown one."""
    parts = path.strip("/").split("/")
    roots = {"api": 2, "apis": 3}.get(parts[0], 0)
    if not roots or len(parts) <= roots:
        return None
    root, rest = "/" + "/".join(parts[:roots]), parts[roots:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in NAMESPACES.subresources:
        namespace, rest = rest[1], rest[2:]
    resource = BY_PLURAL.get((root, rest[0]))
    if resource is None or len(rest) > 3 or (namespace and not resource.namespaced):
        return None
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if name and resource.namespaced and not namespace:
        return None
    if subresource and subresource not in resource.subresources:
        return None
    return Target(resource, namespace, name, subresource)
