"""The manager with volumes that grow."""

import pytest
from tests.volumes.fake_driver import bound, storage
from tests.volumes.lab import claiming

from pykubelet.api.storage import PersistentVolumeClaimStatus
from pykubelet.base.errors import ExpandError, VolumeError
from pykubelet.volumes.errors import MismatchError


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
