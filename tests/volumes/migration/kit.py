"""Volumes as the API has them, and what becomes of them for a CSI driver."""

from pykubelet.api import codec
from pykubelet.api.storage import PersistentVolume
from pykubelet.api.volumes import Volume
from pykubelet.volumes.migration import translate
from pykubelet.volumes.spec import VolumeSpec

CLAIMED = codec.convert({"name": "data", "persistentVolumeClaim": {"claimName": "c"}}, Volume)


def persistent(kind, source, *, labels=None, annotations=None, **spec):
    """What a persistent volume ``pv-1`` with that source becomes: its spec as the API would show it."""
    meta = {"name": "pv-1", "labels": labels or {}, "annotations": annotations or {}}
    pv = codec.convert({"metadata": meta, "spec": {kind: source, **spec}}, PersistentVolume)
    before = codec.encode(pv)
    found = translate(VolumeSpec(CLAIMED, pv), "shop")
    assert codec.encode(pv) == before
    assert found.migrated_from == kind
    assert found.kinds == ("csi",)
    assert (found.name, found.inline, found.read_only) == ("pv-1", False, False)
    assert found.pv.metadata == pv.metadata
    return codec.to_builtins(found.pv.spec)


def own(kind, source, name="data", namespace="shop"):
    """What a pod's own volume becomes."""
    volume = codec.convert({"name": name, kind: source}, Volume)
    found = translate(VolumeSpec(volume), namespace)
    assert found.migrated_from == kind
    assert (found.volume, found.kinds, found.inline, found.block) == (volume, ("csi",), True, False)
    return found


def own_parts(kind, source, **place):
    """Name, access modes and CSI source of what a pod's own volume becomes."""
    found = own(kind, source, **place)
    return found.name, found.pv.spec.accessModes, codec.to_builtins(found.pv.spec.csi)
