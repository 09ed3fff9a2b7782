"""The manager with volumes made of objects: what changes is shown, what fails leaves what was there."""

import asyncio
import random
from datetime import timedelta
from pathlib import Path

import pytest
from tests.volumes.managed import Node, Objects, inline, mapped, pod_of, points, until

from pykubelet.api.mounted import MountedVolume
from pykubelet.api.objects import ConfigMap, Secret
from pykubelet.api.volumes import (
    SecretVolumeSource,
)
from pykubelet.base.clock import LoopClock
from pykubelet.base.errors import VolumeError
from pykubelet.base.tasks import TaskOwner
from pykubelet.volumes import Feeds
from pykubelet.volumes.content_volume import Content


class SlowContent:
    """Config maps that fail, hang or change as the test says; runs on the loop."""

    name = "kubernetes.io/configmap"
    kind = "configMap"

    def __init__(self):
        self.error, self.hangs, self.changed = None, False, True
        self.released = asyncio.Event()
        self.lasts = None
        self.gathered, self.written, self.over = [], [], []
        self.text = "1"

    async def gather(self, pod, volume):
        self.gathered.append(asyncio.get_running_loop().time())
        if self.hangs:
            await self.released.wait()
        if self.error is not None:
            raise self.error
        return Content({"text": self.text}, 0, self.lasts)

    def set_up(self, pod, volume, content):
        self.written.append(content.files["text"])
        return MountedVolume(volume.name, f"/there/{volume.name}", read_only=True), self.changed

    def tear_down(self, uid, volume):
        pass

    def gone(self, uid):
        self.over.append(uid)


@pytest.fixture
def content(blockbuster):
    blockbuster.deactivate()
    return SlowContent()


async def start_with(node, content, **options):
    manager = await node.start(
        plugins=[], contents=[content], off_loop=inline, rng=random.Random(1), **options
    )
    node.pods = [mapped()]
    await manager.wait_ready(node.pods[0])
    node.story.causes.clear()
    return manager


@pytest.mark.looptime
async def test_a_changed_object_is_shown_at_once(node, content):
    manager = await start_with(node, content)
    content.text = "2"
    manager.refresh("uid-1", "configmap shop/others changed", config_map="others")
    manager.refresh("uid-1", "secret shop/settings changed", secret="settings")
    await asyncio.sleep(0.1)
    assert content.written == ["1"]
    manager.refresh("uid-1", "configmap shop/settings changed", config_map="settings")
    await asyncio.sleep(0.1)
    assert content.written == ["1", "2"]
    assert node.story.causes == [
        ("VolumeRefresh", "configmap shop/settings changed"),
        ("VolumeRefreshDone", ""),
    ]
    node.over.add("uid-1")
    await manager.wait_gone(node.pods[0])
    assert content.over == ["uid-1"]
    manager.refresh("uid-1", "too late")
    await asyncio.sleep(1)
    assert len(content.written) == 2


@pytest.mark.looptime
async def test_a_failed_refresh_leaves_the_pod_its_volume(node, content):
    manager = await start_with(node, content)
    content.error = VolumeError("references non-existent secret key: a")
    manager.refresh("uid-1", "secret shop/keys changed")
    await asyncio.sleep(10)
    assert set(manager.mounted("uid-1")) == {"conf"}
    await manager.wait_ready(node.pods[0])
    gaps = [round(b - a, 1) for a, b in zip(content.gathered[1:], content.gathered[2:], strict=False)]
    assert gaps == [0.5, 1.0, 2.0, 4.0]
    text = 'MountVolume.SetUp failed for volume "conf" : references non-existent secret key: a'
    assert node.story.events == [("web", "Warning", "FailedMount", text)] * 5
    assert [decision for decision, _ in node.story.causes] == ["VolumeRefresh", "VolumeRefreshFailed"] * 5
    content.error, content.text = None, "2"
    manager.refresh("uid-1", "secret shop/keys changed")
    await asyncio.sleep(0.1)
    assert content.written == ["1", "2"]
    assert manager.explain("uid-1")[0].error == ""


