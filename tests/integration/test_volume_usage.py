"""How full volumes are, told by a whole node: metrics and describe, with a driver that really mounts."""

import asyncio
import re
import time

import pytest
import pytest_asyncio
from tests.apiserver.cluster import a_cluster
from tests.integration.command import call
from tests.integration.csi_storage import DRIVER, claim_of, storage_of, user
from tests.integration.joined import joined_node
from tests.integration.node import pod

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Of the file system that a claim's volume has here.
SIZE = 8 << 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def joined(containerd, tmp_path_factory):
    config = {"volumeStatsAggPeriod": "1s", "featureGates": {"CSIVolumeHealth": True}}
    base = tmp_path_factory.mktemp("usage")
    async with a_cluster() as cluster, joined_node(cluster, base, containerd, **config) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def storage(joined, tmp_path_factory):
    async with storage_of(joined, tmp_path_factory.mktemp("d")) as made:
        await made.allow()
        yield made


def stats(joined):
    """The figures about claims: {claim: {name: figure}}."""
    text = joined.node.kubelet.api.metrics().decode()
    found = {}
    for name, namespace, claim, figure in re.findall(
        r'^kubelet_volume_stats_(\w+){namespace="(.*)",persistentvolumeclaim="(.*)"} (.*)$',
        text,
        re.MULTILINE,
    ):
        assert namespace == joined.cluster.namespace
        found.setdefault(claim, {})[name] = float(figure)
    return found


async def until(holds, seconds=30):
    ends = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < ends
        await asyncio.sleep(0.1)
    return found


async def described(joined, name, volume):
    """The lines of describe about a volume of a pod."""
    code, output, errors = await call(joined.node, "describe", "pod", "-n", joined.cluster.namespace, name)
    assert code == 0, errors
    rest = output.decode().split(f"\n  {volume}:\n")[1].splitlines()
    lines = rest[: next((at for at, line in enumerate(rest) if not line.startswith("    ")), len(rest))]
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


async def test_a_claim_is_measured_by_its_driver_and_told(storage, joined):
    await storage.bind("data", "pv-data", fs_type="tmpfs", size=str(SIZE))
    own = {"name": "own", "emptyDir": {}}
    app = user()
    app["volumeMounts"].append({"name": "own", "mountPath": "/own"})
    await joined.create(pod("web", app, volumes=[claim_of("data"), own]))
    [shown] = await joined.ready("web")
    await joined.exec(shown, "dd if=/dev/zero of=/data/file bs=1024 count=2048; touch /own/a /own/b")
    told = await until(lambda: (found := stats(joined).get("data")) and found["used_bytes"] and found)
    assert told.keys() == {
        "capacity_bytes",
        "available_bytes",
        "used_bytes",
        "inodes",
        "inodes_free",
        "inodes_used",
    }
    [call_] = storage.driver.calls("NodeGetVolumeStats")[-1:]
    assert call_.request["volume_id"] == "handle-pv-data"
    size, used, free = (told[f"{name}_bytes"] for name in ("capacity", "used", "available"))
    assert used >= 2 << 20
    assert (size, free) == (SIZE, SIZE - used)
    assert told["inodes_used"] + told["inodes_free"] == told["inodes"]
    assert stats(joined).keys() == {"data"}, "an emptyDir has no claim"
    lines = await described(joined, "web", "data")
    assert re.fullmatch(r"2\.0 MiB of 8\.0 MiB, 6\.0 MiB free", lines["Used"])
    assert re.fullmatch(r"\d+ of \d+, \d+ free", lines["Inodes"])
    assert re.fullmatch(r"\ds ago", lines["Measured"])
    own = joined.node.kubelet.volumes.usage
    uid = shown["metadata"]["uid"]
    await until(lambda: own.usage(uid)["own"].inodes_used == 3)
    assert (await described(joined, "web", "own"))["Inodes"].startswith("3 of ")
    text = joined.node.kubelet.api.metrics().decode()
    family = "kubelet_volume_metric_collection_duration_seconds_count"
    assert f'{family}{{metric_source="{DRIVER}"}}' in text
    assert f'{family}{{metric_source="du"}}' in text


async def test_a_driver_that_finds_its_volume_ill(storage, joined):
    capabilities = ["STAGE_UNSTAGE_VOLUME", "GET_VOLUME_STATS", "EXPAND_VOLUME", "VOLUME_CONDITION"]
    storage.driver.files.set(capabilities=capabilities, condition="the disk smells")
    await until(lambda: stats(joined)["data"].get("health_status_abnormal") == 1.0)
    assert (await described(joined, "web", "data"))["Condition"] == "abnormal: the disk smells"
    code, output, _ = await call(joined.node, "explain", "pod", "-n", joined.cluster.namespace, "web")
    assert (code, "its driver says: the disk smells (measured" in output.decode()) == (0, True)
    events = await joined.cluster.list(joined.cluster.path("events"))
    told = {e["message"] for e in events["items"] if e["reason"] == "VolumeConditionAbnormal"}
    assert told == {"Volume data: the disk smells"}
    storage.driver.files.set(condition="")
    await until(lambda: stats(joined)["data"]["health_status_abnormal"] == 0.0)


async def test_what_is_gone_is_told_no_more_though_its_driver_hangs(storage, joined):
    await storage.bind("slow", "pv-slow")
    await joined.create(pod("slow", user(), volumes=[claim_of("slow")]))
    await joined.ready("slow")
    await until(lambda: "slow" in stats(joined))
    storage.driver.fault("NodeGetVolumeStats", hang=True, times=None)
    # Now none of its answers comes; nothing else waits for them.
    asked = len(storage.driver.calls("NodeGetVolumeStats"))
    await until(lambda: len(storage.driver.calls("NodeGetVolumeStats")) >= asked + 2)
    usage, uid = joined.node.kubelet.volumes.usage, (await joined.pod("web"))["metadata"]["uid"]
    before = usage.usage(uid)["own"].time
    await until(lambda: usage.usage(uid)["own"].time > before)
    await joined.delete("slow", 0)
    await joined.gone("slow")
    await joined.node.until(lambda: storage.count("NodeUnstageVolume", "handle-pv-slow"))
    assert "slow" not in stats(joined)
    storage.driver.files.no_faults()


async def test_a_negative_period_disables_it(storage, joined):
    await joined.node.stop()
    joined.node.reconfigure(volumeStatsAggPeriod="-1s")
    await joined.node.start()
    before = len(storage.driver.calls("NodeGetVolumeStats"))
    published = storage.count("NodePublishVolume", "handle-pv-data")
    # The volume is there again.
    await joined.node.until(lambda: storage.count("NodePublishVolume", "handle-pv-data") > published)
    await asyncio.sleep(5)
    assert stats(joined) == {}
    assert len(storage.driver.calls("NodeGetVolumeStats")) == before
    assert "Measured" not in await described(joined, "web", "data")
    await joined.delete("web", 0)
    await joined.gone("web")
    await storage.undone("handle-pv-data")
