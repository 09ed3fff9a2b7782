"""Dead containers, orphaned logs and unused images are collected on a real containerd, as the flags say."""

import asyncio
import os
from dataclasses import replace

import pytest
import pytest_asyncio
from tests.integration.killed_node import container
from tests.integration.node import pod, running_node

from pykubelet.base.clock import SystemClock
from pykubelet.base.journal import NullJournal
from pykubelet.base.metrics import Metrics
from pykubelet.cli.up.images import BUSYBOX, sample_images
from pykubelet.cli.up.oci import File, pack
from pykubelet.containers.image_collector import ImageCollector, ImageGCError
from pykubelet.containers.image_gc import ImagePolicy

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Of each container two dead ones stay.
DEAD = 2
FLAGS = [
    f"--maximum-dead-containers-per-container={DEAD}",
    "--image-gc-keep=pykubelet.local/busybox:*,collected/kept:*",
]


def percent_used(directory):
    found = os.statvfs(directory)
    return 100 - found.f_bavail * 100 // found.f_blocks


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(containerd, tmp_path_factory):
    high = percent_used(containerd.base_dir)
    config = {
        # From the first byte too much: the disk is always at its high threshold.
        "imageGCHighThresholdPercent": high,
        "imageGCLowThresholdPercent": high - 1,
        "imageMinimumGCAge": "1s",
        "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
    }
    base = tmp_path_factory.mktemp("collection")
    async with running_node(base, containerd, "gc", flags=FLAGS, **config) as made:
        yield made


@pytest.fixture(scope="module")
def add_images(containerd):
    """Puts images that differ in one file on the node, by their last names."""
    busybox = next(image for image in sample_images() if image.name == BUSYBOX)

    def add(*names):
        for name in names:
            marked = {**busybox.entries, "mark": File(name.encode() * 1000)}
            full = f"docker.io/collected/{name}:v1"
            containerd.import_image(pack(replace(busybox, name=full, entries=marked)), full)

    return add


async def collected_images(node):
    names = [name for image in await node.cri.list_images() for name in image.repo_tags]
    return sorted(n.removeprefix("docker.io/collected/") for n in names if "collected" in n)


async def dead(node, name):
    uid = node.uid(name)
    return [c for c in await node.cri.list_containers() if c.pod_uid == uid and c.state.name == "EXITED"]


async def test_dead_containers_stay_as_many_as_the_flag_says(node):
    node.apply(pod("crasher", container("app", "echo once; exit 1")))
    await node.until(lambda: node.restarts("crasher") >= DEAD + 2, 30, "crasher")
    known = node.pod("crasher").metadata
    directory = node.layout.container_log("default", known.name, known.uid, "app", 0).parent

    async def settled():
        kept = {f"{c.attempt}.log" for c in await dead(node, "crasher")}
        links = {os.readlink(link).rpartition("/")[2] for link in node.layout.container_log_links.iterdir()}
        logs = set(os.listdir(directory))
        # One may just be running, or have died this moment.
        return len(kept) in {DEAD, DEAD + 1} and kept <= logs and len(logs - kept) <= 1 and links <= logs

    await node.until(settled, 20, "crasher")
    assert "0.log" not in os.listdir(directory)
    assert node.decisions("crasher", "ContainerRemoved")
    await node.delete("crasher")


