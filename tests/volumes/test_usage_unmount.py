"""Looks at mounted volumes that are under way when they are unmounted; real mounts."""

import asyncio
import os
import random
import threading
import time
from pathlib import Path

import pytest
from tests.volumes.managed import Node, pod_of

from pykubelet.api.quantity import Quantity
from pykubelet.base.clock import SystemClock
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner
from pykubelet.linux import diskusage, mounts, syscalls
from pykubelet.volumes import usage, usage_collector
from pykubelet.volumes.usage_collector import UsageCollector

pytestmark = pytest.mark.integration


class Room:
    """A manager and a collector that measures its volumes."""

    def __init__(self, root):
        self.node = Node(root)
        self.tasks = TaskOwner("test")
        self.collector = UsageCollector(
            self.node.layout,
            SystemClock(),
            random.Random(1),
            Metrics(),
            period=60.0,
            pods=lambda: [pod.metadata.uid for pod in self.node.pods],
            mounted=lambda uid: self.node.manager.mounted(uid),
        )

    async def give(self, pod):
        await self.node.start(onlooker=self.collector)
        self.node.pods = [pod]
        await self.node.manager.wait_ready(pod)
        return self.node.manager.mounted("uid-1")["data"].host_path

    async def take(self, pod):
        """How many seconds it took to unmount the pod's volumes."""
        began = time.monotonic()
        self.node.over.add("uid-1")
        self.node.manager.reconsider("uid-1")
        await self.node.manager.wait_gone(pod)
        return time.monotonic() - began

    async def check(self, path):
        """All went well at once, and nothing is left."""
        decisions = [decision for decision, _ in self.node.story.decisions]
        assert "VolumeUnmountFailed" not in decisions, self.node.story.causes
        assert not Path(path).exists()
        assert self.collector.usage("uid-1") == {}


@pytest.fixture
async def room(mount_area):
    made = Room(mount_area)
    yield made
    await made.collector.stop()
    await made.node.manager.stop()


async def entered(event):
    async with asyncio.timeout(10):
        while not event.is_set():
            await asyncio.sleep(0.005)


def in_use(path):
    try:
        syscalls.umount2(path, syscalls.UMOUNT_NOFOLLOW)
    except OSError as error:
        return os.strerror(error.errno) == "Device or resource busy"
    return False


@pytest.mark.skipif(
    not Path("/sys/kernel/mm/hugepages/hugepages-2048kB").exists(), reason="no huge pages of 2 MiB here"
)
async def test_a_walk_does_not_keep_its_volume_mounted(room, monkeypatch):
    pod = pod_of("uid-1", "data", medium="HugePages-2Mi")
    pod.spec.containers[0].resources.requests["hugepages-2Mi"] = Quantity.parse("2Mi")
    path = await room.give(pod)
    for number in range(2000):
        Path(path, f"f{number}").touch()
    # The walk would go on for minutes.
    begun, real = threading.Event(), usage_collector._Look.breathe

    def breathe(look, seconds):
        if seconds:
            begun.set()
        real(look, seconds * 60_000)

    monkeypatch.setattr(usage_collector._Look, "breathe", breathe)
    room.collector.tick()
    await entered(begun)
    assert await asyncio.to_thread(in_use, path)
    assert await room.take(pod) < 5
    await room.check(path)


async def test_a_file_system_is_asked_while_it_is_to_be_unmounted(room, monkeypatch):
    begun, real = threading.Event(), os.statvfs

    def statvfs(path):
        begun.set()
        time.sleep(0.4)
        return real(path)

    pod = pod_of("uid-1", "data", medium="Memory")
    path = await room.give(pod)
    with monkeypatch.context() as patched:
        patched.setattr(diskusage.os, "statvfs", statvfs)
        room.collector.tick()
        await entered(begun)
        assert await asyncio.to_thread(in_use, path)
        assert 0.2 < await room.take(pod) < 5
    await room.check(path)


async def test_a_file_system_that_hangs_holds_up_its_unmount_for_a_second(room, monkeypatch):
    gate, begun, real = threading.Event(), threading.Event(), usage.measure

    def hanging(*arguments, **options):
        begun.set()
        gate.wait()
        return real(*arguments, **options)

    pod = pod_of("uid-1", "data")
    path = await room.give(pod)
    monkeypatch.setattr(usage, "measure", hanging)
    room.collector.tick()
    await entered(begun)
    assert 0.8 < await room.take(pod) < 5
    await room.check(path)
    gate.set()
    # What it found at last is of nobody's volume.
    while room.collector._looks:
        await asyncio.sleep(0.01)
    await room.check(path)


async def test_volumes_that_come_and_go_while_all_are_measured(room):
    """Many times over: no unmount fails, and nothing of what is gone is remembered."""
    await room.node.start(onlooker=room.collector)
    manager = room.node.manager

    async def live(number):
        uid = f"uid-{number}"
        for _ in range(6):
            pod = pod_of(uid, "disk", "more", medium="Memory" if number % 2 else "")
            room.node.over.discard(uid)
            room.node.pods = [*room.node.pods, pod]
            await manager.wait_ready(pod)
            for name in ("disk", "more"):
                Path(manager.mounted(uid)[name].host_path, "file").write_bytes(b"x" * 5000)
            room.tasks.spawn(uid, room.collector.collect(uid))
            await asyncio.sleep(0.001 * number)
            room.node.over.add(uid)
            manager.reconsider(uid)
            await manager.wait_gone(pod)
            assert room.collector.usage(uid) == {}
            room.node.pods = [each for each in room.node.pods if each is not pod]

    await asyncio.gather(*(live(number) for number in range(8)))
    decisions = [decision for decision, _ in room.node.story.decisions]
    assert "VolumeUnmountFailed" not in decisions
    assert decisions.count("VolumeUnmountDone") == 8 * 6 * 2
    assert room.collector._known == {}


def test_a_look_at_a_mount_ends_with_its_descriptor(mount_area):
    """Nothing is held of a volume that was measured: the mount goes at once."""
    top = mount_area / "v"
    top.mkdir()
    mounts.mount_tmpfs(str(top), size=1 << 20)
    diskusage.disk_usage(str(top))
    diskusage.file_system(str(top))
    assert mounts.unmount(str(top))
