import pytest
from tests.volumes.migration.kit import own, own_parts, persistent

from pykubelet.base.errors import VolumeError
from pykubelet.volumes.migration.aws_ebs import volume_id

KIND, DRIVER = "awsElasticBlockStore", "ebs.csi.aws.com"


@pytest.mark.parametrize(
    ("named", "found"),
    [
        ("vol-02399794d890f9375", "vol-02399794d890f9375"),
        ("aws:///vol-02399794d890f9375", "vol-02399794d890f9375"),
        ("aws://us-east-1a/vol-02399794d890f9375", "vol-02399794d890f9375"),
        ("aws://us-east-1a//vol-1/", "vol-1"),
        ("aws://us-east-1a/vol-1?x=y#z", "vol-1"),
        ("aws://us-east-1a/vol%2D1", "vol-1"),
        ("aws://us-east-1a/vol-", "vol-"),
        # What is no address is taken for Amazon's own name.
        ("02399794d890f9375", "02399794d890f9375"),
        ("AWS://us-east-1a/vol-1", "AWS://us-east-1a/vol-1"),
        ("aws:/vol-1", "aws:/vol-1"),
        ("", ""),
    ],
)
def test_names_of_volumes(named, found):
    assert volume_id(named) == found


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        (
            "aws://us-west-2a/02399794d890f9375",
            "Invalid format for AWS volume (aws://us-west-2a/02399794d890f9375)",
        ),
        ("aws://", "Invalid format for AWS volume (aws://)"),
        ("aws://vol-1", "Invalid format for AWS volume (aws://vol-1)"),
        ("aws://us-west-2a/x/vol-1", "Invalid format for AWS volume (aws://us-west-2a/x/vol-1)"),
        ("aws://us-west-2a/vol-1/x", "Invalid format for AWS volume (aws://us-west-2a/vol-1/x)"),
        (
            "aws://a/vol-%zz",
            'Invalid disk name (aws://a/vol-%zz): parse "aws://a/vol-%zz": invalid URL escape "%zz"',
        ),
        (
            "aws://a/vol-1\n",
            'Invalid disk name (aws://a/vol-1\n): parse "aws://a/vol-1\\n": '
            "net/url: invalid control character in URL",
        ),
    ],
)
def test_addresses_of_something_else(named, problem):
    head = "failed to translate in-tree pv to CSI: failed to translate Kubernetes ID to EBS Volume ID "
    for translated in (persistent, own):
        with pytest.raises(VolumeError) as caught:
            translated(KIND, {"volumeID": named})
        assert str(caught.value) == head + problem
        assert caught.value.left == "unchanged"


def test_a_persistent_volume():
    source = {"volumeID": "aws://us-east-1a/vol-1", "fsType": "xfs", "partition": 2, "readOnly": True}
    rest = {"capacity": {"storage": "1Gi"}, "mountOptions": ["noatime"], "volumeMode": "Block"}
    assert persistent(KIND, source, accessModes=["ReadWriteOncePod"], **rest) == {
        "accessModes": ["ReadWriteOncePod"],
        "csi": {
            "driver": DRIVER,
            "volumeHandle": "vol-1",
            "fsType": "xfs",
            "readOnly": True,
            "volumeAttributes": {"partition": "2"},
        },
        **rest,
    }


def test_zones():
    spec = persistent(KIND, {"volumeID": "vol-1"}, labels={"topology.kubernetes.io/zone": "us-east-1a"})
    (term,) = spec["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [
        {"key": "topology.ebs.csi.aws.com/zone", "operator": "In", "values": ["us-east-1a"]}
    ]


@pytest.mark.parametrize("named", ["vol-1", "aws:///vol-1", "aws://us-east-1a/vol-1"])
def test_a_pods_own(named):
    """However it is named, the controller and all pods have one name for it."""
    assert own_parts(KIND, {"volumeID": named}) == (
        "ebs.csi.aws.com-vol-1",
        ["ReadWriteOnce"],
        {"driver": DRIVER, "volumeHandle": "vol-1", "volumeAttributes": {"partition": "0"}},
    )
    assert own(KIND, {"volumeID": named, "readOnly": True}).read_only
    assert not own(KIND, {"volumeID": named}).read_only
