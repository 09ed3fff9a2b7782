"""On real directories, and on the machine's own loop devices with real file systems."""

import asyncio
import os
import stat
import struct
import subprocess
import threading
from pathlib import Path

import pytest
from tests.volumes.persistent import StandIns, Told, dead_mount, needs_fuse, pod_of, spec_of

from pykubelet.api.quantity import Quantity
from pykubelet.api.storage import LocalVolumeSource
from pykubelet.api.volumes import Volume
from pykubelet.base.clock import LoopClock
from pykubelet.base.errors import ExpandError, VolumeError
from pykubelet.base.layout import Layout
from pykubelet.linux import loop, mountinfo, mounts
from pykubelet.volumes import ownership
from pykubelet.volumes.errors import MismatchError
from pykubelet.volumes.local import LocalVolumes
from pykubelet.volumes.plugin import Device, Found
from pykubelet.volumes.spec import VolumeSpec

pytestmark = pytest.mark.integration

_STATUS = Path("/proc/self/status").read_text()
_CAPABILITIES = next(line.split()[1] for line in _STATUS.splitlines() if line.startswith("CapEff"))
MAY_GROW = bool(int(_CAPABILITIES, 16) & 1 << 24)


def run(step):
    """The outcome of one step of the plug-in; what is looked at between steps may block."""
    return asyncio.run(step)


class Room:
    def __init__(self, area):
        self.area = area
        self.layout = Layout(root=area / "root")
        self.told = Told()
        self.plugin = LocalVolumes(self.layout, LoopClock(), self.told)
        self.source = area / "disks" / "vol1"
        self.source.mkdir(parents=True)

    def spec(self, path=None, kind=None, **fields):
        return spec_of(local=LocalVolumeSource(path=str(path or self.source), fsType=kind), **fields)

    def disk(self, name="disk", size=32 << 20):
        with open(self.area / name, "ab") as file:
            file.truncate(size)
        return loop.hold(str(self.area / name))

    async def giving(self, spec, pod, *, again=False):
        await self.plugin.stage(spec, pod, "")
        return await self.plugin.set_up(spec, pod, again=again)

    def give(self, spec, pod=None, *, again=False):
        return run(self.giving(spec, pod or pod_of(), again=again))

    def take(self, uid="uid-1", *, block=False):
        run(self.plugin.tear_down(uid, "pv-1", block=block))

    def target(self, uid="uid-1"):
        return self.layout.root / "pods" / uid / "volumes" / "kubernetes.io~local-volume" / "pv-1"

    @property
    def top(self):
        return self.layout.root / "plugins" / "kubernetes.io" / "local-volume" / "mounts" / "pv-1"

    def mounted(self):
        table = mountinfo.mounts_below(mountinfo.read(), str(self.layout.root))
        return {mount.mount_point: mount for mount in table}


@pytest.fixture
def room(mount_area):
    room = Room(mount_area)
    yield room
    devices = room.layout.root / "plugins" / "kubernetes.io~local-volume" / "volumeDevices"
    for path in devices.glob("*/*"):
        loop.release(str(path))
        mounts.unmount(str(path))
    for mount in list(room.mounted()):
        mounts.unmount_below(mount)
    for path in mount_area.glob("disk*"):
        loop.release(str(path))


def formatted(device, kind="ext4"):
    subprocess.run([f"mkfs.{kind}", "-q", device], check=True, capture_output=True)


# --- directories ----------------------------------------------------------------


def test_a_directory_is_bound_and_given_back(room):
    (room.source / "file").write_text("kept")
    spec = room.spec()
    volume = room.give(spec)
    assert (volume.name, volume.host_path, volume.read_only) == ("data", str(room.target()), False)
    assert volume.selinux_relabel
    assert not asyncio.run(room.plugin.labelled(spec))
    assert room.plugin.mount_path("uid-1", "pv-1") == volume.host_path
    assert (room.target() / "file").read_text() == "kept"
    assert room.give(spec, again=True) == volume == room.give(spec)
    room.give(spec, pod_of("uid-2"))
    assert set(room.mounted()) == {str(room.target()), str(room.target("uid-2"))}
    (room.target() / "new").touch()
    for uid in ("uid-1", "uid-2", "uid-2", "missing"):
        room.take(uid)
    assert room.mounted() == {}
    assert not room.target().exists()
    assert sorted(os.listdir(room.source)) == ["file", "new"]
    run(room.plugin.unstage(room.plugin.device(spec)))


