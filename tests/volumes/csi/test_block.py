"""Raw block volumes, by a driver with real loop devices; each request field by field."""

import asyncio
import os
import stat
from pathlib import Path

import pytest
from tests.csidriver import disk
from tests.volumes.csi.kit import DRIVER, claimed, idle_driver, pod_of

from pykubelet.api.storage import SecretReference
from pykubelet.base.errors import VolumeError
from pykubelet.linux import loop, mounts
from pykubelet.volumes import block_map
from pykubelet.volumes import disk as disk_of
from pykubelet.volumes.csi.paths import attachment_name
from pykubelet.volumes.state import VolumeKey

pytestmark = pytest.mark.integration

POD, OTHER = pod_of("uid-1"), pod_of("uid-2")
CAPABILITY = {"block": {}, "access_mode": {"mode": "SINGLE_NODE_WRITER"}}
TOP = "plugins/kubernetes.io/csi/volumeDevices"


def volume(**more):
    return claimed(block=True, volumeAttributes={"size": "1048576"}, **more)


async def told(awaitable) -> tuple[str, str]:
    with pytest.raises(VolumeError) as caught:
        await awaitable
    return str(caught.value), caught.value.left


async def give(node, spec, pod=POD):
    await node.plugin.stage(spec, pod, "")
    return await node.plugin.set_up(spec, pod, again=False)


async def take(node, pod=POD):
    await node.plugin.tear_down(pod.metadata.uid, "pv-1", block=True)


def holders(node, uid="uid-1"):
    return loop.holders(os.path.realpath(f"{node.paths.block_map('pv-1')}/{uid}"))


def write(path, data):
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.pwrite(descriptor, data, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path, length):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.pread(descriptor, length, 0)
    finally:
        os.close(descriptor)


async def test_a_whole_life(node):
    node.objects.has_driver(attachRequired=True, podInfoOnMount=True)
    node.objects.attach(wwn="77")
    node.objects.has_secret("vault", "stage", key="s1")
    node.objects.has_secret("vault", "publish", key="s2")
    spec = volume(
        nodeStageSecretRef=SecretReference(name="stage", namespace="vault"),
        nodePublishSecretRef=SecretReference(name="publish", namespace="vault"),
    )
    mounted = await give(node, spec)
    staging, target = node.paths.block_staging("pv-1"), node.paths.block_target("uid-1", "pv-1")
    assert node.sent("NodeStageVolume") == {
        "volume_id": "h",
        "publish_context": {"wwn": "77"},
        "staging_target_path": staging,
        "volume_capability": CAPABILITY,
        "secrets": {"key": "s1"},
        "volume_context": {"size": "1048576"},
    }
    sent = node.sent("NodePublishVolume")
    context = sent.pop("volume_context")
    assert sent == {
        "volume_id": "h",
        "publish_context": {"wwn": "77"},
        "staging_target_path": staging,
        "target_path": target,
        "volume_capability": CAPABILITY,
        "secrets": {"key": "s2"},
    }
    assert (context["size"], context["csi.storage.k8s.io/pod.uid"]) == ("1048576", "uid-1")
    assert (mounted.name, mounted.host_path) == ("data", "")
    assert mounted.device_path == node.paths.pod_device("uid-1", "pv-1")
    second = await give(node, spec, OTHER)
    await asyncio.to_thread(write, mounted.device_path, b"kept")
    assert await asyncio.to_thread(read, second.device_path, 4) == b"kept"
    assert await asyncio.to_thread(holders, node)
    device = node.plugin.device(spec)
    assert device.block
    said, left = await told(node.plugin.unstage(device))
    assert f'the device "{node.paths.block_map("pv-1")}" is still referenced from other Pods [' in said
    assert left == "something"
    for pod in (POD, OTHER):
        await take(node, pod)
        assert node.sent("NodeUnpublishVolume")["target_path"] == node.paths.block_target(
            pod.metadata.uid, "pv-1"
        )
    assert not await asyncio.to_thread(holders, node)
    await node.plugin.unstage(device)
    assert node.sent("NodeUnstageVolume") == {"volume_id": "h", "staging_target_path": staging}
    assert not [path for path in node.tree() if "pv-1" in path]
    calls = len(node.driver.calls())
    await take(node)
    await node.plugin.unstage(device)
    assert len(node.driver.calls()) == calls


