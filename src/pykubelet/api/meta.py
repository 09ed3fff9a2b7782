"""The metadata that every Kubernetes object carries, and the base of all API structs.

Attributes bear the wire's own names (camelCase), so that nothing needs mapping and
everything can be searched for. Structs are built once and then only read; who wants
another value makes a copy (``msgspec.structs.replace``).
"""

from datetime import datetime

from msgspec import Struct


class Obj(Struct, omit_defaults=True, kw_only=True):
    """Base of the API's structs: absent fields are not written."""


class OwnerReference(Obj):
    """metav1.OwnerReference."""

    apiVersion: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None
    blockOwnerDeletion: bool | None = None


class ObjectMeta(Obj):
    """metav1.ObjectMeta without managedFields, which a kubelet never reads."""

    name: str = ""
    generateName: str = ""
    namespace: str = ""
    uid: str = ""
    resourceVersion: str = ""
    generation: int = 0
    creationTimestamp: datetime | None = None
    deletionTimestamp: datetime | None = None
    deletionGracePeriodSeconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    ownerReferences: list[OwnerReference] = []
    finalizers: list[str] = []


class LabelSelectorRequirement(Obj):
    """metav1.LabelSelectorRequirement."""

    key: str = ""
    operator: str = ""
    values: list[str] = []


class LabelSelector(Obj):
    """metav1.LabelSelector."""

    matchLabels: dict[str, str] = {}
    matchExpressions: list[LabelSelectorRequirement] = []


class LocalObjectReference(Obj):
    """core/v1 LocalObjectReference."""

    name: str = ""