async def test_what_is_left_of_pods_that_ended_or_are_gone(node):
    node.apply(pod("ended", container("app", "echo last words"), restartPolicy="Never"))
    await node.until(lambda: node.phase("ended") == "Succeeded", about="ended")
    collect = node.kubelet.upkeep.gc.collect
    await collect(sources_ready=True)
    assert len(await dead(node, "ended")) == 1
    # Under disk pressure the containers go though the pod is still there.
    uid = node.uid("ended")
    await node.until(lambda: node.kubelet.upkeep.removal.runtime_removable(uid), about="ended")
    await collect(sources_ready=True, evict_ended=True)
    assert await dead(node, "ended") == []
    assert [s for s in await node.cri.list_sandboxes() if s.uid == uid] == []
    assert {e.what for e in node.entries("ended") if e.text.startswith("removed dead")} == {
        "ContainerRemoved",
        "SandboxRemoved",
    }
    assert node.phase("ended") == "Succeeded"

    ghost = node.layout.pod_logs / "default_ghost_11111111-0000-0000-0000-000000000000" / "app"
    link = node.layout.container_log_links / f"ghost_default_app-{'0' * 64}.log"

    def leave():
        ghost.mkdir(parents=True)
        link.symlink_to(ghost / "0.log")

    await asyncio.to_thread(leave)
    node.kubelet.upkeep.collection.request()
    await node.until(lambda: not ghost.parent.exists() and not link.is_symlink())
    assert [e for e in node.kubelet.ground.journal.of_node() if e.what == "LogsRemoved"]
    await node.delete("ended")


async def test_unused_images_go_when_the_disk_is_full(node, add_images):
    await asyncio.to_thread(add_images, "used", "ended", "unused", "kept")
    image = {"image": "docker.io/collected/used:v1"}
    ended = {"image": "docker.io/collected/ended:v1"}
    node.apply(
        pod("user", {**container("app"), **image}),
        pod("done", {**container("app", "true"), **ended}, restartPolicy="Never"),
    )
    await node.until(lambda: node.runs("user") and node.phase("done") == "Succeeded")
    collector = node.kubelet.upkeep.image_collector
    with pytest.raises(ImageGCError, match=r"Failed to free sufficient space .* \(freed 0 bytes\)"):
        await collector.collect(0)
    assert await collected_images(node) == ["ended:v1", "kept:v1", "unused:v1", "used:v1"]
    await asyncio.sleep(1.1)
    with pytest.raises(ImageGCError, match=r"\(freed [1-9]\d+ bytes\)"):
        await collector.collect(0)
    # A dead container's image is in use, too; sandboxes' own image is nobody's container's.
    assert await collected_images(node) == ["ended:v1", "kept:v1", "used:v1"]
    assert any("pause" in name for image in await node.cri.list_images() for name in image.repo_tags)
    assert node.node_events("FreeDiskSpaceFailed")[-1].type == "Warning"
    removed = [e for e in node.kubelet.ground.journal.of_node() if e.what == "ImageRemoved"]
    assert [e.text for e in removed] == ["removed image docker.io/collected/unused:v1"]
    assert removed[0].cause.startswith("the image file system is in use to")
    assert (
        b'kubelet_image_garbage_collected_total{reason="space"} 1.0' in node.kubelet.ground.metrics.render()
    )

    gone = node.uid("done")
    await node.delete("done")

    async def no_container():
        return not [c for c in await node.cri.list_containers() if c.pod_uid == gone]

    await node.until(no_container)
    assert await collector.delete_unused_images() > 100_000
    assert await collected_images(node) == ["kept:v1", "used:v1"]
    assert await collector.delete_unused_images() == 0
    await node.delete("user")


async def test_unused_images_go_when_they_are_old(node, add_images):
    await asyncio.to_thread(add_images, "aged")
    journal = NullJournal()
    collector = ImageCollector(
        node.cri,
        SystemClock(),
        journal,
        journal,
        Metrics(),
        ImagePolicy(high=100, max_age=1.0, keep=("pykubelet.local/busybox:*", "collected/kept:*")),
        list_images=node.cri.list_images,
        mounted=set,
    )
    began = SystemClock().now_ns()
    await collector.collect(began)
    assert "aged:v1" in await collected_images(node)
    await asyncio.sleep(1.2)
    await collector.collect(began)
    assert await collected_images(node) == ["kept:v1"]
    await node.cri.remove_image("docker.io/collected/kept:v1")
