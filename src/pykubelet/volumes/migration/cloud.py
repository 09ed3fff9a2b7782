"""What must be told of a provider's volumes for all of them to be translated. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pykubelet.api.storage import CSIPersistentVolumeSource, PersistentVolume, VolumeNodeAffinity

#: The source of a pod's own volume, and that of a persistent volume; most providers have one for both.
S = TypeVar("S")
P = TypeVar("P")


class UntranslatableError(ValueError):
    """A source that the driver has no volume for; the text names the value."""


@dataclass(frozen=True, slots=True)
class Inline:
    """A volume that a pod names by itself, as the driver has it: it is treated as a persistent one."""

    #: Stands for a persistent volume's name: all pods that name the volume must have the same for it.
    name: str
    source: CSIPersistentVolumeSource
    access_mode: str = "ReadWriteOnce"


def same_affinity(pv: PersistentVolume) -> VolumeNodeAffinity | None:
    """The nodes that the volume can be had on, where the driver adds no labels of its own."""
    return pv.spec.nodeAffinity


def same_modes(modes: list[str]) -> list[str]:
    """The access modes, where the driver knows what the provider's own plug-in knew."""
    return modes


@dataclass(frozen=True, slots=True)
class Cloud(Generic[S, P]):
    """One provider's kind of volume."""

    #: The field of Volume and of PersistentVolumeSpec.
    kind: str
    #: The plug-in that was part of Kubernetes.
    plugin: str
    #: The CSI driver that took over.
    driver: str
    #: A persistent volume's source as the driver has it; it is given the source and the volume.
    persistent: Callable[[P, PersistentVolume], CSIPersistentVolumeSource]
    #: A pod's own volume; it is given the source, the pod's name for the volume, the pod's namespace.
    inline: Callable[[S, str, str], Inline]
    affinity: Callable[[PersistentVolume], VolumeNodeAffinity | None] = same_affinity
    access_modes: Callable[[list[str]], list[str]] = same_modes
