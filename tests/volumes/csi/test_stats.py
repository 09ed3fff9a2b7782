import asyncio
from datetime import UTC, datetime

import pytest
from tests.volumes.csi.kit import DRIVER, claimed, inline, pod_of

from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volume_usage import VolumeUsage
from pykubelet.base.errors import VolumeError
from pykubelet.base.metrics import Metrics
from pykubelet.volumes.csi.client import Condition, Usage, VolumeStats
from pykubelet.volumes.csi.stats import DriverStats, usage_of
from pykubelet.volumes.usage import durations

NOW = datetime(2030, 1, 1, tzinfo=UTC)
POD = pod_of()


def test_an_answer_in_our_words():
    told = VolumeStats(Usage(available=1, total=3, used=2), Usage(available=4, total=9, used=5))
    assert usage_of(told, NOW) == VolumeUsage(
        NOW, used_bytes=2, capacity_bytes=3, available_bytes=1, inodes=9, inodes_used=5, inodes_free=4
    )
    empty = usage_of(VolumeStats(condition=Condition(True, "ill")), NOW)
    assert (empty.used_bytes, empty.inodes, empty.abnormal, empty.message) == (0, 0, True, "ill")


@pytest.mark.integration
async def test_drivers_are_asked(node):
    node.objects.has_driver(volumeLifecycleModes=["Persistent", "Ephemeral"], podInfoOnMount=True)
    metrics = Metrics()
    stats = DriverStats(node.means, durations(metrics))
    spec = claimed(fsType="tmpfs", volumeAttributes={"size": "8388608"})
    await node.plugin.stage(spec, POD, "")
    mounted = await node.plugin.set_up(spec, POD, again=False)
    usage = await stats.usage("uid-1", mounted)
    assert usage.capacity_bytes == 8388608
    assert usage.inodes_used > 0
    assert usage.abnormal is None
    assert node.sent("NodeGetVolumeStats") == {"volume_id": "h", "volume_path": mounted.host_path}
    own = await node.plugin.set_up(inline(), POD, again=False)
    assert (await stats.usage("uid-1", own)).capacity_bytes > 0
    device = claimed("pv-2", "h2", block=True, volumeAttributes={"size": "1048576"})
    await node.plugin.stage(device, POD, "")
    mapped = await node.plugin.set_up(device, POD, again=False)
    assert (await stats.usage("uid-1", mapped)).capacity_bytes == 1048576
    assert node.sent("NodeGetVolumeStats")["volume_path"] == f"{node.paths.block_map('pv-2')}/uid-1"
    node.driver.files.set(capabilities=["GET_VOLUME_STATS", "VOLUME_CONDITION"], condition="ill")
    assert (await stats.usage("uid-1", mounted)).abnormal is None
    usage = await DriverStats(node.means, durations(metrics), health=True).usage("uid-1", mounted)
    assert (usage.abnormal, usage.message) == (True, "ill")
    node.driver.files.set(capabilities=[])
    assert await stats.usage("uid-1", mounted) is None
    family = "kubelet_volume_metric_collection_duration_seconds"
    assert f'{family}_count{{metric_source="{DRIVER}"}} 6.0' in metrics.render().decode()


@pytest.mark.integration
async def test_a_driver_that_cannot_tell(node):
    node.objects.has_driver()
    metrics = Metrics()
    stats, spec = DriverStats(node.means, durations(metrics)), claimed()
    with pytest.raises(VolumeError, match=r"vol_data\.json"):
        await stats.usage("uid-1", MountedVolume("data", node.paths.target("uid-1", "pv-1")))
    await node.plugin.stage(spec, POD, "")
    mounted = await node.plugin.set_up(spec, POD, again=False)
    node.driver.fault("NodeGetVolumeStats", "INTERNAL")
    with pytest.raises(VolumeError, match="code = Internal desc = injected"):
        await stats.usage("uid-1", mounted)
    del node.clients.endpoints[DRIVER]
    with pytest.raises(VolumeError, match=f"driver name {DRIVER} not found"):
        await stats.usage("uid-1", mounted)


@pytest.mark.integration
async def test_a_driver_is_asked_about_a_few_volumes_at_once(node):
    node.objects.has_driver()
    stats = DriverStats(node.means, durations(Metrics()))
    volumes = []
    for number in range(6):
        spec = claimed(f"pv-{number}", f"h{number}", fsType="tmpfs")
        await node.plugin.stage(spec, POD, "")
        volumes.append(await node.plugin.set_up(spec, POD, again=False))
    under_way, most, real = set(), 0, stats._ask

    async def ask(driver, handle, path):
        nonlocal most
        assert handle not in under_way
        under_way.add(handle)
        most = max(most, len(under_way))
        try:
            return await real(driver, handle, path)
        finally:
            under_way.discard(handle)

    stats._ask = ask
    told = await asyncio.gather(*(stats.usage("uid-1", mounted) for mounted in volumes * 2))
    assert (most, len(told)) == (4, 12)