async def test_the_layout_is_upstreams(node):
    node.objects.has_driver()
    mounted = await give(node, volume())
    assert {path for path in node.tree() if path.startswith(f"{TOP}/")} == {
        f"{TOP}/publish", f"{TOP}/publish/pv-1", f"{TOP}/publish/pv-1/uid-1",
        f"{TOP}/pv-1", f"{TOP}/pv-1/data", f"{TOP}/pv-1/data/vol_data.json",
        f"{TOP}/pv-1/dev", f"{TOP}/pv-1/dev/uid-1", f"{TOP}/staging", f"{TOP}/staging/pv-1",
    }  # fmt: skip
    attachment = attachment_name("h", DRIVER, "node-1")
    assert (node.layout.root / TOP / "pv-1/data/vol_data.json").read_text() == (
        f'{{"attachmentID":"{attachment}","driverName":"driver.example","nodeName":"node-1",'
        '"specVolID":"pv-1","volumeHandle":"h"}\n'
    )
    mapped = os.stat(node.layout.root / TOP / "pv-1/dev/uid-1")
    published = os.stat(node.layout.root / TOP / "publish/pv-1/uid-1")
    assert stat.S_ISBLK(mapped.st_mode)
    assert mapped.st_rdev == published.st_rdev == os.stat(mounted.device_path).st_rdev
    assert os.readlink(mounted.device_path) == os.path.realpath(node.layout.root / TOP / "publish/pv-1/uid-1")
    for path in ("staging/pv-1", "publish/pv-1", "pv-1/data", "pv-1/dev"):
        assert stat.S_IMODE(os.stat(node.layout.root / TOP / path).st_mode) == 0o750


async def test_a_driver_that_does_not_stage(node):
    node.driver.files.set(capabilities=[])
    node.objects.has_driver()
    spec = volume(nodeStageSecretRef=SecretReference(name="missing", namespace="x"))
    mounted = await give(node, spec)
    assert node.count("NodeStageVolume") == 0
    # Told all the same, as upstream does for devices.
    assert node.sent("NodePublishVolume")["staging_target_path"] == node.paths.block_staging("pv-1")
    assert await asyncio.to_thread(lambda: stat.S_ISBLK(os.stat(mounted.device_path).st_mode))
    await take(node)
    await node.plugin.unstage(node.plugin.device(spec))
    assert node.count("NodeUnstageVolume") == 0
    assert not [path for path in node.tree() if "pv-1" in path]


async def test_what_is_found_where_the_pods_link_was_never_made(node):
    """The Go kubelet has the driver publish first, then binds the device, and links it at last."""
    node.objects.has_driver()
    spec = volume()
    mounted = await give(node, spec)
    os.unlink(mounted.device_path)
    for removed in (None, f"{node.paths.block_map('pv-1')}/uid-1"):
        if removed:
            await asyncio.to_thread(block_map.unmap_device, node.paths.block_map("pv-1"), "uid-1")
        assert await asyncio.to_thread(node.restart().given) == {("uid-1", "pv-1")}
    await take(node)
    assert not await asyncio.to_thread(node.plugin.given)
    await node.plugin.unstage(node.plugin.device(spec))
    assert not [path for path in node.tree() if "pv-1" in path]
    assert not await asyncio.to_thread(node.plugin.given)


async def test_every_step_is_repeated_after_a_kill(node):
    node.objects.has_driver()
    spec = volume()
    for _ in range(2):
        node.restart()
        await node.plugin.stage(spec, POD, "")
    for _ in range(2):
        node.restart()
        mounted = await node.plugin.set_up(spec, POD, again=False)
    assert len(await asyncio.to_thread(holders, node)) == 1
    # Killed before the link was made, and before the device was held.
    os.unlink(mounted.device_path)
    await asyncio.to_thread(loop.release, f"{node.paths.block_map('pv-1')}/uid-1")
    plugin = node.restart()
    await plugin.set_up(spec, POD, again=False)
    assert len(await asyncio.to_thread(holders, node)) == 1
    plugin = node.restart()
    found = await asyncio.to_thread(lambda: plugin.found("uid-1", "pv-1", block=True))
    assert found.block
    assert found.device == plugin.device(spec)
    (device,) = await asyncio.to_thread(plugin.devices_found)
    assert (device, device.name) == (plugin.device(spec), "pv-1")
    # Killed when the link was gone already.
    os.unlink(mounted.device_path)
    await take(node)
    node.restart()
    await take(node)
    await node.restart().unstage(device)
    assert not [path for path in node.tree() if "pv-1" in path]
    assert not await asyncio.to_thread(plugin.devices_found)


def found(node):
    return set(disk_of.volumes_found(node.layout))


