"""The test driver does what CSI says: real mounts, real loop devices, nothing twice, nothing left."""

import os
import stat
from pathlib import Path

import pytest
from tests.csidriver import disk
from tests.csidriver.driver import CsiDriver, DriverProcess

from pykubelet.base.clock import SystemClock
from pykubelet.rpc.errors import Code
from pykubelet.volumes.csi import Capability, CsiClient, CsiError, NodeInfo, VolumeUse

pytestmark = pytest.mark.integration

PLAIN = VolumeUse("ReadWriteOnce")
EXT4 = VolumeUse("ReadWriteOnce", fs_type="ext4", mount_flags=("noatime",))
BLOCK = VolumeUse("ReadWriteOnce", block=True)
STAGES = frozenset({Capability.STAGE_UNSTAGE_VOLUME})
NOTHING = {"publish_context": {}, "volume_context": {}, "secrets": {}}


def client_of(driver: CsiDriver, timeout: float = 20) -> CsiClient:
    return CsiClient(driver.name, driver.endpoint, clock=SystemClock(), timeout=timeout)


@pytest.fixture
async def driver(tmp_path, mount_area):
    root = tmp_path / "d"
    async with CsiDriver(root) as made:
        yield made
    disk.clean_up(root, mount_area)


@pytest.fixture
def client(driver):
    return client_of(driver)


async def stage(client, area: Path, use: VolumeUse, volume: str = "v", **context: str) -> Path:
    path = area / f"staging-{volume}"
    path.mkdir(exist_ok=True)
    await client.node_stage_volume(
        volume, str(path), use, STAGES, publish_context={}, volume_context=context, secrets={}
    )
    return path


async def publish(
    client, target: Path, use: VolumeUse, staging: Path | str, volume: str = "v", *, readonly=False, **more
):
    await client.node_publish_volume(
        volume, str(target), use, STAGES, staging_path=str(staging), readonly=readonly, **(NOTHING | more)
    )


async def refused(awaitable) -> CsiError:
    with pytest.raises(CsiError) as caught:
        await awaitable
    return caught.value


async def test_what_it_tells(driver, client):
    driver.files.set(node_id="n", max_volumes=3, topology={"zone": "a"}, capabilities=["VOLUME_MOUNT_GROUP"])
    assert await client.node_get_info() == NodeInfo("n", 3, {"zone": "a"})
    assert await client.node_get_capabilities() == {Capability.VOLUME_MOUNT_GROUP}


@pytest.mark.parametrize("use", [PLAIN, EXT4], ids=["directory", "ext4"])
async def test_a_file_system_is_shared_kept_and_given_back(client, mount_area, use):
    first, second = mount_area / "one", mount_area / "two"
    for _ in range(2):
        staging = await stage(client, mount_area, use)
        await publish(client, first, use, staging)
    await publish(client, second, use, staging, readonly=True)
    (first / "file").write_text("kept")
    assert (second / "file").read_text() == "kept"
    with pytest.raises(OSError, match="Read-only"):
        (second / "other").touch()
    for target in (first, second, first):
        await client.node_unpublish_volume("v", str(target))
        assert not target.exists()
    for _ in range(2):
        await client.node_unstage_volume("v", str(staging))
    assert not disk.mounted(staging)
    assert staging.is_dir()
    staging = await stage(client, mount_area, use)
    assert (staging / "file").read_text() == "kept"


async def test_a_block_device(driver, client, mount_area):
    staging = await stage(client, mount_area, BLOCK, size="1048576")
    target = mount_area / "device"
    await publish(client, target, BLOCK, staging)
    assert stat.S_ISBLK(target.stat().st_mode)
    target_fd = os.open(target, os.O_RDWR)
    os.write(target_fd, b"kept")
    os.close(target_fd)
    assert (await client.node_get_volume_stats("v", str(target))).size.total == 1048576
    size = await client.node_expand_volume(
        "v", str(target), 2097152, BLOCK, STAGES, staging_path=str(staging), secrets={}
    )
    assert size == 2097152
    assert (await client.node_get_volume_stats("v", str(target))).size.total == 2097152
    await client.node_unpublish_volume("v", str(target))
    await client.node_unstage_volume("v", str(staging))
    assert not target.exists()
    volume = disk.Volume(driver.files.root / "volumes", "v")
    assert volume.device() == ""
    assert volume.image.read_bytes()[:4] == b"kept"


@pytest.mark.parametrize("fs_type", ["tmpfs", "ext4"])
async def test_a_file_system_grows_while_it_is_mounted(client, mount_area, fs_type):
    if fs_type == "ext4" and not _may_resize():
        pytest.skip("ext4 grows only for a process with CAP_SYS_RESOURCE")
    use = VolumeUse("ReadWriteOnce", fs_type=fs_type)
    staging = await stage(client, mount_area, use, size="8388608")
    target = mount_area / "t"
    await publish(client, target, use, staging)
    before = await client.node_get_volume_stats("v", str(target))
    size = await client.node_expand_volume(
        "v", str(target), 16777216, use, STAGES, staging_path=str(staging), secrets={}
    )
    after = await client.node_get_volume_stats("v", str(target))
    assert size == 16777216
    assert after.size.total > before.size.total
    assert after.inodes.total >= before.inodes.total > 0


