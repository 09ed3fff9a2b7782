import pytest
from tests.volumes.persistent import spec_of

from pykubelet.api.volumes import NFSVolumeSource, Volume
from pykubelet.volumes.spec import VolumeSpec

OLD = "volume.beta.kubernetes.io/mount-options"


@pytest.mark.parametrize(
    ("options", "annotations", "wanted"),
    [
        ([], {}, ()),
        (["b", "a", "b", ""], {}, ("a", "b")),
        (["b"], {OLD: "ro,soft"}, ("ro", "soft")),
        (["b"], {OLD: ""}, ()),
    ],
)
def test_mount_options_are_sorted_and_the_annotation_goes_first(options, annotations, wanted):
    assert spec_of(mountOptions=options, annotations=annotations).mount_options == wanted


def test_a_pods_own_source_has_no_options():
    assert VolumeSpec(Volume(name="v", nfs=NFSVolumeSource(server="s"))).mount_options == ()
