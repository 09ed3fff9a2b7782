import pytest
from tests.volumes.migration.kit import own, own_parts, persistent

from pykubelet.base.errors import VolumeError

KIND, DRIVER = "gcePersistentDisk", "pd.csi.storage.gke.io"
ZONE, OLD_ZONE = "topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"


@pytest.mark.parametrize(
    ("labels", "place"),
    [
        ({}, "zones/UNSPECIFIED"),
        ({ZONE: ""}, "zones/UNSPECIFIED"),
        ({ZONE: "us-central1-a"}, "zones/us-central1-a"),
        ({OLD_ZONE: "us-central1-b", ZONE: "us-central1-a"}, "zones/us-central1-b"),
        ({OLD_ZONE: "", ZONE: "us-central1-a"}, "zones/us-central1-a"),
        # One zone is not looked into.
        ({ZONE: "somewhere"}, "zones/somewhere"),
        ({ZONE: "us-central1-a__us-central1-c"}, "regions/us-central1"),
        ({OLD_ZONE: "us-central1-c__us-central1-a__us-central1-b"}, "regions/us-central1"),
    ],
)
def test_where_a_persistent_volume_lies(labels, place):
    spec = persistent(KIND, {"pdName": "disk"}, labels=labels)
    assert spec["csi"] == {
        "driver": DRIVER,
        "volumeHandle": f"projects/UNSPECIFIED/{place}/disks/disk",
        "volumeAttributes": {"partition": ""},
    }


def test_the_nodes_of_a_regional_volume():
    spec = persistent(KIND, {"pdName": "disk"}, labels={ZONE: "us-central1-c__us-central1-a"})
    (term,) = spec["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [
        {"key": "topology.gke.io/zone", "operator": "In", "values": ["us-central1-a", "us-central1-c"]}
    ]


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        (
            "us-central1-a__europe-west1-a",
            "multiple or no regions gotten from zones, got: map[europe-west1:{} us-central1:{}]",
        ),
        (
            "us-central1-a__b",
            "zone in unexpected format, expected: {locale}-{region}-{zone}, got: b",
        ),
        ("__", "zone in unexpected format, expected: {locale}-{region}-{zone}, got: "),
    ],
)
def test_zones_of_no_region(label, problem):
    with pytest.raises(VolumeError) as caught:
        persistent(KIND, {"pdName": "disk"}, labels={ZONE: label})
    assert str(caught.value) == (
        f"failed to translate in-tree pv to CSI: failed to get region from zones: {problem}"
    )


@pytest.mark.parametrize(
    ("modes", "wanted"),
    [
        ([], []),
        (["ReadWriteOnce"], ["ReadWriteOnce"]),
        (["ReadOnlyMany"], ["ReadOnlyMany"]),
        (["ReadWriteMany"], ["ReadWriteOnce"]),
        (["ReadWriteOnce", "ReadOnlyMany"], ["ReadWriteOnce"]),
        (["ReadOnlyMany", "ReadWriteMany"], ["ReadWriteOnce"]),
        (["ReadWriteOncePod"], ["ReadWriteOnce"]),
    ],
)
def test_access_modes(modes, wanted):
    assert persistent(KIND, {"pdName": "disk"}, accessModes=modes).get("accessModes", []) == wanted


def test_a_partition():
    spec = persistent(KIND, {"pdName": "disk", "fsType": "ext4", "partition": 3, "readOnly": True})
    assert spec["csi"]["volumeAttributes"] == {"partition": "3"}
    assert (spec["csi"]["fsType"], spec["csi"]["readOnly"]) == ("ext4", True)


@pytest.mark.parametrize(("read_only", "mode"), [(False, "ReadWriteOnce"), (True, "ReadOnlyMany")])
def test_a_pods_own(read_only, mode):
    source = {"pdName": "disk", "readOnly": read_only}
    name, modes, csi = own_parts(KIND, source)
    assert (name, modes) == ("pd.csi.storage.gke.io-disk", [mode])
    assert csi["volumeHandle"] == "projects/UNSPECIFIED/zones/UNSPECIFIED/disks/disk"
    assert csi["volumeAttributes"] == {"partition": ""}
    assert own(KIND, source).read_only == read_only
