"""The small objects that pods are made with: config maps, secrets, services, trust bundles, leases."""

from typing import Literal

import msgspec

from .meta import Obj, ObjectMeta


class ConfigMap(Obj):
    """core/v1 ConfigMap."""

    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    immutable: bool | None = None
    data: dict[str, str] = {}
    binaryData: dict[str, bytes] = {}


class Secret(Obj):
    """core/v1 Secret; its repr tells no values."""

    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    immutable: bool | None = None
    data: dict[str, bytes] = {}
    type: str = ""

    def __repr__(self) -> str:
        return f"Secret({self.metadata.namespace}/{self.metadata.name}, {len(self.data)} keys)"


class ClusterTrustBundleSpec(Obj):
    """certificates.k8s.io ClusterTrustBundleSpec."""

    signerName: str = ""
    #: PEM.
    trustBundle: str = ""


class ClusterTrustBundle(Obj):
    """certificates.k8s.io ClusterTrustBundle; alike in all its versions."""

    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: ClusterTrustBundleSpec = msgspec.field(default_factory=ClusterTrustBundleSpec)


class APIResource(Obj):
    """metav1.APIResource, its name alone."""

    name: str = ""


class APIResourceList(Obj):
    """metav1.APIResourceList: what a group's version has."""

    resources: list[APIResource] = []


class ServiceAccount(Obj):
    """core/v1 ServiceAccount, as far as registries' credentials depend on it."""

    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)


class ServicePort(Obj):
    """core/v1 ServicePort, as far as variables are made of it."""

    name: str = ""
    protocol: str = ""
    port: int = 0


class ServiceSpec(Obj):
    """core/v1 ServiceSpec, as far as variables are made of it."""

    ports: list[ServicePort] = []
    clusterIP: str = ""
    type: str = ""


class Service(Obj):
    """core/v1 Service."""

    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: ServiceSpec = msgspec.field(default_factory=ServiceSpec)


class RuntimeClass(Obj):
    """node.k8s.io/v1 RuntimeClass."""

    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    handler: str = ""


class LeaseSpec(Obj):
    """coordination.k8s.io/v1 LeaseSpec; times are MicroTime: RFC 3339 with exactly six decimals."""

    holderIdentity: str | None = None
    leaseDurationSeconds: int | None = None
    acquireTime: str | None = None
    renewTime: str | None = None
    leaseTransitions: int | None = None


class Lease(Obj):
    """coordination.k8s.io/v1 Lease."""

    apiVersion: str = "coordination.k8s.io/v1"
    kind: Literal["Lease"] = "Lease"
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: LeaseSpec = msgspec.field(default_factory=LeaseSpec)
