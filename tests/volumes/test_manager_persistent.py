"""The manager with volumes that outlive pods: a plug-in, claims and a controller in memory."""

import asyncio
import threading

import pytest
from tests.volumes.fake_driver import CSI, Cluster, Driver, bound, sample
from tests.volumes.lab import claiming, with_devices
from tests.volumes.managed import Node, inline, pod_of, until

from pykubelet.api.core import (
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodSecurityContext,
)
from pykubelet.api.storage import VolumeNodeAffinity
from pykubelet.api.volumes import (
    HostPathVolumeSource,
)
from pykubelet.base.errors import VolumeError
from pykubelet.volumes.host_path import HostPath


async def test_a_claims_volume_is_staged_mounted_and_undone(lab):
    manager = await lab.start()
    pod = claiming(data="a", again=("a", True))
    lab.node.pods = [pod]
    await manager.wait_ready(pod)
    mounted = manager.mounted("uid-1")
    assert mounted["data"].host_path == mounted["again"].host_path == "/there/uid-1/pv-a"
    assert (mounted["data"].read_only, mounted["again"].read_only) == (False, True)
    assert lab.driver.calls == [("stage", "pv-a", ""), ("set_up", "uid-1", "pv-a")]
    told = {story.volume: story for story in manager.explain("uid-1")}
    assert told.keys() == {"again", "data"}
    assert (told["data"].state, told["data"].claim, told["data"].persistent_volume) == (
        "mounted",
        "shop/a",
        "pv-a",
    )
    assert lab.cluster.used == set(), "nothing is in use that no controller attaches"
    lab.node.pods = []
    lab.node.over.add("uid-1")
    await manager.wait_gone(pod)
    await until(lambda: lab.calls == ["stage", "set_up", "tear_down", "unstage"])
    assert lab.events == []
    assert sample(lab.metrics, "storage_operation_duration_seconds_count", volume_plugin=f"{CSI}:d") == 3
    assert sample(lab.metrics, "volume_operation_total_seconds_count", plugin_name=f"{CSI}:d") == 1


@pytest.mark.looptime
async def test_the_device_is_shared_by_pods(lab):
    manager = await lab.start()
    one, two = claiming("uid-1", data="a"), claiming("uid-2", data="a")
    lab.node.pods = [one, two]
    await asyncio.gather(manager.wait_ready(one), manager.wait_ready(two))
    assert sorted(lab.calls) == ["set_up", "set_up", "stage"]
    lab.node.over.add("uid-1")
    await manager.wait_gone(one)
    await lab.rest(60)
    assert lab.calls[3:] == ["tear_down"], "the other pod has it still"
    lab.node.over.add("uid-2")
    await manager.wait_gone(two)
    await lab.rest()
    assert lab.calls[3:] == ["tear_down", "tear_down", "unstage"]


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ("stage", VolumeError("no", left="nothing"), "MountVolume.MountDevice failed"),
        ("stage", VolumeError("no", step="WaitForAttach"), "MountVolume.WaitForAttach failed"),
        ("set_up", VolumeError("no", left="unchanged"), "MountVolume.SetUp failed"),
        (
            "set_up",
            VolumeError("no", step="NewMounter initialization"),
            "MountVolume.NewMounter initialization failed",
        ),
        ("set_up", OSError(5, "No"), "MountVolume.SetUp failed"),
    ],
)
async def test_a_failed_step_is_told(lab, call, error, message):
    lab.driver.errors[call] = error
    manager = await lab.start()
    lab.node.pods = [pod] = [claiming(data="a")]
    manager.reconsider("uid-1")
    await lab.rest(2)
    assert lab.events == [("Warning", "FailedMount", f'{message} for volume "pv-a" : no')] * 3
    lab.driver.errors.clear()
    await manager.wait_ready(pod)
    status = {"operation_name": "volume_mount", "volume_plugin": f"{CSI}:d"}
    count = "storage_operation_duration_seconds_count"
    assert sample(lab.metrics, count, status="fail-unknown", **status) == 3
    assert sample(lab.metrics, count, status="success", **status) == 1


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("left", "undone"), [("nothing", []), ("unchanged", []), ("something", ["tear_down"])]
)
async def test_only_what_may_be_there_is_undone(lab, left, undone):
    lab.driver.errors["set_up"] = VolumeError("no", left=left)
    manager = await lab.start()
    lab.node.pods = [pod] = [claiming(data="a")]
    manager.reconsider("uid-1")
    await lab.rest(0.2)
    lab.node.over.add("uid-1")
    await manager.wait_gone(pod)
    await lab.rest(1)
    assert lab.calls == ["stage", "set_up", *undone, "unstage"]