async def test_a_pods_device_is_found_again_whenever_the_end_came(node):
    node.objects.has_driver()
    spec, key = volume(), VolumeKey("uid-1", "kubernetes.io/csi", "pv-1")
    await node.plugin.stage(spec, POD, "")
    # While the driver was at work.
    node.driver.fault("NodePublishVolume", "ABORTED", done=True)
    assert (await told(node.plugin.set_up(spec, POD, again=False)))[1] == "something"
    assert await asyncio.to_thread(found, node) == {key}
    node.restart()
    await take(node)
    assert await asyncio.to_thread(found, node) == set()
    # Before the driver gave up what it made.
    await give(node, spec)
    node.driver.fault("NodeUnpublishVolume", "UNAVAILABLE")
    await told(take(node))
    assert await asyncio.to_thread(found, node) == {key}
    node.restart()
    await take(node)
    assert await asyncio.to_thread(found, node) == set()
    # What was refused for good left nothing to be found.
    node.driver.fault("NodePublishVolume", "INTERNAL")
    assert (await told(node.plugin.set_up(spec, POD, again=False)))[1] == "nothing"
    assert await asyncio.to_thread(found, node) == set()
    link = Path(node.paths.pod_device("uid-1", "pv-1"))
    link.mkdir(parents=True)
    said, left = await told(node.plugin.set_up(spec, POD, again=False))
    assert (said, left) == (
        f"kubernetes.io/csi: blockMapper.publishVolumeForBlock failed: {link}: it is not a link",
        "unchanged",
    )
    await node.plugin.unstage(node.plugin.device(spec))


async def test_failures_of_the_driver(node):
    node.objects.has_driver()
    spec, said = volume(), "rpc error: code = Internal desc = injected"
    node.driver.fault("NodeStageVolume", "INTERNAL")
    assert await told(node.plugin.stage(spec, POD, "")) == (said, "nothing")
    assert not [path for path in node.tree() if "pv-1" in path]
    node.driver.fault("NodeStageVolume", "UNAVAILABLE")
    assert (await told(node.plugin.stage(spec, POD, "")))[1] == "something"
    assert f"{TOP}/pv-1/data/vol_data.json" in node.tree()
    await node.plugin.stage(spec, POD, "")
    node.driver.fault("NodePublishVolume", "INTERNAL")
    assert await told(node.plugin.set_up(spec, POD, again=False)) == (said, "nothing")
    node.driver.fault("NodePublishVolume", "ABORTED", done=True)
    assert (await told(node.plugin.set_up(spec, POD, again=False)))[1] == "something"
    await node.plugin.set_up(spec, POD, again=False)
    for code in ("INTERNAL", "ABORTED"):
        node.driver.fault("NodePublishVolume", code)
        assert (await told(node.plugin.set_up(spec, POD, again=True)))[1] == "unchanged"
    node.driver.fault("NodePublishVolume", "INTERNAL")
    assert (await told(node.plugin.set_up(spec, POD, again=False)))[1] == "something"
    node.driver.fault("NodeUnpublishVolume", "INTERNAL")
    text = f"kubernetes.io/csi: blockMapper.unpublishVolumeForBlock failed: {said}"
    assert await told(take(node)) == (text, "something")
    await take(node)
    node.driver.fault("NodeUnstageVolume", "INTERNAL")
    text = f"kubernetes.io/csi: blockMapper.unstageVolumeForBlock failed: {said}"
    assert await told(node.plugin.unstage(node.plugin.device(spec))) == (text, "something")
    await node.plugin.unstage(node.plugin.device(spec))


async def test_what_an_earlier_life_staged_stays_when_this_one_is_refused(node):
    node.objects.has_driver()
    spec = volume()
    await node.plugin.stage(spec, POD, "")
    node.restart()
    node.driver.fault("NodeStageVolume", "INTERNAL")
    assert (await told(node.plugin.stage(spec, POD, "")))[1] == "something"
    assert f"{TOP}/pv-1/data/vol_data.json" in node.tree()


async def test_a_driver_that_is_away(node):
    node.objects.has_driver()
    spec = volume()
    away = f"driver name {DRIVER} not found in the list of registered CSI drivers"
    await give(node, spec)
    endpoint = node.clients.endpoints.pop(DRIVER)
    head = "kubernetes.io/csi: blockMapper."
    no_client = f"failed to get CSI client: {away}"
    assert await told(node.plugin.stage(spec, POD, "")) == (f"{head}SetUpDevice {no_client}", "unchanged")
    found = await told(node.plugin.set_up(spec, POD, again=True))
    assert found == (f"{head}MapPodDevice {no_client}", "unchanged")
    assert (await told(take(node)))[0] == f"{head}UnmapPodDevice {no_client}"
    assert node.plugin.registered(DRIVER) == {"uid-1"}
    node.clients.endpoints[DRIVER] = endpoint
    await take(node)
    del node.clients.endpoints[DRIVER]
    said, _ = await told(node.plugin.unstage(node.plugin.device(spec)))
    assert said == f"{head}TearDownDevice {no_client}"


