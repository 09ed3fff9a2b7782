"""The volume manager with the CSI plug-in and a driver that really mounts: lives of pods, and its own."""

import asyncio
import os

import pytest
from tests.csidriver import disk
from tests.csidriver.driver import CsiDriver
from tests.volumes.csi.joined import Joined, path_of, pod_of
from tests.volumes.csi.kit import DRIVER, claimed, inline
from tests.volumes.managed import until

from pykubelet.api.core import PodSecurityContext, SELinuxOptions
from pykubelet.api.volumes import VolumeMount
from pykubelet.base.errors import VolumeError
from pykubelet.linux.selinux import SELinux
from pykubelet.volumes.selinux import Labelling

pytestmark = pytest.mark.integration

NAME = f"kubernetes.io/csi/{DRIVER}^h"


@pytest.fixture
def joined(node):
    node.objects.has_driver()
    return Joined(node)


async def test_two_pods_have_one_volume(joined):
    node, spec = joined.node, claimed(modes=["ReadWriteMany"])
    joined.has(spec)
    node.objects.has_driver(attachRequired=True)
    node.objects.attach()
    first, second = pod_of("uid-1", spec), pod_of("uid-2", spec)
    async with joined.life() as manager:
        joined.managed.pods = [first]
        waiting = asyncio.ensure_future(manager.wait_ready(first))  # noqa: TID251
        await until(lambda: joined.cluster.used == {NAME})
        # Nothing is done before the node's status tells of the volume, and that it is attached.
        assert node.driver.calls() == []
        joined.cluster.written, joined.cluster.attached_to = {NAME}, {NAME: ""}
        manager.attachments_changed()
        await waiting
        await joined.run(first, second)
        with open(f"{path_of(joined, first).host_path}/file", "w") as file:
            file.write("kept")
        with open(f"{path_of(joined, second).host_path}/file") as file:
            assert file.read() == "kept"
        assert (node.count("NodeStageVolume"), node.count("NodePublishVolume")) == (1, 2)
        await joined.run(second)
        assert node.count("NodeUnstageVolume") == 0
        await joined.run()
        await until(lambda: joined.cluster.used == set())
    assert (node.count("NodeUnpublishVolume"), node.count("NodeUnstageVolume")) == (2, 1)
    assert joined.left() == []


async def test_an_inline_volume(joined):
    joined.node.objects.has_driver(volumeLifecycleModes=["Ephemeral"], podInfoOnMount=True)
    pod = pod_of("uid-1", inline())
    async with joined.life():
        await joined.run(pod)
        assert disk.mounted(path_of(joined, pod).host_path)
        await joined.run()
    assert joined.left() == []
    assert joined.cluster.used in (None, set())


async def test_a_claim_is_not_mounted_over_another_volume_of_its_pod(joined):
    """A persistent volume called like a volume that the pod names itself would have the same directory."""
    node = joined.node
    node.objects.has_driver(volumeLifecycleModes=["Ephemeral", "Persistent"])
    claim, own = claimed(fsType="tmpfs"), inline()
    own.volume.name = "pv-1"
    joined.has(claim)
    pod = pod_of("uid-1", claim)
    pod.spec.volumes.append(own.volume)
    pod.spec.containers[0].volumeMounts.append(VolumeMount(name=own.volume.name, mountPath="/own"))
    async with joined.life() as manager:
        joined.managed.pods = [pod]
        why = (
            r"volumes \[data pv-1\] are not the same but have the same directory kubernetes.io~csi/pv-1: "
            "a persistent volume must not be called like another volume of its pod"
        )
        async with asyncio.timeout(5):
            with pytest.raises(VolumeError, match=rf"failed to process volumes=\[data pv-1\]: {why}$"):
                await manager.wait_ready(pod)
        assert {told.volume: told.state for told in manager.explain("uid-1")} == {
            "data": "impossible",
            "pv-1": "impossible",
        }
        # One of them may have been there before the other was known.
        assert node.count("NodePublishVolume") <= 1
        await joined.run()
        await until(lambda: joined.left() == [])


async def test_a_block_volume(joined):
    spec = claimed(block=True, volumeAttributes={"size": "1048576"})
    joined.has(spec)
    pod = pod_of("uid-1", spec)
    async with joined.life():
        await joined.run(pod)
        device = path_of(joined, pod).device_path
        assert await asyncio.to_thread(lambda: len(os.readlink(device)) > 0)
        events = [message for _, _, reason, message in joined.managed.story.events if "Success" in reason]
        assert len(events) == 2
    # Killed with the device mapped, and started again.
    async with joined.life():
        await joined.run(pod)
        assert path_of(joined, pod).device_path == device
        await joined.run()
        await until(lambda: joined.node.count("NodeUnstageVolume") == 1)
        await until(lambda: joined.left() == [])