@pytest.mark.looptime
@pytest.mark.parametrize("how", ["over", "ending", "gone", "wanted"])
async def test_a_pod_that_is_gone_is_not_warned_of(node, content, monkeypatch, caplog, how):
    """A refresh that was under way when the pod went: its objects are not kept any more."""
    manager = await start_with(node, content)
    began, goes_on = asyncio.Event(), asyncio.Event()

    async def gather(pod, volume):
        began.set()
        await goes_on.wait()
        raise VolumeError('object "shop"/"settings" not registered')

    monkeypatch.setattr(content, "gather", gather)
    manager.refresh("uid-1", "a token in it is to be renewed")
    await began.wait()
    if how == "gone":
        node.pods = []
    elif how != "wanted":
        getattr(node, how).add("uid-1")
    goes_on.set()
    await asyncio.sleep(0.1)
    assert ("not registered" in caplog.text) is (how == "wanted")
    assert bool(node.story.events) is (how == "wanted")
    told = ("VolumeRefreshFailed", 'object "shop"/"settings" not registered')
    assert told in node.story.causes, "the journal knows all the same"


@pytest.mark.looptime
async def test_an_object_that_appears_ends_the_wait(node, content):
    content.error = VolumeError('configmap "settings" not found')
    manager = await node.start(plugins=[], contents=[content], off_loop=inline)
    node.pods = [mapped()]
    manager.reconsider("uid-1")
    await asyncio.sleep(60)
    assert node.story.events[0][3] == (
        'MountVolume.SetUp failed for volume "conf" : configmap "settings" not found'
    )
    assert manager.explain("uid-1")[0].state == "waiting"
    content.error = None
    manager.refresh("uid-1", "configmap shop/settings appeared")
    began = asyncio.get_running_loop().time()
    await manager.wait_ready(node.pods[0])
    assert asyncio.get_running_loop().time() - began < 0.1


@pytest.mark.looptime
async def test_what_was_never_there_leaves_nothing_to_take_away(node, content):
    content.error = VolumeError('configmap "settings" not found')
    manager = await node.start(plugins=[], contents=[content], off_loop=inline)
    node.pods = [mapped()]
    manager.reconsider("uid-1")
    await asyncio.sleep(1)
    node.over.add("uid-1")
    began = asyncio.get_running_loop().time()
    await manager.wait_gone(node.pods[0])
    assert asyncio.get_running_loop().time() - began < 0.1
    assert content.over == []


@pytest.mark.looptime
async def test_now_and_then_all_contents_are_looked_at(node, content):
    await start_with(node, content, refresh_period=100.0)
    content.changed = False
    await asyncio.sleep(1000)
    assert 9 <= len(content.gathered) <= 13
    assert node.story.causes == [], "a look that finds nothing is not worth telling"
    content.changed = True
    await asyncio.sleep(125)
    assert node.story.causes[0] == ("VolumeRefreshDone", "nothing was told for a while")
    content.error = VolumeError("no")
    await asyncio.sleep(125)
    assert node.story.causes[-1] == ("VolumeRefreshFailed", "no")


@pytest.mark.looptime
async def test_looks_that_find_nothing_cost_few_decisions(node, content):
    node.pods = [mapped(f"uid-{number}") for number in range(100)]
    manager = await node.start(contents=[content], off_loop=inline, rng=random.Random(1))
    for pod in node.pods:
        await manager.wait_ready(pod)
    content.changed = False
    await asyncio.sleep(1000)
    asked, looked = node.asked, len(content.gathered)
    await asyncio.sleep(600)
    assert len(content.gathered) - looked >= 150
    assert node.asked - asked <= 600 / 10 + 600 / 30 + 1