def test_read_only_and_mount_options(room):
    spec = room.spec(read_only=True, mountOptions=["noexec", "discard"])
    volume = room.give(spec)
    assert volume.read_only
    with pytest.raises(OSError, match="Read-only"):
        (room.target() / "new").touch()
    assert {"ro", "noexec"} <= set(room.mounted()[str(room.target())].options)
    (room.source / "new").touch()


def test_an_end_before_it_was_read_only_is_made_up_for(room):
    room.target().mkdir(parents=True)
    mounts.bind(str(room.source), str(room.target()))
    room.give(room.spec(read_only=True))
    assert room.mounted()[str(room.target())].read_only


def test_a_refused_option_leaves_nothing(room, monkeypatch):
    def refuse(*arguments):
        raise OSError(1, "no")

    monkeypatch.setattr(mounts, "restrict", refuse)
    with pytest.raises(OSError, match="no"):
        room.give(room.spec(read_only=True))
    assert room.mounted() == {}
    assert not room.target().exists()


def test_a_link_is_followed_to_the_directory(room):
    (room.area / "link").symlink_to(room.source)
    (room.source / "file").touch()
    room.give(room.spec(room.area / "link"))
    assert os.listdir(room.target()) == ["file"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("missing", 'path "{area}/missing" does not exist'),
        ("file", "only directory and block device are supported"),
        ("pipe", "only directory and block device are supported"),
        ("disks/../disks", "invalid path: {area}/disks/../disks must not contain '..'"),
    ],
)
def test_what_cannot_be_a_volume_is_told(room, path, text):
    (room.area / "file").touch()
    os.mkfifo(room.area / "pipe")
    spec = room.spec(f"{room.area}/{path}")
    for step in (room.plugin.stage(spec, pod_of(), ""), room.plugin.set_up(spec, pod_of(), again=False)):
        with pytest.raises(VolumeError) as caught:
            run(step)
        assert str(caught.value) == text.format(area=room.area)
        assert (caught.value.left, caught.value.step) == ("unchanged", "NewMounter initialization")
    assert room.mounted() == {}


def test_what_names_nothing_is_refused(room):
    for spec in (VolumeSpec(Volume(name="data")), spec_of(local=LocalVolumeSource()), spec_of()):
        with pytest.raises(VolumeError, match="local volume source is nil or local path is not set"):
            room.plugin.device(spec)


def test_what_a_container_mounted_in_the_volume_goes_from_the_pod_alone(room):
    mounts.make_shared(str(room.area))
    (room.source / "inner").mkdir()
    room.give(room.spec())
    mounts.mount_tmpfs(str(room.target() / "inner"))
    (room.target() / "inner" / "file").touch()
    # It came to the source too: that it stays there is upstream's way.
    assert os.listdir(room.source / "inner") == ["file"]
    room.take()
    assert room.mounted() == {}
    assert os.listdir(room.source / "inner") == ["file"]
    mounts.unmount(str(room.source / "inner"))


def test_a_busy_volume_stays_until_nobody_is_in_it(room):
    room.give(room.spec())
    busy = subprocess.Popen(["sleep", "60"], cwd=room.target())
    try:
        with pytest.raises(OSError, match="busy") as caught:
            room.take()
        assert caught.value.filename == str(room.target())
        assert str(room.target()) in room.mounted()
    finally:
        busy.kill()
        busy.wait()
    room.take()
    assert room.mounted() == {}


@needs_fuse
def test_a_mount_that_is_dead_is_made_anew(room):
    (room.source / "file").touch()
    room.target().mkdir(parents=True)
    dead_mount(room.target())
    room.give(room.spec())
    assert os.listdir(room.target()) == ["file"]


def test_files_where_a_mount_should_be_are_never_deleted(room):
    room.target().mkdir(parents=True)
    (room.target() / "file").touch()
    with pytest.raises(OSError, match="not empty"):
        room.take()
    assert (room.target() / "file").exists()


