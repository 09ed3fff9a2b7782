"""Why a persistent volume is not given to a pod, though it is there. Pure."""

from collections.abc import Mapping
from typing import Final

from pykubelet.api import node_selector

from . import kinds
from .orders import Refusal
from .spec import VolumeSpec

#: An old way to ask for mount options.
_OPTIONS: Final = "volume.beta.kubernetes.io/mount-options"


def refusal_of(spec: VolumeSpec, labels: Mapping[str, str]) -> Refusal | None:
    """Why the node with *labels* does not mount it, with upstream's texts; None when it may."""
    pv = spec.pv
    if pv is None:
        return None
    affinity = pv.spec.nodeAffinity
    if affinity is not None and affinity.required is not None:
        terms = affinity.required.nodeSelectorTerms
        if not any(node_selector.matches(term, labels) for term in terms):
            return Refusal("NodeAffinity check", "no matching NodeSelectorTerms")
    if kinds.HOST_PATH in spec.kinds and (pv.spec.mountOptions or _OPTIONS in pv.metadata.annotations):
        return Refusal("MountOptionSupport check", "mount options are not supported for this volume type")
    return None


def stands_alone(spec: VolumeSpec) -> bool:
    """Whether only one pod at a time may have it."""
    return spec.pv is not None and spec.pv.spec.accessModes == ["ReadWriteOncePod"]
