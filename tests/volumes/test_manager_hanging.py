"""Volumes on servers that never answer, with file systems (FUSE) of which every look really hangs."""

import asyncio
import threading
from contextlib import ExitStack

import pytest
from tests.volumes.managed import Node, pod_of, until
from tests.volumes.persistent import hanging_mount, needs_fuse, spec_of

from pykubelet.api.core import PodSecurityContext
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.storage import LocalVolumeSource
from pykubelet.api.volumes import HostPathVolumeSource, PersistentVolumeClaimVolumeSource
from pykubelet.base.clock import LoopClock
from pykubelet.base.errors import VolumeError
from pykubelet.base.tasks import TaskOwner
from pykubelet.volumes import local, manager, work
from pykubelet.volumes.doors import NoClaims
from pykubelet.volumes.local import LocalVolumes
from pykubelet.volumes.story import VolumeStory

pytestmark = [pytest.mark.integration, needs_fuse]

#: More than the manager has workers.
DEAD = 10


@pytest.fixture
async def node(mount_area, monkeypatch):
    monkeypatch.setattr(work, "LOOK_LIMIT", 1.0)
    monkeypatch.setattr(manager, "_SUBPATH_LIMIT", 1.0)
    monkeypatch.setattr(local, "_QUICK", 1.0)
    made = Node(mount_area / "root")
    made.layout.pods.mkdir(parents=True)
    yield made
    if made.manager is not None:
        await made.manager.stop()


@pytest.fixture
def servers(mount_area):
    """Directories of which each is on a server that hangs; and what lets the servers go."""
    with ExitStack() as stack:
        paths = [mount_area / f"server-{number}" for number in range(DEAD)]
        for path in paths:
            path.mkdir()
            stack.enter_context(hanging_mount(path))
        yield [str(path) for path in paths], stack.close


def host_path(uid, path, kind="Directory"):
    return pod_of(uid, "own", host=HostPathVolumeSource(path=str(path), type=kind))


def threads(name):
    return [thread for thread in threading.enumerate() if thread.name == name]


def story(node, uid):
    told = {told.volume: told for told in node.manager.explain(uid)}
    return told.get("host", VolumeStory("host", "", "waiting"))


async def test_paths_that_hang_hold_up_nobody_else(node, servers, mount_area):
    paths, _ = servers
    await node.start()
    # Two pods for each server.
    node.pods = [
        host_path(f"dead-{which}-{number}", path) for number, path in enumerate(paths) for which in "ab"
    ]
    for pod in node.pods:
        node.manager.reconsider(pod.metadata.uid)
    await until(lambda: len(threads("volume looks")) == DEAD)
    # The look at the directory of pods may just end its own.
    await until(lambda: threads("volumes") == [])
    good = host_path("good", mount_area)
    node.pods.append(good)
    async with asyncio.timeout(1):
        await node.manager.wait_ready(good)
    # All fail, and are tried again; none costs a second thread.
    dead = [pod for pod in node.pods if pod is not good]
    await until(lambda: all(story(node, pod.metadata.uid).failures >= 2 for pod in dead))
    assert len(threads("volume looks")) == DEAD
    errors = {story(node, pod.metadata.uid).error for pod in dead}
    assert errors == {f"{path} does not answer: an earlier look still hangs" for path in paths}
    messages = [message for _, _, reason, message in node.story.events if reason == "FailedMount"]
    text = f'MountVolume.SetUp failed for volume "host" : {paths[0]} does not answer: '
    assert text + "nothing came back within 1 s" in messages
    later = host_path("later", mount_area)
    node.pods.append(later)
    async with asyncio.timeout(1):
        await node.manager.wait_ready(later)


async def test_what_answers_again_is_tried_at_once(node, servers):
    paths, let_go = servers
    await node.start()
    pod = host_path("uid-1", paths[0])
    node.pods = [pod]
    node.manager.reconsider("uid-1")
    # The next try is seconds away.
    await until(lambda: story(node, "uid-1").failures >= 4)
    let_go()
    async with asyncio.timeout(1):
        await node.manager.wait_ready(pod)


async def test_a_path_that_nobody_has_to_look_at_is_given_though_it_hangs(node, servers):
    paths, _ = servers
    await node.start()
    node.pods = [host_path("typed", paths[0]), host_path("untyped", paths[0], kind="")]
    node.manager.reconsider("typed")
    await until(lambda: story(node, "typed").failures)
    async with asyncio.timeout(1):
        await node.manager.wait_ready(node.pods[1])


async def test_a_sub_path_that_hangs_holds_up_its_container_only(node, servers, mount_area):
    paths, let_go = servers
    (mount_area / "here" / "sub").mkdir(parents=True)
    await node.start()
    for text in ("nothing came back within 1 s", "an earlier look still hangs"):
        with pytest.raises(VolumeError, match=f'volumeMount "v" of container "c": .* not answer: {text}'):
            await node.manager.prepare_subpath("u", MountedVolume("v", paths[0]), "c", 0, "sub")
    assert len(threads("volume looks")) == 1
    here = MountedVolume("v", str(mount_area / "here"))
    assert await node.manager.prepare_subpath("u", here, "c", 1, "sub")
    let_go()


class Claimed(NoClaims):
    """The claim ``NAME`` is bound to a local volume at that path."""

    async def resolve(self, pod, volume):
        path = volume.persistentVolumeClaim.claimName
        return spec_of(f"pv-{path.rpartition('/')[2]}", local=LocalVolumeSource(path=path))


async def test_local_volumes_that_hang_hold_one_thread_each(node, servers, mount_area):
    paths, _ = servers
    (mount_area / "here").mkdir()
    plugin = LocalVolumes(node.layout, LoopClock(), node.story)
    await node.start(persistent=[plugin], claims=Claimed())
    claims = [PersistentVolumeClaimVolumeSource(claimName=path) for path in paths]
    node.pods = [pod_of(f"dead-{which}-{n}", host=claim) for n, claim in enumerate(claims) for which in "ab"]
    for pod in node.pods:
        node.manager.reconsider(pod.metadata.uid)
    await until(lambda: all(story(node, pod.metadata.uid).failures >= 2 for pod in node.pods))
    assert len(threads("local volumes")) == DEAD
    errors = {story(node, pod.metadata.uid).error for pod in node.pods}
    assert errors == {f"{path} does not answer: an earlier look still hangs" for path in paths}
    here = PersistentVolumeClaimVolumeSource(claimName=str(mount_area / "here"))
    good = pod_of("good", host=here)
    node.pods.append(good)
    async with asyncio.timeout(2):
        await node.manager.wait_ready(good)
    node.over.add("good")
    await node.manager.wait_gone(good)


async def test_files_of_a_server_that_hangs_cost_one_walk(node, servers):
    paths, let_go = servers
    plugin = LocalVolumes(node.layout, LoopClock(), node.story)
    tasks = TaskOwner("test")
    pod = pod_of("uid-1")
    pod.spec.securityContext = PodSecurityContext(fsGroup=7)
    for _ in range(3):
        task = tasks.spawn("walk", plugin._groups.apply(paths[0], pod))
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(threads("group changes")) == 1
    let_go()
