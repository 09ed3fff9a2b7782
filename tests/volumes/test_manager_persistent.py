"""The manager with volumes that outlive pods: a plug-in, claims and a controller in memory."""

import asyncio
import errno
import threading

import pytest
from tests.volumes.fake_driver import CSI, Cluster, Driver, bound, sample, storage
from tests.volumes.managed import Node, inline, pod_of, until

from pykubelet.api.core import (
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodSecurityContext,
)
from pykubelet.api.storage import PersistentVolumeClaimStatus, VolumeNodeAffinity
from pykubelet.api.volumes import (
    HostPathVolumeSource,
    PersistentVolumeClaimVolumeSource,
    VolumeDevice,
)
from pykubelet.base.errors import ExpandError, VolumeError, VolumeLimitError
from pykubelet.base.metrics import Metrics
from pykubelet.volumes import VolumeManager
from pykubelet.volumes.errors import MismatchError
from pykubelet.volumes.host_path import HostPath

A = f"{CSI}/d^a"
PV_A = {"persistent_volume": "pv-a"}


class Lab:
    """A node whose persistent volumes are made by a plug-in in memory."""

    def __init__(self, root):
        self.node = Node(root)
        self.driver, self.cluster, self.metrics = Driver(), Cluster(), Metrics()
        self.cluster.bound["a"] = bound("a")
        self.labels = {}

    async def start(self, **options):
        manager = await self.node.start(
            plugins=options.pop("plugins", []),
            contents=[],
            persistent=[self.driver],
            claims=self.cluster,
            attachments=self.cluster,
            node_labels=lambda: self.labels,
            node_name="node-1",
            metrics=self.metrics,
            off_loop=inline,
            **options,
        )
        assert isinstance(manager, VolumeManager)
        self.manager = manager
        return manager

    @property
    def calls(self):
        return [call[0] for call in self.driver.calls]

    @property
    def events(self):
        return [event[1:] for event in self.node.story.events]

    async def rest(self, seconds=0.1):
        await asyncio.sleep(seconds)


def claiming(uid="uid-1", **volumes):
    """A pod with a claim for each volume: ``data="a"``, or ``data=("a", True)`` to read only."""
    sources = {}
    for name, claim in volumes.items():
        claim, read_only = claim if isinstance(claim, tuple) else (claim, False)
        sources[name] = PersistentVolumeClaimVolumeSource(claimName=claim, readOnly=read_only)
    return pod_of(uid, **sources)


def with_devices(pod):
    """The same pod, its volumes given as devices."""
    box = pod.spec.containers[0]
    box.volumeDevices = [
        VolumeDevice(name=each.name, devicePath=f"/dev/{each.name}") for each in box.volumeMounts
    ]
    box.volumeMounts = []
    return pod


@pytest.fixture
async def lab(tmp_path, blockbuster):
    # Its operations run on the loop, whose time is virtual.
    blockbuster.deactivate()
    made = Lab(tmp_path)
    yield made
    if made.node.manager is not None:
        await made.node.manager.stop()


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
async def test_a_volume_is_attached_by_the_controller(lab):
    lab.driver.attaches = True
    manager = await lab.start()
    pod = claiming(data="a")
    lab.node.pods = [pod]
    with pytest.raises(VolumeError) as caught:
        await manager.wait_ready(pod)
    assert not caught.value.real
    assert str(caught.value) == (
        "unmounted volumes=[data], unattached volumes=[data], failed to process volumes=[]: "
        "context deadline exceeded"
    )
    assert lab.cluster.used == {A}
    (story,) = manager.explain("uid-1")
    assert (story.state, story.waits_for) == (
        "attaching",
        f"a written node status that lists {A} in volumesInUse",
    )
    assert story.since > 120
    lab.cluster.written.add(A)
    manager.attachments_changed()
    await lab.rest()
    (story,) = manager.explain("uid-1")
    assert "not in volumesAttached" in story.waits_for
    lab.cluster.attached_to[A] = "/dev/sdx"
    manager.attachments_changed()
    await manager.wait_ready(pod)
    assert lab.driver.calls[0] == ("stage", "pv-a", "/dev/sdx")
    lab.node.over.add("uid-1")
    await manager.wait_gone(pod)
    await lab.rest()
    assert lab.cluster.used == set(), "detached: the controller may take it"


