"""The kernel's own cgroup v1 tree, below a root that only this test uses."""

import asyncio
import os
import secrets
import subprocess

import pytest

from pykubelet.api.core import Container, Pod, PodSpec, ResourceRequirements
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.quantity import Quantity
from pykubelet.base.clock import SystemClock
from pykubelet.base.journal import NullJournal
from pykubelet.linux.cgroup_discovery import discover
from pykubelet.linux.cgroup_v1 import CgroupV1
from pykubelet.linux.cgroups import Limits, write_file
from pykubelet.linux.machine import read_machine
from pykubelet.resources.allocatable import Reservations, capacity_of
from pykubelet.resources.cgroup_root import create_root, remove_root
from pykubelet.resources.pod_cgroups import NodeAmounts, PodCgroupManager, TreeConfig
from pykubelet.resources.values import PodCgroupConfig

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]


@pytest.fixture
def fs():
    found = discover()
    if not isinstance(found, CgroupV1):
        pytest.skip("this machine has cgroup v2")
    return found


@pytest.fixture
def root(fs):
    name = f"/pykubelet-test-{secrets.token_hex(4)}"
    create_root(fs, name)
    yield name
    fs.kill(name)
    fs.remove(name)


@pytest.fixture
def manager(fs, root):
    machine = read_machine()
    journal = NullJournal()
    return PodCgroupManager(
        fs,
        TreeConfig(cgroup_root=root, pods=PodCgroupConfig(pod_pids_limit=64)),
        NodeAmounts(capacity_of(machine, max_pods=110), Reservations(), machine.max_pids),
        journal=journal,
        events=journal,
        clock=SystemClock(),
    )


def a_pod(uid, **requests):
    amounts = {name: Quantity.parse(text) for name, text in requests.items()}
    resources = ResourceRequirements(requests=amounts, limits=amounts)
    return Pod(
        metadata=ObjectMeta(name="web", namespace="default", uid=uid),
        spec=PodSpec(containers=[Container(name="c", resources=resources)]),
    )


def read(fs, controller, cgroup, file):
    return (fs.path(controller, cgroup) / file).read_text().strip()


async def test_a_pods_life(fs, root, manager):
    await manager.ensure_tree()
    await manager.enforce_allocatable()
    pod = a_pod("0a-1b", cpu="250m", memory="64Mi")
    await manager.ensure(pod)
    assert await manager.exists(pod)
    path = manager.parent(pod)
    assert path == f"{root}/kubepods/pod0a-1b"
    assert read(fs, "cpu", path, "cpu.shares") == "256"
    assert read(fs, "cpu", path, "cpu.cfs_quota_us") == "25000"
    assert read(fs, "cpu", path, "cpu.cfs_period_us") == "100000"
    assert read(fs, "memory", path, "memory.limit_in_bytes") == str(64 << 20)
    assert read(fs, "pids", path, "pids.max") == "64"
    assert read(fs, "cpuset", path, "cpuset.cpus") == read(fs, "cpuset", "/", "cpuset.cpus")
    assert read(fs, "cpuset", path, "cpuset.mems") == read(fs, "cpuset", "/", "cpuset.mems")
    assert read(fs, "cpu", f"{root}/kubepods/besteffort", "cpu.shares") == "2"
    assert await manager.list_pods() == {"0a-1b"}

    # A cgroup that is there is told of, not changed: in which order is the resize's to say.
    found, wanted = await manager.ensure(a_pod("0a-1b", cpu="500m", memory="32Mi"))
    assert (found.cpu_quota, found.memory) == (25000, 64 << 20)
    assert read(fs, "cpu", path, "cpu.cfs_quota_us") == "25000"
    await manager.set_limits(pod, wanted)
    assert read(fs, "cpu", path, "cpu.cfs_quota_us") == "50000"
    assert read(fs, "memory", path, "memory.limit_in_bytes") == str(32 << 20)

    await manager.destroy("0a-1b")
    assert not await manager.exists(pod)
    assert await manager.list_pods() == set()
    assert await asyncio.to_thread(remove_root, fs, root)


async def test_destroy_kills_what_is_left(fs, root, manager):
    await manager.ensure_tree()
    pod = a_pod("dead-1")
    await manager.ensure(pod)
    inner = f"{manager.parent(pod)}/container"
    await asyncio.to_thread(fs.create, inner)
    process = subprocess.Popen(["sleep", "50"])
    try:
        for controller in ("memory", "cpu", "devices"):
            await asyncio.to_thread(write_file, fs.path(controller, inner) / "cgroup.procs", str(process.pid))
        assert await asyncio.to_thread(fs.pids, manager.parent(pod)) == {process.pid}
        assert not await asyncio.to_thread(remove_root, fs, root)
        await manager.destroy("dead-1")
        assert process.wait(5) == -9
    finally:
        process.kill()
        process.wait()
    assert not fs.path("memory", manager.parent(pod)).exists()


def test_period_below_the_quota(fs, root):
    fs.apply(root, Limits(cpu_quota=50_000, cpu_period=100_000))
    fs.create(f"{root}/inner")
    fs.apply(f"{root}/inner", Limits(cpu_quota=50_000, cpu_period=100_000))
    fs.apply(f"{root}/inner", Limits(cpu_quota=25_000, cpu_period=50_000))
    assert read(fs, "cpu", f"{root}/inner", "cpu.cfs_period_us") == "50000"


def test_unknown_cgroup(fs, root):
    with pytest.raises(FileNotFoundError):
        fs.apply(f"{root}/nothing", Limits(cpu_shares=2))