@pytest.mark.looptime
async def test_a_volume_that_only_one_pod_may_have(lab):
    lab.cluster.bound["a"] = bound("a", modes=["ReadWriteOncePod"])
    manager = await lab.start()
    one, two = claiming("uid-1", data="a"), claiming("uid-2", data="a")
    lab.node.pods = [one]
    await manager.wait_ready(one)
    lab.node.pods = [one, two]
    manager.reconsider("uid-2")
    await lab.rest(60)
    text = "volume uses the ReadWriteOncePod access mode and is already in use by another pod"
    assert set(lab.events) == {
        ("Warning", "FailedMount", f'MountVolume.SetUp failed for volume "pv-a" : {text}')
    }
    lab.node.over.add("uid-1")
    manager.reconsider("uid-1")
    began = asyncio.get_running_loop().time()
    await manager.wait_ready(two)
    assert asyncio.get_running_loop().time() - began < 0.1


@pytest.mark.looptime
async def test_a_volume_of_other_nodes(lab):
    term = NodeSelectorTerm(
        matchExpressions=[NodeSelectorRequirement(key="zone", operator="In", values=["b"])]
    )
    affinity = VolumeNodeAffinity(required=NodeSelector(nodeSelectorTerms=[term]))
    lab.cluster.bound["a"] = bound("a", nodeAffinity=affinity)
    manager = await lab.start()
    lab.node.pods = [pod] = [claiming(data="a")]
    manager.reconsider("uid-1")
    await lab.rest(0.2)
    assert lab.events == [
        (
            "Warning",
            "FailedMount",
            'MountVolume.NodeAffinity check failed for volume "pv-a" : no matching NodeSelectorTerms',
        )
    ]
    assert lab.calls == []
    lab.labels["zone"] = "b"
    await manager.wait_ready(pod)


async def test_a_block_device(lab):
    lab.cluster.bound["a"] = bound("a", volumeMode="Block")
    manager = await lab.start()
    lab.node.pods = [pod] = [with_devices(claiming(data="a"))]
    await manager.wait_ready(pod)
    assert manager.mounted("uid-1")["data"].device_path == "/there/uid-1/pv-a"
    mapped = 'MapVolume.MapPodDevice succeeded for volume "pv-a"'
    assert lab.events == [
        ("Normal", "SuccessfulMountVolume", f'{mapped} globalMapPath "/plugins/pv-a/dev"'),
        ("Normal", "SuccessfulMountVolume", f'{mapped} volumeMapPath "/there/uid-1"'),
    ]
    lab.node.over.add("uid-1")
    await manager.wait_gone(pod)
    await until(lambda: ("tear_down", "uid-1", "pv-a", "block") in lab.driver.calls)
    assert sample(lab.metrics, "storage_operation_duration_seconds_count", operation_name="unmap_volume") == 1


@pytest.mark.looptime
async def test_a_block_device_that_fails(lab):
    lab.cluster.bound["a"] = bound("a", volumeMode="Block")
    lab.driver.errors["set_up"] = VolumeError("no")
    manager = await lab.start()
    lab.node.pods = [with_devices(claiming(data="a"))]
    manager.reconsider("uid-1")
    await lab.rest(0.2)
    assert lab.events == [
        ("Warning", "FailedMapVolume", 'MapVolume.MapPodDevice failed for volume "pv-a" : no')
    ]


@pytest.mark.looptime
async def test_the_volumes_group_is_given_to_the_pod(lab):
    lab.cluster.bound |= {
        "a": bound("a", annotations={"pv.beta.kubernetes.io/gid": "1234"}),
        "b": bound("b", annotations={"pv.beta.kubernetes.io/gid": "wheel"}),
        "c": bound("c", annotations={"pv.beta.kubernetes.io/gid": "77"}),
    }
    manager = await lab.start()
    lab.node.pods = [pod] = [claiming(a="a", b="b", c="c")]
    pod.spec.securityContext = PodSecurityContext(supplementalGroups=[77])
    await manager.wait_ready(pod)
    assert {name: each.gid for name, each in manager.mounted("uid-1").items()} == {
        "a": 1234,
        "b": None,
        "c": None,
    }


@pytest.mark.looptime
async def test_some_volumes_are_set_up_again_with_each_sync(lab):
    lab.driver.republished = True
    manager = await lab.start()
    lab.node.pods = [pod] = [claiming(data="a")]
    await manager.wait_ready(pod)
    await lab.rest(600)
    assert lab.calls == ["stage", "set_up"]
    await manager.wait_ready(pod)
    await lab.rest()
    assert lab.calls == ["stage", "set_up", "again"]
    lab.driver.errors["again"] = VolumeError("the token is refused", left="nothing")
    await manager.wait_ready(pod)
    await lab.rest()
    assert set(manager.mounted("uid-1")) == {"data"}, "whatever fails, it stays"
    text = 'MountVolume.SetUp failed for volume "pv-a" : the token is refused'
    assert lab.events == [("Warning", "FailedMount", text)]


