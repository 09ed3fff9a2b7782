import errno
import os

import pytest

from pykubelet.linux import mountinfo, mounts, syscalls

pytestmark = pytest.mark.integration


def test_errors_name_the_path(tmp_path):
    missing = str(tmp_path / "missing")
    with pytest.raises(FileNotFoundError) as caught:
        syscalls.mount("tmpfs", missing, "tmpfs", 0)
    assert caught.value.filename == missing
    with pytest.raises(FileNotFoundError):
        syscalls.filesystem_type(missing)
    with pytest.raises(FileNotFoundError):
        syscalls.openat2(syscalls.AT_FDCWD, missing, os.O_PATH)


def test_a_bind_shows_the_same(mount_area):
    source, target = mount_area / "source", mount_area / "target"
    source.mkdir()
    target.mkdir()
    (source / "file").write_text("x")
    mounts.bind(str(source), str(target))
    assert (target / "file").read_text() == "x"
    mounts.restrict(str(target), ["ro"])
    with pytest.raises(OSError, match="Read-only"):
        (target / "new").touch()
    (source / "new").touch()
    assert mounts.unmount(str(target))
    assert not mounts.unmount(str(target))
    assert not mounts.unmount(str(mount_area / "missing"))


def test_a_descriptor_is_bound_whatever_its_path_became(mount_area):
    source, target = mount_area / "source", mount_area / "target"
    source.mkdir()
    target.mkdir()
    (source / "right").touch()
    descriptor = os.open(source, os.O_PATH)
    try:
        source.rename(mount_area / "moved")
        source.symlink_to("/etc")
        mounts.bind_descriptor(descriptor, str(target))
    finally:
        os.close(descriptor)
    assert (target / "right").exists()


def test_whether_a_tmpfs_is_on_a_directory(mount_area):
    target = mount_area / "v"
    assert not mounts.has_tmpfs(str(target))
    target.mkdir()
    # On a tmpfs, but not its root.
    assert not mounts.has_tmpfs(str(target))
    mounts.mount_tmpfs(str(target))
    assert mounts.has_tmpfs(str(target))
    (target / "below").mkdir()
    assert not mounts.has_tmpfs(str(target / "below"))
    (mount_area / "link").symlink_to(target)
    assert not mounts.has_tmpfs(str(mount_area / "link"))
    (mount_area / "file").touch()
    assert not mounts.has_tmpfs(str(mount_area / "file"))
    mounts.unmount(str(target))
    assert not mounts.has_tmpfs(str(target))


@pytest.mark.parametrize("name", ["plain", "with space", "back\\slash", "hash#", "new\nline"])
def test_the_fast_way_finds_the_same_mounts(mount_area, name):
    top = mount_area / name
    for number in range(3):
        (top / f"v{number}").mkdir(parents=True)
        mounts.mount_tmpfs(str(top / f"v{number}"))
        (top / f"v{number}" / "in").mkdir()
        mounts.mount_tmpfs(str(top / f"v{number}" / "in"))
    mounts.mount_tmpfs(str(top / "v1"))
    found = mountinfo.read_below(str(top))
    assert len(found) == 7
    assert sorted(found, key=lambda mount: mount.mount_id) == sorted(
        mountinfo.mounts_below(mountinfo.read(), str(top)), key=lambda mount: mount.mount_id
    )
    assert mounts.unmount_below(str(top)) == 7
    assert mountinfo.read_below(str(top)) == ()


def test_a_tmpfs_has_its_size(mount_area):
    target = mount_area / "tmp"
    target.mkdir()
    mounts.mount_tmpfs(str(target), size=8192)
    status = os.statvfs(target)
    assert status.f_blocks * status.f_frsize == 8192
    assert mounts.has_tmpfs(str(target))
    assert not mounts.has_tmpfs("/proc")
    with pytest.raises(OSError) as caught:
        (target / "file").write_bytes(b"x" * 10000)
    assert caught.value.errno == errno.ENOSPC


def test_all_below_is_unmounted_and_busy_ones_stay(mount_area):
    outer = mount_area / "outer"
    outer.mkdir()
    mounts.mount_tmpfs(str(outer))
    inner = outer / "inner"
    inner.mkdir()
    mounts.mount_tmpfs(str(inner))
    with open(inner / "file", "w"):
        with pytest.raises(OSError) as caught:
            mounts.unmount_below(str(outer))
        assert caught.value.errno == errno.EBUSY
    assert mounts.unmount_below(str(outer)) == 2
    assert mountinfo.mounts_below(mountinfo.read(), str(outer)) == ()


def test_an_unmount_follows_no_link(mount_area):
    real = mount_area / "real"
    real.mkdir()
    mounts.mount_tmpfs(str(real))
    link = mount_area / "link"
    link.symlink_to(real)
    assert not mounts.unmount(str(link))
    assert mountinfo.is_mount_point(mountinfo.read(), str(real))


def test_a_directory_is_made_shared_once(mount_area):
    root = mount_area / "root"
    root.mkdir()
    assert mounts.ensure_shared(root)
    assert not mounts.ensure_shared(root)
    assert not mounts.ensure_shared(root / "below")
    found = [mount for mount in mountinfo.read() if mount.mount_point == str(root)]
    assert [mount.propagation for mount in found] == ["shared"]


def _options(path):
    return set(next(m for m in mountinfo.read() if m.mount_point == str(path)).options)


def test_a_single_mount_is_restricted_and_keeps_what_its_source_forbids(mount_area):
    source, target = mount_area / "source", mount_area / "target"
    source.mkdir()
    target.mkdir()
    syscalls.mount("tmpfs", str(source), "tmpfs", syscalls.MS_NODEV | syscalls.MS_RELATIME)
    mounts.bind(str(source), str(target))
    mounts.restrict(str(target), [])
    mounts.restrict(str(target), ["discard", "rw"])
    assert _options(target) == _options(source) == {"rw", "nodev", "relatime"}
    mounts.restrict(str(target), ["ro", "nosuid", "noexec", "noatime", "errors=remount-ro"])
    assert _options(target) == {"ro", "nosuid", "nodev", "noexec", "noatime"}
    assert _options(source) == {"rw", "nodev", "relatime"}
    mounts.restrict(str(target), ["nodiratime"])
    assert _options(target) == {"ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"}


def test_what_came_with_its_mounts_from_elsewhere_goes_from_here_alone(mount_area):
    """A shared tree that was bound with all that is in it, as a container may do in a volume."""
    source, copy, own = mount_area / "source", mount_area / "top" / "copy", mount_area / "top" / "own"
    for path in (source, copy, own):
        path.mkdir(parents=True)
        if path != copy:
            mounts.mount_tmpfs(str(path))
            mounts.make_shared(str(path))
            (path / "inner").mkdir()
            mounts.mount_tmpfs(str(path / "inner"))
    mounts.bind(str(source), str(copy), recursive=True)
    assert mounts.unmount_below(str(mount_area / "top")) == 4
    table = mountinfo.read()
    assert mountinfo.is_mount_point(table, str(source / "inner"))
    assert mountinfo.mounts_below(table, str(mount_area / "top")) == ()
