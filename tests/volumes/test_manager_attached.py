"""The manager with volumes that a controller attaches, and what it asks about their claims."""

import asyncio

import pytest
from tests.volumes.fake_driver import bound
from tests.volumes.lab import A, claiming, leave

from pykubelet.base.errors import VolumeError, VolumeLimitError


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
