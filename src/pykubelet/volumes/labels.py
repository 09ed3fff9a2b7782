"""The SELinux labels that volumes are mounted with, and the pods that cannot have them so. No I/O.

A volume is mounted with one label for all pods of the node: the first pod decides. Another one
that needs another label waits until no pod has the volume any more.
"""

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol

from pykubelet.base.gotext import go_quote

from . import selinux
from .selinux import LabelError, Labelling
from .state import VolumeKey, Wanted

#: What differs: nothing can be told of a container; containers of one pod; pods of one volume.
Trouble = Literal["container", "pod_context_mismatch", "volume_context_mismatch"]

Volumes = Mapping[VolumeKey, Wanted]


class Count(Protocol):
    """Who counts."""

    def admitted(self, wanted: Wanted) -> None:
        """A volume is wanted that is, or with another gate would be, mounted with a label."""
        ...

    def trouble(self, trouble: Trouble, wanted: Wanted, *, fatal: bool) -> None:
        """A pod cannot have it, or (not *fatal*) could not with another gate."""
        ...


@dataclass(slots=True)
class _Volume:
    """What was decided for a volume."""

    #: The label that the first pod needs; empty: none, or it does not matter.
    needed: str
    #: The one that it is mounted with.
    label: str
    users: set[VolumeKey] = field(default_factory=set)

    def label_for(self, needed: str) -> str:
        """With which label a pod that needs that one is given it; none where it was merely warned."""
        return self.label if needed == self.needed else ""


@dataclass(frozen=True, slots=True)
class _Given:
    """A volume as a pod is given it."""

    name: str
    label: str
    asked: Wanted
    given: Wanted


class _Refused(Exception):
    pass


class Labels:
    """Decides, and remembers while a pod that has the volume may run."""

    def __init__(self, labelling: Labelling, count: Count) -> None:
        self._labelling: Final = labelling
        self._count = count
        self._volumes: dict[str, _Volume] = {}
        self._given: dict[VolumeKey, _Given] = {}
        self._refused: dict[VolumeKey, tuple[Wanted, str]] = {}
        #: What was refused at the last look, and why.
        self._counted: dict[VolumeKey, str] = {}

    @property
    def refused(self) -> Set[str]:
        """UIDs of pods that cannot have a volume now."""
        return {key.uid for key in self._refused}

    def refuses(self, key: VolumeKey) -> bool:
        """Whether its pod cannot have that volume now."""
        return key in self._refused

    def settle(
        self, asked: Mapping[str, Volumes], kept: Set[str], there: Callable[[Wanted], str | None]
    ) -> dict[str, dict[VolumeKey, Wanted]]:
        """What pods are given of what they *asked* for, by their UIDs: with labels, without what is refused.

        *kept* are pods whose containers may run; *there* tells the label of a volume that a pod has
        already, None when it has not: it stays so, whatever the pod would be given now.
        """
        self._forget(asked, kept)
        self._counted = {key: text for key, (_, text) in self._refused.items()}
        self._refused = {}
        fresh = [
            (key, wanted, wanted.resolved.labelled, there(wanted))
            for volumes in asked.values()
            for key, wanted in volumes.items()
            if wanted.resolved is not None and key not in self._given
        ]
        # Those that have it first: the others are held against them.
        for key, wanted, labelled, label in fresh:
            if label or (labelled and label is not None):
                self._admit(key, wanted, label)
        for key, wanted, labelled, _ in fresh:
            if key not in self._given and (labelled or wanted.unique_name in self._volumes):
                self._admit(key, wanted, None)
        return {uid: dict(self._labelled(volumes)) for uid, volumes in asked.items()}

    def refusals(self, uid: str) -> dict[str, str]:
        """Why the pod cannot have volumes now, by the names that it has for them."""
        return {
            name: text
            for key, (wanted, text) in self._refused.items()
            if key.uid == uid
            for name in wanted.names
        }

    def _forget(self, asked: Mapping[str, Volumes], kept: Set[str]) -> None:
        for key, given in list(self._given.items()):
            ends = key.uid not in asked
            if key.uid in kept and (ends or key in asked[key.uid]):
                continue
            del self._given[key]
            volume = self._volumes[given.name]
            volume.users.discard(key)
            if not volume.users:
                del self._volumes[given.name]

    def _labelled(self, volumes: Volumes) -> Iterable[tuple[VolumeKey, Wanted]]:
        for key, wanted in volumes.items():
            given = self._given.get(key)
            if given is None:
                if key not in self._refused:
                    yield key, wanted
                continue
            if given.asked is not wanted:
                given = self._given[key] = replace(given, asked=wanted, given=_mounted(wanted, given.label))
            yield key, given.given

    def _admit(self, key: VolumeKey, wanted: Wanted, there: str | None) -> None:
        """Let the pod have the volume, which is *there* with that label for it already; or refuse it."""
        pv = wanted.resolved.spec.pv if wanted.resolved is not None else None
        fatal = selinux.mountable(pv, every_mode=self._labelling.every_mode)
        name = wanted.unique_name
        volume = self._volumes.get(name)
        label, trouble, text = self._needed(wanted)
        if not trouble and volume is not None and label != volume.needed:
            trouble = "volume_context_mismatch"
            pair = f"{go_quote(volume.needed)} and {go_quote(label)}"
            text = f"conflicting SELinux labels of volume {wanted.called}: {pair}"
        if trouble and there is None:
            # A pod that is refused waits, and is looked at again and again: it counts once.
            if self._counted.get(key) != text:
                self._count.trouble(trouble, wanted, fatal=fatal)
            if fatal:
                self._refused[key] = (wanted, text)
                return
        if volume is None:
            volume = self._volumes[name] = _Volume(label, _decided(label, there, fatal=fatal))
            if label:
                self._count.admitted(wanted)
        volume.users.add(key)
        label = volume.label_for(label) if there is None else there
        self._given[key] = _Given(name, label, wanted, _mounted(wanted, label))

    def _needed(self, wanted: Wanted) -> tuple[str, Trouble | None, str]:
        """The label that a pod needs mounted; else what is wrong, and in which words."""
        try:
            labels = selinux.labels_of(self._labelling.host, wanted.pod, wanted.names)
        except LabelError as error:
            return "", "container", str(error)
        if "" in labels:
            # Only the runtime will know: it relabels, as ever.
            return "", None, ""
        if len(labels) > 1:
            return "", "pod_context_mismatch", f"multiple SELinux labels found: {','.join(sorted(labels))}"
        return "" if selinux.recursive(wanted.pod) else next(iter(labels), ""), None, ""


def _decided(needed: str, there: str | None, *, fatal: bool) -> str:
    """The label that a volume is mounted with for pods that need that one, from its first pod on.

    What is *there* for that one may be shared: it has the label already, or the runtime gives it to the
    files. Else the others would wait for its end, which may wait for theirs (a rolling update).
    """
    if there is not None and there in ("", needed):
        return there
    return needed if fatal else ""


def _mounted(wanted: Wanted, label: str) -> Wanted:
    """The volume, to be mounted with *label*."""
    if not label or wanted.resolved is None:
        return wanted
    return replace(wanted, resolved=replace(wanted.resolved, spec=replace(wanted.resolved.spec, label=label)))
