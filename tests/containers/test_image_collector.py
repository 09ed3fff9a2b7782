"""Removing images from a runtime in memory: thresholds, ages, errors, and what is told of them."""

import json
from types import SimpleNamespace

import pytest

from pykubelet.base.clock import LoopClock
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner
from pykubelet.containers.image_collector import PERIOD, ImageCollector, ImageGCError, disk_usage
from pykubelet.containers.image_gc import DiskUsage, ImagePolicy
from pykubelet.cri.errors import Code, CriError
from pykubelet.cri.memory import MemoryRuntime

pytestmark = pytest.mark.looptime(start=0)


class Told:
    def __init__(self):
        self.events = []
        self.decisions = []

    def node_event(self, kind, reason, message):
        self.events.append((kind, reason, message))

    def record(self, decision, text, *, cause="", **facts):
        self.decisions.append((decision, text, cause, facts))

    def removed(self):
        return [text.split()[-1] for what, text, _, _ in self.decisions if what == "ImageRemoved"]


class Node:
    """A runtime whose images fill a disk of 1000 bytes."""

    def __init__(self, **policy):
        self.clock = LoopClock()
        self.runtime = MemoryRuntime(self.clock)
        self.runtime.world.images.clear()
        self.told = Told()
        self.metrics = Metrics()
        self.other = 0
        self.pruned = []
        self.collector = ImageCollector(
            self.runtime,
            self.clock,
            self.told,
            self.told,
            self.metrics,
            ImagePolicy(**policy),
            list_images=self.runtime.list_images,
            mounted=lambda: {"docker.io/example/mounted:v1"},
            pulled=SimpleNamespace(prune=self.prune),
            disk=self.disk,
        )

    async def prune(self, refs, before):
        self.pruned.append(len(refs))

    def disk(self, mountpoint):
        return DiskUsage(1000, 1000 - self.other - sum(i.size for i in self.runtime.world.images.values()))

    def add(self, *names, size=100):
        for name in names:
            self.runtime.world.add_image(f"example/{name}:v1", size=size)

    def left(self):
        return sorted(i.repo_tags[0].split("/")[-1] for i in self.runtime.world.images.values())

    async def collect(self):
        await self.collector.collect(0)


async def test_images_go_from_the_high_threshold_down_to_the_low_one():
    node = Node(high=70, low=50, keep=("example/kept:*",))
    node.add("kept", "mounted", "first", "second")
    node.runtime.world.add_image("example/pinned:v1", size=100, pinned=True)
    await node.collect()
    await node.clock.sleep(10)
    node.add("third")
    await node.collect()
    await node.clock.sleep(130)
    node.other = 90
    await node.collect()
    assert node.told.decisions == []
    node.other = 100
    await node.collect()
    # Two hundred bytes above the low threshold: the two that were seen first.
    assert sorted(node.told.removed()) == ["docker.io/example/first:v1", "docker.io/example/second:v1"]
    assert node.left() == ["kept:v1", "mounted:v1", "pinned:v1", "third:v1"]
    what, text, cause, facts = node.told.decisions[0]
    assert (what, text) == ("ImageGarbageCollection", "freeing 200 bytes of images")
    assert cause == "the image file system is in use to 70 %, the high threshold is 70 %"
    assert (facts["capacity"], facts["available"]) == (1000, 300)
    _, _, cause, facts = node.told.decisions[1]
    assert cause == "the image file system is in use to 70 %"
    assert (facts["bytes"], facts["last_used"]) == (100, "never")
    assert b'kubelet_image_garbage_collected_total{reason="space"} 2.0' in node.metrics.render()
    assert node.pruned[-1] == 4


async def test_a_runtime_that_lists_nothing_does_not_cost_the_records_of_pulls():
    node = Node()
    await node.collect()
    assert node.pruned == []
    node.add("a", "b")
    await node.collect()
    assert node.pruned == [2]


