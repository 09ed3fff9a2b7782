"""On a real mount whose server is gone: a FUSE file system that nobody serves any more."""

import errno
import os
import subprocess

import pytest
from tests.volumes.persistent import dead_mount, needs_fuse

from pykubelet.linux import mountinfo, mounts
from pykubelet.volumes import mountpoint

pytestmark = pytest.mark.integration


@needs_fuse
def test_a_dead_mount_is_told_and_taken_off(mount_area):
    path = mount_area / "volume"
    path.mkdir()
    assert mountpoint.healthy(path)
    dead_mount(path)
    with pytest.raises(OSError) as caught:
        os.stat(path)
    assert caught.value.errno == errno.ENOTCONN
    assert mountpoint.is_corrupt(caught.value)
    assert mountpoint.is_mounted(path)
    assert not mountpoint.healthy(path)
    mountpoint.take_off(path)
    assert not path.exists()
    mountpoint.take_off(path)


def test_a_missing_path_is_not_corrupt(tmp_path):
    with pytest.raises(FileNotFoundError):
        mountpoint.healthy(tmp_path / "missing")
    assert not mountpoint.is_mounted(tmp_path / "missing")


def test_all_that_is_mounted_there_is_taken_off_and_the_directory_removed(mount_area):
    path = mount_area / "volume"
    path.mkdir()
    for _ in range(3):
        mounts.mount_tmpfs(str(path))
    (path / "inner").mkdir()
    mounts.mount_tmpfs(str(path / "inner"))
    (mount_area / "link").symlink_to("volume")
    assert not mountpoint.is_mounted(mount_area / "link")
    mountpoint.take_off(path)
    assert not path.exists()
    assert [mount.mount_point for mount in mountinfo.mounts_below(mountinfo.read(), str(mount_area))] == [
        str(mount_area)
    ]


def test_what_is_busy_below_keeps_all(mount_area):
    path = mount_area / "volume"
    path.mkdir()
    mounts.mount_tmpfs(str(path))
    (path / "inner").mkdir()
    mounts.mount_tmpfs(str(path / "inner"))
    busy = subprocess.Popen(["sleep", "60"], cwd=path / "inner")
    try:
        with pytest.raises(OSError, match="busy"):
            mountpoint.take_off(path)
    finally:
        busy.kill()
        busy.wait()
    assert mountpoint.is_mounted(path)
    assert mountpoint.is_mounted(path / "inner")
    mountpoint.take_off(path)


def test_links_are_never_followed(mount_area):
    precious = mount_area / "precious"
    precious.mkdir()
    mounts.mount_tmpfs(str(precious))
    (mount_area / "volume").symlink_to(precious)
    with pytest.raises(NotADirectoryError):
        mountpoint.take_off(mount_area / "volume")
    assert mountpoint.is_mounted(precious)
