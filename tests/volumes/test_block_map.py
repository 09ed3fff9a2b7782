"""On the machine's own loop devices: they are block devices as good as any."""

import os
import stat

import pytest

from pykubelet.base.layout import Layout
from pykubelet.linux import loop, mountinfo, mounts
from pykubelet.volumes import block_map

pytestmark = pytest.mark.integration


class Room:
    def __init__(self, area):
        self.area = area
        self.layout = Layout(root=area / "root")
        self.top = str(block_map.global_path(self.layout, "kubernetes.io/local-volume", "pv-1"))

    def device(self, name):
        with open(self.area / name, "wb") as file:
            file.truncate(1 << 20)
        return loop.hold(str(self.area / name))

    def link(self, uid):
        return str(block_map.link_path(self.layout, uid, "kubernetes.io/local-volume", "pv-1"))

    def map(self, device, uid="uid-1"):
        return block_map.map_device(device, self.top, self.link(uid), uid)

    def unmap(self, uid="uid-1"):
        block_map.unmap_device(self.top, uid)
        block_map.forget(self.link(uid))

    def bound(self):
        return [mount.mount_point for mount in mountinfo.mounts_below(mountinfo.read(), self.top)]


@pytest.fixture
def room(mount_area):
    room = Room(mount_area)
    yield room
    for uid in ("uid-1", "uid-2"):
        loop.release(f"{room.top}/{uid}")
    for path in mount_area.glob("disk*"):
        loop.release(str(path))


def test_upstreams_paths(room):
    root = room.layout.root
    assert room.top == f"{root}/plugins/kubernetes.io~local-volume/volumeDevices/pv-1"
    assert room.link("u") == f"{root}/pods/u/volumeDevices/kubernetes.io~local-volume/pv-1"


def test_a_device_is_bound_linked_and_held_for_each_pod(room):
    device = room.device("disk")
    for _ in range(2):
        assert room.map(device) == room.link("uid-1")
    room.map(device, "uid-2")
    assert os.readlink(room.link("uid-1")) == device
    assert sorted(room.bound()) == [f"{room.top}/uid-1", f"{room.top}/uid-2"]
    assert os.stat(f"{room.top}/uid-1").st_rdev == os.stat(device).st_rdev
    assert len(loop.holders(f"{room.top}/uid-1")) == 1
    with pytest.raises(OSError, match="still mapped for pods uid-1 uid-2"):
        block_map.remove_global(room.top)
    for uid in ("uid-1", "uid-2", "uid-2"):
        room.unmap(uid)
    assert room.bound() == loop.holders(f"{room.top}/uid-1") == []
    assert not os.path.lexists(room.link("uid-1"))
    block_map.remove_global(room.top)
    block_map.remove_global(room.top)
    assert not os.path.lexists(room.top)


def test_a_device_name_that_means_another_one_now_is_mapped_anew(room):
    room.map(room.device("disk"))
    other = room.device("disk2")
    room.map(other)
    assert os.readlink(room.link("uid-1")) == other
    assert room.bound() == [f"{room.top}/uid-1"]
    assert os.stat(f"{room.top}/uid-1").st_rdev == os.stat(other).st_rdev


def test_the_link_comes_first_and_is_never_missing_meanwhile(room, monkeypatch):
    block_map.begin(room.link("uid-1"), "/dev/not-yet")
    device = room.device("disk")
    with monkeypatch.context() as patch:

        def end(*arguments):
            raise KeyboardInterrupt

        patch.setattr(os, "replace", end)
        with pytest.raises(KeyboardInterrupt):
            room.map(device)
    assert os.readlink(room.link("uid-1")) == "/dev/not-yet"
    room.map(device)
    assert os.readlink(room.link("uid-1")) == device
    assert os.listdir(room.layout.pod_devices("uid-1")) == ["kubernetes.io~local-volume"]
    room.unmap()
    assert os.listdir(room.layout.pod_devices("uid-1")) == []


@pytest.mark.parametrize("steps", [1, 2])
def test_what_an_end_half_way_left_is_completed_or_undone(room, monkeypatch, steps):
    device = room.device("disk")
    with monkeypatch.context() as patch:

        def end(*arguments):
            raise KeyboardInterrupt

        patch.setattr(*((block_map, "_bind") if steps == 1 else (loop, "hold")), end)
        with pytest.raises(KeyboardInterrupt):
            room.map(device)
    if steps == 1:
        room.map(device)
        assert len(loop.holders(f"{room.top}/uid-1")) == 1
    room.unmap()
    assert room.bound() == os.listdir(room.top) == []


def test_only_block_devices_are_mapped(room):
    with pytest.raises(OSError, match="Block device required"):
        room.map("/dev/null")
    assert room.bound() == []
    with pytest.raises(FileNotFoundError):
        room.map("/dev/missing")


def test_nothing_of_others_is_removed(room):
    device = room.device("disk")
    os.makedirs(room.link("uid-1"))
    with pytest.raises(OSError, match="not a link"):
        room.map(device)
    assert stat.S_ISDIR(os.lstat(room.link("uid-1")).st_mode)
    loop.release(f"{room.top}/uid-1")
    mounts.unmount(f"{room.top}/uid-1")
    os.rmdir(room.link("uid-1"))
    with open(f"{room.top}/uid-1", "w") as file:
        file.write("data")
    with pytest.raises(OSError, match="holds data"):
        room.unmap()
