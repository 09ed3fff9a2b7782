"""Volumes made of images."""

import pytest

from pykubelet.api.core import Pod
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volumes import ImageVolumeSource, Volume
from pykubelet.base.errors import VolumeError
from pykubelet.volumes.image import ImageVolume


def test_only_a_name_is_told():
    volume = Volume(name="v", image=ImageVolumeSource(reference="r.io/data:v1"))
    assert ImageVolume().set_up(Pod(), volume) == MountedVolume(
        "v", read_only=True, selinux_relabel=True, image="r.io/data:v1"
    )
    ImageVolume().tear_down("uid", "v")
    with pytest.raises(VolumeError):
        ImageVolume().set_up(Pod(), Volume(name="v"))
