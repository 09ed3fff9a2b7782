import os

import pytest

from pykubelet.api.core import Container, Pod, PodSpec
from pykubelet.api.volumes import VolumeMount
from pykubelet.base.errors import VolumeError
from pykubelet.linux import safeopen
from pykubelet.volumes import nested


def pod_of(*containers):
    return Pod(
        spec=PodSpec(
            initContainers=[_container(mounts) for mounts in containers[1:]],
            containers=[_container(mounts) for mounts in containers[:1]],
        )
    )


def _container(mounts):
    return Container(volumeMounts=[VolumeMount(name=name, mountPath=path) for path, name in mounts.items()])


@pytest.mark.parametrize(
    ("pod", "wanted"),
    [
        (pod_of({"/v": "v"}), ()),
        (pod_of({"/v": "v", "/v2": "x", "/v-x": "x"}), ()),
        (pod_of({"/v": "v", "/v/a": "x"}), ("a",)),
        (pod_of({"/v/": "v", "/v/a/": "x", "/v/a/b": "y", "/v/a-b": "z"}), ("a", "a-b")),
        (pod_of({"/v": "v", "/v/deep/er": "x"}), ("deep/er",)),
        (pod_of({"/v": "v", "/v/again": "v"}), ("again",)),
        (pod_of({"/w": "v", "/v/a": "x"}), ()),
        (pod_of({"/v": "v", "/v/a": "x"}, {"/w": "v", "/w/a": "x", "/w/b": "x"}), ("a", "b")),
    ],
)
def test_places_of_nested_mounts(pod, wanted):
    assert nested.places(pod, "v") == wanted


def test_a_mount_path_that_leads_out():
    with pytest.raises(VolumeError, match=r"invalid container mount point \.\./x"):
        nested.places(pod_of({"../x": "v"}), "v")


def test_places_are_made_inside_only(tmp_path):
    top = tmp_path / "volume"
    top.mkdir()
    pod = pod_of({"/v": "v", "/v/deep/er": "x"})
    with safeopen.opened(top) as directory:
        nested.make(directory, pod, "v")
        nested.make(directory, pod, "v")
    assert os.stat(top / "deep" / "er").st_mode & 0o777 == 0o755
    (top / "deep" / "er").rmdir()
    (top / "deep").rmdir()
    (top / "deep").symlink_to(tmp_path)
    with safeopen.opened(top) as directory, pytest.raises(VolumeError, match="nested volume mountpoints"):
        nested.make(directory, pod, "v")
    assert not (tmp_path / "er").exists()
