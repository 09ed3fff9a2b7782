"""The Node object as it is first made, and what of it is put right where there is one already. Pure.

Source: ``initialNode`` and the reconcilers in upstream's ``kubelet_node_status.go``. Taints, providerID
and labels of the administrator count only when the Node is made; later they belong to the cluster.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from pykubelet.api.core import ResourceList
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.node import Node, NodeSpec, Taint
from pykubelet.api.quantity import Quantity
from pykubelet.api.resources import is_extended
from pykubelet.api.wellknown import HUGEPAGES_PREFIX, LABEL_ARCH, LABEL_HOSTNAME, LABEL_OS

CONTROLLER_ATTACH: Final = "volumes.kubernetes.io/controller-managed-attach-detach"
EXTERNAL_CLOUD_TAINT: Final = Taint(
    key="node.cloudprovider.kubernetes.io/uninitialized", value="true", effect="NoSchedule"
)
_BETA_OS: Final = "beta.kubernetes.io/os"
_BETA_ARCH: Final = "beta.kubernetes.io/arch"
#: Labels that an existing Node is given again when ours differ.
_KEPT_LABELS: Final = (
    LABEL_HOSTNAME,
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    LABEL_OS,
    LABEL_ARCH,
    "node.kubernetes.io/windows-build",
    _BETA_OS,
    _BETA_ARCH,
)


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """What configuration says of the Node."""

    name: str
    operating_system: str
    #: Go's name (``amd64``).
    architecture: str
    #: ``--node-labels``; they win over the default ones.
    labels: Mapping[str, str] = field(default_factory=dict)
    #: ``registerWithTaints``.
    taints: Sequence[Taint] = ()
    provider_id: str = ""
    external_cloud: bool = False
    #: ``enableControllerAttachDetach``.
    controller_attach: bool = True


def bare_node(identity: NodeIdentity) -> Node:
    """The Node as it is first made, without its status."""
    annotations = {CONTROLLER_ATTACH: "true"} if identity.controller_attach else {}
    return Node(
        apiVersion="v1",
        kind="Node",
        metadata=ObjectMeta(name=identity.name, labels=default_labels(identity), annotations=annotations),
        spec=NodeSpec(
            providerID=identity.provider_id,
            taints=[*identity.taints, *([EXTERNAL_CLOUD_TAINT] if identity.external_cloud else [])],
        ),
    )


def default_labels(identity: NodeIdentity) -> dict[str, str]:
    """The labels that the Node is made with."""
    return {
        LABEL_HOSTNAME: identity.name,
        LABEL_OS: identity.operating_system,
        LABEL_ARCH: identity.architecture,
        _BETA_OS: identity.operating_system,
        _BETA_ARCH: identity.architecture,
        **identity.labels,
    }


def reconciled(initial: Node, existing: Node, *, reset_extended: bool = False) -> Node:
    """*existing* with what must be as in *initial*; equal to *existing* when nothing must change.

    *reset_extended* tells that no device plug-in of an earlier life is known: what the Node says of
    extended resources is out of date then.
    """
    status = existing.status
    capacity = dict(status.capacity or initial.status.capacity)
    allocatable = dict(status.allocatable or initial.status.allocatable)
    if reset_extended:
        for name in [name for name in capacity if is_extended(name)]:
            capacity[name] = allocatable[name] = Quantity.zero()
    return msgspec.structs.replace(
        existing,
        metadata=msgspec.structs.replace(
            existing.metadata,
            labels=_labels(initial.metadata.labels, existing.metadata.labels),
            annotations=_annotations(initial.metadata.annotations, existing.metadata.annotations),
        ),
        status=msgspec.structs.replace(
            status,
            capacity=_huge_pages(initial.status.capacity, capacity),
            allocatable=_huge_pages(initial.status.allocatable, allocatable),
        ),
    )


def _labels(initial: Mapping[str, str], existing: Mapping[str, str]) -> dict[str, str]:
    """The kept labels as they were made first; an empty value takes a label away."""
    ours = {name: initial[name] for name in _KEPT_LABELS if name in initial}
    return {name: value for name, value in {**existing, **ours}.items() if value or name not in ours}


def _annotations(initial: Mapping[str, str], existing: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in existing.items() if name != CONTROLLER_ATTACH}
    if CONTROLLER_ATTACH in initial:
        kept[CONTROLLER_ATTACH] = initial[CONTROLLER_ATTACH]
    return kept


def _huge_pages(initial: ResourceList, existing: ResourceList) -> ResourceList:
    """*existing* with the page sizes that this machine has, and no others."""
    return {
        **{name: amount for name, amount in existing.items() if not name.startswith(HUGEPAGES_PREFIX)},
        **{name: amount for name, amount in initial.items() if name.startswith(HUGEPAGES_PREFIX)},
    }
