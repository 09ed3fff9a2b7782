"""The desired state: which volumes pods ask for, and what was found behind them. No I/O."""

from collections.abc import Callable, Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from pykubelet.api.core import Pod

from . import payload
from .desired import PodVolumesWanted, joined, volumes_of
from .labels import Labels
from .orders import Need
from .refusals import refusal_of, stands_alone
from .resolutions import Resolutions
from .state import Resolved, SourceKey, VolumeKey, Wanted

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(slots=True)
class _Asked:
    """What one version of a pod asks for, and what that was with what was *found* last."""

    pod: Pod
    volumes: PodVolumesWanted
    sources: tuple[SourceKey, ...]
    found: tuple[Resolved | None, ...] | None = None
    wanted: dict[VolumeKey, Wanted] = field(default_factory=dict)
    #: Why others cannot be had, by name.
    clashes: Mapping[str, str] = field(default_factory=dict)


class Wants:
    """What pods ask for; recomputed from the pods each time, with what is known of their claims."""

    def __init__(
        self, plugins: Mapping[str, str], sources: Collection[str], labels: Labels | None = None
    ) -> None:
        """*plugins* and *sources* as in :func:`~pykubelet.volumes.desired.volumes_of`.

        *labels* decides the SELinux labels that volumes are mounted with; None: with none.
        """
        self._plugins = plugins
        self._sources = sources
        self.labels: Final = labels
        self.resolutions = Resolutions()
        #: What leads further, of pods whose containers may run.
        self.sources: frozenset[SourceKey] = frozenset()
        self._asked: dict[str, _Asked] = {}
        self._wanted: dict[VolumeKey, Wanted] = {}
        #: The same by the pods' UIDs.
        self._of: dict[str, dict[VolumeKey, Wanted]] = {}
        #: As they were wanted last, also when they are no more.
        self._known: dict[VolumeKey, Wanted] = {}
        self._asked_at: dict[VolumeKey, float] = {}

    def asked_by(self, pod: Pod) -> PodVolumesWanted:
        """What the pod asks for; computed once for each version of the pod."""
        return self._asked_by(pod).volumes

    def _asked_by(self, pod: Pod) -> _Asked:
        uid = pod.metadata.uid
        known = self._asked.get(uid)
        if known is None or known.pod is not pod:
            asked = volumes_of(pod, self._plugins, self._sources)
            known = _Asked(pod, asked, tuple(SourceKey(uid, name) for name in asked.sources))
            self._asked[uid] = known
        return known

    def update(
        self,
        pods: Iterable[Pod],
        now: float,
        kept: Set[str] = frozenset(),
        there: Callable[[Wanted], str | None] = lambda wanted: None,
    ) -> list[VolumeKey]:
        """Let it be what *pods* ask for; the volumes that may show a change of their pod.

        *kept* and *there* are for the labels (:meth:`~pykubelet.volumes.labels.Labels.settle`).
        """
        before, self._wanted = self._wanted, {}
        sources: list[SourceKey] = []
        of: dict[str, dict[VolumeKey, Wanted]] = {}
        for pod in pods:
            asked = self._asked_by(pod)
            sources += asked.sources
            of[pod.metadata.uid] = self._wanted_by(asked)
        self._of = of if self.labels is None else self.labels.settle(of, kept, there)
        for wanted in self._of.values():
            self._wanted.update(wanted)
        self.sources = frozenset(sources)
        self._known.update(self._wanted)
        for key in self._wanted.keys() - self._asked_at.keys():
            self._asked_at[key] = now
        return [
            key
            for key, each in self._wanted.items()
            if (old := before.get(key)) is not None and old is not each and _differs(old, each)
        ]

    def _wanted_by(self, asked: _Asked) -> dict[VolumeKey, Wanted]:
        """The pod's volumes, made anew only when something else was found behind them."""
        found = tuple(self.resolutions.get(source) for source in asked.sources)
        if asked.found is None or any(new is not old for new, old in zip(found, asked.found, strict=True)):
            known = zip(asked.volumes.sources, found, strict=True)
            asked.found = found
            behind = {name: each for name, each in known if each is not None}
            asked.wanted, asked.clashes = joined(asked.pod, asked.volumes.volumes.values(), behind)
        return asked.wanted

    def needs(
        self, labels: Mapping[str, str], is_mounted: Callable[[VolumeKey], bool]
    ) -> dict[VolumeKey, Need]:
        """What they need beside their own mount; *labels* are the node's."""
        needs: dict[VolumeKey, Need] = {}
        for key, wanted in self._wanted.items():
            resolved = wanted.resolved
            if resolved is not None:
                needs[key] = Need(
                    device=resolved.device.unique_name if resolved.device is not None else "",
                    attachable=resolved.attachable,
                    alone=stands_alone(resolved.spec),
                    refusal=None if is_mounted(key) else refusal_of(resolved.spec, labels),
                    label=resolved.spec.label,
                )
        return needs

    def keys(self) -> Set[VolumeKey]:
        """All that pods ask for."""
        return self._wanted.keys()

    def all(self) -> Iterable[Wanted]:
        """All that pods ask for."""
        return self._wanted.values()

    def of(self, uid: str) -> list[Wanted]:
        """What that pod asks for, as far as it is known what that is."""
        return list(self._of.get(uid, {}).values())

    def get(self, key: VolumeKey) -> Wanted | None:
        """The volume, if a pod that may run asks for it."""
        return self._wanted.get(key)

    def known(self, key: VolumeKey) -> Wanted | None:
        """The volume as it was wanted last in this life."""
        return self._known.get(key)

    def all_resolved(self) -> Iterable[Wanted]:
        """All that were wanted and may still be there, and of which was found out what is behind them."""
        return (each for each in self._known.values() if each.resolved is not None)

    def pod(self, uid: str) -> Pod | None:
        """The pod as last seen."""
        known = self._asked.get(uid)
        return known.pod if known is not None else None

    def problems(self, uid: str) -> Mapping[str, str]:
        """Why volumes that the pod asks for cannot be had whatever happens, by name."""
        known = self._asked.get(uid)
        if known is None:
            return {}
        # Who waits is told of what was found out before it is decided about.
        self._wanted_by(known)
        return {**known.volumes.problems, **known.clashes}

    @property
    def refused(self) -> Set[str]:
        """UIDs of pods whose SELinux labels keep them from volumes now."""
        return self.labels.refused if self.labels is not None else frozenset()

    def refuses(self, key: VolumeKey) -> bool:
        """Whether the pod's SELinux labels keep it from that volume now."""
        return self.labels is not None and self.labels.refuses(key)

    def unlabelled(self, uid: str) -> Mapping[str, str]:
        """Why the pod's SELinux labels keep it from its volumes now, by name."""
        return self.labels.refusals(uid) if self.labels is not None else _NONE

    def asked_since(self, key: VolumeKey) -> float | None:
        """When a pod asked for it first; seconds of the monotonic clock."""
        return self._asked_at.get(key)

    def directory_name(self, uid: str, volume: str) -> str:
        """How the directories of what the pod calls *volume* are named."""
        names = (key.name for key, each in self._known.items() if key.uid == uid and volume in each.names)
        return next(names, volume)

    def unprocessed(self, pod: Pod) -> list[str]:
        """Names of the pod's volumes that nothing is done about."""
        wanted = {name for each in self.of(pod.metadata.uid) for name in each.names}
        return [name for name in self.asked_by(pod).names if name not in wanted]

    def prune(self, alive: Set[str], concerns: Callable[[VolumeKey], bool]) -> None:
        """Forget pods that are not *alive*, and volumes that nobody is concerned with."""
        for uid in self._asked.keys() - alive:
            del self._asked[uid]
        self.resolutions.keep(alive)
        for key in self._known.keys() - self._wanted.keys():
            if not concerns(key):
                del self._known[key]
        for key in self._asked_at.keys() - self._wanted.keys():
            del self._asked_at[key]


def _differs(before: Wanted, wanted: Wanted) -> bool:
    """Whether something changed of the pod that its volume may show."""
    if before.pod is wanted.pod:
        return False
    if before.pod.spec != wanted.pod.spec:
        return True
    old, new = before.pod.metadata, wanted.pod.metadata
    changed = old.labels != new.labels or old.annotations != new.annotations
    return changed and payload.tells_of_pod(wanted.volume)
