import errno

import pytest

from pykubelet.linux.cgroup_v2 import CgroupV2, writes
from pykubelet.linux.cgroups import CgroupError, Limits

MIB2 = 2 << 20


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(), []),
        (Limits(cpu_shares=2), [("cpu", "cpu.weight", "1")]),
        (
            Limits(cpu_shares=1024, cpu_quota=25_000, cpu_period=100_000, memory=64 << 20, pids=100),
            [
                ("pids", "pids.max", "100"),
                ("memory", "memory.max", "67108864"),
                ("cpu", "cpu.weight", "39"),
                ("cpu", "cpu.max", "25000 100000"),
            ],
        ),
        (Limits(cpu_quota=-1, cpu_period=5000), [("cpu", "cpu.max", "max 5000")]),
        (
            Limits(cpu_quota=-1, memory=-1, pids=-1),
            [("pids", "pids.max", "max"), ("memory", "memory.max", "max"), ("cpu", "cpu.max", "max 100000")],
        ),
        (
            Limits(hugepages={}),
            [("hugetlb", "hugetlb.2MB.max", "0"), ("hugetlb", "hugetlb.2MB.rsvd.max", "0")],
        ),
    ],
)
def test_writes(limits, expected):
    assert writes(limits, (MIB2,)) == expected


class FakeKernel:
    def __init__(self):
        self.log = []
        self.refuse = {}

    def __call__(self, path, value):
        self.log.append((path.name, value))
        if (path.name, value) in self.refuse:
            raise OSError(self.refuse[path.name, value], "refused", str(path))
        path.write_text(value)


@pytest.fixture
def kernel():
    return FakeKernel()


@pytest.fixture
def fs(tmp_path, kernel):
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    return CgroupV2(tmp_path, page_sizes=(MIB2,), write=kernel)


def test_controllers_are_handed_down_to_the_level_above(fs, tmp_path):
    fs.create("/kubepods/burstable")
    wanted = "+cpuset +cpu +io +memory +pids"
    assert (tmp_path / "cgroup.subtree_control").read_text() == wanted
    assert (tmp_path / "kubepods/cgroup.subtree_control").read_text() == wanted
    assert not (tmp_path / "kubepods/burstable/cgroup.subtree_control").exists()


def test_one_by_one_when_the_kernel_refuses_all_together(fs, kernel):
    kernel.refuse = {
        ("cgroup.subtree_control", "+cpuset +cpu +io +memory +pids"): errno.EINVAL,
        ("cgroup.subtree_control", "+io"): errno.EINVAL,
    }
    fs.create("/p")
    assert [value for _, value in kernel.log][1:] == ["+cpuset", "+cpu", "+io", "+memory", "+pids"]
    kernel.refuse["cgroup.subtree_control", "+memory"] = errno.EBUSY
    with pytest.raises(OSError, match="refused"):
        fs.create("/p")


def test_missing(fs, tmp_path):
    assert fs.missing("/p") == (str(tmp_path / "p"),)
    fs.create("/p")
    (tmp_path / "p/cgroup.controllers").write_text("cpu memory\n")
    assert fs.missing("/p") == ("cpuset", "pids")
    (tmp_path / "p/cgroup.controllers").write_text("cpuset cpu memory pids\n")
    assert fs.missing("/p") == ()


def test_threaded_cgroups_are_refused(fs, tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p/cgroup.type").write_text("domain invalid\n")
    with pytest.raises(CgroupError, match="domain invalid"):
        fs.create("/p/q")


def test_kill_through_the_kernel(fs, kernel, tmp_path):
    fs.create("/p")
    (tmp_path / "p/cgroup.procs").write_text("4111222\n")

    def end_all(path, value):
        kernel.log.append((path.name, value))
        (tmp_path / "p/cgroup.procs").write_text("")

    CgroupV2(tmp_path, write=end_all).kill("/p")
    assert kernel.log[-1] == ("cgroup.kill", "1")


def test_apply_leaves_out_what_the_kernel_lacks(fs, kernel):
    fs.create("/p")
    kernel.log.clear()
    fs.apply("/p", Limits(cpu_shares=2, hugepages={}))
    assert kernel.log == [("cpu.weight", "1")]


def test_root_is_not_touched(fs):
    for change in (fs.kill, fs.remove):
        with pytest.raises(ValueError, match="root cgroup"):
            change("/")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"cpu.max": "max 100000", "cpu.weight": "100", "memory.max": "max"},
            Limits(cpu_shares=2597, cpu_quota=-1, cpu_period=100_000, memory=-1),
        ),
        (
            {"cpu.max": "25000 50000", "cpu.weight": "1", "memory.max": "4096"},
            Limits(cpu_shares=2, cpu_quota=25_000, cpu_period=50_000, memory=4096),
        ),
    ],
)
def test_limits_that_are_in_force(fs, tmp_path, files, expected):
    (tmp_path / "pod").mkdir()
    for name, text in files.items():
        (tmp_path / "pod" / name).write_text(f"{text}\n")
    assert fs.limits("/pod") == expected


def test_limits_that_make_no_sense(fs, tmp_path):
    (tmp_path / "pod").mkdir()
    (tmp_path / "pod/cpu.max").write_text("much 100000")
    (tmp_path / "pod/cpu.weight").write_text("1")
    (tmp_path / "pod/memory.max").write_text("1")
    with pytest.raises(CgroupError, match=r"cpu\.max"):
        fs.limits("/pod")
    (tmp_path / "pod/memory.current").write_text("plenty")
    with pytest.raises(CgroupError, match="no number"):
        fs.memory_usage("/pod")
    with pytest.raises(FileNotFoundError):
        fs.limits("/gone")


@pytest.mark.parametrize(
    "limits",
    [Limits(cpu_shares=102, cpu_quota=-1, cpu_period=5000, memory=10_000), Limits(2, 1000, 100_000, -1)],
)
def test_what_is_written_is_shown_as_it_is_read(fs, tmp_path, limits):
    (tmp_path / "pod").mkdir()
    fs.apply("/pod", limits)
    # The kernel keeps whole pages.
    if limits.memory > 0:
        (tmp_path / "pod/memory.max").write_text(str(limits.memory // 4096 * 4096))
    assert fs.limits("/pod") == fs.shown(limits)
    assert fs.shown(Limits()) == Limits()
    (tmp_path / "pod/memory.current").write_text("123\n")
    assert fs.memory_usage("/pod") == 123
