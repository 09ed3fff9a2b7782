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
from pykubelet.volumes.empty_dir import EmptyDir

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


def test_modes_are_the_go_kubelets(layout):
    before = os.umask(0o022)
    try:
        EmptyDir(layout, lambda: 0).set_up(pod_of(group=2345), volume_of())
    finally:
        os.umask(before)
    top = layout.pod("uid-1")
    made = {str(path.relative_to(top)): oct(path.stat().st_mode)[-4:] for path in top.rglob("*")}
    # As Go's kubelet 1.36 left it for such a pod.
    assert made == {
        "plugins": "0750",
        "plugins/kubernetes.io~empty-dir": "0750",
        "plugins/kubernetes.io~empty-dir/data": "0750",
        "plugins/kubernetes.io~empty-dir/data/ready": "0644",
        "volumes": "0750",
        "volumes/kubernetes.io~empty-dir": "0755",
        "volumes/kubernetes.io~empty-dir/data": "2777",
    }


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


def test_an_unknown_medium_leaves_nothing(layout):
    with pytest.raises(VolumeError, match=r'^unknown storage medium "Disk"$'):
        EmptyDir(layout, lambda: 0).set_up(pod_of(), volume_of("Disk"))
    assert not layout.pod("uid-1").exists()


def in_user_namespace():
    return Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]


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
    (found,) = mountinfo.mounts_below(mountinfo.read(), mounted.host_path)
    assert found.fs_type == "tmpfs"
    major, minor = (int(part) for part in os.uname().release.split(".")[:2])
    assert ("noswap" in found.super_options) == ((major, minor) >= (6, 4) and not in_user_namespace())
    plugin.tear_down("uid-1", "data")
    assert mountinfo.mounts_below(mountinfo.read(), mounted.host_path) == ()
    assert not Path(mounted.host_path).exists()


def huge(*sizes):
    requests = {f"hugepages-{size}": Quantity.parse(size) for size in sizes}
    return Container(name="c", resources=ResourceRequirements(requests=requests))


@pytest.mark.integration
@pytest.mark.skipif(
    "hugetlbfs" not in Path("/proc/filesystems").read_text()
    or not Path("/sys/kernel/mm/hugepages/hugepages-2048kB").exists(),
    reason="no huge pages of 2 MiB here",
)
@pytest.mark.parametrize("medium", ["HugePages", "HugePages-2Mi", "HugePages-2048Ki"])
def test_huge_pages_are_a_hugetlbfs_of_the_size_requested(mount_area, medium):
    layout = Layout(root=mount_area)
    plugin = EmptyDir(layout, lambda: 8 * MIB)
    pod = pod_of(huge("2Mi"), group=9)
    mounted = plugin.set_up(pod, volume_of(medium))
    (found,) = mountinfo.mounts_below(mountinfo.read(), mounted.host_path)
    assert (found.fs_type, found.source) == ("hugetlbfs", "nodev")
    assert "pagesize=2M" in found.super_options
    status = os.statvfs(mounted.host_path)
    assert status.f_bsize == 2 * MIB
    assert (os.stat(mounted.host_path).st_gid, os.stat(mounted.host_path).st_mode & 0o7777) == (9, 0o2775)
    assert plugin.set_up(pod, volume_of(medium)) == mounted
    other = pod_of(huge("2Mi", "1Gi"))
    if medium == "HugePages":
        # Whatever size it was mounted with.
        assert plugin.set_up(pod_of(huge("1Gi")), volume_of(medium)) == mounted
    else:
        with pytest.raises(VolumeError, match=r"pagesize '2Mi' and requested medium size '1Gi' differ$"):
            plugin.set_up(other, volume_of("HugePages-1Gi"))
    assert len(mountinfo.mounts_below(mountinfo.read(), mounted.host_path)) == 1
    plugin.tear_down("uid-1", "data")
    assert not Path(mounted.host_path).exists()


@pytest.mark.integration
def test_a_page_size_that_the_machine_does_not_have_is_refused(mount_area):
    plugin = EmptyDir(Layout(root=mount_area), lambda: 0)
    with pytest.raises(OSError, match=r"Invalid argument|No such device"):
        plugin.set_up(pod_of(huge("3Mi")), volume_of("HugePages"))
    plugin.tear_down("uid-1", "data")


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