async def test_what_fails_before_the_driver_is_asked(node):
    spec = volume(nodeStageSecretRef=SecretReference(name="one", namespace="vault"))
    assert (await told(node.plugin.stage(spec, POD, "")))[1] == "unchanged"
    node.objects.attach()
    said, left = await told(node.plugin.stage(spec, POD, ""))
    assert said.startswith(
        "kubernetes.io/csi: failed to get NodeStageSecretRef vault/one: kubernetes.io/csi: failed"
    )
    assert left == "unchanged"
    del node.objects.attachments[attachment_name("h", DRIVER, "node-1")]
    said, _ = await told(node.plugin.set_up(spec, POD, again=False))
    name = attachment_name("h", DRIVER, "node-1")
    assert said == (
        f"kubernetes.io/csi: blockMapper.MapPodDevice failed to get volume attachment [id={name}]: "
        f'volumeattachments.storage.k8s.io "{name}" not found'
    )
    assert node.tree() == []


async def test_a_driver_that_makes_no_device(node, tmp_path):
    node.objects.has_driver()
    spec = volume()
    await node.plugin.stage(spec, POD, "")
    async with idle_driver(node, tmp_path):
        said, left = await told(node.plugin.set_up(spec, POD, again=False))
        assert said.startswith("blkUtil.MapDevice failed. devicePath: ")
        assert said.endswith("no such file or directory")
        assert left == "something"
        target = node.paths.block_target("uid-1", "pv-1")
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
        said, left = await told(node.plugin.set_up(spec, POD, again=False))
        assert said.endswith("block device required")
    await take(node)


async def test_a_driver_that_leaves_things_behind(node, tmp_path):
    node.objects.has_driver()
    spec = volume()
    await give(node, spec)
    async with idle_driver(node, tmp_path):
        target = node.paths.block_target("uid-1", "pv-1")
        said, left = await told(take(node))
        assert said.endswith(f"the driver left {target} mounted")
        assert left == "something"
        said, _ = await told(node.plugin.unstage(node.plugin.device(spec)))
        assert "is still referenced from other Pods" in said
        # A file that nobody needs does not keep the volume from being detached.
        await asyncio.to_thread(disk.unmount, target)
        await take(node)
        (node.layout.root / TOP / "staging/pv-1/rest").touch()
        await node.plugin.unstage(node.plugin.device(spec))
    assert [path for path in node.tree() if "pv-1" in path] == [
        f"{TOP}/publish/pv-1",
        f"{TOP}/publish/pv-1/uid-1",
    ]
    assert not await asyncio.to_thread(node.plugin.devices_found)


async def test_a_volume_of_the_same_name_waits_until_the_one_before_is_undone(node):
    node.objects.has_driver()
    before, after = volume(), volume(handle="h2")
    await give(node, before)
    for plugin in (node.plugin, node.restart()):
        said, left = await told(plugin.stage(after, OTHER, ""))
        assert said == (
            "kubernetes.io/csi: the volume h of driver driver.example has the name pv-1, too, "
            "and is not undone yet"
        )
        assert left == "unchanged"
        assert (await told(plugin.unstage(plugin.device(after))))[1] == "unchanged"
    assert (node.count("NodeStageVolume"), node.count("NodeUnstageVolume")) == (1, 0)
    await take(node)
    await node.plugin.unstage(node.plugin.device(before))
    await give(node, after, OTHER)
    await take(node, OTHER)
    await node.plugin.unstage(node.plugin.device(after))
    assert node.sent("NodeUnstageVolume")["volume_id"] == "h2"


async def test_the_notes_are_the_last_to_go(node):
    node.objects.has_driver()
    spec = volume()
    await node.plugin.stage(spec, POD, "")
    strange = Path(node.paths.block_map("pv-1"), "strange")
    strange.parent.mkdir()
    strange.touch()
    await asyncio.to_thread(mounts.bind, str(strange), str(strange))
    with pytest.raises(OSError, match="busy"):
        await node.plugin.unstage(node.plugin.device(spec))
    (device,) = await asyncio.to_thread(node.restart().devices_found)
    await asyncio.to_thread(mounts.unmount, str(strange))
    await node.plugin.unstage(device)
    assert not [path for path in node.tree() if "pv-1" in path]


async def test_damaged_notes(node):
    node.objects.has_driver()
    spec = volume()
    await give(node, spec)
    data = node.layout.root / TOP / "pv-1/data/vol_data.json"
    data.write_text('{"volumeHandle":"h"}')
    said, left = await told(take(node))
    assert said.endswith(f"failed to parse volume data file [{data}]: driverName: missing")
    assert said.startswith("kubernetes.io/csi: unmapper failed to load volume data file [")
    assert left == "something"
    data.unlink()
    said, _ = await told(take(node))
    assert said.endswith(f"is missing, while {node.paths.block_target('uid-1', 'pv-1')} is in use")
    await node.plugin.set_up(spec, POD, again=False)
    await take(node)
    await node.plugin.unstage(node.plugin.device(spec))
