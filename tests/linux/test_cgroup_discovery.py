import pytest

from pykubelet.linux.cgroup_discovery import discover
from pykubelet.linux.cgroups import CgroupError


def machine(root, mounts, controllers):
    lines = [
        f"{30 + n} 1 0:{n} / {point} rw - {kind} {kind} rw,{options}\n"
        for n, (point, kind, options) in enumerate(mounts)
    ]
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mountinfo").write_text("".join(lines))
    (root / "proc/cgroups").write_text("".join(f"{name}\t1\t1\t1\n" for name in controllers))
    return root


def test_v1(tmp_path):
    names = ("cpu", "cpuacct", "cpuset", "memory")
    mounts = [(f"/sys/fs/cgroup/{name}", "cgroup", name) for name in names]
    fs = discover(machine(tmp_path, [*mounts, ("/sys/fs/cgroup/unified", "cgroup2", "nsdelegate")], names))
    assert fs.version == 1
    assert set(fs.points) == {*names, "unified"}
    assert fs.points["cpu"] == tmp_path / "sys/fs/cgroup/cpu"


def test_v1_incomplete(tmp_path):
    mounts = [("/sys/fs/cgroup/cpu", "cgroup", "cpu,cpuacct")]
    with pytest.raises(CgroupError, match=r"Following Cgroup subsystem not mounted: \[cpuset memory\]"):
        discover(machine(tmp_path, mounts, ("cpu", "cpuacct", "memory")))


def test_v2(tmp_path):
    machine(tmp_path, [("/sys/fs/cgroup", "cgroup2", "nsdelegate")], ("cpu",))
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").write_text("cpuset cpu memory pids\n")
    fs = discover(tmp_path)
    assert fs.version == 2
    assert fs.available == ("cpuset", "cpu", "memory", "pids")


def test_v2_incomplete(tmp_path):
    machine(tmp_path, [("/sys/fs/cgroup", "cgroup2", "nsdelegate")], ())
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").write_text("pids\n")
    with pytest.raises(CgroupError, match=r"\[cpu cpuset memory\]"):
        discover(tmp_path)
