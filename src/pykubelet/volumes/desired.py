"""What a pod asks for: the volumes its containers name, and those that cannot be had. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from pykubelet.api.core import Pod
from pykubelet.api.volumes import Volume

from . import kinds
from .state import Resolved, VolumeKey, Wanted

#: The sources that name a claim.
CLAIMS: Final = frozenset({"persistentVolumeClaim", "ephemeral"})


@dataclass(frozen=True, slots=True)
class PodVolumesWanted:
    """One pod's part of the desired state."""

    #: Names of all volumes that containers mount, sorted.
    names: tuple[str, ...]
    #: Those that are made from the pod's spec alone, by name.
    volumes: Mapping[str, Wanted]
    #: Those of which it must be found out what is behind them, by name.
    sources: Mapping[str, Volume]
    #: Why each of the others cannot be had, by name.
    problems: Mapping[str, str]


def volumes_of(pod: Pod, plugins: Mapping[str, str], sources: Collection[str] = ()) -> PodVolumesWanted:
    """What *pod* asks for; *plugins* tells the plug-in's name for each kind of volume.

    *sources* are the kinds that lead further. Only volumes that a container (init and ephemeral
    ones too) names count.
    """
    spec = pod.spec
    containers = [*spec.initContainers, *spec.containers, *spec.ephemeralContainers]
    mounts = {mount.name for container in containers for mount in container.volumeMounts}
    devices = {device.name for container in containers for device in container.volumeDevices}
    by_name = {volume.name: volume for volume in spec.volumes}
    wanted: dict[str, Wanted] = {}
    leads: dict[str, Volume] = {}
    problems: dict[str, str] = {}
    for name in sorted(mounts | devices):
        volume = by_name.get(name)
        if volume is None:
            problems[name] = f'volume "{name}" is not in the pod\'s spec'
            continue
        found = kinds.kinds_of(volume)
        if len(found) != 1:
            problems[name] = f'volume "{name}" {named(found)}'
        elif found[0] in CLAIMS and found[0] in sources:
            leads[name] = volume
        elif found[0] not in plugins and found[0] not in sources:
            problems[name] = kinds.refusal(volume, found[0])
        elif name in devices:
            problems[name] = f"volume {name} has volumeMode Filesystem, but is specified in volumeDevices"
        elif found[0] in sources:
            leads[name] = volume
        else:
            key = VolumeKey(pod.metadata.uid, plugins[found[0]], name)
            wanted[name] = Wanted(key, pod, volume)
    return PodVolumesWanted(tuple(sorted(mounts | devices)), wanted, leads, problems)


def named(found: Collection[str]) -> str:
    """What is wrong with a volume that does not name exactly one source."""
    return f"names several sources: {', '.join(found)}" if found else "names no source"


def merged(pod: Pod, found: Mapping[str, Resolved]) -> dict[VolumeKey, Wanted]:
    """The volumes behind *found*, which tells them by the names that the pod has for them.

    Several names may lead to one persistent volume: it is mounted once, for writing if any asks for that.
    """
    wanted: dict[VolumeKey, Wanted] = {}
    for name in sorted(found):
        resolved = found[name]
        key = VolumeKey(pod.metadata.uid, resolved.plugin, resolved.spec.directory)
        before = wanted.get(key)
        specs = {**(before.specs if before is not None else {}), name: resolved.spec}
        if before is not None and before.resolved is not None and resolved.spec.read_only:
            resolved = before.resolved
        wanted[key] = Wanted(key, pod, resolved.spec.volume, resolved, specs)
    return wanted