# --- fsGroup --------------------------------------------------------------------


def test_the_first_pods_group_gets_the_files_and_others_are_warned(room):
    (room.source / "file").touch(0o600)
    os.chmod(room.source / "file", 0o600)
    room.give(room.spec(), pod_of(group=7))
    status = (room.source / "file").stat()
    assert (status.st_gid, stat.S_IMODE(status.st_mode)) == (7, 0o660)
    assert stat.S_IMODE(room.source.stat().st_mode) & 0o2070 == 0o2070
    assert room.told.events == []
    room.give(room.spec(), pod_of("uid-2", group=7))
    assert room.told.events == []
    room.give(room.spec(), pod_of("uid-3", group=8))
    assert room.told.events == [
        (
            "pod-uid-3",
            "Warning",
            "AlreadyMountedVolume",
            "The requested fsGroup is 8, but the volume pv-1 has GID 7. The volume may not be shareable.",
        )
    ]
    assert (room.source / "file").stat().st_gid == 7


def test_a_read_only_claim_changes_no_group(room):
    (room.source / "file").touch()
    room.give(room.spec(read_only=True), pod_of(group=7))
    assert (room.source / "file").stat().st_gid == 0


async def test_an_interrupted_change_of_group_is_completed_and_a_complete_one_is_not_repeated(
    room, monkeypatch
):
    for name in range(10):
        (room.source / str(name)).touch()
    reached, go_on, step = threading.Event(), threading.Event(), ownership.Progress.step

    def stop(progress):
        if progress.files == 4:
            reached.set()
            go_on.wait()
        step(progress)

    with monkeypatch.context() as patch:
        patch.setattr(ownership.Progress, "step", stop)
        giving = asyncio.get_running_loop().create_task(room.giving(room.spec(), pod_of(group=7)))
        assert await asyncio.to_thread(reached.wait, 10)
        giving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await giving
        go_on.set()
    assert [entry.stat().st_gid for entry in os.scandir(room.source)].count(7) == 4
    # Another life of the daemon.
    room.plugin = LocalVolumes(room.layout, LoopClock(), room.told)
    await room.giving(room.spec(), pod_of(group=7))
    assert {entry.stat().st_gid for entry in os.scandir(room.source)} == {7}
    # What the pod's containers do with their files is theirs: it is not undone by a restart.
    os.chmod(room.source, 0o700)
    os.chmod(room.source / "0", 0o600)
    await room.giving(room.spec(), pod_of(group=7))
    assert stat.S_IMODE((room.source / "0").stat().st_mode) == 0o600
    await room.plugin.tear_down("uid-1", "pv-1", block=False)
    assert not (room.layout.pod("uid-1") / "plugins" / "kubernetes.io~local-volume" / "pv-1").exists()


# --- block devices --------------------------------------------------------------


def test_a_blank_device_gets_a_file_system_and_keeps_its_files(room):
    device = room.disk()
    spec = room.spec(device)
    assert room.plugin.device(spec) == Device("kubernetes.io/local-volume/pv-1", "pv-1")
    volume = room.give(spec)
    assert room.mounted()[str(room.top)].fs_type == "ext4"
    assert volume.host_path == str(room.target())
    (room.target() / "file").write_text("kept")
    room.give(spec, pod_of("uid-2", group=7))
    assert room.told.events[0][2] == "AlreadyMountedVolume"
    assert (room.target("uid-2") / "file").read_text() == "kept"
    for uid in ("uid-1", "uid-2"):
        room.take(uid)
    assert list(room.mounted()) == [str(room.top)]
    for _ in range(2):
        run(room.plugin.unstage(room.plugin.device(spec)))
    assert room.mounted() == {}
    assert not room.top.exists()
    room.give(spec, pod_of("uid-3", group=7))
    assert (room.target("uid-3") / "file").read_text() == "kept"
    assert (room.target("uid-3") / "file").stat().st_gid == 7


def test_the_file_system_that_is_there_is_never_formatted(room):
    device = room.disk()
    formatted(device, "ext3")
    before = subprocess.run(["blkid", "-p", "-s", "UUID", "-o", "value", device], capture_output=True).stdout
    # ext4's driver takes ext3 as well, as upstream lets it.
    room.give(room.spec(device))
    after = subprocess.run(["blkid", "-p", "-s", "UUID", "-o", "value", device], capture_output=True).stdout
    assert before == after != b""


