"""What admission has to know of the node."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pykubelet.api.core import ResourceList


@dataclass(frozen=True, slots=True)
class Taint:
    """core/v1 Taint."""

    key: str
    value: str = ""
    effect: str = ""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """The Node object, as far as a pod's fate depends on it."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    #: What pods may request, with ``pods`` as their number.
    allocatable: ResourceList = field(default_factory=dict)
    #: ``status.features.supplementalGroupsPolicy``.
    supplemental_groups_policy: bool = False
