import errno
from pathlib import Path

import pytest

from pykubelet.linux.cgroup_v1 import CgroupV1, mount_points, writes
from pykubelet.linux.cgroups import Limits, Mount

MIB2, GIB = 2 << 20, 1 << 30


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(), []),
        (Limits(cpu_shares=2), [("cpu", "cpu.shares", "2")]),
        (
            Limits(cpu_shares=256, cpu_quota=25_000, cpu_period=100_000, memory=64 << 20, pids=100),
            [
                ("memory", "memory.limit_in_bytes", "67108864"),
                ("cpu", "cpu.shares", "256"),
                ("cpu", "cpu.cfs_period_us", "100000"),
                ("cpu", "cpu.cfs_quota_us", "25000"),
                ("pids", "pids.max", "100"),
            ],
        ),
        (
            Limits(cpu_quota=-1, memory=0, pids=-1),
            [("cpu", "cpu.cfs_quota_us", "-1"), ("pids", "pids.max", "max")],
        ),
        (Limits(pids=0), [("pids", "pids.max", "1")]),
        (
            Limits(hugepages={MIB2: 4 << 20}),
            [
                ("hugetlb", "hugetlb.2MB.limit_in_bytes", "4194304"),
                ("hugetlb", "hugetlb.2MB.rsvd.limit_in_bytes", "4194304"),
                ("hugetlb", "hugetlb.1GB.limit_in_bytes", "0"),
                ("hugetlb", "hugetlb.1GB.rsvd.limit_in_bytes", "0"),
            ],
        ),
    ],
)
def test_writes(limits, expected):
    assert writes(limits, (MIB2, GIB)) == expected


def test_shortest_mount_point_wins():
    mounts = [
        Mount(Path("/var/lib/x/cgroup/cpu"), "cgroup", ("cpu",)),
        Mount(Path("/sys/fs/cgroup/cpu"), "cgroup", ("cpu", "cpuacct")),
        Mount(Path("/sys/fs/cgroup/unified"), "cgroup2", ()),
    ]
    assert mount_points(mounts) == {
        "cpu": Path("/sys/fs/cgroup/cpu"),
        "cpuacct": Path("/sys/fs/cgroup/cpu"),
        "unified": Path("/sys/fs/cgroup/unified"),
    }


class FakeKernel:
    """Writes that create their file, and refuse what they are told to."""

    def __init__(self):
        self.log = []
        self.refuse = {}

    def __call__(self, path, value):
        self.log.append((path.name, value))
        if self.refuse.get(path.name):
            raise OSError(self.refuse[path.name].pop(0), "refused", str(path))
        path.write_text(value)


@pytest.fixture
def kernel():
    return FakeKernel()


@pytest.fixture
def fs(tmp_path, kernel):
    points = {name: tmp_path / name for name in ("cpu", "memory", "devices")}
    points["cpuacct"] = points["cpu"]
    for point in points.values():
        point.mkdir(exist_ok=True)
    return CgroupV1(points, write=kernel)


def test_created_in_every_hierarchy(fs, tmp_path):
    assert fs.missing("/kubepods/pod1") == (
        str(tmp_path / "cpu/kubepods/pod1"),
        str(tmp_path / "memory/kubepods/pod1"),
    )
    fs.create("/kubepods/pod1")
    fs.create("/kubepods/pod1")
    assert fs.missing("/kubepods/pod1") == ()
    assert (tmp_path / "devices/kubepods/pod1").is_dir()
    assert fs.children("/kubepods") == {"pod1"}
    (tmp_path / "memory/kubepods/pod1").rmdir()
    assert fs.missing("/kubepods/pod1")
    assert fs.children("/kubepods") == {"pod1"}


def test_controllers_that_are_not_mounted_are_left_out(fs, kernel, tmp_path):
    fs.create("/p")
    fs.apply("/p", Limits(cpu_shares=100, memory=5, pids=7))
    assert kernel.log == [("memory.limit_in_bytes", "5"), ("cpu.shares", "100")]
    assert (tmp_path / "memory/p/memory.limit_in_bytes").read_text() == "5"


def test_period_is_written_again_after_the_quota(fs, kernel):
    fs.create("/p")
    kernel.refuse = {"cpu.cfs_period_us": [errno.EINVAL]}
    fs.apply("/p", Limits(cpu_quota=1000, cpu_period=5000))
    assert kernel.log == [
        ("cpu.cfs_period_us", "5000"),
        ("cpu.cfs_quota_us", "1000"),
        ("cpu.cfs_period_us", "5000"),
    ]
    kernel.refuse = {"cpu.cfs_quota_us": [errno.EINVAL]}
    with pytest.raises(OSError, match="refused"):
        fs.apply("/p", Limits(cpu_quota=1000, cpu_period=5000))


def test_removal_tries_all(fs, tmp_path):
    fs.create("/p/c")
    (tmp_path / "cpu/p/held").write_text("")
    with pytest.raises(OSError):
        fs.remove("/p")
    assert not (tmp_path / "memory/p").exists()
    (tmp_path / "cpu/p/held").unlink()
    fs.remove("/p")
    fs.remove("/p")
    with pytest.raises(ValueError, match="root cgroup"):
        fs.remove("/")


def test_kill_of_nothing(fs):
    fs.create("/p")
    fs.kill("/p")
    with pytest.raises(ValueError, match="root cgroup"):
        fs.kill("/")


def test_cpuset_is_inherited(tmp_path):
    point = tmp_path / "cpuset"
    for directory in (point, point / "a", point / "a/b"):
        directory.mkdir()
        (directory / "cpuset.cpus").write_text("0-1\n" if directory == point else "\n")
        (directory / "cpuset.mems").write_text("0\n" if directory == point else "\n")
    CgroupV1({"cpuset": point}, write=lambda path, value: path.write_text(value) and None).create("/a/b")
    assert (point / "a/b/cpuset.cpus").read_text() == "0-1"
    assert (point / "a/b/cpuset.mems").read_text() == "0"


@pytest.mark.parametrize(
    ("memory", "quota", "expected"),
    [
        ("9223372036854771712", "-1", Limits(cpu_shares=102, cpu_quota=-1, cpu_period=100_000, memory=-1)),
        ("8192", "25000", Limits(cpu_shares=102, cpu_quota=25_000, cpu_period=100_000, memory=8192)),
    ],
)
def test_limits_that_are_in_force(tmp_path, memory, quota, expected):
    pod = tmp_path / "pod"
    pod.mkdir()
    for name, text in {
        "cpu.shares": "102",
        "cpu.cfs_quota_us": quota,
        "cpu.cfs_period_us": "100000",
        "memory.limit_in_bytes": memory,
        "memory.usage_in_bytes": "4096",
    }.items():
        (pod / name).write_text(f"{text}\n")
    fs = CgroupV1({"cpu": tmp_path, "memory": tmp_path})
    assert fs.limits("/pod") == expected
    assert fs.memory_usage("/pod") == 4096
    assert fs.shown(Limits(102, 25_000, 100_000, 10_000)) == Limits(102, 25_000, 100_000, 8192)