@pytest.mark.looptime
async def test_what_a_claim_turned_out_to_be_is_told(lab):
    manager = await lab.start()
    lab.node.pods = [pod] = [claiming(data="a")]
    await manager.wait_ready(pod)
    told = [text for decision, text in lab.node.story.texts if decision == "VolumeResolveDone"]
    behind = "it is the persistent volume pv-a (kubernetes.io/csi/d^a)"
    assert told == [f"resolve of volume data is done, {behind}"]


@pytest.mark.looptime
@pytest.mark.parametrize("why", ["disk is on fire", ""])
async def test_why_it_is_not_attached_is_asked_when_it_matters(lab, why):
    lab.driver.attaches, lab.driver.attach_error = True, why
    manager = await lab.start()
    lab.node.pods = [pod] = [claiming(data="a")]
    with pytest.raises(VolumeError, match="context deadline exceeded"):
        await manager.wait_ready(pod)
    told = f"data is not attached: {why}" if why else "time-out"
    assert ("VolumesMissing", told) in lab.node.story.causes
    assert await manager.unattached("uid-1") == ({"data": why} if why else {})
    assert await manager.unattached("uid-2") == {}


@pytest.mark.looptime
async def test_a_cluster_that_does_not_say_why_holds_nobody_up(lab):
    lab.driver.attaches = True
    manager = await lab.start()
    lab.node.pods = [claiming(data="a")]
    manager.reconsider("uid-1")
    await lab.rest()
    lab.driver.unattached = lambda spec: asyncio.sleep(1000)
    began = asyncio.get_running_loop().time()
    assert await manager.unattached("uid-1") == {"data": "its attachment could not be read in 3 s"}
    assert asyncio.get_running_loop().time() - began < 3.1


@pytest.mark.looptime
async def test_a_node_that_has_no_room_for_more_volumes_refuses_the_pod(lab):
    lab.driver.attaches = lab.driver.full = True
    manager = await lab.start()
    lab.node.pods = [pod] = [claiming(data="a")]
    with pytest.raises(VolumeLimitError) as caught:
        await manager.wait_ready(pod)
    assert caught.value.reason == "VolumeAttachmentLimitExceeded"
    assert str(caught.value) == (
        "Node has reached its volume attachment limit, rejecting pod. unmounted volumes=[data], "
        "unattached volumes=[data], failed to process volumes=[]: context deadline exceeded"
    )


@pytest.mark.looptime
async def test_a_driver_that_comes_is_asked_at_once(lab):
    away = VolumeError("driver name d not found in the list of registered CSI drivers", left="unchanged")
    lab.driver.errors |= {"stage": away, "unstage": away}
    leave(lab, "uid-9", "pv-z")
    manager = await lab.start()
    lab.node.pods = [pod] = [claiming(data="a")]
    manager.reconsider("uid-1")
    await lab.rest(100)
    lab.driver.errors.clear()
    manager.retry({"uid-1", ""})
    began = asyncio.get_running_loop().time()
    await manager.wait_ready(pod)
    await lab.rest(0.01)
    assert asyncio.get_running_loop().time() - began < 0.1
    assert lab.driver.staged == {"pv-a"}


@pytest.mark.looptime
async def test_a_stale_look_at_the_node_is_tried_again(lab):
    lab.driver.attaches = True
    lab.cluster.seen = lambda name: None
    lab.cluster.written.add(A)
    manager = await lab.start()
    lab.node.pods = [pod] = [claiming(data="a")]
    manager.reconsider("uid-1")
    await lab.rest(3)
    (story,) = manager.explain("uid-1")
    assert story.error == "Volume not attached according to node status"
    assert story.next_try is not None
    assert lab.events == [], "the controller tells, not the node"
    lab.cluster.attached_to[A] = ""
    manager.attachments_changed()
    began = asyncio.get_running_loop().time()
    await manager.wait_ready(pod)
    assert asyncio.get_running_loop().time() - began < 0.1


@pytest.mark.looptime
async def test_a_driver_that_needs_no_attaching_any_more(lab):
    lab.driver.attaches = True
    manager = await lab.start()
    lab.node.pods = [pod] = [claiming(data="a")]
    manager.reconsider("uid-1")
    await lab.rest(5)
    assert lab.calls == []
    lab.driver.attaches = False
    manager.drivers_changed()
    await manager.wait_ready(pod)
    assert lab.cluster.used == set()


