import asyncio
import random
import threading
from datetime import UTC, datetime

import pytest

from pykubelet.api.mounted import MountedVolume
from pykubelet.base.clock import ManualClock
from pykubelet.base.errors import VolumeError
from pykubelet.base.layout import Layout
from pykubelet.base.metrics import Metrics
from pykubelet.linux.diskusage import Limits
from pykubelet.volumes import usage, usage_collector
from pykubelet.volumes.usage import VolumeUsage
from pykubelet.volumes.usage_collector import UsageCollector

PERIOD = 60.0


class Node:
    """A collector over directories that a test makes."""

    def __init__(self, root, *, period=PERIOD, drivers=None, limits=None):
        self.layout = Layout(root=root)
        self.clock = ManualClock()
        self.metrics = Metrics()
        self.volumes = {}
        self.collector = UsageCollector(
            self.layout,
            self.clock,
            random.Random(1),
            self.metrics,
            period=period,
            pods=lambda: self.volumes.keys(),
            mounted=lambda uid: {volume.name: volume for volume in self.volumes.get(uid, ())},
            drivers=drivers,
            limits=limits,
        )

    def add(self, uid, name, plugin="kubernetes.io/empty-dir", *, files=1):
        path = self.layout.pod_volume(uid, plugin, name)
        path.mkdir(parents=True)
        for number in range(files):
            (path / f"f{number}").touch()
        self.volumes.setdefault(uid, []).append(MountedVolume(name, str(path)))
        return path

    def inodes(self, uid):
        return {name: found.inodes_used for name, found in self.collector.usage(uid).items()}

    async def settle(self):
        while self.collector._under_way:
            await asyncio.sleep(0.005)


@pytest.fixture
async def node(tmp_path):
    made = Node(tmp_path)
    yield made
    await made.collector.stop()


async def test_each_pod_is_measured_when_it_is_due(node):
    node.add("a", "one", files=2)
    node.add("a", "two", files=3)
    node.add("b", "one", files=0)
    assert node.collector.usage("a") == {}
    node.collector.tick()
    await node.settle()
    assert (node.inodes("a"), node.inodes("b")) == ({"one": 3, "two": 4}, {"one": 1})
    path = node.layout.pod_volume("a", "kubernetes.io/empty-dir", "one")
    (path / "more").touch()
    node.clock.advance(PERIOD - 1)
    node.collector.tick()
    await node.settle()
    assert node.inodes("a")["one"] == 3
    node.clock.advance(PERIOD + 1)
    node.collector.tick()
    await node.settle()
    assert node.inodes("a")["one"] == 4
    assert node.collector.usage("a")["one"].time == node.clock.now()


async def test_who_cannot_wait_gets_it_measured_now(node):
    node.add("a", "one")
    first, second = await asyncio.gather(node.collector.collect("a"), node.collector.collect("a"))
    assert first == second
    assert first["one"].inodes_used == 2
    assert await node.collector.collect("nobody") == {}


async def test_pods_and_volumes_that_are_gone_are_forgotten(node):
    path = node.add("a", "one")
    node.add("b", "one")
    await asyncio.gather(node.collector.collect("a"), node.collector.collect("b"))
    del node.volumes["b"]
    node.collector.tick()
    assert node.collector.usage("b") == {}
    assert node.inodes("a") == {"one": 2}
    (path / "f0").unlink()
    path.rmdir()
    node.add("a", "two")
    assert (await node.collector.collect("a")).keys() == {"two"}


async def test_what_is_not_of_the_pod_is_not_measured(node):
    node.add("a", "one")
    node.volumes["a"].append(MountedVolume("host", "/usr"))
    node.volumes["a"].append(MountedVolume("picture", image="image:1"))
    assert (await node.collector.collect("a")).keys() == {"one"}


