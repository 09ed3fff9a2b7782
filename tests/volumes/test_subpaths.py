"""Among them one test for each hole that subPath had: CVE-2017-1002101 and CVE-2021-25741."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pykubelet.api.mounted import MountedVolume
from pykubelet.base.errors import VolumeError
from pykubelet.base.layout import Layout
from pykubelet.linux import mountinfo, mounts, safeopen
from pykubelet.volumes import subpaths

pytestmark = pytest.mark.integration


class Room:
    """A volume with a secret beside it."""

    def __init__(self, area):
        self.layout = Layout(root=area / "root")
        self.volume = area / "volume"
        self.volume.mkdir()
        self.outside = area / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_text("secret")
        self.top = self.layout.pod_subpaths("uid-1")

    def prepare(self, subpath, index=0, container="box"):
        mounted = MountedVolume("data", str(self.volume))
        return subpaths.prepare(self.layout, "uid-1", mounted, mounted.name, container, index, subpath)

    def mounts(self):
        return mountinfo.mounts_below(mountinfo.read(), str(self.top))


@pytest.fixture
def room(mount_area):
    return Room(mount_area)


def test_a_directory_and_a_file_are_bound(room):
    (room.volume / "sub").mkdir()
    (room.volume / "sub" / "file").write_text("x")
    bound = room.prepare("sub")
    assert bound == str(room.top / "data" / "box" / "0")
    assert os.listdir(bound) == ["file"]
    with open(room.prepare("sub/file", 1)) as file:
        assert file.read() == "x"
    assert room.prepare("sub") == bound
    assert len(room.mounts()) == 2
    (room.volume / "sub").rename(room.volume / "old")
    (room.volume / "sub").mkdir()
    assert os.listdir(room.prepare("sub")) == []
    assert len(room.mounts()) == 2
    (room.volume / "sub").rmdir()
    (room.volume / "sub").touch()
    assert Path(room.prepare("sub")).is_file()
    assert subpaths.clean(room.layout, "uid-1") == 2
    assert not room.top.exists()
    assert subpaths.clean(room.layout, "uid-1") == 0


def test_what_is_missing_is_made_with_the_volumes_mode(room):
    os.chmod(room.volume, 0o2775)
    room.prepare("a/b")
    assert [stat.S_IMODE((room.volume / path).stat().st_mode) for path in ("a", "a/b")] == [0o2775, 0o2775]


def test_links_inside_are_followed_as_config_maps_need(room):
    (room.volume / "..2026").mkdir()
    (room.volume / "..2026" / "key").write_text("value")
    (room.volume / "..data").symlink_to("..2026")
    (room.volume / "key").symlink_to("..data/key")
    with open(room.prepare("key")) as file:
        assert file.read() == "value"


@pytest.mark.parametrize(
    ("subpath", "text"),
    [
        ("/etc", "error SubPath `/etc` must not be an absolute path"),
        ("a/../../b", "unable to provision SubPath `a/../../b`: must not contain '..'"),
        ("out", 'failed to prepare subPath for volumeMount "data" of container "box"'),
        ("out/secret", 'failed to prepare subPath for volumeMount "data" of container "box"'),
        ("absolute/secret", 'failed to prepare subPath for volumeMount "data" of container "box"'),
        ("dangling", 'failed to create subPath directory for volumeMount "data" of container "box"'),
    ],
)
def test_cve_2017_1002101_no_link_leads_out(room, subpath, text):
    (room.volume / "out").symlink_to("../outside")
    (room.volume / "absolute").symlink_to(room.outside)
    (room.volume / "dangling").symlink_to("nowhere")
    with pytest.raises(VolumeError) as caught:
        room.prepare(subpath)
    assert str(caught.value) == text
    assert room.mounts() == ()
    assert os.listdir(room.outside) == ["secret"]


SWAP = """
import os, sys
os.chdir(sys.argv[1])
while True:
    os.rename("sub", "kept")
    os.symlink(sys.argv[2], "sub")
    os.unlink("sub")
    os.rename("kept", "sub")
