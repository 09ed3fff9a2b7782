"""With stand-ins for the commands; tests of local volumes use the real ones."""

import asyncio

import pytest
from tests.volumes.persistent import StandIns

from pykubelet.base.errors import ExpandError, VolumeError
from pykubelet.volumes import commands, filesystems
from pykubelet.volumes.errors import MismatchError
from pykubelet.volumes.patient_threads import PatientThreads


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    made = StandIns(tmp_path / "bin")
    made.add("mount")
    made.add("fsck")
    monkeypatch.setenv("PATH", str(made.directory))
    monkeypatch.setattr(commands, "_has_systemd", lambda: False)
    return made


@pytest.fixture
def device(tmp_path):
    path = tmp_path / "device"
    path.write_bytes(bytes(4096))
    return str(path)


def mount(device, kind="", options=()):
    asyncio.run(
        filesystems.format_and_mount(
            device, "/target", kind, options, looks=PatientThreads("test", at_once=9, given_up=9)
        )
    )


PROBE = "blkid -p -s TYPE -s PTTYPE -o export"


@pytest.mark.parametrize(
    ("kind", "made"),
    [("", "mkfs.ext4 -F -m0"), ("ext3", "mkfs.ext3 -F -m0"), ("xfs", "mkfs.xfs -f"), ("btrfs", "mkfs.btrfs")],
)
def test_a_blank_device_is_formatted_as_upstream_does(stand_ins, device, kind, made):
    stand_ins.add("blkid", "exit 2")
    stand_ins.add(made.split()[0])
    mount(device, kind, ["noatime"])
    assert stand_ins.called == [
        f"{PROBE} {device}",
        f"{made} {device}",
        f"mount -t {kind or 'ext4'} -o noatime,defaults {device} /target",
    ]


def test_what_is_formatted_is_checked_and_mounted(stand_ins, device):
    stand_ins.add("blkid", "echo DEVNAME=/dev/x; echo TYPE=ext4")
    mount(device)
    mount(device, options=["ro"])
    assert stand_ins.called == [
        f"{PROBE} {device}",
        f"fsck -a {device}",
        f"mount -t ext4 -o defaults {device} /target",
        f"{PROBE} {device}",
        f"mount -t ext4 -o ro,defaults {device} /target",
    ]


@pytest.mark.parametrize(("code", "goes_on"), [(0, True), (1, True), (4, False), (8, True), (32, True)])
def test_only_errors_that_fsck_left_keep_a_device_from_being_mounted(stand_ins, device, code, goes_on):
    stand_ins.add("blkid", "echo TYPE=ext4")
    stand_ins.add("fsck", f"echo bad blocks; exit {code}")
    if goes_on:
        mount(device)
    else:
        text = f"'fsck' found errors on device {device} but could not correct them: bad blocks"
        with pytest.raises(VolumeError, match=text):
            mount(device)
    assert (f"mount -t ext4 -o defaults {device} /target" in stand_ins.called) == goes_on


def test_without_fsck_it_is_mounted_all_the_same(stand_ins, device):
    stand_ins.add("blkid", "echo TYPE=ext4")
    (stand_ins.directory / "fsck").unlink()
    mount(device)
    assert stand_ins.called[-1].startswith("mount ")


@pytest.mark.parametrize(
    ("script", "kind", "text"),
    [
        ("exit 8", "", "failed to get disk format of disk .*: exit status 8"),
        ("echo TYPE=ext4; echo PTTYPE=gpt", "", "holds unknown data, probably partitions"),
        ("exit 2", "../x", '"../x" is not the name of a file system'),
        ("exit 2", "zfs", "there is no mkfs.zfs on this node"),
        ("exit 2", "bad", r'format of disk ".*" failed: type:\("bad"\).*exit status 3.*output:\(no room'),
    ],
)
def test_what_is_doubtful_is_neither_formatted_nor_mounted(stand_ins, device, script, kind, text):
    stand_ins.add("blkid", script)
    stand_ins.add("mkfs.bad", "echo no room; exit 3")
    with pytest.raises(VolumeError, match=text) as caught:
        mount(device, kind)
    assert caught.value.left == "nothing"
    assert not any(line.startswith("mount") for line in stand_ins.called)


def test_a_device_that_cannot_be_read_is_not_blank(stand_ins, tmp_path):
    stand_ins.add("blkid", "exit 2")
    stand_ins.add("mkfs.ext4")
    with pytest.raises(VolumeError, match="is not formatted: no such file or directory"):
        mount(str(tmp_path / "missing"))
    assert len(stand_ins.called) == 1


def test_without_blkid_nothing_is_formatted(stand_ins, device):
    with pytest.raises(VolumeError, match="there is no blkid on this node"):
        mount(device)


def test_a_failed_mount_tells_all(stand_ins, device):
    stand_ins.add("blkid", "echo TYPE=ext4")
    stand_ins.add("mount", "echo wrong fs type >&2; exit 32")
    with pytest.raises(VolumeError) as caught:
        mount(device)
    assert str(caught.value) == (
        "mount failed: exit status 32\nMounting command: mount\n"
        f"Mounting arguments: -t ext4 -o defaults {device} /target\nOutput: wrong fs type\n"
    )
    assert not isinstance(caught.value, MismatchError)
    with pytest.raises(MismatchError, match="is formatted as ext4, not as xfs"):
        mount(device, "xfs")


def test_a_command_that_hangs_is_killed(stand_ins, device, monkeypatch, tmp_path):
    stand_ins.add("blkid", f"/bin/sleep 1000 & echo $! > {tmp_path}/pid; wait")
    monkeypatch.setattr(filesystems, "LOOK_LIMIT", 0.5)
    with pytest.raises(VolumeError, match=r"blkid did not end within 0\.5 s and was killed"):
        mount(device)


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("ext4", "resize2fs {device}"),
        ("ext3", "resize2fs {device}"),
        ("xfs", "xfs_growfs -d /target"),
        ("btrfs", "btrfs filesystem resize max /target"),
    ],
)
def test_each_file_system_has_its_way_of_growing(stand_ins, device, kind, command):
    stand_ins.add("blkid", f"echo TYPE={kind}")
    name = command.split()[0]
    with pytest.raises(ExpandError, match=f"there is no {name} here"):
        asyncio.run(filesystems.grow(device, "/target"))
    stand_ins.add(name)
    asyncio.run(filesystems.grow(device, "/target"))
    assert stand_ins.called[-1] == command.format(device=device)
    stand_ins.add(name, "echo full; exit 1")
    with pytest.raises(ExpandError, match=rf"exit status 1. {name} output: full"):
        asyncio.run(filesystems.grow(device, "/target"))


def test_what_cannot_grow_is_told(stand_ins, device):
    stand_ins.add("blkid", "exit 2")
    asyncio.run(filesystems.grow(device, "/target"))
    stand_ins.add("blkid", "echo TYPE=vfat")
    with pytest.raises(ExpandError, match="resize of format vfat is not supported") as caught:
        asyncio.run(filesystems.grow(device, "/target"))
    assert caught.value.hindrance == "infeasible"


def test_with_systemd_a_device_is_mounted_in_a_scope(stand_ins, device, monkeypatch):
    stand_ins.add("blkid", "echo TYPE=ext4")
    stand_ins.add("systemd-run")
    monkeypatch.setattr(commands, "_has_systemd", lambda: True)
    mount(device, options=["ro"])
    assert stand_ins.called[-1] == (
        "systemd-run --description=Kubernetes transient mount for /target --scope -- "
        f"mount -t ext4 -o ro,defaults {device} /target"
    )