async def test_a_long_walk_is_followed_by_a_long_rest(node, monkeypatch):
    node.add("a", "one")
    real = usage.measure

    def slow(*arguments, **options):
        node.clock.advance(30)
        return real(*arguments, **options)

    monkeypatch.setattr(usage, "measure", slow)
    await node.collector.collect("a")
    monkeypatch.setattr(usage, "measure", real)
    (node.layout.pod_volume("a", "kubernetes.io/empty-dir", "one") / "more").touch()
    node.clock.advance(560)
    node.collector.tick()
    await node.settle()
    assert node.inodes("a") == {"one": 2}
    node.clock.advance(20)
    node.collector.tick()
    await node.settle()
    assert node.inodes("a") == {"one": 3}


async def test_a_file_system_that_does_not_answer_holds_up_nothing_else(node, monkeypatch):
    gate, real, asked = threading.Event(), usage.measure, []
    dead = node.add("a", "dead", "kubernetes.io/nfs")
    node.add("a", "here")
    node.add("b", "alive", "kubernetes.io/nfs")

    def hanging(method, path, *arguments, **options):
        if path == str(dead):
            asked.append(path)
            gate.wait()
        return real(method, path, *arguments, **options)

    monkeypatch.setattr(usage, "measure", hanging)
    monkeypatch.setattr(usage_collector, "_REMOTE_LIMIT", 0.2)
    await asyncio.gather(node.collector.collect("a"), node.collector.collect("b"))
    assert node.collector.usage("a").keys() == {"here"}
    assert node.collector.usage("b")["alive"].capacity_bytes
    await node.collector.collect("a")
    assert len(asked) == 1
    gate.set()
    while node.collector._remote.hanging:
        await asyncio.sleep(0.01)
    assert (await node.collector.collect("a")).keys() == {"dead", "here"}


class Drivers:
    def __init__(self):
        self.answer = VolumeUsage(
            datetime(2026, 1, 1, tzinfo=UTC), used_bytes=5, abnormal=True, message="old"
        )

    async def usage(self, uid, volume):
        assert (uid, volume.name) == ("a", "claim")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_drivers_measure_their_own(tmp_path):
    drivers = Drivers()
    node = Node(tmp_path, drivers=drivers)
    node.add("a", "claim", "kubernetes.io/csi")
    node.add("a", "one")
    found = await node.collector.collect("a")
    assert (found["claim"], found["one"].inodes_used) == (drivers.answer, 2)
    for answer in (None, VolumeError("rpc error"), TimeoutError()):
        drivers.answer = answer
        assert (await node.collector.collect("a")).keys() == {"one"}
    await node.collector.stop()


async def test_limits_and_how_it_is_told(tmp_path):
    node = Node(tmp_path, limits=Limits(entries=3))
    node.add("a", "one", files=9)
    found = (await node.collector.collect("a"))["one"]
    assert (found.inodes_used, found.unfinished) == (3, "there are more than 3 files")
    text = node.metrics.render().decode()
    assert 'kubelet_volume_metric_collection_duration_seconds_count{metric_source="du"} 1.0' in text
    await node.collector.stop()


async def test_the_end_ends_walks(tmp_path):
    node = Node(tmp_path)
    node.add("a", "one", files=1000)
    entered, collector = threading.Event(), node.collector
    real = collector._breathe

    def breathe(seconds):
        entered.set()
        collector._over.wait()
        real(seconds)

    collector._breathe = breathe
    collector.tick()
    while not entered.is_set():
        await asyncio.sleep(0.005)
    await collector.stop()
    while collector._walkers.hanging:
        await asyncio.sleep(0.005)
    assert collector.usage("a") == {}


@pytest.mark.parametrize(("period", "measured"), [(60.0, True), (0.0, False), (-1.0, False)])
async def test_a_period_that_is_not_above_zero_disables_it(tmp_path, period, measured):
    node = Node(tmp_path, period=period)
    node.add("a", "one")
    await node.collector.start()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert bool(node.collector._under_way) == measured
    await node.settle()
    await node.collector.stop()
    assert bool(node.collector.usage("a")) == measured


async def test_hundreds_of_pods_are_measured_in_turn(node):
    for number in range(60):
        node.add(f"pod-{number}", "one", files=number % 3)
    while any(not node.collector.usage(f"pod-{number}") for number in range(60)):
        node.collector.tick()
        assert len(node.collector._under_way) <= 10
        await node.settle()
    assert node.inodes("pod-59") == {"one": 3}
