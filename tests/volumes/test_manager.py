"""The manager with plug-ins that fail, wait and leak, from the first volume to the last."""

import asyncio
from pathlib import Path

import pytest
from tests.volumes.managed import Node, Objects, inline, pod_of, points, until

from pykubelet.api.mounted import MountedVolume
from pykubelet.api.objects import Secret
from pykubelet.api.volumes import (
    CSIVolumeSource,
    SecretVolumeSource,
)
from pykubelet.base.errors import VolumeError
from pykubelet.linux import mounts
from pykubelet.volumes import Feeds
from pykubelet.volumes.empty_dir import EmptyDir


class Slow:
    """A plug-in that fails or waits as the test says; runs on the loop."""

    name = "kubernetes.io/empty-dir"
    kind = "emptyDir"

    def __init__(self):
        self.error = None
        self.times, self.torn = [], []

    def set_up(self, pod, volume):
        self.times.append(asyncio.get_running_loop().time())
        if self.error is not None:
            raise self.error
        return MountedVolume(volume.name, f"/there/{volume.name}")

    def tear_down(self, uid, volume):
        self.torn.append(volume)
        if self.error is not None:
            raise self.error


@pytest.fixture
def slow(blockbuster):
    # Its operations run on the loop, whose time is virtual.
    blockbuster.deactivate()
    return Slow()


async def test_a_pod_gets_its_volumes_and_leaves_nothing(node):
    manager = await node.start()
    pod = pod_of("uid-1", "data", "cache")
    node.pods = [pod]
    await manager.wait_ready(pod)
    await manager.wait_ready(pod)
    mounted = manager.mounted("uid-1")
    assert set(mounted) == {"data", "cache"}
    assert Path(mounted["data"].host_path).is_dir()
    assert [(story.volume, story.state) for story in manager.explain("uid-1")] == [
        ("cache", "mounted"),
        ("data", "mounted"),
    ]
    node.over.add("uid-1")
    await manager.wait_gone(pod)
    assert manager.mounted("uid-1") == {}
    assert node.layout.pod("uid-1").is_dir(), "a pod that is still named keeps its directory"
    node.pods = []
    manager.reconsider("uid-1")
    await until(lambda: not node.layout.pod("uid-1").exists())
    await until(lambda: node.story.decisions[-1][0] == "PodDirectoryCleanDone")
    assert {decision for decision, _ in node.story.decisions} == {
        "VolumesAwaited",
        "VolumeMount",
        "VolumeMountDone",
        "VolumeUnmount",
        "VolumeUnmountDone",
        "PodDirectoryClean",
        "PodDirectoryCleanDone",
    }
    assert node.story.events == []


async def test_a_pod_without_volumes_waits_for_nothing(node):
    manager = await node.start()
    await manager.wait_ready(pod_of())
    await manager.wait_gone(pod_of())
    assert manager.explain("uid-1") == ()


async def test_what_cannot_be_had_is_told_at_once(node):
    manager = await node.start()
    pod = pod_of("uid-1", "data", token=CSIVolumeSource(driver="s"))
    node.pods = [pod]
    with pytest.raises(VolumeError) as caught:
        await manager.wait_ready(pod)
    assert caught.value.real
    assert str(caught.value) == (
        "unmounted volumes=[data token], unattached volumes=[], failed to process volumes=[token]: "
        'volume "token" of type csi is not supported yet by this kubelet'
    )
    assert [story.state for story in manager.explain("uid-1") if story.volume == "token"] == ["impossible"]