def test_another_file_system_than_asked_for_is_told(room):
    device = room.disk()
    formatted(device, "ext4")
    with pytest.raises(MismatchError, match=f"{device} is formatted as ext4, not as xfs") as caught:
        room.give(room.spec(device, "xfs"))
    assert caught.value.left == "nothing"
    assert str(caught.value).startswith(f"local: failed to mount device {device} at {room.top} (fstype: xfs)")
    assert room.mounted() == {}
    assert not room.top.exists()


def test_a_partition_table_is_left_alone(room):
    device = room.disk()
    # One partition of type Linux, 1000 sectors from sector 2048 on.
    entry = struct.pack("<B3sB3sII", 0, b"\0\x20\x21", 0x83, b"\0\0\0", 2048, 1000)
    head = bytes(446) + entry + bytes(48) + b"\x55\xaa"
    with open(device, "r+b") as file:
        file.write(head)
    with pytest.raises(VolumeError, match="probably partitions: it is neither formatted nor mounted"):
        room.give(room.spec(device))
    assert Path(device).read_bytes()[:512] == head


def test_a_blank_device_is_not_formatted_for_reading_only(room):
    device = room.disk()
    with pytest.raises(VolumeError, match=r"cannot mount unformatted disk .* in read-only mode"):
        room.give(room.spec(device, read_only=True))
    formatted(device)
    volume = room.give(room.spec(device, read_only=True))
    assert volume.read_only
    assert room.mounted()[str(room.top)].read_only


def test_a_device_that_somebody_uses_is_not_formatted(room):
    device = room.disk()
    used = os.open(device, os.O_RDONLY | os.O_EXCL)
    try:
        with pytest.raises(VolumeError, match="is not formatted: device or resource busy"):
            room.give(room.spec(device))
    finally:
        os.close(used)


def test_mount_options_reach_the_file_system(room):
    device = room.disk()
    room.give(room.spec(device, mountOptions=["noatime", "errors=remount-ro"]))
    mount = room.mounted()[str(room.top)]
    assert "noatime" in mount.options
    assert "errors=remount-ro" in mount.super_options
    assert "noatime" in room.mounted()[str(room.target())].options


def test_errors_of_the_file_system_are_corrected(room):
    device = room.disk()
    formatted(device)
    subprocess.run(["debugfs", "-w", "-R", "ssv state 2", device], check=True, capture_output=True)
    room.give(room.spec(device))
    assert str(room.target()) in room.mounted()


def test_a_mount_of_another_device_is_not_taken_for_this_one(room):
    first, second = room.disk(), room.disk("disk2")
    run(room.plugin.stage(room.spec(first), pod_of(), ""))
    run(room.plugin.stage(room.spec(first), pod_of(), ""))
    with pytest.raises(VolumeError, match=f"is mounted from {first}, not from {second}"):
        run(room.plugin.stage(room.spec(second), pod_of(), ""))


async def test_formatting_goes_on_when_its_wait_is_cut_off(room, tmp_path, monkeypatch):
    device = await asyncio.to_thread(room.disk)
    spec, go_on = room.spec(device), tmp_path / "go-on"
    stand_ins = StandIns(tmp_path / "bin")
    wait = f"while [ ! -e {go_on} ]; do sleep 0.05; done"
    stand_ins.add("mkfs.ext4", f'{wait}; exec /usr/sbin/mkfs.ext4 "$@"')
    monkeypatch.setenv("PATH", str(stand_ins.directory), prepend=os.pathsep)

    async def called():
        async with asyncio.timeout(20):
            while not stand_ins.called:
                await asyncio.sleep(0.01)

    for _ in range(2):
        staging = asyncio.get_running_loop().create_task(room.plugin.stage(spec, pod_of(), ""))
        await called()
        staging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await staging
    undoing = asyncio.get_running_loop().create_task(room.plugin.unstage(room.plugin.device(spec)))
    go_on.touch()
    # Nothing comes back after it was undone.
    await undoing
    assert await asyncio.to_thread(room.mounted) == {}
    await room.giving(spec, pod_of())
    assert [line.split()[0] for line in stand_ins.called] == ["mkfs.ext4"]
    assert str(room.target()) in await asyncio.to_thread(room.mounted)


