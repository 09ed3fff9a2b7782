"""Writing with a full disk, with kills that come at any time, with links that a container made."""

import errno
import os
import random
import signal
import time

import pytest

from pykubelet.linux import mounts, syscalls
from pykubelet.volumes import atomic_writer, ownership
from pykubelet.volumes.payload import File

NOW = 1_795_000_000_123_456_789
OLD = {"a": File(b"old", 0o644), "d/b": File(b"old", 0o600), "gone/x/y": File(b"old", 0o644)}
NEW = {
    "a": File(b"new" * 3000, 0o644),
    "d/b": File(b"new" * 3000, 0o644),
    "d/e/f": File(b"new" * 3000, 0o644),
    "fresh": File(b"new" * 3000, 0o644),
}


def everything(top):
    """All paths below *top* with what they are; the one version by a name of its own."""
    found = {}
    for path in top.rglob("*"):
        if path.is_symlink():
            found[str(path.relative_to(top))] = os.readlink(path)
        else:
            found[str(path.relative_to(top))] = path.read_bytes() if path.is_file() else None
    return found


@pytest.mark.integration
@pytest.mark.parametrize("limit", ["nr_inodes", "nr_blocks"])
def test_a_full_disk_leaves_what_was_there(mount_area, limit):
    """One more inode (or page) is there each time, until the write succeeds: each step fails once."""
    failures, room = 0, 14 if limit == "nr_inodes" else 3
    while True:
        top = mount_area / f"{limit}-{room}"
        top.mkdir()
        syscalls.mount("tmpfs", str(top), "tmpfs", 0, f"{limit}={room}")
        try:
            atomic_writer.write(str(top), OLD, NOW)
            before = everything(top)
            try:
                atomic_writer.write(str(top), NEW, NOW + 1)
            except OSError as error:
                assert error.errno == errno.ENOSPC
                assert everything(top) == before
                failures += 1
                # The old files can still be had where there is no room for others.
                assert not atomic_writer.write(str(top), OLD, NOW + 2)
            else:
                version = os.readlink(top / "..data")
                assert sorted(os.listdir(top)) == sorted([version, "..data", "a", "d", "fresh"])
                break
        finally:
            mounts.unmount(str(top))
        room += 1
    assert failures >= 5


@pytest.mark.integration
def test_a_disk_that_is_full_at_first_gets_nothing(mount_area):
    for room in range(2, 12):
        top = mount_area / str(room)
        top.mkdir()
        syscalls.mount("tmpfs", str(top), "tmpfs", 0, f"nr_inodes={room}")
        try:
            with pytest.raises(OSError, match="No space left"):
                atomic_writer.write(str(top), OLD, NOW)
            assert everything(top) == {}
        finally:
            mounts.unmount(str(top))


def generation(number):
    """Files that all tell one number; which there are depends on it."""
    names = [f"f{index}" for index in range(6) if (number >> index) % 2] + ["always", "deep/er/always"]
    if number % 3:
        names.append("swap" if number % 2 else "swap/inner")
    return {name: File(b"%d\n" % number * (1 + number % 500), 0o644) for name in names}


def write_for_ever(top, number):
    while True:
        atomic_writer.write(str(top), generation(number), NOW + number)
        number += 1


def test_a_kill_at_any_time_is_repaired_by_the_next_write(tmp_path):
    rng = random.Random(20)
    number = 0
    atomic_writer.write(str(tmp_path), generation(number), NOW)
    for _ in range(40):
        child = os.fork()
        if child == 0:
            try:
                write_for_ever(tmp_path, number + 1)
            finally:
                os._exit(1)
        time.sleep(rng.uniform(0.001, 0.02))
        os.kill(child, signal.SIGKILL)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        version = tmp_path / os.readlink(tmp_path / "..data")
        number = int((version / "always").read_bytes().split()[0])
        found = {path: content for path, content in everything(version).items() if content is not None}
        assert found == {path: file.data for path, file in generation(number).items()}
        number += 1
        atomic_writer.write(str(tmp_path), generation(number), NOW + number)
        names = {path.partition("/")[0] for path in generation(number)}
        assert set(os.listdir(tmp_path)) == {os.readlink(tmp_path / "..data"), "..data", *names}


@pytest.mark.parametrize("place", ["directory", "file", "version", "data", "new data", "visible"])
def test_links_of_a_container_lead_nowhere(tmp_path, place):
    """A container that may write into the volume swaps things for links (CVE-2017-1002102)."""
    outside, top = tmp_path / "outside", tmp_path / "volume"
    outside.mkdir()
    top.mkdir()
    (outside / "b").write_bytes(b"precious")
    os.chmod(outside, 0o700)
    os.chmod(outside / "b", 0o600)
    atomic_writer.write(str(top), OLD, NOW)
    version = top / os.readlink(top / "..data")
    swapped = {
        "directory": version / "d",
        "file": version / "a",
        "version": version,
        "data": top / "..data",
        "new data": top / "..data_tmp",
        "visible": top / "gone",
    }[place]
    if os.path.lexists(swapped):
        os.rename(swapped, tmp_path / "moved")
    swapped.symlink_to(outside)

    def give():
        ownership.give_to_group(str(top), 4321, read_only=True)

    assert atomic_writer.write(str(top), NEW, NOW + 1, give)
    assert everything(outside) == {"b": b"precious"}
    for path, mode in ((outside, 0o40700), (outside / "b", 0o100600)):
        assert (path.stat().st_mode, path.stat().st_gid) == (mode, 0)
    found = everything(top / os.readlink(top / "..data"))
    assert {path: content for path, content in found.items() if content is not None} == {
        path: file.data for path, file in NEW.items()
    }
