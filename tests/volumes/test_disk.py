import errno

import pytest

from pykubelet.base.layout import Layout
from pykubelet.linux import mounts
from pykubelet.volumes import disk
from pykubelet.volumes.state import VolumeKey


@pytest.fixture
def layout(tmp_path):
    return Layout(root=tmp_path)


def volume(layout, plugin, name, uid="uid-1"):
    path = layout.pod_volume(uid, plugin, name)
    path.mkdir(parents=True)
    return path


def test_nothing_is_found_where_nothing_is(layout):
    assert disk.pod_directories(layout) == frozenset()
    assert disk.volumes_found(layout) == {}
    disk.remove_pod_directory(layout, "uid-1")


def test_what_was_left_is_found(layout):
    volume(layout, "kubernetes.io/empty-dir", "data")
    volume(layout, "kubernetes.io/csi", "pvc-1", uid="uid-2")
    (layout.pods / "uid-3").mkdir()
    (layout.pods / "file").touch()
    (layout.pods / "link").symlink_to("uid-1")
    devices = layout.pod_devices("uid-2") / "kubernetes.io~csi"
    devices.mkdir(parents=True)
    (devices / "pvc-2").symlink_to("/dev/null")
    assert disk.pod_directories(layout) == {"uid-1", "uid-2", "uid-3"}
    assert disk.volumes_found(layout) == {
        VolumeKey("uid-1", "kubernetes.io/empty-dir", "data"): False,
        VolumeKey("uid-2", "kubernetes.io/csi", "pvc-1"): False,
        VolumeKey("uid-2", "kubernetes.io/csi", "pvc-2"): True,
    }


def test_a_whole_pod_directory_goes(layout, tmp_path):
    volume(layout, "kubernetes.io/empty-dir", "data")
    csi = volume(layout, "kubernetes.io/csi", "pvc-1")
    (csi / "mount").mkdir()
    (csi / "vol_data.json").touch()
    (csi / ".vol_data.json.0123abcd").touch()
    pod = layout.pod("uid-1")
    (pod / "containers" / "web").mkdir(parents=True)
    (pod / "containers" / "web" / "1234abcd").touch()
    (pod / "etc-hosts").touch()
    (pod / "volume-subpaths" / "data" / "web" / "0").mkdir(parents=True)
    (pod / "volumeDevices").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").touch()
    (pod / "link").symlink_to(tmp_path / "outside")
    disk.remove_pod_directory(layout, "uid-1")
    assert not pod.exists()
    assert (tmp_path / "outside" / "kept").exists()


@pytest.mark.parametrize("plugin", ["kubernetes.io/empty-dir", "kubernetes.io/csi", "vendor/x"])
def test_what_is_in_a_volume_is_never_deleted(layout, plugin):
    path = volume(layout, plugin, "data")
    (path / "file").touch()
    (layout.pod("uid-1") / "etc-hosts").touch()
    with pytest.raises(OSError) as caught:
        disk.remove_pod_directory(layout, "uid-1")
    assert caught.value.errno == errno.ENOTEMPTY
    assert (path / "file").exists()
    assert (layout.pod("uid-1") / "etc-hosts").exists()


def test_mapped_devices_stay(layout):
    devices = layout.pod("uid-1") / "volumeDevices" / "kubernetes.io~csi"
    devices.mkdir(parents=True)
    (devices / "pvc-1").symlink_to("/dev/null")
    with pytest.raises(OSError, match="still mapped"):
        disk.remove_pod_directory(layout, "uid-1")
    assert (devices / "pvc-1").is_symlink()


@pytest.mark.integration
@pytest.mark.parametrize("place", ["volumes/kubernetes.io~nfs/data", "containers/web"])
def test_what_is_mounted_stays(mount_area, place):
    layout = Layout(root=mount_area)
    path = layout.pod("uid-1") / place
    path.mkdir(parents=True)
    precious = mount_area / "precious"
    precious.mkdir()
    (precious / "file").touch()
    mounts.bind(str(precious), str(path))
    with pytest.raises(OSError) as caught:
        disk.remove_pod_directory(layout, "uid-1")
    assert caught.value.errno == errno.EBUSY
    assert (precious / "file").exists()


