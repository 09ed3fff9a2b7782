import errno
import os
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.linux import diskusage, mounts, syscalls
from pykubelet.linux.diskusage import DiskUsage, Limits, disk_usage, file_system


def expected(top):
    """The same, counted in another way."""
    seen, blocks = set(), 0
    for above, directories, files in os.walk(top):
        for path in [above, *(f"{above}/{name}" for name in [*directories, *files])]:
            status = os.lstat(path)
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                blocks += status.st_blocks
    return DiskUsage(blocks * 512, len(seen))


def test_it_counts_as_du_does(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"x" * 10_000)
    (tmp_path / "empty").touch()
    os.link(tmp_path / "a" / "file", tmp_path / "again")
    (tmp_path / "out").symlink_to("/usr")
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "sparse", "wb") as sparse:
        sparse.truncate(1 << 30)
    found = disk_usage(str(tmp_path))
    told = subprocess.run(["du", "-s", "-B1", tmp_path], capture_output=True, text=True, check=True)
    assert found == DiskUsage(int(told.stdout.split()[0]), 8)
    assert found == expected(tmp_path)


tree = st.recursive(
    st.binary(max_size=9000),
    lambda below: st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), below, max_size=4),
    max_leaves=12,
)


def grow(top, grown):
    if isinstance(grown, bytes):
        top.write_bytes(grown)
        return
    top.mkdir()
    for name, below in grown.items():
        grow(top / name, below)


@given(st.dictionaries(st.sampled_from(["x", "y", "z"]), tree, max_size=3))
def test_any_tree(tmp_path_factory, grown):
    top = tmp_path_factory.mktemp("usage") / "top"
    grow(top, grown)
    assert disk_usage(str(top)) == expected(top)


def test_any_depth_with_few_descriptors(tmp_path, monkeypatch):
    monkeypatch.setattr(diskusage, "_MAX_OPEN", 4)
    top = os.open(tmp_path, os.O_RDONLY)
    depth, most = 300, 0
    for number in range(depth):
        os.mkdir("side", dir_fd=top)
        os.mkdir(f"d{number}" * 5, dir_fd=top)
        below = os.open(f"d{number}" * 5, os.O_RDONLY, dir_fd=top)
        os.close(top)
        top = below
    os.close(top)
    before, real = len(os.listdir("/proc/self/fd")), os.fstat

    def fstat(found):
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/fd")) - before)
        return real(found)

    monkeypatch.setattr(os, "fstat", fstat)
    found = disk_usage(str(tmp_path))
    assert (found.inodes, found.unfinished) == (2 * depth + 1, "")
    assert most < 12
    assert len(os.listdir("/proc/self/fd")) == before


def test_who_moves_directories_leads_it_nowhere(tmp_path, monkeypatch):
    monkeypatch.setattr(diskusage, "_MAX_OPEN", 2)
    top, outside = tmp_path / "top", tmp_path / "outside"
    (top / "a/b/c/d/e").mkdir(parents=True)
    (outside / "lots").mkdir(parents=True)
    real = diskusage._open_directory

    def swap(parent, name):
        if name == "d":
            os.rename(top / "a/b/c", outside / "c")
        return real(parent, name)

    monkeypatch.setattr(diskusage, "_open_directory", swap)
    found = disk_usage(str(top))
    assert found.unfinished == "a directory was moved while it was read"
    assert found.inodes <= 6


def test_what_vanishes_or_changes_while_it_walks(tmp_path, monkeypatch):
    for name in ("gone", "link", "stays"):
        (tmp_path / name / "below").mkdir(parents=True)
    real, swapped = diskusage._open_directory, []

    def swap(parent, name):
        if not swapped:
            swapped.append(name)
            (tmp_path / "gone" / "below").rmdir()
            (tmp_path / "gone").rmdir()
            (tmp_path / "link" / "below").rmdir()
            (tmp_path / "link").rmdir()
            (tmp_path / "link").symlink_to("/usr")
        return real(parent, name)

    monkeypatch.setattr(diskusage, "_open_directory", swap)
    found = disk_usage(str(tmp_path))
    # The root, three directories as they were found, and what is below the one that stays.
    assert (found.inodes, found.unfinished) == (5, "")
    assert swapped


def test_a_root_that_is_gone_or_a_link(tmp_path):
    with pytest.raises(FileNotFoundError):
        disk_usage(str(tmp_path / "gone"))
    (tmp_path / "link").symlink_to("/usr")
    with pytest.raises(OSError, match=r"Not a directory|symbolic") as caught:
        disk_usage(str(tmp_path / "link"))
    assert caught.value.errno in (errno.ENOTDIR, errno.ELOOP)


def many(top, count):
    top.mkdir()
    for number in range(count):
        os.close(os.open(top / str(number), os.O_CREAT | os.O_WRONLY))


