import pytest

from pykubelet.api import codec
from pykubelet.api.storage import PersistentVolume
from pykubelet.api.volumes import Volume
from pykubelet.volumes import kinds, migration
from pykubelet.volumes.spec import VolumeSpec


def volume_of(kind):
    return codec.convert({"name": "v", kind: {}}, Volume)


@pytest.mark.parametrize("kind", kinds.SOURCES)
def test_every_kind_is_known_and_named(kind):
    volume = volume_of(kind)
    assert kinds.kinds_of(volume) == (kind,)
    text = kinds.refusal(volume, kind)
    assert '"v"' in text
    assert kind in text


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("secret", 'volume "v" of type secret is not supported yet by this kubelet'),
        (
            "persistentVolumeClaim",
            'volume "v" of type persistentVolumeClaim is not supported yet by this kubelet',
        ),
        (
            "rbd",
            'volume "v" of type rbd is not part of the kubelet any more: use the CSI driver rbd.csi.ceph.com',
        ),
        ("flocker", 'volume "v" of type flocker is not part of the kubelet any more: use a CSI driver'),
        (
            "gitRepo",
            'volume "v" of type gitRepo is refused: clone the repository '
            "in an init container into an emptyDir volume instead",
        ),
    ],
)
def test_the_texts(kind, text):
    assert kinds.refusal(volume_of(kind), kind) == text


@pytest.mark.parametrize("kind", [*kinds.GONE, "fc", "iscsi", "flexVolume"])
def test_a_persistent_volume_of_a_kind_that_is_not_here_is_told_as_well(kind):
    pv = codec.convert({"metadata": {"name": "pv-1"}, "spec": {kind: {}}}, PersistentVolume)
    volume = codec.convert({"name": "v", "persistentVolumeClaim": {"claimName": "c"}}, Volume)
    assert VolumeSpec(volume, pv).kinds == (kind,)
    text = kinds.refusal(volume, kind)
    assert f'volume "v" of type {kind} is not' in text
    assert ("use " in text) == (kind in kinds.GONE)


def test_all_that_is_gone_is_a_source_and_not_translated():
    assert set(kinds.GONE) <= set(kinds.SOURCES) - set(migration.CLOUDS)