@pytest.mark.integration
def test_subpath_mounts_are_undone(mount_area):
    layout = Layout(root=mount_area)
    target = layout.pod_subpaths("uid-1") / "data" / "web" / "0"
    target.mkdir(parents=True)
    precious = mount_area / "precious"
    precious.mkdir()
    (precious / "file").touch()
    mounts.bind(str(precious), str(target))
    disk.remove_pod_directory(layout, "uid-1")
    assert not layout.pod("uid-1").exists()
    assert (precious / "file").exists()


@pytest.mark.integration
@pytest.mark.parametrize(
    "place",
    [
        "volumes/kubernetes.io~local-volume/pv-1",
        "volumes/kubernetes.io~local-volume/pv-1/deep",
        "volumes/kubernetes.io~csi/pv-1/mount",
        "volumes/stray",
        "volumes",
        "plugins/kubernetes.io~empty-dir/data",
        "etc",
        "",
    ],
)
def test_a_file_system_that_is_mounted_anywhere_in_it_keeps_its_files(mount_area, place):
    layout = Layout(root=mount_area)
    path = layout.pod("uid-1") / place
    path.mkdir(parents=True)
    (layout.pod("uid-1") / "etc-hosts").touch()
    mounts.mount_tmpfs(str(path))
    (path / "file").write_text("precious")
    for _ in range(2):
        with pytest.raises(OSError, match=r"mounted|busy"):
            disk.remove_pod_directory(layout, "uid-1")
        assert (path / "file").read_text() == "precious"
    (path / "file").unlink()
    mounts.unmount(str(path))
    disk.remove_pod_directory(layout, "uid-1")
    assert not layout.pod("uid-1").exists()


@pytest.mark.integration
def test_files_below_what_was_unmounted_behind_our_back_stay(mount_area):
    layout = Layout(root=mount_area)
    path = volume(layout, "kubernetes.io/local-volume", "pv-1")
    # Written while the volume was not mounted: nobody else has it.
    (path / "file").write_text("precious")
    mounts.mount_tmpfs(str(path))
    with pytest.raises(OSError, match="mounted"):
        disk.remove_pod_directory(layout, "uid-1")
    mounts.unmount(str(path))
    with pytest.raises(OSError, match="not empty"):
        disk.remove_pod_directory(layout, "uid-1")
    assert (path / "file").read_text() == "precious"


@pytest.mark.parametrize("kind", ["file", "link", "link to a directory", None])
def test_directories_in_a_volume_go_with_it_unless_one_holds_a_file(layout, tmp_path, kind):
    path = volume(layout, "kubernetes.io/nfs", "data")
    (path / "a" / "deep").mkdir(parents=True)
    (path / "b" / "deep").mkdir(parents=True)
    held = path / "b" / "deep" / "held"
    if kind is None:
        disk.remove_pod_directory(layout, "uid-1")
        assert not layout.pod("uid-1").exists()
        return
    if kind == "file":
        held.touch()
    else:
        held.symlink_to(tmp_path if kind == "link to a directory" else "nowhere")
    with pytest.raises(OSError, match=r"[Nn]ot empty"):
        disk.remove_pod_directory(layout, "uid-1")
    assert (path / "a" / "deep").is_dir()
    assert held.is_symlink() or held.is_file()


@pytest.mark.integration
def test_a_mount_that_comes_meanwhile_is_not_entered(mount_area, monkeypatch):
    layout = Layout(root=mount_area)
    path = layout.pod("uid-1") / "containers" / "web"
    path.mkdir(parents=True)
    precious = mount_area / "precious"
    precious.mkdir()
    (precious / "file").touch()
    # The look at the mount table saw nothing yet.
    mounts.bind(str(precious), str(path))
    monkeypatch.setattr(disk, "_refuse_mounts", lambda path: None)
    with pytest.raises(OSError, match=r"cross-device|busy"):
        disk.remove_pod_directory(layout, "uid-1")
    assert (precious / "file").exists()


@pytest.mark.parametrize("name", ["file", "..data", "link"])
def test_whatever_lies_in_a_directory_of_volumes_is_not_deleted(layout, tmp_path, name):
    path = volume(layout, "kubernetes.io/nfs", "data")
    (path.parent / name).symlink_to(tmp_path)
    with pytest.raises(OSError, match=r"[Nn]ot empty"):
        disk.remove_pod_directory(layout, "uid-1")
    assert (path.parent / name).is_symlink()
