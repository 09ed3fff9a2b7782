"""The words in which desired and actual volumes are told. Pure."""

from dataclasses import dataclass
from typing import Literal

from pykubelet.api.core import Pod
from pykubelet.api.volumes import Volume

#: A volume that is there is *mounted*, or *uncertain*: left by an earlier life, a failed
#: set-up or a failed tear-down; an uncertain one is set up again or taken away, never used.
Condition = Literal["mounted", "uncertain"]


@dataclass(frozen=True, slots=True, order=True)
class VolumeKey:
    """One volume of one pod; *plugin* is the plug-in's name (``kubernetes.io/empty-dir``)."""

    uid: str
    plugin: str
    name: str

    @property
    def unique_name(self) -> str:
        """Upstream's name of the volume on this node."""
        return f"{self.plugin}/{self.uid}-{self.name}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A volume that a pod's containers mount."""

    key: VolumeKey
    pod: Pod
    volume: Volume
