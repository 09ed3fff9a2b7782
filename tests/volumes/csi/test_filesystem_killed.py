"""Volumes with file systems when the daemon, its notes or the driver end at any point."""

import asyncio
from pathlib import Path

import pytest
from tests.csidriver import disk
from tests.csidriver.driver import CsiDriver
from tests.volumes.csi.kit import DRIVER, claimed
from tests.volumes.csi.published import POD, STAGED, give, take, told

from pykubelet.base.errors import VolumeError
from pykubelet.linux import mountinfo

pytestmark = pytest.mark.integration


async def test_a_damaged_data_file_is_told_by_its_field(node):
    node.objects.has_driver()
    spec = claimed()
    await give(node, spec)
    pod = node.layout.root / "pods/uid-1/volumes/kubernetes.io~csi/pv-1"
    text = (pod / "vol_data.json").read_text()
    (pod / "vol_data.json").write_text('{"driverName":"driver.example"}')
    node.restart()
    with pytest.raises(VolumeError, match=r"vol_data.json\]: volumeHandle: missing"):
        await asyncio.to_thread(lambda: node.plugin.found("uid-1", "pv-1", block=False))
    # Two volumes that show one file system: nobody can say which one it is.
    twin = claimed("pv-2", "h2")
    await node.plugin.stage(twin, POD, "")
    other = node.paths.staging(DRIVER, "h2")
    await asyncio.to_thread(disk.unmount, Path(other))
    await asyncio.to_thread(disk.bind, node.paths.staging(DRIVER, "h"), Path(other))
    said, left = await told(take(node, spec))
    assert said == (
        f"kubernetes.io/csi: unmounter failed to load volume data file [{pod}/mount]: kubernetes.io/csi: "
        f"failed to parse volume data file [{pod}/vol_data.json]: volumeHandle: missing"
    )
    assert left == "unchanged"
    with pytest.raises(VolumeError, match="still mounted by other references"):
        await node.plugin.unstage(node.plugin.device(twin))
    # What the pod wants is written anew by the next mount.
    await node.plugin.set_up(spec, POD, again=False)
    assert (pod / "vol_data.json").read_text() == text
    await node.plugin.unstage(node.plugin.device(twin))
    await take(node, spec)
    (node.layout.root / STAGED / "vol_data.json").write_text("")
    assert not await asyncio.to_thread(node.plugin.devices_found)
    await node.plugin.unstage(node.plugin.device(spec))
    assert STAGED not in node.tree()
    assert node.sent("NodeUnstageVolume")["volume_id"] == "h"


async def test_a_volume_whose_notes_are_lost_is_known_by_its_mount(node):
    """As after a Go kubelet that was killed while it wrote them."""
    node.objects.has_driver()
    spec = claimed(fsType="tmpfs")
    await give(node, spec)
    pod = node.layout.root / "pods/uid-1/volumes/kubernetes.io~csi/pv-1"
    (pod / "vol_data.json").write_text("")
    await take(node, spec)
    assert node.sent("NodeUnpublishVolume") == {"volume_id": "h", "target_path": f"{pod}/mount"}
    assert not pod.exists()


@pytest.mark.parametrize("damage", ["", None])
async def test_a_volume_is_not_unstaged_under_a_pod_whose_notes_are_lost(node, damage):
    node.objects.has_driver()
    spec = claimed(fsType="tmpfs")
    await give(node, spec)
    pod = node.layout.root / "pods/uid-1/volumes/kubernetes.io~csi/pv-1"
    if damage is None:
        (pod / "vol_data.json").unlink()
    else:
        (pod / "vol_data.json").write_text(damage)
    said, _ = await told(node.plugin.unstage(node.plugin.device(spec)))
    assert said.endswith(f"is still mounted by other references [{pod}/mount]")
    assert node.count("NodeUnstageVolume") == 0
    await take(node, spec)
    await node.plugin.unstage(node.plugin.device(spec))
    assert node.count("NodeUnstageVolume") == 1


async def test_a_data_file_that_is_gone(node):
    node.driver.files.set(capabilities=[])
    node.objects.has_driver()
    spec = claimed(fsType="tmpfs")
    await give(node, spec)
    pod = node.layout.root / "pods/uid-1/volumes/kubernetes.io~csi/pv-1"
    (pod / "vol_data.json").unlink()
    said, left = await told(take(node, spec))
    assert "no such file or directory" in said
    assert left == "unchanged"
    await asyncio.to_thread(disk.unmount, pod / "mount")
    await take(node, spec)
    assert not pod.exists()
    node.driver.files.set(capabilities=["STAGE_UNSTAGE_VOLUME"])
    await node.plugin.stage(spec, POD, "")
    (node.layout.root / STAGED / "vol_data.json").unlink()
    await node.plugin.unstage(node.plugin.device(spec))
    assert STAGED not in node.tree()
    assert node.count("NodeUnstageVolume") == 1


async def test_every_step_is_repeated_after_a_kill(node):
    """A plug-in made anew before each step finds on the disk all that it needs."""
    node.objects.attach()
    spec = claimed(fsType="tmpfs")
    for _ in range(2):
        node.restart()
        await node.plugin.stage(spec, POD, "")
    for _ in range(2):
        node.restart()
        mounted = await node.plugin.set_up(spec, POD, again=False)
    with open(f"{mounted.host_path}/file", "w") as file:
        file.write("kept")
    node.restart()
    await node.plugin.stage(spec, POD, "")
    await node.plugin.set_up(spec, POD, again=False)
    with open(f"{mounted.host_path}/file") as file:
        assert file.read() == "kept"
    table = [mount.mount_point for mount in await asyncio.to_thread(mountinfo.read)]
    assert table.count(mounted.host_path) == 1
    node.restart()
    # Killed when the driver had unpublished.
    await node.clients.client(DRIVER).node_unpublish_volume("h", mounted.host_path)
    await take(node, spec)
    # And while the traces were removed.
    directory = node.layout.root / "pods/uid-1/volumes/kubernetes.io~csi/pv-1"
    directory.mkdir()
    (directory / ".vol_data.json.0123abcd").touch()
    await take(node, spec)
    assert not directory.exists()
    (device,) = await asyncio.to_thread(node.restart().devices_found)
    await node.clients.client(DRIVER).node_unstage_volume("h", node.paths.staging(DRIVER, "h"))
    await node.plugin.unstage(device)
    assert STAGED not in node.tree()


async def test_a_driver_that_starts_anew_in_the_midst(node):
    node.objects.has_driver()
    spec = claimed(fsType="ext4", volumeAttributes={"size": "8388608"})
    await node.plugin.stage(spec, POD, "")
    await node.driver.__aexit__()
    said, left = await told(node.plugin.set_up(spec, POD, again=False))
    assert "code = Unavailable" in said
    assert left == "unchanged"
    async with CsiDriver(node.driver.files.root) as driver:
        mounted = await node.plugin.set_up(spec, POD, again=False)
        assert disk.mounted(mounted.host_path)
        await take(node, spec)
        await node.plugin.unstage(node.plugin.device(spec))
        assert driver.calls("NodeUnstageVolume")[-1].code == "OK"
