"""Zones and regions of persistent volumes, by the labels that CSI drivers give to nodes. Pure."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from msgspec.structs import replace

from pykubelet.api.core import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from pykubelet.api.storage import PersistentVolume, VolumeNodeAffinity

Affinity = VolumeNodeAffinity | None

ZONE: Final = "topology.kubernetes.io/zone"
REGION: Final = "topology.kubernetes.io/region"
#: Their names before 1.17.
OLD_ZONE: Final = "failure-domain.beta.kubernetes.io/zone"
OLD_REGION: Final = "failure-domain.beta.kubernetes.io/region"

#: Stands between the zones of a volume that is in several, in its label.
DELIMITER: Final = "__"


def zonal(zone: str) -> Callable[[PersistentVolume], Affinity]:
    """The translation for drivers whose nodes have the label *zone* alone."""

    def translated(pv: PersistentVolume) -> Affinity:
        old_zone, old_region = _names(pv)
        label = pv.metadata.labels.get(old_zone)
        zones = label.split(DELIMITER) if label is not None else ()
        affinity = _moved(pv.spec.nodeAffinity, old_zone, zone, zones)
        # New nodes have no label of the old name.
        return _moved(affinity, old_region, REGION, ()) if old_region == OLD_REGION else affinity

    return translated


def zonal_and_regional(zone: str, region: str) -> Callable[[PersistentVolume], Affinity]:
    """The translation for drivers whose nodes have both labels; a volume's own label names one of each."""

    def translated(pv: PersistentVolume) -> Affinity:
        affinity = pv.spec.nodeAffinity
        for old, new in zip(_names(pv), (zone, region), strict=True):
            affinity = _moved(affinity, old, new, [pv.metadata.labels.get(old, "")])
        return affinity

    return translated


def _names(pv: PersistentVolume) -> tuple[str, str]:
    """What the volume calls its zone and region: its affinity counts more than its labels."""
    names: tuple[Iterable[str], Mapping[str, str]] = (_keys(pv.spec.nodeAffinity), pv.metadata.labels)
    for told in names:
        if ZONE in told:
            break
        if OLD_ZONE in told:
            return OLD_ZONE, OLD_REGION
    return ZONE, REGION


def _terms(affinity: Affinity) -> list[NodeSelectorTerm]:
    required = affinity.required if affinity is not None else None
    return required.nodeSelectorTerms if required is not None else []


def _requirements(affinity: Affinity) -> list[NodeSelectorRequirement]:
    return [requirement for term in _terms(affinity) for requirement in term.matchExpressions]


def _keys(affinity: Affinity) -> set[str]:
    return {requirement.key for requirement in _requirements(affinity)}


def _moved(affinity: Affinity, old: str, new: str, values: Iterable[str]) -> Affinity:
    """With *new* for *old* where that has values, else with *new* in one of *values*, if there are any."""
    if any(each.key == old and each.values for each in _requirements(affinity)):
        return _each_term(affinity, lambda found: [_renamed(each, old, new) for each in found])
    told = sorted({value.strip() for value in values} - {""})
    if not told:
        return affinity
    added = NodeSelectorRequirement(key=new, operator="In", values=told)
    return _each_term(affinity, lambda found: [*found, added])


def _renamed(requirement: NodeSelectorRequirement, old: str, new: str) -> NodeSelectorRequirement:
    return replace(requirement, key=new) if requirement.key == old else requirement


def _each_term(
    affinity: Affinity, change: Callable[[list[NodeSelectorRequirement]], list[NodeSelectorRequirement]]
) -> VolumeNodeAffinity:
    terms = [
        replace(term, matchExpressions=change(term.matchExpressions))
        for term in _terms(affinity) or [NodeSelectorTerm()]
    ]
    return VolumeNodeAffinity(required=NodeSelector(nodeSelectorTerms=terms))
