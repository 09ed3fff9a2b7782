import pytest
from tests.volumes.fake_driver import CSI, Cluster, Driver, bound
from tests.volumes.managed import pod_of

from pykubelet.api import codec
from pykubelet.api.cloud_volumes import CinderVolumeSource
from pykubelet.api.storage import CinderPersistentVolumeSource
from pykubelet.api.volumes import PersistentVolumeClaimVolumeSource, Volume
from pykubelet.base.errors import VolumeError
from pykubelet.volumes import migration
from pykubelet.volumes.resolver import Resolver

CLAIM = Volume(name="v", persistentVolumeClaim=PersistentVolumeClaimVolumeSource(claimName="a"))


def cluster_with(**source):
    cluster = Cluster()
    cluster.bound["a"] = bound("a", **source)
    return cluster


async def test_a_cloud_providers_claim_grows_as_any_other():
    old = CinderPersistentVolumeSource(volumeID="disk")
    for cluster in (cluster_with(), cluster_with(csi=None, cinder=old)):
        found = await Resolver(cluster, [Driver()], {}).resolve(pod_of(), CLAIM)
        assert (found.plugin, found.expandable) == (CSI, True)
    assert found.device.unique_name == f"{CSI}/cinder.csi.openstack.org^disk"


async def test_a_cloud_providers_volume_of_a_pod_does_not_grow():
    volume = Volume(name="v", cinder=CinderVolumeSource(volumeID="disk"))
    found = await Resolver(Cluster(), [Driver()], {}).resolve(pod_of(), volume)
    assert (found.plugin, found.expandable) == (CSI, False)
    assert found.device.unique_name == f"{CSI}/cinder.csi.openstack.org^disk"
    assert found.spec.volume is volume


async def test_without_csi_nothing_is_translated():
    resolver = Resolver(cluster_with(csi=None, cinder=CinderPersistentVolumeSource()), [], {})
    assert resolver.sources.isdisjoint(migration.CLOUDS)
    with pytest.raises(VolumeError, match='volume "v" of type cinder is not supported yet by this kubelet'):
        await resolver.resolve(pod_of(), CLAIM)
    assert Resolver(Cluster(), [Driver()], {}).sources >= set(migration.CLOUDS)


@pytest.mark.parametrize("kind", ["rbd", "iscsi", "flexVolume", "gitRepo"])
async def test_what_is_refused_stays_so(kind):
    volume = codec.convert({"name": "v", kind: {}}, Volume)
    with pytest.raises(VolumeError, match=f"of type {kind} is"):
        await Resolver(Cluster(), [Driver()], {}).resolve(pod_of(), volume)
