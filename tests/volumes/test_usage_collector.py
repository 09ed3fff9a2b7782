import asyncio
import random
import threading
import time
from datetime import UTC, datetime

import pytest

from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volume_usage import VolumeUsage
from pykubelet.base.clock import ManualClock
from pykubelet.base.errors import VolumeError
from pykubelet.base.layout import Layout
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner
from pykubelet.linux.diskusage import Limits
from pykubelet.volumes import usage, usage_collector
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
            on_abnormal=lambda *told: self.ill.append(told),
            limits=limits,
        )
        self.ill = []
        self.tasks = TaskOwner("test")

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
        while self.collector._looks:
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
    path = node.add("a", "one")
    real, drivers = usage.measure, Drivers()
    node.collector._drivers = drivers
    node.add("a", "claim", "kubernetes.io/csi")

    def slow(*arguments, **options):
        time.sleep(0.2)
        return real(*arguments, **options)

    monkeypatch.setattr(usage_collector, "_REST", 3000)
    monkeypatch.setattr(usage, "measure", slow)
    node.collector.tick()
    await node.settle()
    monkeypatch.setattr(usage, "measure", real)
    (path / "more").touch()
    node.clock.advance(590)
    # Not even when something changed; the driver has nothing to do with it.
    node.collector.changed("a")
    node.collector.tick()
    await node.settle()
    assert node.inodes("a") == {"one": 2, "claim": None}
    assert drivers.asked == 2
    node.clock.advance(400)
    node.collector.tick()
    await node.settle()
    assert node.inodes("a")["one"] == 3


async def test_what_comes_is_measured_soon(node):
    node.add("a", "one")
    node.collector.tick()
    await node.settle()
    node.add("a", "two")
    node.clock.advance(3)
    node.collector.tick()
    assert node.collector._looks == {}
    node.collector.changed("a")
    node.collector.tick()
    await node.settle()
    assert node.inodes("a").keys() == {"one", "two"}


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
    monkeypatch.setattr(usage_collector, "_REMOTE_LIMIT", 0.5)
    waiting = node.tasks.spawn("wait", node.collector.collect("a"))
    await asyncio.sleep(0)
    # What answers is known before the other is given up.
    assert (await node.collector.collect("b"))["alive"].capacity_bytes
    while node.collector.usage("a").keys() != {"here"}:
        await asyncio.sleep(0.01)
    assert not waiting.done()
    assert (await waiting).keys() == {"here"}
    # Its own rhythm is that of others, whatever hangs beside it.
    node.clock.advance(2 * PERIOD)
    (node.layout.pod_volume("a", "kubernetes.io/empty-dir", "here") / "more").touch()
    node.collector.tick()
    await node.settle()
    assert node.inodes("a") == {"here": 3}
    assert len(asked) == 1
    gate.set()
    while node.collector._remote.hanging:
        await asyncio.sleep(0.01)
    assert (await node.collector.collect("a")).keys() == {"dead", "here"}


class Drivers:
    def __init__(self):
        self.asked = 0
        self.answer = VolumeUsage(
            datetime(2026, 1, 1, tzinfo=UTC), used_bytes=5, abnormal=True, message="old"
        )

    async def usage(self, uid, volume):
        assert (uid, volume.name) == ("a", "claim")
        self.asked += 1
        if isinstance(self.answer, asyncio.Event):
            await self.answer.wait()
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
    assert node.ill == [("a", "claim", "old")]
    for answer in (None, VolumeError("rpc error"), TimeoutError()):
        drivers.answer = answer
        assert (await node.collector.collect("a")).keys() == {"one"}
    await node.collector.stop()


async def test_a_driver_that_hangs_costs_the_others_nothing(tmp_path):
    drivers = Drivers()
    node = Node(tmp_path, drivers=drivers)
    path = node.add("a", "claim", "kubernetes.io/csi").parent.parent / "kubernetes.io~empty-dir" / "one"
    node.add("a", "one")
    drivers.answer = asyncio.Event()
    for files in (2, 3, 4):
        node.collector.tick()
        while node.inodes("a").get("one") != files:
            await asyncio.sleep(0.005)
        (path / f"more{files}").touch()
        node.clock.advance(2 * PERIOD)
    assert (drivers.asked, len(node.collector._looks)) == (1, 1)
    # Whoever unmounts does not wait for it either.
    await node.collector.leave("a")
    assert node.collector._looks == {}
    await node.collector.stop()


