import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.volumes.migration.kit import CLAIMED, own, persistent

from pykubelet.api import codec
from pykubelet.api.storage import PersistentVolume
from pykubelet.api.volumes import Volume
from pykubelet.cluster import csi_node_object
from pykubelet.volumes import kinds
from pykubelet.volumes.csi.paths import attachment_name, check_name, unique_name
from pykubelet.volumes.csi.source import persistent as checked
from pykubelet.volumes.migration import CLOUDS, translate
from pykubelet.volumes.spec import VolumeSpec

ZONE, OLD_ZONE = "topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=40)
ZONES = st.lists(st.sampled_from(["eu-west1-a", "eu-west1-b", "eu-west1-c"]), max_size=3).map("__".join)
COMMON = {"readOnly": st.booleans()}
DISKS = {**COMMON, "fsType": st.sampled_from(["", "ext4", "xfs"])}

#: Sources that an API server takes, and that drivers have.
VALID = {
    "awsElasticBlockStore": {
        **DISKS,
        "volumeID": st.one_of(
            st.from_regex(r"(aws://[a-z0-9-]*/)?vol-[0-9a-f]{1,17}", fullmatch=True),
            NAMES.filter(lambda name: not name.startswith("aws://")),
        ),
        "partition": st.integers(0, 255),
    },
    "azureDisk": {
        **DISKS,
        "diskName": NAMES,
        "diskURI": NAMES.map("/subscriptions/".__add__),
        "kind": st.just("Managed"),
        "cachingMode": st.sampled_from(["None", "ReadOnly", "ReadWrite"]),
    },
    "azureFile": {**COMMON, "secretName": NAMES, "shareName": NAMES},
    "cinder": {**DISKS, "volumeID": NAMES, "secretRef": st.none() | st.just({"name": "s"})},
    "gcePersistentDisk": {**DISKS, "pdName": NAMES, "partition": st.integers(0, 255)},
    "portworxVolume": {**DISKS, "volumeID": NAMES},
    "vsphereVolume": {"fsType": DISKS["fsType"], "volumePath": NAMES, "storagePolicyName": NAMES},
}
SOURCES = st.sampled_from(sorted(VALID)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.fixed_dictionaries(VALID[kind]))
)
LABELS = st.fixed_dictionaries({}, optional={ZONE: ZONES, OLD_ZONE: ZONES})
TERMS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "matchExpressions": st.lists(
                st.fixed_dictionaries(
                    {
                        "key": st.sampled_from([ZONE, OLD_ZONE, "x"]),
                        "operator": st.just("In"),
                        "values": st.lists(NAMES),
                    }
                ),
                max_size=3,
            )
        },
    ),
    max_size=3,
)


@given(SOURCES, LABELS, TERMS, st.lists(st.sampled_from(["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"])))
def test_every_valid_persistent_volume_is_translated(source, labels, terms, modes):
    affinity = {"required": {"nodeSelectorTerms": terms}}
    claim = {"namespace": "shop", "name": "c"}
    spec = persistent(*source, labels=labels, nodeAffinity=affinity, accessModes=modes, claimRef=claim)
    assert spec["csi"]["driver"] == CLOUDS[source[0]].driver
    assert spec["csi"]["volumeHandle"]
    # Nothing that nodes had to fulfil is lost.
    before = sum(len(term.get("matchExpressions", [])) for term in terms)
    after = spec.get("nodeAffinity", {}).get("required", {}).get("nodeSelectorTerms", [])
    assert sum(len(term.get("matchExpressions", [])) for term in after) >= before


@given(SOURCES, st.text("abc-", min_size=1))
def test_every_valid_volume_of_a_pod_is_translated(source, name):
    found = own(*source, name=name)
    assert found.read_only == source[1].get("readOnly", False)
    # All steps of CSI can be done with it.
    checked(found)
    check_name("volume", found.directory)
    # Who names the same has the same, whatever else the pods say.
    assert own(*source, name=name).name == found.name
    assert translate(found, "shop") is found


@pytest.mark.parametrize("kind", sorted(set(kinds.SOURCES) - set(CLOUDS)))
def test_all_others_stay_as_they_are(kind):
    spec = VolumeSpec(codec.convert({"name": "v", kind: {}}, Volume))
    assert translate(spec, "shop") is spec


def test_several_sources_stay_as_they_are():
    pv = codec.convert({"spec": {"cinder": {}, "azureFile": {}}}, PersistentVolume)
    spec = VolumeSpec(CLAIMED, pv)
    assert translate(spec, "shop") is spec


def test_a_claims_read_only_counts_and_not_the_volumes():
    pv = codec.convert({"spec": {"cinder": {"volumeID": "i", "readOnly": True}}}, PersistentVolume)
    for source, wanted in (
        ({"persistentVolumeClaim": {"claimName": "c", "readOnly": True}}, True),
        ({"persistentVolumeClaim": {"claimName": "c"}}, False),
        ({"ephemeral": {}}, False),
    ):
        volume = codec.convert({"name": "data", **source}, Volume)
        assert translate(VolumeSpec(volume, pv), "shop").read_only == wanted


def test_the_cluster_is_told_of_all_that_is_translated():
    told = csi_node_object.bare("n", "u").metadata.annotations["storage.alpha.kubernetes.io/migrated-plugins"]
    assert told.split(",") == sorted(cloud.plugin for cloud in CLOUDS.values())


def test_names_that_the_controller_has_too():
    """By upstream's rules: sha256 of handle, driver and node; the unique name of the CSI plug-in."""
    source = own("gcePersistentDisk", {"pdName": "disk"}).pv.spec.csi
    assert unique_name(source.driver, source.volumeHandle) == (
        "kubernetes.io/csi/pd.csi.storage.gke.io^projects/UNSPECIFIED/zones/UNSPECIFIED/disks/disk"
    )
    assert attachment_name(source.volumeHandle, source.driver, "node-1") == (
        "csi-5a1883be2deee8061feb70591b147f9dbfe5953a6619fdf2b25bf4d9bedee14f"
    )