@pytest.mark.looptime
async def test_what_is_behind_a_claim_is_told_at_once_and_asked_with_each_sync(lab):
    manager = await lab.start()
    lab.node.pods = [pod] = [claiming(data="a", more="b", other="c")]
    with pytest.raises(VolumeError) as caught:
        await manager.wait_ready(pod)
    assert caught.value.real
    assert str(caught.value) == (
        "unmounted volumes=[data more other], unattached volumes=[], failed to process volumes=[more other]: "
        "error processing PVC shop/b: PVC is not bound; error processing PVC shop/c: PVC is not bound"
    )
    assert lab.events == [], "the sync tells"
    stories = {story.volume: story for story in manager.explain("uid-1")}
    assert (stories["more"].state, stories["more"].claim) == ("resolving", "shop/b")
    assert stories["more"].error == "error processing PVC shop/b: PVC is not bound"
    lab.cluster.bound |= {"b": bound("b"), "c": bound("c")}
    began = asyncio.get_running_loop().time()
    await manager.wait_ready(pod)
    assert asyncio.get_running_loop().time() - began < 0.1
    asked = len(lab.cluster.asked)
    await lab.rest(600)
    assert len(lab.cluster.asked) == asked, "not at rest"
    await manager.wait_ready(pod)
    await lab.rest()
    assert len(lab.cluster.asked) == asked + 3
    # What is mounted stays so, and is no reason to fail a sync.
    lab.cluster.error = VolumeError("error processing PVC shop/a: the server is away", left="unchanged")
    await manager.wait_ready(pod)
    await lab.rest(10)
    assert set(manager.mounted("uid-1")) == {"data", "more", "other"}


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


# --- sizes --------------------------------------------------------------------


def grown(name, **status):
    pv, claim = bound(name, size="2Gi")
    claim.status = PersistentVolumeClaimStatus(phase="Bound", capacity=storage("1Gi"), **status)
    return pv, claim


@pytest.mark.looptime
async def test_a_volume_grows_while_it_is_used(lab):
    manager = await lab.start()
    lab.node.pods = [pod] = [claiming(data="a")]
    await manager.wait_ready(pod)
    pending = {"allocatedResources": storage("2Gi")}
    lab.cluster.bound["a"] = grown(
        "a", allocatedResourceStatuses={"storage": "ControllerResizeInProgress"}, **pending
    )
    await manager.wait_ready(pod)
    await lab.rest(600)
    assert (lab.calls, lab.cluster.plans) == (["stage", "set_up"], ["wait"]), "it is the controller's turn"
    lab.cluster.bound["a"] = grown("a", allocatedResourceStatuses={"storage": "NodeResizePending"}, **pending)
    await manager.wait_ready(pod)
    await lab.rest(600)
    assert lab.driver.calls[2:] == [("expand", "pv-a", "2Gi")]
    assert lab.cluster.told_of == [("2Gi", None)]
    text = 'MountVolume.NodeExpandVolume succeeded for volume "pv-a" node-1'
    event = ("Normal", "FileSystemResizeSuccessful", text)
    assert lab.events == [event]
    assert lab.node.story.elsewhere == [("PersistentVolumeClaim shop/a", *event)]


@pytest.mark.looptime
async def test_a_claim_that_cannot_be_told_hears_of_its_new_size_all_the_same(lab):
    lab.cluster.bound["a"] = grown("a")
    lab.cluster.untold = VolumeError("mountVolume.NodeExpandVolume update pvc status failed: no")
    manager = await lab.start()
    lab.node.pods = [pod] = [claiming(data="a")]
    manager.reconsider("uid-1")
    await lab.rest(0.2)
    text = 'MountVolume.NodeExpandVolume succeeded for volume "pv-a" node-1'
    event = ("Normal", "FileSystemResizeSuccessful", text)
    assert lab.node.story.elsewhere == [("PersistentVolumeClaim shop/a", *event)]
    assert [reason for _, reason, _ in lab.events] == [event[1], "FailedMount"]
    assert manager.mounted("uid-1") == {}
    lab.cluster.untold = None
    await manager.wait_ready(pod)


@pytest.mark.looptime
async def test_a_failed_expansion_is_told_and_tried_again(lab):
    manager = await lab.start()
    lab.node.pods = [pod] = [claiming(data="a")]
    await manager.wait_ready(pod)
    lab.driver.errors["expand"] = ExpandError("no", left="nothing")
    status = {
        "allocatedResources": storage("2Gi"),
        "allocatedResourceStatuses": {"storage": "NodeResizePending"},
    }
    lab.cluster.bound["a"] = grown("a", **status)
    await manager.wait_ready(pod)
    await lab.rest(0.2)
    text = 'NodeExpandVolume.NodeExpandVolume failed for volume "pv-a" : no'
    assert lab.events == [("Warning", "VolumeResizeFailed", text)]
    assert lab.node.story.elsewhere == [], "the claim's status tells it"
    assert set(manager.mounted("uid-1")) == {"data"}
    lab.driver.errors["expand"] = ExpandError("busy", "in use", left="nothing")
    await lab.rest(600)
    assert lab.calls[2:] == ["expand", "expand"], "in use: not again"