@pytest.mark.looptime
async def test_what_came_up_during_an_idle_look_is_decided_at_its_end(node, content):
    manager = await start_with(node, content, refresh_period=100.0)
    content.changed, content.hangs = False, True
    while len(content.gathered) < 2:
        await asyncio.sleep(1)
    node.over.add("uid-1")
    manager.reconsider("uid-1")
    await asyncio.sleep(1)
    content.released.set()
    await asyncio.sleep(1)
    assert content.over == ["uid-1"]


@pytest.mark.looptime
async def test_a_token_is_renewed_in_time(node, content):
    clock = LoopClock()
    clock.monotonic()
    content.lasts = clock.now() + timedelta(seconds=200)
    manager = await start_with(node, content)
    await asyncio.sleep(199)
    assert len(content.gathered) == 1
    await asyncio.sleep(2)
    assert len(content.gathered) == 2
    assert node.story.causes[0] == ("VolumeRefresh", "a token in it is to be renewed")
    # Renewing it failed: the old one serves on, and is asked for again soon, not all the time.
    await asyncio.sleep(60)
    assert len(content.gathered) == 4
    assert set(manager.mounted("uid-1")) == {"conf"}


@pytest.mark.looptime
async def test_an_answer_that_never_comes_is_waited_out(node, content):
    manager = await start_with(node, content)
    content.hangs = True
    manager.refresh("uid-1", "configmap shop/settings changed")
    await asyncio.sleep(31)
    assert node.story.events == [
        (
            "web",
            "Warning",
            "FailedMount",
            'MountVolume.SetUp failed for volume "conf" : its contents could not be fetched in 30 s',
        )
    ]
    content.hangs = False
    await asyncio.sleep(31)
    assert len(content.written) == 2


async def test_sixty_pods_show_a_change(node):
    objects = Objects()
    objects.maps["settings"] = ConfigMap(data={"a": "1", "b": "1"})
    manager = await node.start(feeds=Feeds(objects=objects))
    node.pods = [mapped(f"uid-{number}") for number in range(60)]
    for pod in node.pods:
        await manager.wait_ready(pod)
    paths = [manager.mounted(pod.metadata.uid)["conf"].host_path for pod in node.pods]
    objects.maps["settings"] = ConfigMap(data={"a": "2", "b": "2"})
    for pod in node.pods:
        manager.refresh(pod.metadata.uid, "configmap shop/settings changed")

    def shown():
        return {(Path(path) / name).read_text() for path in paths for name in "ab"}

    async with asyncio.timeout(30):
        while await asyncio.to_thread(shown) != {"2"}:
            await asyncio.sleep(0.05)
    assert node.story.events == []


@pytest.mark.integration
async def test_contents_outlive_the_daemon_and_end_with_their_pod(mount_area):
    objects = Objects()
    objects.secrets["keys"] = Secret(data={"key": b"hush"})
    pods = [pod_of(uid, keys=SecretVolumeSource(secretName="keys", defaultMode=0o400)) for uid in ("a", "b")]
    first = Node(mount_area)
    first.pods = pods
    manager = await first.start(feeds=Feeds(objects=objects))
    for pod in pods:
        await manager.wait_ready(pod)
    path = Path(manager.mounted("a")["keys"].host_path)
    version = (path / "..data").readlink()
    await manager.stop()
    second = Node(mount_area)
    second.pods = pods[:1]
    manager = await second.start(feeds=Feeds(objects=objects))
    try:
        await manager.wait_ready(pods[0])
        assert (path / "..data").readlink() == version
        await until(lambda: not second.layout.pod("b").exists())
        assert await points(second) == [str(path)]
        assert "hush" not in str(second.story.__dict__)
        second.pods = []
        manager.reconsider("a")
        await until(lambda: not second.layout.pod("a").exists())
        assert await points(second) == []
    finally:
        await manager.stop()


async def test_a_wait_that_is_cancelled_leaves_no_trace(node):
    manager = await node.start()
    pod = pod_of("uid-1", "data")
    owner = TaskOwner("test")
    owner.spawn("waiting", manager.wait_ready(pod))
    await until(lambda: not manager._waits.waiters.idle)
    await owner.close()
    assert manager._waits.waiters.idle