def _may_resize() -> bool:
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> 24 & 1)


async def test_without_staging(driver, client, mount_area):
    driver.files.set(capabilities=[])
    target = mount_area / "t"
    await publish(client, target, EXT4, "")
    (target / "file").touch()
    await client.node_unpublish_volume("v", str(target))
    assert disk.Volume(driver.files.root / "volumes", "v").device() == ""


async def test_an_inline_volume_ends_with_its_pod(driver, client, mount_area):
    target = mount_area / "t"
    inline = {"volume_context": {"csi.storage.k8s.io/ephemeral": "true"}}
    await publish(client, target, PLAIN, "", **inline)
    (target / "file").touch()
    await client.node_unpublish_volume("v", str(target))
    assert not disk.Volume(driver.files.root / "volumes", "v").directory.exists()


async def test_a_mount_group(driver, client, mount_area):
    driver.files.set(capabilities=["STAGE_UNSTAGE_VOLUME", "VOLUME_MOUNT_GROUP"])
    staging = await stage(client, mount_area, VolumeUse("ReadWriteOnce", mount_group=77))
    assert staging.stat().st_gid == 77
    assert staging.stat().st_mode & 0o2070 == 0o2070


async def test_what_it_refuses(driver, client, mount_area):
    target = mount_area / "t"
    error = await refused(publish(client, target, PLAIN, mount_area / "staging"))
    assert error.code is Code.FailedPrecondition
    error = await refused(
        client.node_stage_volume("v", str(mount_area / "missing"), PLAIN, STAGES, **NOTHING)
    )
    assert error.code is Code.Internal
    staging = await stage(client, mount_area, PLAIN)
    error = await refused(publish(client, mount_area / "no" / "t", PLAIN, staging))
    assert error.code is Code.Internal
    assert (await refused(client.node_get_volume_stats("v", str(target)))).code is Code.NotFound
    error = await refused(
        client.node_expand_volume("w", str(target), 1, PLAIN, STAGES, staging_path="", secrets={})
    )
    assert error.code is Code.NotFound


async def test_the_volumes_condition(driver, client, mount_area):
    driver.files.set(capabilities=["STAGE_UNSTAGE_VOLUME", "VOLUME_CONDITION"], condition="ill")
    staging = await stage(client, mount_area, PLAIN)
    stats = await client.node_get_volume_stats("v", str(staging), condition=True)
    assert stats.condition is not None
    assert (stats.condition.abnormal, stats.condition.message) == (True, "ill")


async def test_faults(driver, client, mount_area):
    driver.fault("NodeStageVolume", "INTERNAL", message="first", times=2)
    driver.fault("NodeStageVolume", "UNAVAILABLE", done=True)
    assert str(await refused(stage(client, mount_area, PLAIN))) == "rpc error: code = Internal desc = first"
    await refused(stage(client, mount_area, PLAIN))
    staging = mount_area / "staging-v"
    assert not disk.mounted(staging)
    assert (await refused(stage(client, mount_area, PLAIN))).uncertain
    assert disk.mounted(staging)
    await stage(client, mount_area, PLAIN)
    assert [call.code for call in driver.calls("NodeStageVolume")] == [
        "INTERNAL",
        "INTERNAL",
        "UNAVAILABLE",
        "OK",
    ]


async def test_a_hang(driver, mount_area):
    driver.fault("NodeStageVolume", hang=True)
    error = await refused(stage(client_of(driver, 0.3), mount_area, PLAIN))
    assert error.code is Code.DeadlineExceeded
    driver.files.no_faults()
    await stage(client_of(driver), mount_area, PLAIN)


async def test_the_journal_keeps_what_was_sent(driver, client, mount_area):
    staging = mount_area / "s"
    staging.mkdir()
    await client.node_stage_volume(
        "v", str(staging), PLAIN, STAGES,
        publish_context={"p": "1"}, volume_context={"c": "2"}, secrets={"token": "swordfish"},
    )  # fmt: skip
    (call,) = driver.calls("NodeStageVolume")
    assert call.request == {
        "volume_id": "v",
        "staging_target_path": str(staging),
        "publish_context": {"p": "1"},
        "volume_context": {"c": "2"},
        "secrets": {"token": "swordfish"},
        "volume_capability": {"mount": {}, "access_mode": {"mode": "SINGLE_NODE_WRITER"}},
    }
    driver.files.forget_calls()
    assert driver.calls() == []


async def test_a_process_that_is_killed_goes_on_with_what_it_had(tmp_path, mount_area):
    root, registry = tmp_path / "d", tmp_path / "r"
    registry.mkdir()
    async with DriverProcess(root, registry) as process:
        driver = process.driver
        client = client_of(driver)
        try:
            staging = await stage(client, mount_area, EXT4)
            await process.kill()
            assert (await refused(client.node_get_info())).code is Code.Unavailable
            await process.start()
            target = mount_area / "t"
            await publish(client, target, EXT4, staging)
            await client.node_unpublish_volume("v", str(target))
            await client.node_unstage_volume("v", str(staging))
            assert driver.registration_socket.is_socket()
            await process.stop()
            assert not driver.registration_socket.exists()
            assert driver.calls()[0].method == "NodeStageVolume"
        finally:
            disk.clean_up(root, mount_area)