@pytest.mark.looptime
async def test_a_failure_is_told_and_tried_again_ever_slower(node, slow):
    await node.start(plugins=[slow], off_loop=inline)
    slow.error = VolumeError("the disk says no")
    pod = pod_of("uid-1", "data")
    node.pods = [pod]
    began = asyncio.get_running_loop().time()
    with pytest.raises(VolumeError) as caught:
        await node.manager.wait_ready(pod)
    assert asyncio.get_running_loop().time() - began == pytest.approx(123.0, abs=0.1)
    assert not caught.value.real
    assert str(caught.value) == (
        "unmounted volumes=[data], unattached volumes=[], failed to process volumes=[]: "
        "context deadline exceeded"
    )
    gaps = [round(b - a, 1) for a, b in zip(slow.times, slow.times[1:], strict=False)]
    assert gaps == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    assert node.story.events == [
        ("web", "Warning", "FailedMount", 'MountVolume.SetUp failed for volume "data" : the disk says no')
    ] * len(slow.times)
    (told,) = node.manager.explain("uid-1")
    assert (told.state, told.failures, told.error) == ("waiting", 8, "the disk says no")
    assert told.since == pytest.approx(123.0, abs=0.5)
    assert told.next_try == pytest.approx(4.5, abs=0.5)
    slow.error = None
    await node.manager.wait_ready(pod)
    assert node.manager.mounted("uid-1")["data"].host_path == "/there/data"


@pytest.mark.looptime
async def test_a_pod_that_ends_meanwhile_is_not_waited_out(node, slow):
    await node.start(plugins=[slow], off_loop=inline)
    slow.error = OSError(5, "Input/output error", "/x")
    pod = pod_of("uid-1", "data")
    node.pods = [pod]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(node.manager.wait_ready(pod), 60)
    assert node.story.events[0][3] == 'MountVolume.SetUp failed for volume "data" : /x: input/output error'
    slow.error = None
    node.over.add("uid-1")
    began = asyncio.get_running_loop().time()
    await node.manager.wait_gone(pod)
    assert asyncio.get_running_loop().time() - began < 0.1
    assert slow.torn == ["data"]


@pytest.mark.looptime
async def test_what_does_not_go_is_named(node, slow):
    await node.start(plugins=[slow], off_loop=inline)
    pod = pod_of("uid-1", "data")
    node.pods = [pod]
    await node.manager.wait_ready(pod)
    slow.error = OSError(16, "Device or resource busy", "/there/data")
    node.over.add("uid-1")
    with pytest.raises(VolumeError) as caught:
        await node.manager.wait_gone(pod)
    assert str(caught.value) == (
        "mounted volumes=[kubernetes.io/empty-dir/uid-1-data]: context deadline exceeded"
    )
    assert node.manager.mounted("uid-1") == {}
    assert node.manager.explain("uid-1")[0].state == "left over"


@pytest.mark.looptime
async def test_an_ending_pod_keeps_what_it_has_and_gets_no_more(node, slow):
    await node.start(plugins=[slow], off_loop=inline)
    pod = pod_of("uid-1", "data")
    node.pods = [pod]
    await node.manager.wait_ready(pod)
    other = pod_of("uid-2", "data")
    node.pods = [pod, other]
    node.ending = {"uid-1", "uid-2"}
    node.manager.reconsider("uid-2")
    await asyncio.sleep(100)
    assert set(node.manager.mounted("uid-1")) == {"data"}
    assert len(slow.times) == 1


@pytest.mark.looptime
async def test_at_rest_it_rests(node, slow):
    await node.start(plugins=[slow], off_loop=inline)
    node.pods = [pod_of(f"uid-{number}", "data") for number in range(10)]
    for pod in node.pods:
        await node.manager.wait_ready(pod)
    await asyncio.sleep(1)
    before = node.asked
    await asyncio.sleep(300)
    assert 9 <= node.asked - before <= 11


@pytest.mark.looptime
async def test_a_plug_ins_bug_ends_nothing(node, slow, caplog):
    await node.start(plugins=[slow], off_loop=inline)
    slow.error = KeyError("bug")
    pod = pod_of("uid-1", "data")
    node.pods = [pod]
    node.manager.reconsider("uid-1")
    await asyncio.sleep(3)
    assert "mount of volume data failed" in caplog.text
    slow.error = None
    await node.manager.wait_ready(pod)


async def test_one_operation_at_a_time(node):
    ended, gate, running = [], asyncio.Event(), []

    async def gated(work):
        running.append(work)
        if len(running) > 2:
            await gate.wait()
        done = await asyncio.to_thread(work)
        ended.append(work)
        return done

    manager = await node.start(off_loop=gated)
    pod = pod_of("uid-1", "data")
    node.pods = [pod]
    manager.reconsider("uid-1")
    await until(lambda: len(running) == 3)
    for _ in range(5):
        manager.reconsider("uid-1")
        await asyncio.sleep(0.01)
    assert manager.explain("uid-1")[0].state == "mounting"
    node.over.add("uid-1")
    manager.reconsider("uid-1")
    await asyncio.sleep(0.02)
    assert len(running) == 3
    gate.set()
    await manager.wait_gone(pod)
    assert not node.layout.pod_volume("uid-1", EmptyDir.name, "data").exists()