def test_an_unmounted_device_is_not_bound(room):
    device = room.disk()
    with pytest.raises(VolumeError, match="is not mounted at"):
        run(room.plugin.set_up(room.spec(device), pod_of(), again=False))
    assert not room.target().exists()


@pytest.mark.skipif(not MAY_GROW, reason="ext4 grows for CAP_SYS_RESOURCE alone")
def test_a_file_system_grows_with_its_device(room):
    device = room.disk()
    spec = room.spec(device)
    room.give(spec)
    before = os.statvfs(room.target()).f_blocks
    with open(room.area / "disk", "ab") as file:
        file.truncate(48 << 20)
    subprocess.run(["losetup", "-c", device], check=True)
    run(room.plugin.expand(spec, pod_of(), Quantity("48Mi")))
    assert os.statvfs(room.target()).f_blocks > before * 1.3


def test_what_grows_is_decided_by_the_path(room, tmp_path, monkeypatch):
    device = room.disk()
    formatted(device)
    spec = room.spec(device)
    stand_ins = StandIns(tmp_path / "bin")
    stand_ins.add("resize2fs")
    monkeypatch.setenv("PATH", str(stand_ins.directory), prepend=os.pathsep)
    run(room.plugin.expand(spec, pod_of(), Quantity("48Mi")))
    assert stand_ins.called == [f"resize2fs {device}"]
    with pytest.raises(ExpandError, match="mounted read-only"):
        run(room.plugin.expand(room.spec(device, read_only=True), pod_of(), Quantity("48Mi")))
    run(room.plugin.expand(room.spec(), pod_of(), Quantity("48Mi")))
    run(room.plugin.expand(room.spec(device, volumeMode="Block"), pod_of(), Quantity("48Mi")))
    assert len(stand_ins.called) == 1


def test_block_mode_gives_the_device(room):
    device = room.disk()
    spec = room.spec(device, volumeMode="Block")
    assert room.plugin.device(spec) == Device("kubernetes.io/local-volume/pv-1", "pv-1", block=True)
    volume = room.give(spec)
    link = room.layout.pod("uid-1") / "volumeDevices" / "kubernetes.io~local-volume" / "pv-1"
    assert (volume.device_path, volume.host_path) == (str(link), "")
    assert os.readlink(link) == device
    bound = f"{room.plugin.map_path('pv-1')}/uid-1"
    assert len(loop.holders(bound)) == 1
    assert room.plugin.devices_found() == [room.plugin.device(spec)]
    assert room.plugin.given() == [("uid-1", "pv-1")]
    with pytest.raises(OSError, match="still mapped for pods uid-1"):
        run(room.plugin.unstage(room.plugin.device(spec)))
    for _ in range(2):
        room.take(block=True)
    run(room.plugin.unstage(room.plugin.device(spec)))
    assert room.plugin.devices_found() == []
    assert room.plugin.given() == []
    assert loop.holders(bound) == []
    assert (room.give(room.spec(device, volumeMode="Block", read_only=True))).read_only
    with pytest.raises(VolumeError, match="is not a block device"):
        room.give(room.spec(volumeMode="Block"))


def test_what_an_earlier_life_left_is_found(room):
    room.give(room.spec(room.disk()))
    other = LocalVolumes(room.layout, LoopClock(), room.told)
    [device] = other.devices_found()
    assert device == Device("kubernetes.io/local-volume/pv-1", "pv-1")
    assert other.found("uid-1", "pv-1", block=False) == Found(device)
    assert other.found("uid-1", "pv-1", block=True).block
    run(other.tear_down("uid-1", "pv-1", block=False))
    run(other.unstage(device))
    assert room.mounted() == {}


def test_it_is_never_attached_nor_renewed(room):
    spec = room.spec()
    assert not run(room.plugin.attachable(spec))
    assert not run(room.plugin.exhausted(spec))
    assert run(room.plugin.unattached(spec)) == ""
    assert not room.plugin.republishes(spec)