async def test_too_little_to_free_is_an_event_and_an_error():
    node = Node(high=50, low=20, min_age=0)
    node.add("a")
    await node.collect()
    await node.clock.sleep(1)
    node.other = 500
    with pytest.raises(ImageGCError, match="freed 100 bytes") as raised:
        await node.collect()
    message = (
        "Insufficient free disk space on the node's image filesystem (60% of 1000 B used). Failed to free "
        "sufficient space by deleting unused images (freed 100 bytes). Investigate disk usage, as it could "
        "be used by active images, logs, volumes, or other data."
    )
    assert node.told.events == [("Warning", "FreeDiskSpaceFailed", message)]
    assert (str(raised.value), raised.value.freed, node.left()) == (message, 100, [])


async def test_old_images_go_whatever_the_disk_is_like():
    node = Node(max_age=1000)
    node.add("a")
    await node.collect()
    await node.clock.sleep(900)
    node.add("b")
    await node.collect()
    await node.clock.sleep(200)
    await node.collect()
    assert node.told.removed() == ["docker.io/example/a:v1"]
    assert node.told.decisions[0][2] == "it was unused for longer than imageMaximumGCAge"
    assert b'kubelet_image_garbage_collected_total{reason="age"} 1.0' in node.metrics.render()
    assert node.left() == ["b:v1"]


async def test_a_disk_of_no_size_and_a_runtime_that_does_not_know_its_disk(monkeypatch, tmp_path):
    node = Node()
    node.collector._disk = lambda mountpoint: DiskUsage(0, 0)
    with pytest.raises(ImageGCError, match="invalid capacity 0 on image filesystem"):
        await node.collect()
    assert node.told.events == [("Warning", "InvalidDiskCapacity", "invalid capacity 0 on image filesystem")]

    async def nothing():
        return (), ()

    monkeypatch.setattr(node.runtime, "image_fs_info", nothing)
    with pytest.raises(ImageGCError, match="imageFs information is unavailable"):
        await node.collect()


def test_the_disk(tmp_path):
    assert disk_usage(str(tmp_path)).capacity > disk_usage(str(tmp_path)).available > 0
    assert disk_usage(str(tmp_path / "missing")) == DiskUsage(0, 0)


async def test_a_repeated_failure_is_an_event():
    node = Node()
    node.collector._disk = lambda mountpoint: DiskUsage(0, 0)
    tasks = TaskOwner("test")
    tasks.spawn("run", node.collector.run())
    await node.clock.sleep(PERIOD - 1)
    assert [reason for _, reason, _ in node.told.events] == ["InvalidDiskCapacity"]
    await node.clock.sleep(PERIOD)
    await tasks.close()
    assert node.told.events[1:] == [
        ("Warning", "InvalidDiskCapacity", "invalid capacity 0 on image filesystem"),
        ("Warning", "ImageGCFailed", "invalid capacity 0 on image filesystem"),
    ]


async def test_all_unused_images_go_when_asked_but_the_sandboxes_own(monkeypatch):
    node = Node(high=100)
    node.add("pause", "a", "b", "c", "mounted")
    config = {"config": json.dumps({"sandboxImage": "example/pause:v1", "more": {}})}

    async def status(*, verbose=False):
        return SimpleNamespace(info=config if verbose else {})

    remove = node.runtime.remove_image

    async def remove_image(image, *, runtime_handler=""):
        if "b:" in next(i.repo_tags[0] for i in node.runtime.world.images.values() if i.id == image):
            raise CriError(Code.Unknown, "RemoveImage", "read-only file system")
        await remove(image, runtime_handler=runtime_handler)

    monkeypatch.setattr(node.runtime, "status", status)
    await node.collect()
    assert await node.collector.delete_unused_images() == 0
    await node.clock.sleep(130)
    monkeypatch.setattr(node.runtime, "remove_image", remove_image)
    with pytest.raises(ImageGCError, match="wanted to free 300 bytes, but freed 200 bytes space with errors"):
        await node.collector.delete_unused_images()
    assert node.left() == ["b:v1", "mounted:v1", "pause:v1"]
    monkeypatch.setattr(node.runtime, "remove_image", remove)
    assert await node.collector.delete_unused_images("disk pressure") == 100
    assert node.told.decisions[-1][2] == "disk pressure"
    config["config"] = "no JSON"
    await node.clock.sleep(1)
    assert await node.collector.delete_unused_images() == 100
    assert node.left() == ["mounted:v1"]