async def test_limits_and_how_it_is_told(tmp_path):
    node = Node(tmp_path, limits=Limits(entries=3))
    node.add("a", "one", files=9)
    found = (await node.collector.collect("a"))["one"]
    assert (found.inodes_used, found.unfinished) == (3, "there are more than 3 files")
    text = node.metrics.render().decode()
    assert 'kubelet_volume_metric_collection_duration_seconds_count{metric_source="du"} 1.0' in text
    await node.collector.stop()


class SlowWalk:
    """A walk of a node's that goes on only when it is ended."""

    def __init__(self, monkeypatch):
        self.entered, real = threading.Event(), usage_collector._Look.breathe

        def breathe(look, seconds):
            if seconds:
                self.entered.set()
                look._over.wait(30)
            real(look, seconds)

        monkeypatch.setattr(usage_collector._Look, "breathe", breathe)

    async def begun(self):
        while not self.entered.is_set():
            await asyncio.sleep(0.005)


async def test_the_end_ends_walks(tmp_path, monkeypatch):
    node, walk = Node(tmp_path), SlowWalk(monkeypatch)
    node.add("a", "one", files=1000)
    collector = node.collector
    collector.tick()
    await walk.begun()
    await collector.stop()
    while collector._walkers.hanging:
        await asyncio.sleep(0.005)
    assert collector.usage("a") == {}


async def test_who_unmounts_has_the_looks_ended_and_the_volume_forgotten(node, monkeypatch):
    node.add("a", "one", files=1000)
    await node.collector.collect("a")
    walk = SlowWalk(monkeypatch)
    waiting = node.tasks.spawn("wait", node.collector.collect("a"))
    await walk.begun()
    assert node.inodes("a") == {"one": 1001}
    del node.volumes["a"]
    await node.collector.leave("a")
    assert node.collector._looks == {}
    assert await waiting == {}
    await node.collector.leave("nobody")


async def test_a_look_that_has_not_begun_does_not_begin_any_more(node, monkeypatch):
    walk, real, measured = SlowWalk(monkeypatch), usage.measure, []

    def measure(method, path, *arguments, **options):
        measured.append(path)
        return real(method, path, *arguments, **options)

    monkeypatch.setattr(usage, "measure", measure)
    for number in range(4):
        node.add(f"pod-{number}", "one", files=1000)
    looks = [node.tasks.spawn("wait", node.collector.collect(f"pod-{number}")) for number in range(4)]
    await walk.begun()
    began = asyncio.get_running_loop().time()
    await node.collector.leave("pod-3")
    assert asyncio.get_running_loop().time() - began < 0.5
    for number in range(3):
        await node.collector.leave(f"pod-{number}")
    await asyncio.gather(*looks)
    assert not any("pod-3" in path for path in measured)


@pytest.mark.parametrize(("period", "measured"), [(60.0, True), (0.0, False), (-1.0, False)])
async def test_a_period_that_is_not_above_zero_disables_it(tmp_path, period, measured):
    node = Node(tmp_path, period=period)
    node.add("a", "one")
    await node.collector.start()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert bool(node.collector._looks) == measured
    node.collector.changed("a")
    await node.settle()
    await node.collector.stop()
    assert bool(node.collector.usage("a")) == measured


async def test_without_a_period_nothing_is_kept_of_pods_that_are_gone(tmp_path):
    node = Node(tmp_path, period=-1.0)
    node.add("a", "one")
    assert await node.collector.collect("a")
    del node.volumes["a"]
    await node.collector.leave("a")
    collector = node.collector
    assert (collector._known, collector._due, collector._rests, collector._looks) == ({}, {}, {}, {})
    await collector.stop()


async def test_hundreds_of_pods_are_measured_in_turn(node):
    for number in range(60):
        node.add(f"pod-{number}", "one", files=number % 3)
    while any(not node.collector.usage(f"pod-{number}") for number in range(60)):
        node.collector.tick()
        assert len(node.collector._looks) <= 10
        await node.settle()
    assert node.inodes("pod-59") == {"one": 3}
