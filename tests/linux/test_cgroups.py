import errno
import os
from pathlib import Path

import pytest

from pykubelet.linux.cgroups import (
    CgroupError,
    Mount,
    components,
    hugepage_sizes,
    hugepage_text,
    kill_all,
    parse_controllers,
    parse_mounts,
    pids_below,
    remove_tree,
    write_file,
)

MOUNTINFO = """\
23 1 0:21 / /sys rw,nosuid - sysfs sysfs rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/a\\040b rw - cgroup2 cgroup2 rw,nsdelegate
broken line
"""


def test_mounts():
    assert parse_mounts(MOUNTINFO, {"cpu", "cpuacct"}) == [
        Mount(Path("/sys/fs/cgroup/cpu,cpuacct"), "cgroup", ("cpu", "cpuacct")),
        Mount(Path("/sys/fs/cgroup/systemd"), "cgroup", ("systemd",)),
        Mount(Path("/sys/fs/cgroup/a b"), "cgroup2", ()),
    ]


def test_controllers():
    text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t1\t1\nmemory\t0\t1\t0\n"
    assert parse_controllers(text) == {"cpu"}


@pytest.mark.parametrize(
    ("size", "text"), [(65536, "64KB"), (2 << 20, "2MB"), (1 << 30, "1GB"), (16 << 30, "16GB")]
)
def test_hugepage_text(size, text):
    assert hugepage_text(size) == text


def test_hugepage_sizes(tmp_path):
    for name in ("hugepages-2048kB", "hugepages-1048576kB", "other"):
        (tmp_path / "sys/kernel/mm/hugepages" / name).mkdir(parents=True)
    assert hugepage_sizes(tmp_path) == (2 << 20, 1 << 30)
    assert hugepage_sizes(tmp_path / "nowhere") == ()


@pytest.mark.parametrize("name", ["kubepods", "/a/../b", ""])
def test_bad_names(name):
    with pytest.raises(ValueError, match="not an absolute path"):
        components(name)


def test_components():
    assert components("/") == ()
    assert components("/a/b") == ("a", "b")


def test_write_never_creates(tmp_path):
    with pytest.raises(OSError, match="cannot write '5'") as caught:
        write_file(tmp_path / "memory.max", "5")
    assert caught.value.errno == errno.ENOENT
    assert not list(tmp_path.iterdir())


def test_pids_below(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "cgroup.procs").write_text("1\n22\n")
    (tmp_path / "a/b/cgroup.procs").write_text("22\n333\n")
    assert pids_below(tmp_path) == {1, 22, 333}
    assert pids_below(tmp_path / "gone") == set()


def test_remove_bottom_up(tmp_path):
    (tmp_path / "pod/a/b").mkdir(parents=True)
    (tmp_path / "pod/c").mkdir()
    with pytest.raises(OSError):
        remove_tree(tmp_path / "pod", recursive=False)
    remove_tree(tmp_path / "pod", recursive=True)
    assert not (tmp_path / "pod").exists()
    remove_tree(tmp_path / "pod", recursive=True)


def test_kill_spares_this_process_and_strangers():
    kill_all(lambda: {0, 1, os.getpid()}, "/x")


def test_kill_gives_up(monkeypatch):
    killed = []
    monkeypatch.setattr(os, "kill", lambda pid, _: killed.append(pid))
    with pytest.raises(CgroupError, match="1 processes survived"):
        kill_all(lambda: {4_000_000}, "/x")
    assert killed == [4_000_000] * 5
