import asyncio
import errno
from pathlib import Path

import pytest

from pykubelet.api.quantity import Quantity
from pykubelet.base.clock import LoopClock, ManualClock
from pykubelet.base.journal import NullJournal
from pykubelet.base.tasks import TaskOwner
from pykubelet.linux.cgroup_v1 import CgroupV1
from pykubelet.linux.cgroup_v2 import CgroupV2
from pykubelet.linux.cgroups import CgroupError, Limits
from pykubelet.resources.allocatable import Reservations
from pykubelet.resources.cgroup_root import create_root, remove_root
from pykubelet.resources.pod_cgroups import NodeAmounts, PodCgroupManager, TreeConfig
from pykubelet.resources.values import PodCgroupConfig

CONTROLLERS = "cpuset cpu memory hugetlb pids"
#: What the kernel's files of a new cgroup say.
KERNELS = {"cpu.max": "max 100000", "cpu.weight": "100", "memory.max": "max", "memory.current": "4096"}
HANDED = "+cpuset +cpu +memory +hugetlb +pids"
GIB = 1 << 30


class PopulatedV2(CgroupV2):
    """A unified hierarchy in a directory: new cgroups get the controllers as the kernel would."""

    def apply(self, name, limits):
        super().apply(name, limits)
        if limits.memory and limits.memory > 0:
            # The kernel keeps whole pages.
            (self.path(name) / "memory.max").write_text(str(limits.memory // 4096 * 4096))

    def create(self, name):
        super().create(name)
        directory = self.path("/")
        for part in name.strip("/").split("/"):
            directory /= part
            (directory / "cgroup.controllers").write_text(CONTROLLERS)
            for file, value in KERNELS.items():
                if not (directory / file).exists():
                    (directory / file).write_text(value)


class KernelV1(CgroupV1):
    """Hierarchies in directories: new cgroups have the files that the kernel would give them."""

    def create(self, name):
        super().create(name)
        for controller, file, value in (
            ("cpu", "cpu.shares", "1024"),
            ("cpu", "cpu.cfs_quota_us", "-1"),
            ("cpu", "cpu.cfs_period_us", "100000"),
            ("memory", "memory.limit_in_bytes", "9223372036854771712"),
            ("pids", "pids.max", "max"),
        ):
            directory = self.path(controller, "/")
            for part in name.strip("/").split("/"):
                directory /= part
                if not (directory / file).exists():
                    (directory / file).write_text(value)

    def apply(self, name, limits):
        super().apply(name, limits)
        if limits.memory and limits.memory > 0:
            file = self.path("memory", name) / "memory.limit_in_bytes"
            file.write_text(str(limits.memory // 4096 * 4096))


class Book(NullJournal):
    def __init__(self):
        self.events = []
        self.decisions = []

    def record(self, decision, text, **_):
        self.decisions.append(decision)

    def node_event(self, kind, reason, message):
        self.events.append((kind, reason, message))


class Refusing:
    """Creates the files it writes, after some refusals."""

    def __init__(self):
        self.refusals = []
        self.count = 0

    def __call__(self, path, value):
        self.count += 1
        if self.refusals:
            raise OSError(self.refusals.pop(0), "Device or resource busy", str(path))
        path.write_text(value)


@pytest.fixture
def write():
    return Refusing()


@pytest.fixture
def fs(tmp_path, write):
    (tmp_path / "cgroup.controllers").write_text(CONTROLLERS)
    return PopulatedV2(tmp_path, page_sizes=(2 << 20,), write=write)


@pytest.fixture
def book():
    return Book()


CAPACITY = {"cpu": Quantity.of(4), "memory": Quantity.of(8 * GIB)}
RESERVED = {"cpu": Quantity.of(1), "memory": Quantity.of(GIB)}


@pytest.fixture
def manager(fs, book):
    def make(**config):
        return PodCgroupManager(
            fs,
            TreeConfig(pods=PodCgroupConfig(pod_pids_limit=100), **config),
            NodeAmounts(CAPACITY, Reservations(system=RESERVED), max_pids=5000),
            journal=book,
            events=book,
            clock=ManualClock(),
            page_sizes=(2 << 20,),
        )

    return make


def recorded(root: Path) -> dict[str, str]:
    """What was written below *root*, without what the kernel's own files say."""
    return {
        str(path.relative_to(root)): path.read_text()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "cgroup.controllers" and KERNELS.get(path.name) != path.read_text()
    }


UNBOUNDED = str(1 << 62)
TREE = {
    "cgroup.subtree_control": HANDED,
    "kubepods/cgroup.subtree_control": HANDED,
    "kubepods/cpu.weight": "118",
    "kubepods/memory.max": str(7 * GIB),
    "kubepods/pids.max": "5000",
    "kubepods/hugetlb.2MB.max": "0",
    "kubepods/hugetlb.2MB.rsvd.max": "0",
    "kubepods/burstable/hugetlb.2MB.max": UNBOUNDED,
    "kubepods/burstable/hugetlb.2MB.rsvd.max": UNBOUNDED,
    "kubepods/besteffort/cpu.weight": "1",
    "kubepods/besteffort/hugetlb.2MB.max": UNBOUNDED,
    "kubepods/besteffort/hugetlb.2MB.rsvd.max": UNBOUNDED,
}


async def test_tree_on_v2(manager, tmp_path, book):
    await manager().ensure_tree()
    assert recorded(tmp_path) == TREE
    assert book.decisions == ["CgroupTreeCreated"]
    # Limits that somebody changed stay until they are enforced.
    (tmp_path / "kubepods/memory.max").write_text("1")
    await manager().ensure_tree()
    assert recorded(tmp_path)["kubepods/memory.max"] == "1"
    assert book.decisions == ["CgroupTreeCreated"]


async def test_without_enforcement_the_whole_machine(manager, tmp_path):
    await manager(enforce=frozenset()).ensure_tree()
    assert recorded(tmp_path)["kubepods/memory.max"] == str(8 * GIB)
    assert recorded(tmp_path)["kubepods/cpu.weight"] == "157"


async def test_pods_on_v2(manager, tmp_path, make_pod, make_container, book):
    pods = manager()
    await pods.ensure_tree()
    amounts = {"cpu": "500m", "memory": "64Mi"}
    burstable = make_pod(make_container("a", amounts, {"cpu": "1"}), uid="b-1")
    guaranteed = make_pod(make_container("a", amounts, amounts), uid="g-1")
    best_effort = make_pod(make_container("a"), uid="e-1")
    for pod in (burstable, guaranteed, best_effort):
        assert not await pods.exists(pod)
        await pods.ensure(pod)
        await pods.ensure(pod)
        assert await pods.exists(pod)
    await pods.update_qos([burstable, guaranteed, best_effort])
    tree = {path: text for path, text in recorded(tmp_path).items() if "hugetlb" not in path}
    assert {path: text for path, text in tree.items() if path not in TREE} == {
        "kubepods/burstable/cgroup.subtree_control": HANDED,
        "kubepods/burstable/cpu.weight": "20",
        "kubepods/burstable/podb-1/cpu.weight": "20",
        "kubepods/burstable/podb-1/cpu.max": "100000 100000",
        "kubepods/burstable/podb-1/pids.max": "100",
        "kubepods/podg-1/cpu.weight": "20",
        "kubepods/podg-1/cpu.max": "50000 100000",
        "kubepods/podg-1/memory.max": str(64 << 20),
        "kubepods/podg-1/pids.max": "100",
        "kubepods/besteffort/cgroup.subtree_control": HANDED,
        "kubepods/besteffort/pode-1/cpu.weight": "1",
        "kubepods/besteffort/pode-1/pids.max": "100",
    }
    assert await pods.list_pods() == {"b-1", "g-1", "e-1"}
    assert book.decisions.count("PodCgroupCreated") == 3
    assert pods.parent(burstable) == "/kubepods/burstable/podb-1"
    assert pods.parent(guaranteed) == "/kubepods/podg-1"


async def test_levels_are_written_only_when_they_change(manager, make_pod, make_container, write):
    pods = manager()
    await pods.ensure_tree()
    pod = make_pod(make_container("a", {"cpu": "1"}))
    await pods.update_qos([pod])
    before = write.count
    await pods.update_qos([pod])
    assert write.count == before
    write.refusals = [errno.EBUSY]
    with pytest.raises(OSError):
        await pods.update_qos([])
    await pods.update_qos([])
    assert write.count > before


async def test_missing_root(manager):
    with pytest.raises(CgroupError) as caught:
        await manager(cgroup_root="/pykubelet-test").ensure_tree()
    assert 'invalid configuration: cgroup ["pykubelet-test"] has some missing controllers' in str(
        caught.value
    )


async def test_private_root(manager, fs, tmp_path, make_pod, make_container):
    await asyncio.to_thread(create_root, fs, "/pykubelet-test")
    pods = manager(cgroup_root="/pykubelet-test")
    await pods.ensure_tree()
    pod = make_pod(make_container("a"), uid="u1")
    await pods.ensure(pod)
    assert pods.parent(pod) == "/pykubelet-test/kubepods/besteffort/podu1"
    assert (tmp_path / "pykubelet-test/kubepods/besteffort/podu1").is_dir()


async def test_without_levels(manager, tmp_path, make_pod, make_container):
    pods = manager(per_qos=False, cgroup_root="/some")
    pod = make_pod(make_container("a"))
    await pods.ensure_tree()
    await pods.ensure(pod)
    await pods.enforce_allocatable()
    await pods.update_qos([pod])
    await pods.destroy("u-1")
    assert await pods.exists(pod)
    assert pods.parent(pod) == "/some"
    assert await pods.list_pods() == set()
    assert recorded(tmp_path) == {}


async def test_enforced_after_a_refusal(manager, book, write):
    pods = manager()
    await pods.ensure_tree()
    write.refusals = [errno.EBUSY]
    await pods.enforce_allocatable()
    (kind, reason, message), last = book.events
    assert (kind, reason) == ("Warning", "FailedNodeAllocatableEnforcement")
    assert message.startswith('Failed to update Node Allocatable Limits ["kubepods"]: ')
    assert last == ("Normal", "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods")
    assert "NodeAllocatableEnforced" in book.decisions


async def test_reserved(manager, fs, tmp_path, book):
    pods = manager(
        enforce=frozenset({"pods", "system-reserved", "kube-reserved-compressible"}),
        system_reserved_cgroup="/system",
        kube_reserved_cgroup="/kube",
    )
    await asyncio.to_thread(fs.create, "/system")
    with pytest.raises(
        CgroupError, match=r'Failed to enforce Kube Reserved Compressible Cgroup Limits on "/kube"'
    ):
        await pods.enforce_reserved()
    assert (tmp_path / "system/memory.max").read_text() == str(GIB)
    assert [event[:2] for event in book.events] == [
        ("Normal", "NodeAllocatableEnforced"),
        ("Warning", "FailedNodeAllocatableEnforcement"),
    ]
    assert book.events[0][2] == "Updated limits on system reserved cgroup /system"


@pytest.mark.looptime
async def test_reasserted_every_minute(fs, book, tmp_path, make_pod, make_container, write):
    pods = PodCgroupManager(
        fs, TreeConfig(), NodeAmounts(CAPACITY), journal=book, events=book, clock=LoopClock()
    )
    await pods.ensure_tree()
    owner = TaskOwner("test")
    write.refusals = [errno.EBUSY]
    owner.spawn("reassert", pods.reassert(lambda: [make_pod(make_container("a", {"cpu": "1"}))]))
    await asyncio.sleep(1)
    weight = tmp_path / "kubepods/burstable/cpu.weight"
    assert weight.read_text() == KERNELS["cpu.weight"]
    await asyncio.sleep(60)
    assert weight.read_text() == "39"
    weight.write_text("1")
    await asyncio.sleep(60)
    assert weight.read_text() == "39"
    await owner.close()


async def test_destroy_finds_what_is_left_in_one_hierarchy(tmp_path, book):
    points = {name: tmp_path / name for name in ("cpu", "memory")}
    for point in points.values():
        point.mkdir()
    fs = CgroupV1(points)
    pods = PodCgroupManager(fs, TreeConfig(), NodeAmounts({}), journal=book, events=book, clock=ManualClock())
    (tmp_path / "memory/kubepods/burstable/podu1/ctr").mkdir(parents=True)
    assert await pods.list_pods() == {"u1"}
    await pods.destroy("u1")
    await pods.destroy("u1")
    assert await pods.list_pods() == set()
    assert book.decisions == ["PodCgroupRemoved"]


def test_root_is_removed_only_when_empty(tmp_path):
    (tmp_path / "cpu").mkdir()
    fs = CgroupV1({"cpu": tmp_path / "cpu"})
    create_root(fs, "/mine")
    pod = tmp_path / "cpu/mine/kubepods/burstable/podx"
    pod.mkdir(parents=True)
    assert not remove_root(fs, "/mine")
    assert pod.is_dir()
    pod.rmdir()
    assert remove_root(fs, "/mine")
    assert remove_root(fs, "/mine")
    assert not remove_root(fs, "/")
    assert list((tmp_path / "cpu").iterdir()) == []


@pytest.mark.parametrize("version", [1, 2])
async def test_a_pod_that_is_there_keeps_its_limits_until_they_are_set(
    fs, tmp_path, book, make_pod, make_container, write, version
):
    if version == 1:
        points = {name: tmp_path / name for name in ("cpu", "memory", "pids")}
        for point in points.values():
            point.mkdir()
        fs = KernelV1(points, write=write)
    pods = PodCgroupManager(
        fs, TreeConfig(pods=PodCgroupConfig(pod_pids_limit=100)), NodeAmounts(CAPACITY),
        journal=book, events=book, clock=ManualClock(),
    )  # fmt: skip
    await pods.ensure_tree()
    limits = {"cpu": "100m", "memory": "10000000"}
    small = make_pod(make_container("a", limits, limits))
    found, wanted = await pods.ensure(small)
    assert found == wanted == await pods.limits(small)
    # What the kernel rounds is no difference: whole pages, and shares that come back from a weight.
    assert wanted == Limits(102 if version == 1 else 80, 10_000, 100_000, 9_998_336)
    limits = {"cpu": "200m", "memory": "20Mi"}
    large = make_pod(make_container("a", limits, limits))
    found, wanted = await pods.ensure(large)
    assert found == await pods.limits(small) != wanted
    await pods.set_limits(large, Limits(memory=20 << 20))
    assert (await pods.limits(large)).memory == 20 << 20
    assert (await pods.limits(large)).cpu_quota == 10_000
    await pods.set_limits(large, Limits(cpu_shares=204, cpu_quota=20_000, cpu_period=100_000))
    assert (await pods.ensure(large))[0] == wanted


@pytest.mark.parametrize("name", ["c0ffee", "cri-containerd-c0ffee.scope"])
async def test_the_memory_that_a_pod_and_its_containers_use(manager, fs, make_pod, make_container, name):
    pods = manager()
    await pods.ensure_tree()
    pod = make_pod(make_container("a", {"cpu": "1"}))
    await pods.ensure(pod)
    await asyncio.to_thread(fs.create, f"{pods.parent(pod)}/{name}")
    assert await pods.memory_usage(pod, ["c0ffee", "gone"]) == (4096, {"c0ffee": 4096, "gone": None})