"""


def test_cve_2021_25741_an_exchanged_directory_is_never_bound(room):
    (room.volume / "sub").mkdir()
    (room.volume / "sub" / "right").touch()
    swapper = subprocess.Popen([sys.executable, "-c", SWAP, str(room.volume), str(room.outside)])
    outcomes = {"bound": 0, "refused": 0}
    try:
        for _ in range(600):
            try:
                bound = room.prepare("sub")
            except VolumeError:
                outcomes["refused"] += 1
                continue
            # A directory made anew in a gap of the swaps is in the volume too.
            assert "secret" not in os.listdir(bound)
            outcomes["bound"] += 1
            subpaths.clean(room.layout, "uid-1")
            if min(outcomes.values()) >= 40:
                break
    finally:
        swapper.kill()
        swapper.wait()
    assert outcomes["bound"]
    assert os.listdir(room.outside) == ["secret"]


def test_cve_2021_25741_a_swap_between_opening_and_binding_changes_nothing(room, monkeypatch):
    (room.volume / "sub").mkdir()
    (room.volume / "sub" / "right").touch()
    open_beneath = safeopen.open_beneath

    def then_swap(*args, **kwargs):
        descriptor = open_beneath(*args, **kwargs)
        (room.volume / "sub").rename(room.volume / "kept")
        (room.volume / "sub").symlink_to(room.outside)
        return descriptor

    monkeypatch.setattr(safeopen, "open_beneath", then_swap)
    assert os.listdir(room.prepare("sub")) == ["right"]


def test_a_name_cannot_be_a_path(room):
    with pytest.raises(VolumeError, match="is not a name"):
        room.prepare("sub", container="../../x")


def test_only_one_volume_is_cleaned_and_nothing_inside_is_deleted(room):
    (room.volume / "sub").mkdir()
    (room.volume / "sub" / "file").touch()
    room.prepare("sub")
    other = MountedVolume("other", str(room.volume))
    subpaths.prepare(room.layout, "uid-1", other, "pv-other", "box", 1, "sub")
    assert subpaths.clean(room.layout, "uid-1", "data") == 1
    assert [mount.mount_point for mount in room.mounts()] == [str(room.top / "pv-other" / "box" / "1")]
    assert (room.volume / "sub" / "file").exists()


@pytest.mark.parametrize("volume", [None, "data"])
def test_what_was_mounted_below_the_source_meanwhile_stays_there(room, volume):
    """As below a path of a node whose mounts are shared: it appears at the bind, too."""
    mounts.mount_tmpfs(str(room.volume))
    mounts.make_shared(str(room.volume))
    inner = room.volume / "sub" / "inner"
    inner.mkdir(parents=True)
    bound = room.prepare("sub")
    room.prepare("sub", 1)
    mounts.mount_tmpfs(str(inner))
    (inner / "file").touch()
    assert os.listdir(f"{bound}/inner") == ["file"]
    assert subpaths.clean(room.layout, "uid-1", volume) == 4
    assert room.mounts() == ()
    assert os.listdir(inner) == ["file"]


def test_one_in_use_stays(room):
    (room.volume / "sub").mkdir()
    (room.volume / "sub" / "file").touch()
    bound = room.prepare("sub")
    with open(f"{bound}/file"), pytest.raises(OSError, match="busy"):
        subpaths.clean(room.layout, "uid-1")
    assert len(room.mounts()) == 1


def test_a_target_with_something_else_on_it_is_freed(room):
    (room.volume / "sub").mkdir()
    target = room.top / "data" / "box" / "0"
    target.mkdir(parents=True)
    mounts.mount_tmpfs(str(target))
    mounts.mount_tmpfs(str(target))
    room.prepare("sub")
    assert [mount.root for mount in room.mounts()] == ["/volume/sub"]
