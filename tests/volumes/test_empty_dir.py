import os
import stat
from pathlib import Path

import pytest

from pykubelet.api.core import Container, Pod, PodSecurityContext, PodSpec, ResourceRequirements
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.quantity import Quantity
from pykubelet.api.volumes import EmptyDirVolumeSource, Volume
from pykubelet.base.errors import VolumeError
from pykubelet.base.layout import Layout
from pykubelet.linux import mountinfo, mounts
from pykubelet.volumes import local_tree
from pykubelet.volumes.empty_dir import EmptyDir, memory_size, pod_memory_limit

MIB = 1 << 20


def limited(limit, *, restart=None):
    limits = {"memory": Quantity.parse(limit)} if limit else {}
    return Container(name="c", resources=ResourceRequirements(limits=limits), restartPolicy=restart)


def pod_of(*containers, init=(), group=None, limit=None, overhead=None):
    return Pod(
        metadata=ObjectMeta(name="p", namespace="n", uid="uid-1"),
        spec=PodSpec(
            containers=list(containers),
            initContainers=list(init),
            securityContext=PodSecurityContext(fsGroup=group),
            resources=ResourceRequirements(limits={"memory": Quantity.parse(limit)}) if limit else None,
            overhead={"memory": Quantity.parse(overhead)} if overhead else {},
        ),
    )


def volume_of(medium="", limit=None):
    size = Quantity.parse(limit) if limit else None
    return Volume(name="data", emptyDir=EmptyDirVolumeSource(medium=medium, sizeLimit=size))


@pytest.mark.parametrize(
    ("pod", "wanted"),
    [
        (pod_of(limited("1Mi"), limited("2Mi")), 3),
        (pod_of(limited("1Mi"), limited("")), 0),
        (pod_of(limited("1Mi"), init=[limited("")]), 0),
        (pod_of(limited("1Mi"), init=[limited("5Mi")]), 5),
        (pod_of(limited("2Mi"), init=[limited("1Mi", restart="Always"), limited("5Mi")]), 6),
        (pod_of(limited("2Mi"), init=[limited("5Mi"), limited("4Mi", restart="Always")]), 6),
        (pod_of(limited("1Mi"), limited(""), limit="9Mi"), 9),
        (pod_of(limited("1Mi"), overhead="1Mi"), 2),
    ],
)
def test_the_limit_of_a_pod(pod, wanted):
    assert pod_memory_limit(pod) == wanted * MIB


@pytest.mark.parametrize(
    ("node", "pod", "own", "wanted"),
    [
        (100, "", None, 100),
        (100, "10Mi", None, 10),
        (100, "10Mi", "4Mi", 4),
        (100, "10Mi", "40Mi", 10),
        (100, "", "40Mi", 40),
        (100, "200Mi", "0", 100),
        (0, "", None, 0),
    ],
)
def test_the_least_limit_is_the_size(node, pod, own, wanted):
    assert memory_size(pod_of(limited(pod)), volume_of("Memory", own), node * MIB) == wanted * MIB


@pytest.fixture
def layout(tmp_path):
    return Layout(root=tmp_path)


def test_a_directory_for_all(layout):
    plugin = EmptyDir(layout, lambda: 0)
    before = os.umask(0o027)
    try:
        mounted = plugin.set_up(pod_of(), volume_of())
    finally:
        os.umask(before)
    path = layout.pods / "uid-1" / "volumes" / "kubernetes.io~empty-dir" / "data"
    assert mounted.host_path == str(path)
    assert mounted.selinux_relabel
    assert stat.S_IMODE(path.stat().st_mode) == 0o777
    assert stat.S_IMODE(layout.pod("uid-1").stat().st_mode) == 0o750
    assert (layout.pods / "uid-1" / "plugins" / "kubernetes.io~empty-dir" / "data" / "ready").exists()
    (path / "kept").touch()
    os.chmod(path, 0o711)
    assert plugin.set_up(pod_of(group=5), volume_of()) == mounted
    assert stat.S_IMODE(path.stat().st_mode) == 0o711
    assert (path / "kept").exists()
    plugin.tear_down("uid-1", "data")
    plugin.tear_down("uid-1", "data")
    assert not path.exists()
    assert not local_tree.is_marked_ready(layout, "uid-1", plugin.name, "data")


