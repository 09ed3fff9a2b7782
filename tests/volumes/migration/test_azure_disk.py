import pytest
from tests.volumes.migration.kit import own, own_parts, persistent

from pykubelet.base.errors import VolumeError

KIND, DRIVER = "azureDisk", "disk.csi.azure.com"
URI = "/subscriptions/12/resourceGroups/23/providers/Microsoft.Compute/disks/name"


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ({}, {"volumeAttributes": {"kind": "Managed"}}),
        ({"kind": "managed"}, {"volumeAttributes": {"kind": "Managed"}}),
        (
            {"kind": "Managed", "cachingMode": "ReadOnly", "fsType": "xfs", "readOnly": True},
            {
                "fsType": "xfs",
                "readOnly": True,
                "volumeAttributes": {"kind": "Managed", "cachingmode": "ReadOnly", "fstype": "xfs"},
            },
        ),
        (
            {"fsType": "", "readOnly": False, "cachingMode": ""},
            {"volumeAttributes": {"kind": "Managed", "cachingmode": "", "fstype": ""}},
        ),
    ],
)
def test_managed_disks(source, wanted):
    source = {"diskName": "name", "diskURI": URI, **source}
    assert persistent(KIND, source) == {"csi": {"driver": DRIVER, "volumeHandle": URI, **wanted}}
    # Of a pod's own volume an empty caching mode is not told.
    attributes = {
        key: value for key, value in wanted["volumeAttributes"].items() if (key, value) != ("cachingmode", "")
    }
    name, modes, csi = own_parts(KIND, source)
    assert (name, modes) == (URI, ["ReadWriteOnce"])
    assert csi == {"driver": DRIVER, "volumeHandle": URI, **wanted, "volumeAttributes": attributes}
    assert own(KIND, source).read_only == wanted.get("readOnly", False)


@pytest.mark.parametrize("kind", ["Shared", "Dedicated", "", "Manage"])
def test_disks_in_blob_storage(kind):
    source = {"diskName": "name", "diskURI": "https://x.blob.core.windows.net/vhds/name.vhd", "kind": kind}
    for translated in (persistent, own):
        with pytest.raises(VolumeError) as caught:
            translated(KIND, source)
        assert str(caught.value) == (
            f"failed to translate in-tree pv to CSI: kind({kind}) is not supported in csi migration"
        )


def test_zones_are_left_as_they_are():
    spec = persistent(KIND, {"diskURI": URI}, labels={"topology.kubernetes.io/zone": "westus-1"})
    assert "nodeAffinity" not in spec


def test_its_name_makes_one_directory():
    assert own(KIND, {"diskURI": URI}).directory == URI.replace("/", "~")
