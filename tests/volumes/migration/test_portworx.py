import pytest
from tests.volumes.migration.kit import own, own_parts, persistent

KIND, DRIVER = "portworxVolume", "pxd.portworx.com"
NAME, NAMESPACE = "openstorage.io/auth-secret-name", "openstorage.io/auth-secret-namespace"
REFERENCES = (
    "controllerPublishSecretRef",
    "nodeStageSecretRef",
    "nodePublishSecretRef",
    "controllerExpandSecretRef",
    "nodeExpandSecretRef",
)


@pytest.mark.parametrize(
    ("annotations", "secret"),
    [
        ({}, None),
        ({NAME: "s"}, None),
        ({NAMESPACE: "n"}, None),
        ({NAME: "s", NAMESPACE: "n"}, {"name": "s", "namespace": "n"}),
    ],
)
def test_a_persistent_volume(annotations, secret):
    source = {"volumeID": "id", "fsType": "xfs", "readOnly": True}
    spec = persistent(KIND, source, annotations=annotations, accessModes=["ReadWriteMany"])
    told = dict.fromkeys(REFERENCES, secret) if secret else {}
    assert spec["csi"] == {"driver": DRIVER, "volumeHandle": "id", "fsType": "xfs", **told}
    assert spec["accessModes"] == ["ReadWriteMany"]


def test_a_pods_own():
    assert own_parts(KIND, {"volumeID": "id"}) == (
        "pxd.portworx.com-id",
        ["ReadWriteOnce"],
        {"driver": DRIVER, "volumeHandle": "id"},
    )
    found = own(KIND, {"volumeID": "id", "readOnly": True})
    assert (found.pv.spec.accessModes, found.read_only) == (["ReadOnlyMany"], True)