@pytest.mark.looptime
async def test_what_grew_meanwhile_grows_before_the_pod_has_it(lab):
    lab.cluster.bound["a"] = grown("a")
    lab.driver.errors["expand"] = ExpandError("no", left="nothing")
    manager = await lab.start()
    lab.node.pods = [pod] = [claiming(data="a")]
    manager.reconsider("uid-1")
    await lab.rest(0.2)
    assert manager.mounted("uid-1") == {}
    text = 'MountVolume.Setup failed while expanding volume for volume "pv-a" : no'
    assert lab.events == [("Warning", "FailedMount", text)]
    lab.driver.errors.clear()
    await manager.wait_ready(pod)
    assert lab.calls == ["stage", "set_up", "expand", "set_up", "expand"]


@pytest.mark.looptime
async def test_what_is_only_read_does_not_grow(lab):
    lab.cluster.bound["a"] = grown("a")
    manager = await lab.start()
    lab.node.pods = [pod] = [claiming(data=("a", True))]
    await manager.wait_ready(pod)
    text = 'MountVolume.NodeExpandVolume failed for volume "pv-a" requested read-only file system'
    event = ("Warning", "FileSystemResizeFailed", text)
    assert lab.events == [event]
    assert lab.node.story.elsewhere == [("PersistentVolumeClaim shop/a", *event)]
    assert "expand" not in lab.calls


@pytest.mark.looptime
@pytest.mark.parametrize("call", ["stage", "set_up"])
async def test_a_device_with_another_file_system_is_an_event_of_its_persistent_volume(lab, call):
    lab.driver.errors[call] = MismatchError("it is formatted as ext4, not as xfs", left="nothing")
    manager = await lab.start()
    lab.node.pods = [claiming(data="a")]
    manager.reconsider("uid-1")
    await lab.rest()
    step = "MountDevice" if call == "stage" else "SetUp"
    text = "it is formatted as ext4, not as xfs"
    assert lab.events == [("Warning", "FailedMount", f'MountVolume.{step} failed for volume "pv-a" : {text}')]
    told = ("Warning", "FailedMountOnFilesystemMismatch", f'MountVolume failed for volume "pv-a" {text}')
    assert lab.node.story.elsewhere == [("PersistentVolume pv-a", *told)]


# --- an outage ----------------------------------------------------------------


@pytest.mark.looptime
async def test_an_hour_without_the_api_server_takes_nothing_from_pods(lab):
    lab.driver.attaches = True
    lab.cluster.written, lab.cluster.attached_to = {A}, {A: ""}
    lab.node.pods = [pod] = [claiming(data="a")]
    manager = await lab.start()
    await manager.wait_ready(pod)
    lab.cluster.error = VolumeError("the server is away", left="unchanged")
    for _ in range(60):
        # As when a container is started again.
        await lab.rest(60)
        await manager.wait_ready(pod)
    assert (lab.calls, lab.cluster.used) == (["stage", "set_up"], {A})
    decisions = [decision for decision, _ in lab.node.story.decisions]
    assert decisions.count("VolumeResolveFailed") == 1, "the journal keeps other things too"
    assert len(lab.cluster.asked) < 200
    lab.node.over.add("uid-1")
    await manager.wait_gone(pod)


# --- a new life ---------------------------------------------------------------


def leave(lab, uid, *names):
    """What an earlier life left: the pod's directories, mounts and staged devices."""
    for name in names:
        lab.node.layout.pod_volume(uid, CSI, name).mkdir(parents=True)
        lab.driver.mounts.add((uid, name))
        lab.driver.staged.add(name)


