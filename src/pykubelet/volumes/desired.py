"""What a pod asks for: the volumes its containers name, and those that cannot be had. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pykubelet.api.core import Pod
from pykubelet.api.volumes import Volume
from pykubelet.base.gotext import go_list
from pykubelet.base.layout import escape_plugin

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


def joined(
    pod: Pod, own: Iterable[Wanted], found: Mapping[str, Resolved]
) -> tuple[dict[VolumeKey, Wanted], dict[str, str]]:
    """The pod's volumes, and why each of the others cannot be had, by name.

    *own* are made from the pod's spec alone, *found* tells what is behind the rest by the names that the
    pod has for them. Several names may lead to one persistent volume: it is mounted once, for writing if
    any asks for that. Volumes that are not the same but have the same directory are all refused. (The Go
    kubelet mounts one over the other.)
    """
    wanted = {each.key: each for each in own}
    clashes: dict[VolumeKey, set[str]] = {}
    for name in sorted(found):
        resolved = found[name]
        key = VolumeKey(pod.metadata.uid, resolved.plugin, resolved.spec.directory)
        before = wanted.get(key)
        if before is not None and not _is_behind(before, resolved):
            clashes.setdefault(key, set()).add(name)
            continue
        specs = {**(before.specs if before is not None else {}), name: resolved.spec}
        if before is not None and before.resolved is not None and resolved.spec.read_only:
            resolved = before.resolved
        wanted[key] = Wanted(key, pod, resolved.spec.volume, resolved, specs)
    problems: dict[str, str] = {}
    for key, others in clashes.items():
        names = sorted({*wanted.pop(key).names, *others})
        problems |= dict.fromkeys(names, _clash(key, names))
    return wanted, problems


def _is_behind(wanted: Wanted, resolved: Resolved) -> bool:
    """Whether it is the persistent volume that *resolved* is."""
    known = wanted.resolved
    if known is None or known.spec.pv is None or resolved.spec.pv is None:
        # What a pod names itself is a volume of its own.
        return False
    return known.device == resolved.device


def _clash(key: VolumeKey, names: Collection[str]) -> str:
    directory = f"{escape_plugin(key.plugin)}/{key.name}"
    return (
        f"volumes {go_list(names)} are not the same but have the same directory {directory}: a persistent "
        "volume must not be called like another volume of its pod"
    )
