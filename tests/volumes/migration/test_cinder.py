from tests.volumes.migration.kit import own, own_parts, persistent

KIND, DRIVER = "cinder", "cinder.csi.openstack.org"


def test_a_persistent_volume():
    source = {
        "volumeID": "id",
        "fsType": "xfs",
        "readOnly": True,
        "secretRef": {"name": "s", "namespace": "n"},
    }
    spec = persistent(KIND, source, labels={"failure-domain.beta.kubernetes.io/zone": "nova"})
    assert spec["csi"] == {"driver": DRIVER, "volumeHandle": "id", "fsType": "xfs", "readOnly": True}
    (term,) = spec["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [
        {"key": "topology.cinder.csi.openstack.org/zone", "operator": "In", "values": ["nova"]}
    ]


def test_a_pods_own():
    source = {"volumeID": "id", "secretRef": {"name": "s"}}
    assert own_parts(KIND, source) == (
        "cinder.csi.openstack.org-id",
        ["ReadWriteOnce"],
        {"driver": DRIVER, "volumeHandle": "id"},
    )
    assert own(KIND, {**source, "readOnly": True}).read_only