async def test_a_restart_with_the_volume_in_use(joined):
    """Mounted again over what is there, as upstream; nothing of it is taken away meanwhile."""
    node, spec = joined.node, claimed(fsType="tmpfs")
    joined.has(spec)
    pod = pod_of("uid-1", spec)
    async with joined.life():
        await joined.run(pod)
        path = path_of(joined, pod).host_path
        with open(f"{path}/file", "w") as file:
            file.write("kept")
    node.driver.fault("NodePublishVolume", "INTERNAL")
    async with joined.life():
        await joined.run(pod)
        with open(f"{path}/file") as file:
            assert file.read() == "kept"
        assert node.count("NodeStageVolume") >= 2
        assert node.count("NodeUnpublishVolume") == node.count("NodeUnstageVolume") == 0
        await joined.run()
        await until(lambda: node.count("NodeUnstageVolume") == 1)
        await until(lambda: joined.left() == [])


@pytest.mark.parametrize("published", [True, False])
async def test_a_restart_after_the_pod_is_gone(joined, published):
    node, spec = joined.node, claimed(fsType="tmpfs")
    joined.has(spec)
    pod = pod_of("uid-1", spec)
    async with joined.life():
        await joined.run(pod)
    joined.managed.pods = []
    if not published:
        # Killed after the driver unpublished, before anything was noted of that.
        await node.plugin.tear_down("uid-1", "pv-1", block=False)
    async with joined.life():
        await until(lambda: node.count("NodeUnstageVolume") == 1)
        await until(lambda: joined.left() == [])


async def test_labels(joined):
    """A pod's SELinux label reaches the driver, is found after a restart, and gives way to the next pod's."""
    node, spec = joined.node, claimed(modes=["ReadWriteOncePod"], options=["noatime"])
    joined.has(spec)
    labelling = Labelling(SELinux("u:r:container_t:s0", "u:object_r:file_t:s0"))
    node.labels = True
    node.objects.has_driver(seLinuxMount=True)

    def options():
        methods = ("NodeStageVolume", "NodePublishVolume")
        return [node.sent(method)["volume_capability"]["mount"]["mount_flags"] for method in methods]

    first, second = pod_of("uid-1", spec), pod_of("uid-2", spec)
    for pod, level in ((first, "s0:c1,c2"), (second, "s0:c3,c4")):
        pod.spec.securityContext = PodSecurityContext(seLinuxOptions=SELinuxOptions(level=level))
    async with joined.life(labelling=labelling):
        await joined.run(first)
        assert options() == [["noatime", 'context="u:object_r:file_t:s0:c1,c2"']] * 2
        assert not path_of(joined, first).selinux_relabel
    # Another life, in which the driver is said to know no labels: a pod keeps what it has.
    node.objects.has_driver(seLinuxMount=False)
    async with joined.life(labelling=labelling):
        await joined.run(first)
        assert options() == [["noatime", 'context="u:object_r:file_t:s0:c1,c2"']] * 2
        assert (node.count("NodeUnstageVolume"), node.count("NodeUnpublishVolume")) == (0, 0)
    node.objects.has_driver(seLinuxMount=True)
    async with joined.life(labelling=labelling) as manager:
        await joined.run(first)
        joined.managed.pods = [first, second]
        with pytest.raises(VolumeError, match="conflicting SELinux labels of volume pv-1"):
            await manager.wait_ready(second)
    # The first pod goes while nobody looks: what it left is undone before the second one has its own.
    async with joined.life(labelling=labelling):
        await joined.run(second)
        assert (node.count("NodeUnpublishVolume"), node.count("NodeUnstageVolume")) == (1, 1)
        assert options() == [["noatime", 'context="u:object_r:file_t:s0:c3,c4"']] * 2
        await joined.run()
        await until(lambda: node.count("NodeUnstageVolume") == 2)
        await until(lambda: joined.left() == [])


async def test_a_driver_that_comes_later(joined):
    node, spec = joined.node, claimed()
    joined.has(spec)
    endpoint = node.clients.endpoints.pop(DRIVER)
    pod = pod_of("uid-1", spec)
    async with joined.life() as manager:
        joined.managed.pods = [pod]
        waiting = asyncio.ensure_future(manager.wait_ready(pod))  # noqa: TID251
        await until(lambda: joined.managed.story.events)
        _, kind, reason, message = joined.managed.story.events[0]
        assert (kind, reason) == ("Warning", "FailedMount")
        text = "kubernetes.io/csi: attacher.MountDevice failed to create newCsiDriverClient: driver name"
        assert message == (
            f'MountVolume.MountDevice failed for volume "pv-1" : {text} {DRIVER} '
            "not found in the list of registered CSI drivers"
        )
        node.clients.endpoints[DRIVER] = endpoint
        manager.retry(node.plugin.registered(DRIVER))
        await waiting
        await joined.run()


async def test_a_driver_that_is_killed_in_the_midst(joined):
    node, spec = joined.node, claimed(fsType="tmpfs")
    joined.has(spec)
    pod = pod_of("uid-1", spec)
    async with joined.life() as manager:
        node.driver.fault("NodePublishVolume", hang=True)
        joined.managed.pods = [pod]
        waiting = asyncio.ensure_future(manager.wait_ready(pod))  # noqa: TID251
        await until(lambda: node.count("NodePublishVolume") == 1)
        node.driver.files.no_faults()
        await node.driver.__aexit__()
        async with CsiDriver(node.driver.files.root):
            await waiting
            assert disk.mounted(path_of(joined, pod).host_path)
            await joined.run()
            await until(lambda: joined.left() == [])