def test_limits_end_a_walk_and_it_says_so(tmp_path):
    many(tmp_path / "many", 2000)
    many(tmp_path / "more", 10)
    for number in range(10):
        os.link(tmp_path / "more" / str(number), tmp_path / f"link-{number}")
    found = disk_usage(str(tmp_path), Limits(entries=100))
    assert found == DiskUsage(found.used_bytes, 100, "there are more than 100 files")
    found = disk_usage(str(tmp_path), Limits(linked=5))
    assert found.unfinished == "more than 5 files have several names"
    found = disk_usage(str(tmp_path), Limits(seconds=0))
    assert found.inodes < 512
    assert found.unfinished == "it took more than 0 s"
    assert disk_usage(str(tmp_path), Limits(entries=2013)) == expected(tmp_path)


def test_others_run_meanwhile_and_may_end_it(tmp_path):
    many(tmp_path / "many", 2000)
    pauses = []
    assert disk_usage(str(tmp_path), pause=pauses.append).inodes == 2002
    assert len(pauses) == 3

    def stop(seconds):
        raise KeyError("stopped")

    with pytest.raises(KeyError):
        disk_usage(str(tmp_path), pause=stop)


def test_others_run_meanwhile_though_all_names_are_of_one_file(tmp_path):
    many(tmp_path / "one", 1)
    for number in range(2000):
        os.link(tmp_path / "one" / "0", tmp_path / f"link-{number}")
    pauses = []
    assert disk_usage(str(tmp_path), pause=pauses.append).inodes == 3
    assert len(pauses) == 3
    assert disk_usage(str(tmp_path), Limits(seconds=0)).unfinished == "it took more than 0 s"


def test_a_directory_that_cannot_be_read_does_not_hide_the_rest(tmp_path, monkeypatch):
    (tmp_path / "bad" / "below").mkdir(parents=True)
    (tmp_path / "good" / "below").mkdir(parents=True)
    real = diskusage._open_directory

    def refuse(parent, name):
        if name == "bad":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(parent, name)

    monkeypatch.setattr(diskusage, "_open_directory", refuse)
    found = disk_usage(str(tmp_path))
    assert (found.inodes, found.unfinished) == (4, "a directory could not be read: Input/output error")


@pytest.mark.integration
@pytest.mark.parametrize("other", [True, False], ids=["another file system", "the same one"])
@pytest.mark.parametrize("old_kernel", [False, True])
def test_mounts_inside_are_not_entered(mount_area, monkeypatch, other, old_kernel):
    top, big = mount_area / "top", mount_area / "big"
    (top / "inner").mkdir(parents=True)
    (top / "file").write_bytes(b"x" * 5000)
    big.mkdir()
    alone = disk_usage(str(top))
    if other:
        syscalls.mount("tmpfs", str(big), "tmpfs", 0, "size=1m")
    (big / "much").write_bytes(b"x" * 100_000)
    mounts.bind(str(big), str(top / "inner"))
    if old_kernel:

        def missing(*arguments, **options):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

        monkeypatch.setattr(syscalls, "openat2", missing)
    found = disk_usage(str(top))
    mounts.unmount_below(str(top / "inner"))
    if other:
        mounts.unmount(str(big))
    if old_kernel and not other:
        # Nothing there tells such a mount from a directory.
        assert found.inodes == alone.inodes + 1
    else:
        assert (found.inodes, found.used_bytes) == (alone.inodes - 1, alone.used_bytes)


@pytest.mark.integration
@pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="no FUSE here")
@pytest.mark.parametrize("died", [True, False])
def test_a_mount_inside_whose_daemon_does_not_answer_hides_nothing(mount_area, died):
    """Containers mount such things in volumes, for others."""
    top = mount_area / "top"
    for number in range(20):
        (top / f"d{number}").mkdir(parents=True)
        (top / f"d{number}" / "file").touch()
    alone, found = disk_usage(str(top)), []
    daemon = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={daemon},rootmode=40000,user_id=0,group_id=0"
    syscalls.mount("mine", str(top / "d11"), "fuse", 0, options)
    if died:
        os.close(daemon)
    walk = threading.Thread(target=lambda: found.append(disk_usage(str(top))), daemon=True)
    walk.start()
    walk.join(10)
    hung = walk.is_alive()
    if not died:
        os.close(daemon)
        walk.join()
    mounts.unmount(str(top / "d11"))
    assert not hung
    assert (found[0].inodes, found[0].unfinished) == (alone.inodes - 2, "")


@pytest.mark.integration
def test_how_full_a_file_system_is(mount_area):
    before = file_system(str(mount_area))
    assert (before.capacity, before.used) == (64 << 20, 0)
    (mount_area / "file").write_bytes(b"x" * (1 << 20))
    after = file_system(str(mount_area))
    assert after.used == 1 << 20
    assert after.available == before.available - (1 << 20)
    assert after.inodes_free == before.inodes_free - 1
    assert after.inodes == before.inodes


@pytest.mark.integration
def test_a_huge_tree(mount_area):
    top = mount_area / "top"
    top.mkdir()
    for number in range(20):
        many(top / str(number), 2000)
        os.symlink(top, top / f"link-{number}")
    pauses = []
    found = disk_usage(str(top), pause=pauses.append)
    assert (found.inodes, found.unfinished) == (40_041, "")
    assert len(pauses) == 40_041 // 512
