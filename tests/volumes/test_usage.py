import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volume_usage import VolumeUsage
from pykubelet.base.layout import Layout
from pykubelet.linux import diskusage, syscalls
from pykubelet.linux.diskusage import Limits
from pykubelet.volumes import atomic_writer
from pykubelet.volumes.payload import File
from pykubelet.volumes.usage import Measured, measure, method_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VOLUMES = "/k/pods/u/volumes"
DEVICES = "/k/pods/u/volumeDevices"


@pytest.mark.parametrize(
    ("path", "device", "method"),
    [
        (f"{VOLUMES}/kubernetes.io~empty-dir/v", "", "du"),
        (f"{VOLUMES}/kubernetes.io~configmap/v", "", "own files"),
        (f"{VOLUMES}/kubernetes.io~secret/v", "", "own files"),
        (f"{VOLUMES}/kubernetes.io~downward-api/v", "", "own files"),
        (f"{VOLUMES}/kubernetes.io~projected/v", "", "own files"),
        (f"{VOLUMES}/kubernetes.io~nfs/v", "", "statfs"),
        (f"{VOLUMES}/kubernetes.io~local-volume/v", "", "statfs"),
        (f"{VOLUMES}/example.com~flex/v", "", "statfs"),
        (f"{VOLUMES}/kubernetes.io~csi/pv/mount", "", "driver"),
        ("", f"{DEVICES}/kubernetes.io~csi/pv", "driver"),
        ("", f"{DEVICES}/kubernetes.io~local-volume/pv", "block"),
        ("/var/log", "", None),
        ("/k/pods/other/volumes/kubernetes.io~empty-dir/v", "", None),
        ("", "", None),
    ],
)
def test_where_a_volume_lies_tells_how_it_is_measured(tmp_path, path, device, method):
    volume = MountedVolume("v", path, device_path=device)
    assert method_of(Layout(root=Path("/k")), "u", volume) == method


def test_a_directory_is_counted_and_its_file_system_asked(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 5000)
    counted, told = diskusage.disk_usage(str(tmp_path)), diskusage.file_system(str(tmp_path))
    found = measure("du", str(tmp_path), NOW)
    assert found.usage == VolumeUsage(
        time=NOW,
        used_bytes=counted.used_bytes,
        capacity_bytes=told.capacity,
        available_bytes=found.usage.available_bytes,
        inodes=told.inodes,
        inodes_used=2,
        inodes_free=found.usage.inodes_free,
    )
    assert found.stamp is None
    unfinished = measure("du", str(tmp_path), NOW, limits=Limits(entries=1))
    assert unfinished.usage.unfinished == "there are more than 1 files"
    asked = measure("statfs", str(tmp_path), NOW)
    assert asked.usage.capacity_bytes == told.capacity
    assert asked.usage.inodes_used == asked.usage.inodes - asked.usage.inodes_free


def test_what_is_gone_or_a_link_is_not_measured(tmp_path):
    with pytest.raises(FileNotFoundError):
        measure("du", str(tmp_path / "gone"), NOW)
    (tmp_path / "link").symlink_to("/usr")
    with pytest.raises(OSError, match=r"Not a directory|symbolic"):
        measure("du", str(tmp_path / "link"), NOW)
    with pytest.raises(ValueError, match="driver"):
        measure("driver", str(tmp_path), NOW)


def write(top, now, **contents):
    files = {path.replace("__", "/"): File(text.encode(), 0o644) for path, text in contents.items()}
    return atomic_writer.write(str(top), files, now)


def test_own_files_are_counted_again_only_when_they_changed(tmp_path, monkeypatch):
    write(tmp_path, 1, a="1", d__b="2" * 9000)
    real, walks = diskusage.disk_usage, []

    def walk(*arguments, **options):
        walks.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(diskusage, "disk_usage", walk)
    found = measure("own files", str(tmp_path), NOW)
    later = datetime(2026, 1, 2, tzinfo=UTC)
    again = measure("own files", str(tmp_path), later, found)
    assert len(walks) == 1
    assert again.usage.time == later
    assert again.usage.used_bytes == found.usage.used_bytes == real(str(tmp_path)).used_bytes
    assert again.usage.inodes_used == real(str(tmp_path)).inodes
    before = again
    for number in range(1, 20):
        assert write(tmp_path, 2, a="1", d__b="2" * 9000 * number, c=str(number))
        now = measure("own files", str(tmp_path), later, before)
        assert len(walks) == number + 1
        assert now.usage.used_bytes == real(str(tmp_path)).used_bytes
        before = now


def test_an_unfinished_count_is_no_proof_of_anything(tmp_path):
    write(tmp_path, 1, a="1", b="2")
    first = measure("own files", str(tmp_path), NOW, limits=Limits(entries=2))
    assert first.usage.unfinished
    second = measure("own files", str(tmp_path), NOW, first)
    assert (second.usage.unfinished, second.usage.inodes_used) == ("", 7)


@pytest.mark.integration
def test_memory_knows_by_itself(mount_area, monkeypatch):
    top = mount_area / "v"
    top.mkdir()
    syscalls.mount("tmpfs", str(top), "tmpfs", 0, "size=1m")
    (top / "d").mkdir()
    (top / "d" / "file").write_bytes(b"x" * 10_000)
    walked = diskusage.disk_usage(str(top))

    def never(*arguments, **options):
        raise AssertionError("walked")

    monkeypatch.setattr(diskusage, "disk_usage", never)
    with open(top / "deleted", "wb") as deleted:
        for method in ("du", "own files"):
            found = measure(method, str(top), NOW).usage
            assert (found.used_bytes, found.inodes_used) == (walked.used_bytes, walked.inodes + 1)
            assert (found.capacity_bytes, found.available_bytes) == (1 << 20, (1 << 20) - walked.used_bytes)
        # What is open though it has no name takes memory too.
        deleted.write(b"x" * 4096)
        deleted.flush()
        os.unlink(top / "deleted")
        assert measure("du", str(top), NOW).usage.used_bytes == walked.used_bytes + 4096


@pytest.mark.integration
def test_what_a_container_mounted_over_a_volume_is_not_walked(mount_area, monkeypatch):
    top = mount_area / "v"
    top.mkdir()
    syscalls.mount("proc", str(top), "proc", 0, "")
    monkeypatch.setattr(diskusage, "disk_usage", None)
    assert measure("du", str(top), NOW).usage.unfinished == ""


@pytest.mark.integration
def test_huge_pages_are_counted(mount_area):
    top = mount_area / "v"
    top.mkdir()
    syscalls.mount("nodev", str(top), "hugetlbfs", 0, "")
    (top / "file").touch()
    found = measure("du", str(top), NOW).usage
    assert (found.used_bytes, found.inodes_used) == (0, 2)


def test_a_device_has_its_size(tmp_path):
    # A file answers as a device does.
    (tmp_path / "device").write_bytes(b"x" * 12_345)
    found = measure("block", str(tmp_path / "device"), NOW)
    assert found == Measured(VolumeUsage(NOW, capacity_bytes=12_345))