def test_a_set_up_that_was_cut_is_finished(layout):
    plugin = EmptyDir(layout, lambda: 0)
    path = layout.pod_volume("uid-1", plugin.name, "data")
    path.mkdir(parents=True)
    plugin.set_up(pod_of(group=77), volume_of())
    assert (path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (77, 0o2777)
    path.rmdir()
    plugin.set_up(pod_of(), volume_of())
    assert path.is_dir()


def test_a_link_in_its_place_is_refused(layout, tmp_path):
    plugin = EmptyDir(layout, lambda: 0)
    path = layout.pod_volume("uid-1", plugin.name, "data")
    path.parent.mkdir(parents=True)
    path.symlink_to("/etc")
    with pytest.raises(NotADirectoryError):
        plugin.set_up(pod_of(), volume_of())


@pytest.mark.parametrize(
    ("medium", "text"),
    [
        ("Disk", 'unknown storage medium "Disk"'),
        (
            "HugePages-2Mi",
            'volume "data" of type emptyDir with medium HugePages-2Mi is not supported yet by this kubelet',
        ),
    ],
)
def test_other_media(layout, medium, text):
    with pytest.raises(VolumeError) as caught:
        EmptyDir(layout, lambda: 0).set_up(pod_of(), volume_of(medium))
    assert str(caught.value) == text
    assert not layout.pod("uid-1").exists()


@pytest.mark.integration
def test_memory_is_a_tmpfs_of_its_size(mount_area):
    layout = Layout(root=mount_area)
    plugin = EmptyDir(layout, lambda: 8 * MIB)
    mounted = plugin.set_up(pod_of(limited("4Mi"), group=9), volume_of("Memory", "1Mi"))
    status = os.statvfs(mounted.host_path)
    assert status.f_blocks * status.f_frsize == MIB
    assert os.stat(mounted.host_path).st_gid == 9
    (mounted_file := layout.pod_volume("uid-1", plugin.name, "data") / "file").touch()
    plugin.set_up(pod_of(), volume_of("Memory"))
    assert mounted_file.exists()
    found = mountinfo.mounts_below(mountinfo.read(), mounted.host_path)
    assert [mount.fs_type for mount in found] == ["tmpfs"]
    plugin.tear_down("uid-1", "data")
    assert mountinfo.mounts_below(mountinfo.read(), mounted.host_path) == ()
    assert not Path(mounted.host_path).exists()


@pytest.mark.integration
def test_what_the_pod_left_mounted_inside_is_unmounted_not_emptied(mount_area):
    layout = Layout(root=mount_area)
    plugin = EmptyDir(layout, lambda: 0)
    path = layout.pod_volume("uid-1", plugin.name, "data")
    plugin.set_up(pod_of(), volume_of())
    precious = mount_area / "precious"
    precious.mkdir()
    (precious / "file").touch()
    (path / "inner").mkdir()
    mounts.bind(str(precious), str(path / "inner"))
    with open(path / "inner" / "file"), pytest.raises(OSError, match="busy"):
        plugin.tear_down("uid-1", "data")
    assert (precious / "file").exists()
    plugin.tear_down("uid-1", "data")
    assert (precious / "file").exists()
    assert not path.exists()


@pytest.mark.integration
@pytest.mark.parametrize("name", ["kubernetes.io/configmap", "kubernetes.io/secret"])
def test_what_the_go_kubelet_left_goes(mount_area, name):
    layout = Layout(root=mount_area)
    path = layout.pod_volume("uid-1", name, "token")
    path.mkdir(parents=True)
    mounts.mount_tmpfs(str(path))
    (path / "..data").symlink_to("..2026")
    for marker in (
        layout.pod_plugin("uid-1", name, "token"),
        layout.pod_plugin("uid-1", "kubernetes.io/empty-dir", "wrapped_token"),
    ):
        marker.mkdir(parents=True)
        (marker / "ready").touch()
    local_tree.tear_down(layout, "uid-1", name, "token")
    assert not path.exists()
    assert [list(found.iterdir()) for found in (layout.pod("uid-1") / "plugins").iterdir()] in (
        [[]],
        [[], []],
    )