@pytest.mark.looptime
async def test_a_new_life_takes_over(lab):
    leave(lab, "uid-1", "pv-a")
    leave(lab, "uid-2", "pv-b")
    lab.driver.attaches = True
    lab.cluster.attached_to = {A: "/dev/sda", f"{CSI}/d^b": "/dev/sdb"}
    lab.cluster.error = VolumeError("the server is away", left="unchanged")
    lab.node.pods = [pod] = [claiming(data="a")]
    manager = await lab.start()
    manager.reconsider("uid-1")
    await lab.rest(60)
    assert (lab.calls, lab.cluster.used) == ([], None), "nothing before the node's status was read"
    lab.cluster.error = None
    await lab.rest(11)
    assert lab.cluster.used == {A}
    await manager.wait_ready(pod)
    await until(lambda: "unstage" in lab.calls)
    assert set(lab.driver.calls) == {
        ("stage", "pv-a", "/dev/sda"),
        ("set_up", "uid-1", "pv-a"),
        ("tear_down", "uid-2", "pv-b"),
        ("unstage", f"{CSI}/d^b"),
    }
    assert sample(lab.metrics, "reconstruct_volume_operations_total") == 2


@pytest.mark.looptime
async def test_what_is_found_stays_uncertain_when_setting_it_up_fails(lab):
    leave(lab, "uid-1", "pv-a")
    lab.driver.errors["set_up"] = VolumeError("no", left="nothing")
    lab.node.pods = [pod] = [claiming(data="a")]
    manager = await lab.start()
    manager.reconsider("uid-1")
    await lab.rest(5)
    lab.node.over.add("uid-1")
    await manager.wait_gone(pod)
    assert lab.calls[-1] == "tear_down", "it may be mounted since before"


@pytest.mark.looptime
async def test_a_device_that_cannot_be_read_is_cleaned_up_as_one(lab):
    link = lab.node.layout.pod_devices("uid-9") / CSI.replace("/", "~") / "pv-z"
    link.parent.mkdir(parents=True)
    link.symlink_to("/gone")
    lab.driver.unreadable.add("pv-z")
    await lab.start()
    await lab.rest(300)
    assert lab.driver.calls == [("tear_down", "uid-9", "pv-z", "block")]


@pytest.mark.looptime
@pytest.mark.parametrize("works", [True, False])
async def test_what_cannot_be_read_is_cleaned_up_once(lab, works):
    leave(lab, "uid-9", "pv-z")
    lab.driver.staged.clear()
    lab.driver.unreadable.add("pv-z")
    if not works:
        lab.driver.errors["tear_down"] = VolumeError("no vol_data.json")
    await lab.start()
    await lab.rest(300)
    assert lab.calls == ["tear_down"]
    assert sample(lab.metrics, "reconstruct_volume_operations_errors_total") == 1
    assert sample(lab.metrics, "force_cleaned_failed_volume_operations_total") == 1
    failed = sample(lab.metrics, "force_cleaned_failed_volume_operation_errors_total")
    assert failed == (0 if works else 1)


@pytest.mark.looptime
async def test_what_rests_on_nobody_knows_what_keeps_all_that_was_staged(lab):
    """A pod runs with a volume whose notes are lost, and its claim cannot be read."""
    leave(lab, "uid-1", "pv-a")
    lab.driver.unreadable.add("pv-a")
    lab.cluster.bound.clear()
    lab.node.pods = [pod] = [claiming(data="a")]
    manager = await lab.start()
    await lab.rest(300)
    assert not {"VolumeUnstage", "VolumeUnmount"} & {decision for decision, _ in lab.node.story.decisions}
    lab.cluster.bound["a"] = bound("a")
    manager.reconsider("uid-1")
    await manager.wait_ready(pod)
    assert lab.calls == ["stage", "set_up"]
    lab.node.pods = []
    lab.node.over.add("uid-1")
    await until(lambda: lab.calls[-1] == "unstage")


@pytest.mark.looptime
async def test_a_corrupt_mount_is_taken_away_first(lab, monkeypatch):
    lab.driver.paths["uid-1", "pv-a"] = "/dead"
    manager = await lab.start()

    def stat(path):
        code = errno.ENOTCONN if path == "/dead" else errno.ENOENT
        raise OSError(code, "gone", path)

    monkeypatch.setattr("pykubelet.volumes.mountpoint.os.stat", stat)
    lab.node.pods = [pod] = [claiming(data="a")]
    await manager.wait_ready(pod)
    assert lab.calls == ["stage", "tear_down", "set_up"]


@pytest.mark.looptime
async def test_a_server_that_trusts_no_foreign_root_keeps_its_mount(lab, monkeypatch):
    manager = await lab.start()

    def stat(path):
        raise PermissionError(errno.EACCES, "no", path)

    monkeypatch.setattr("pykubelet.volumes.mountpoint.os.stat", stat)
    lab.node.pods = [pod] = [claiming(data="a")]
    await manager.wait_ready(pod)
    assert lab.calls == ["stage", "set_up"]


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