async def test_mounts_that_hang_hold_up_no_other_volumes(tmp_path, monkeypatch):
    node, driver, cluster = Node(tmp_path), Driver(), Cluster()
    free = threading.Event()
    monkeypatch.setattr("pykubelet.volumes.work.LOOK_LIMIT", 0.2)
    monkeypatch.setattr(
        "pykubelet.volumes.mountpoint.healthy", lambda path: "/there/" not in path or free.wait()
    )
    for number in range(20):
        cluster.bound[f"c{number}"] = bound(f"c{number}")
        driver.paths[f"uid-{number}", f"pv-c{number}"] = f"/there/{number}"
    manager = await node.start(persistent=[driver], claims=cluster, attachments=cluster)
    try:
        node.pods = [claiming(f"uid-{number}", data=f"c{number}") for number in range(20)]
        for number in range(20):
            manager.reconsider(f"uid-{number}")
        await until(lambda: sum(event[2] == "FailedMount" for event in node.story.events) >= 20)
        node.pods.append(pod := pod_of("uid-x", "scratch"))
        await manager.wait_ready(pod)
        assert any("could not be looked at: nothing came back" in event[3] for event in node.story.events)
        await until(
            lambda: any("could not be looked at: an earlier look" in event[3] for event in node.story.events)
        )
    finally:
        free.set()
        await manager.stop()


async def test_a_claim_that_leads_to_a_path_of_the_node(lab, tmp_path):
    path = HostPathVolumeSource(path=str(tmp_path))
    lab.cluster.bound["a"] = bound("a", csi=None, hostPath=path)
    manager = await lab.start(plugins=[HostPath()])
    lab.node.pods = [pod] = [claiming(data="a")]
    await manager.wait_ready(pod)
    assert manager.mounted("uid-1")["data"].host_path == str(tmp_path)
    assert sample(lab.metrics, "volume_manager_total_volumes", plugin_name="kubernetes.io/host-path") == 2


@pytest.mark.looptime
async def test_a_driver_that_hangs_is_given_up(lab):
    async def hang(spec, pod, *, again):
        await asyncio.Event().wait()

    lab.driver.set_up, working = hang, lab.driver.set_up
    manager = await lab.start()
    lab.node.pods = [pod] = [claiming(data="a")]
    manager.reconsider("uid-1")
    await lab.rest(600.2)
    text = 'MountVolume.SetUp failed for volume "pv-a" : setting it up was not done in 600 s'
    assert lab.events == [("Warning", "FailedMount", text)]
    lab.driver.set_up = working
    await manager.wait_ready(pod)


@pytest.mark.looptime
async def test_a_node_that_stands_alone_has_no_claims(tmp_path, blockbuster):
    blockbuster.deactivate()
    node = Node(tmp_path)
    manager = await node.start(plugins=[], contents=[], off_loop=inline)
    node.pods = [pod] = [claiming(data="a")]
    try:
        with pytest.raises(VolumeError, match="not supported due to running kubelet in standalone mode"):
            await manager.wait_ready(pod)
    finally:
        await manager.stop()


@pytest.mark.looptime
@pytest.mark.parametrize("call", ["stage", "set_up", "tear_down", "unstage"])
async def test_what_was_lacking_came(lab, call):
    """A driver that registers: what failed for want of it is not waited for any longer."""
    manager = await lab.start()
    pod = claiming(data="a")
    away = VolumeError("the driver is away", left="unchanged")
    loop = asyncio.get_running_loop()
    if call in ("tear_down", "unstage"):
        lab.node.pods = [pod]
        await manager.wait_ready(pod)
    lab.driver.errors[call] = away
    lab.node.pods = [pod] if call in ("stage", "set_up") else []
    manager.reconsider("uid-1")
    # The next try would come after more than half a minute.
    await asyncio.sleep(40)
    tries = lab.calls.count(call)
    del lab.driver.errors[call]
    began = loop.time()
    manager.retry({"uid-2"})
    await lab.rest()
    assert lab.calls.count(call) == tries
    manager.retry({"uid-1", ""})
    await lab.rest()
    assert lab.calls.count(call) == tries + 1
    assert loop.time() - began < 1
    assert (lab.driver.mounts, lab.driver.staged) == (
        ({("uid-1", "pv-a")}, {"pv-a"}) if lab.node.pods else (set(), set())
    )
