import pytest
from tests.volumes.migration.kit import own, own_parts, persistent

KIND, DRIVER = "vsphereVolume", "csi.vsphere.vmware.com"
PATH = "[VSANDatastore] 9ad8b85d-b90a/kubernetes-dynamic-pvc.vmdk"
ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
OLD_ZONE, OLD_REGION = "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region"


def within(zone=None, region=None):
    keys = [("topology.csi.vmware.com/zone", zone), ("topology.csi.vmware.com/region", region)]
    return [{"key": key, "operator": "In", "values": [value]} for key, value in keys if value]


@pytest.mark.parametrize(
    ("source", "attributes"),
    [
        ({}, {}),
        ({"storagePolicyName": "gold"}, {"volumeAttributes": {"storagepolicyname": "gold"}}),
        ({"storagePolicyID": "7", "fsType": "ext4"}, {"fsType": "ext4"}),
    ],
)
def test_disks(source, attributes):
    csi = {"driver": DRIVER, "volumeHandle": PATH, **attributes}
    assert persistent(KIND, {"volumePath": PATH, **source}) == {"csi": csi}
    assert own_parts(KIND, {"volumePath": PATH, **source}) == (
        f"csi.vsphere.vmware.com-{PATH}",
        ["ReadWriteOnce"],
        csi,
    )


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        ({ZONE: "z", REGION: "r"}, within("z", "r")),
        ({OLD_ZONE: "z", OLD_REGION: "r"}, within("z", "r")),
        ({ZONE: "z"}, within("z")),
        ({REGION: "r"}, within(None, "r")),
        # A region goes by the name of the age that the zone's has.
        ({OLD_ZONE: "z", REGION: "r"}, within("z")),
        # This provider's volumes are in one zone.
        ({ZONE: "a__b"}, within("a__b")),
        ({ZONE: "", REGION: " "}, None),
        ({}, None),
    ],
)
def test_zones_and_regions_by_labels(labels, wanted):
    spec = persistent(KIND, {"volumePath": PATH}, labels=labels)
    if wanted is None:
        assert "nodeAffinity" not in spec
    else:
        assert spec["nodeAffinity"] == {"required": {"nodeSelectorTerms": [{"matchExpressions": wanted}]}}


def test_zones_and_regions_by_affinity():
    asked = [
        {"key": OLD_ZONE, "operator": "In", "values": ["z"]},
        {"key": OLD_REGION, "operator": "In", "values": ["r"]},
    ]
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": asked}]}}
    spec = persistent(KIND, {"volumePath": PATH}, nodeAffinity=affinity, labels={ZONE: "other"})
    assert spec["nodeAffinity"]["required"]["nodeSelectorTerms"] == [{"matchExpressions": within("z", "r")}]


def test_its_name_makes_one_directory():
    assert own(KIND, {"volumePath": PATH}).directory == (
        "csi.vsphere.vmware.com-[VSANDatastore] 9ad8b85d-b90a~kubernetes-dynamic-pvc.vmdk"
    )