async def test_a_new_life_finds_takes_over_and_cleans(node):
    empty = EmptyDir(node.layout, lambda: 0)
    kept, gone = pod_of("uid-kept", "data"), pod_of("uid-gone", "data")
    for pod in (kept, gone):
        await asyncio.to_thread(empty.set_up, pod, pod.spec.volumes[0])
        (node.layout.pod_volume(pod.metadata.uid, empty.name, "data") / "file").touch()
    foreign = node.layout.pod_volume("uid-foreign", "kubernetes.io/csi", "pvc-1") / "mount"
    foreign.mkdir(parents=True)
    (foreign / "precious").touch()
    node.pods, node.ready = [kept], False
    manager = await node.start()
    assert manager.mounted("uid-kept") == {}
    await manager.wait_ready(kept)
    assert (node.layout.pod_volume("uid-kept", empty.name, "data") / "file").exists()
    assert node.layout.pod("uid-gone").exists(), "nothing goes before all sources were seen"
    node.ready = True
    manager.reconsider("uid-gone")
    await until(lambda: not node.layout.pod("uid-gone").exists())
    await until(lambda: ("PodDirectoryCleanFailed", None) in node.story.decisions)
    assert (foreign / "precious").exists()
    assert (node.layout.pod_volume("uid-kept", empty.name, "data") / "file").exists()


@pytest.mark.integration
async def test_subpaths_end_with_their_volume(mount_area):
    node = Node(mount_area)
    manager = await node.start()
    try:
        pod = pod_of("uid-1", "data", medium="Memory")
        node.pods = [pod]
        await manager.wait_ready(pod)
        volume = manager.mounted("uid-1")["data"]
        bound = await manager.prepare_subpath("uid-1", volume, "box", 0, "sub/dir")
        assert bound in await points(node)
        assert await asyncio.to_thread(mounts.has_tmpfs, bound)
        await manager.prepare_subpath("uid-1", volume, "box", 0, "sub/dir")
        with pytest.raises(VolumeError):
            await manager.prepare_subpath("uid-1", volume, "box", 1, "../x")
        node.over.add("uid-1")
        await manager.wait_gone(pod)
        node.pods = []
        manager.reconsider("uid-1")
        await until(lambda: not node.layout.pod("uid-1").exists())
        assert await points(node) == []
    finally:
        await manager.stop()


@pytest.mark.integration
async def test_killed_at_any_point_it_leaks_nothing(mount_area):
    """Lives are cut without a word after ever more operations; the last one ends the pods."""
    objects = Objects()
    objects.secrets["keys"] = Secret(data={"key": b"hush"})
    keys = SecretVolumeSource(secretName="keys", defaultMode=0o400)
    pods = [pod_of(f"uid-{number}", "data", medium="Memory", keys=keys) for number in range(3)]
    for cut in range(8):
        node = Node(mount_area)
        node.pods = pods
        calls = []

        async def counted(work, calls=calls, cut=cut):
            calls.append(work)
            if len(calls) > cut + 2:
                await asyncio.Event().wait()
            return await asyncio.to_thread(work)

        manager = await node.start(off_loop=counted, feeds=Feeds(objects=objects))
        # Two looks at the disk, then six mounts.
        await until(lambda calls=calls, cut=cut: len(calls) >= min(cut + 3, 8))
        await manager.stop()
    last = Node(mount_area)
    last.pods = pods
    manager = await last.start(feeds=Feeds(objects=objects))
    try:
        for pod in pods:
            await manager.wait_ready(pod)
        found = await points(last)
        assert len(found) == len(set(found)) == 6
        last.pods = []
        for pod in pods:
            manager.reconsider(pod.metadata.uid)
        await until(lambda: not list(last.layout.pods.iterdir()))
        assert await points(last) == []
    finally:
        await manager.stop()
