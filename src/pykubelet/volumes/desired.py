"""What a pod asks for: the volumes its containers name, and those that cannot be had. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from pykubelet.api.core import Pod

from . import kinds
from .state import VolumeKey, Wanted


@dataclass(frozen=True, slots=True)
class PodVolumesWanted:
    """One pod's part of the desired state."""

    #: Names of all volumes that containers mount, sorted.
    names: tuple[str, ...]
    #: Those that a plug-in here takes, by name.
    volumes: Mapping[str, Wanted]
    #: Why each of the others cannot be had, by name.
    problems: Mapping[str, str]


def volumes_of(pod: Pod, plugins: Mapping[str, str]) -> PodVolumesWanted:
    """What *pod* asks for; *plugins* tells the plug-in's name for each kind of volume.

    Only volumes that a container (init and ephemeral ones too) names count.
    """
    spec = pod.spec
    containers = [*spec.initContainers, *spec.containers, *spec.ephemeralContainers]
    mounted = {mount.name for container in containers for mount in container.volumeMounts}
    devices = {device.name for container in containers for device in container.volumeDevices}
    by_name = {volume.name: volume for volume in spec.volumes}
    wanted: dict[str, Wanted] = {}
    problems: dict[str, str] = {}
    for name in sorted(mounted | devices):
        volume = by_name.get(name)
        if volume is None:
            problems[name] = f'volume "{name}" is not in the pod\'s spec'
            continue
        found = kinds.kinds_of(volume)
        if len(found) != 1:
            named = f"names several sources: {', '.join(found)}" if found else "names no source"
            problems[name] = f'volume "{name}" {named}'
        elif found[0] not in plugins:
            problems[name] = kinds.refusal(volume, found[0])
        elif name in devices:
            problems[name] = f"volume {name} has volumeMode Filesystem, but is specified in volumeDevices"
        else:
            key = VolumeKey(pod.metadata.uid, plugins[found[0]], name)
            wanted[name] = Wanted(key, pod, volume)
    return PodVolumesWanted(tuple(sorted(mounted | devices)), wanted, problems)
