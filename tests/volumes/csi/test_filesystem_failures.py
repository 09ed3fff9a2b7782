"""Volumes with file systems whose driver fails, is away or leaves something behind."""

import asyncio
import os

import pytest
from tests.csidriver import disk
from tests.volumes.csi.kit import DRIVER, NODE, claimed, idle_driver, inline
from tests.volumes.csi.published import POD, STAGED, failure, give, take, told

from pykubelet.api.storage import CSITokenRequest, SecretReference
from pykubelet.volumes.csi.paths import attachment_name

pytestmark = pytest.mark.integration


async def test_a_driver_that_is_away(node):
    node.objects.attach()
    spec, text = claimed(), f"driver name {DRIVER} not found in the list of registered CSI drivers"
    endpoint = node.clients.endpoints.pop(DRIVER)
    stage = await told(node.plugin.stage(spec, POD, ""))
    assert stage == (
        f"kubernetes.io/csi: attacher.MountDevice failed to create newCsiDriverClient: {text}",
        "unchanged",
    )
    publish = await told(node.plugin.set_up(spec, POD, again=False))
    assert publish == (f"kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: {text}", "unchanged")
    assert node.tree() == []
    assert node.plugin.registered(DRIVER) == {"uid-1"}
    assert node.plugin.registered(DRIVER) == frozenset()
    node.clients.endpoints[DRIVER] = endpoint
    await give(node, spec)
    del node.clients.endpoints[DRIVER]
    gone = await told(take(node, spec))
    assert gone == (f"kubernetes.io/csi: Unmounter.TearDownAt failed to get CSI client: {text}", "unchanged")
    node.clients.endpoints[DRIVER] = endpoint
    await take(node, spec)
    del node.clients.endpoints[DRIVER]
    unstage = await told(node.plugin.unstage(node.plugin.device(spec)))
    assert unstage[0].endswith(f"attacher.UnmountDevice failed to create newCsiDriverClient: {text}")
    assert node.plugin.registered(DRIVER) == {"uid-1", ""}
    assert node.plugin.registered("other") == frozenset()


@pytest.mark.parametrize("block", [False, True])
async def test_one_look_at_the_attachment_tells_all_that_staging_needs(node, block):
    node.objects.attach(wwn="77")
    await node.plugin.stage(claimed(block=block), POD, "")
    assert node.objects.asked == [attachment_name("h", DRIVER, NODE)]
    assert node.sent("NodeStageVolume")["publish_context"] == {"wwn": "77"}


async def test_what_fails_before_the_driver_is_asked(node):
    spec = claimed(
        nodeStageSecretRef=SecretReference(name="one", namespace="vault"),
        nodePublishSecretRef=SecretReference(name="two", namespace="vault"),
    )
    error = await failure(node.plugin.stage(spec, POD, ""))
    name = attachment_name("h", DRIVER, "node-1")
    assert str(error) == (
        f"volume h has GET error for volume attachment {name}: "
        f'volumeattachments.storage.k8s.io "{name}" not found'
    )
    assert (error.step, error.left) == ("WaitForAttach", "unchanged")
    node.objects.attach(attached=False)
    error = await failure(node.plugin.stage(spec, POD, ""))
    assert str(error) == f"volume h is not attached for volume attachment {name}"
    node.objects.attach()
    text, left = await told(node.plugin.stage(spec, POD, ""))
    assert text == (
        "fetching NodeStageSecretRef vault/one failed: kubernetes.io/csi: failed to find the secret one "
        'in the namespace vault with error: secrets "one" not found'
    )
    text, _ = await told(node.plugin.set_up(spec, POD, again=False))
    assert text.startswith(
        "fetching NodePublishSecretRef vault/two failed: kubernetes.io/csi: failed to find"
    )
    node.objects.trouble = "the API server is away"
    for awaitable in (node.plugin.stage(spec, POD, ""), node.plugin.set_up(spec, POD, again=False)):
        assert (await told(awaitable)) == ("the API server is away", "unchanged")
    node.objects.trouble = ""
    node.objects.has_driver(fsGroupPolicy=None)
    text, _ = await told(node.plugin.set_up(spec, POD, again=False))
    assert text == (
        "kubernetes.io/csi: mounter.SetupAt failed to check fsGroup policy: "
        "kubernetes.io/csi: expected valid fsGroupPolicy, received nil value or empty string"
    )
    node.objects.has_driver(tokenRequests=[CSITokenRequest()])
    node.objects.has_secret("vault", "two")
    node.tokens.trouble = "failed to fetch token: refused"
    text, left = await told(node.plugin.set_up(spec, POD, again=False))
    assert text.endswith("failed to get service accoount token attributes: failed to fetch token: refused")
    assert left == "unchanged"
    assert node.count("NodeStageVolume") + node.count("NodePublishVolume") == 0
    assert node.tree() == []


async def test_a_driver_that_does_not_say_what_it_can(node):
    node.objects.attach()
    node.objects.has_driver(volumeLifecycleModes=["Persistent", "Ephemeral"])
    node.driver.fault("NodeGetCapabilities", "INTERNAL", times=None)
    said = "rpc error: code = Internal desc = injected"
    spec = claimed()
    assert await told(node.plugin.stage(spec, POD, "")) == (said, "unchanged")
    head = "kubernetes.io/csi: mounter.SetUpAt failed to"
    assert (await told(node.plugin.set_up(spec, POD, again=False)))[0] == (
        f"{head} check for STAGE_UNSTAGE_VOLUME capability: {said}"
    )
    assert (await told(node.plugin.set_up(inline(), POD, again=False)))[0] == (
        f"{head} determine if the node service has VOLUME_MOUNT_GROUP capability: {said}"
    )
    assert node.tree() == []


@pytest.mark.parametrize(
    "code", ["INTERNAL", "UNKNOWN", "NOT_FOUND", "INVALID_ARGUMENT", "FAILED_PRECONDITION"]
)
async def test_a_final_failure_leaves_nothing(node, code):
    node.objects.has_driver()
    spec = claimed()
    node.driver.fault("NodeStageVolume", code)
    text, left = await told(node.plugin.stage(spec, POD, ""))
    assert text.endswith("desc = injected")
    assert left == "nothing"
    assert STAGED not in node.tree()
    await node.plugin.stage(spec, POD, "")
    node.driver.fault("NodePublishVolume", code)
    assert (await failure(node.plugin.set_up(spec, POD, again=False))).left == "nothing"
    assert "pods/uid-1/volumes/kubernetes.io~csi/pv-1" not in node.tree()
    assert f"{STAGED}/vol_data.json" in node.tree()


@pytest.mark.parametrize(
    "code", ["CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED"]
)
async def test_after_an_uncertain_failure_everything_can_be_undone(node, code):
    node.objects.has_driver()
    spec = claimed()
    node.driver.fault("NodeStageVolume", code, done=True)
    assert (await failure(node.plugin.stage(spec, POD, ""))).left == "something"
    assert f"{STAGED}/vol_data.json" in node.tree()
    await node.plugin.stage(spec, POD, "")
    node.driver.fault("NodePublishVolume", code, done=True)
    assert (await failure(node.plugin.set_up(spec, POD, again=False))).left == "something"
    assert "pods/uid-1/volumes/kubernetes.io~csi/pv-1/vol_data.json" in node.tree()
    await take(node, spec)
    node.restart()
    (device,) = await asyncio.to_thread(node.plugin.devices_found)
    await node.plugin.unstage(device)
    assert STAGED not in node.tree()


async def test_a_time_out_is_uncertain(node):
    node.objects.has_driver()
    node.clients.timeout = 0.3
    spec = claimed()
    node.driver.fault("NodeStageVolume", hang=True)
    text, left = await told(node.plugin.stage(spec, POD, ""))
    assert "DeadlineExceeded" in text
    assert left == "something"
    node.driver.files.no_faults()


async def test_a_mount_that_stays_after_a_final_failure_is_not_forgotten(node):
    node.objects.has_driver()
    spec = claimed()
    await node.plugin.stage(spec, POD, "")
    node.driver.fault("NodeStageVolume", "INTERNAL")
    assert (await failure(node.plugin.stage(spec, POD, ""))).left == "something"
    assert f"{STAGED}/vol_data.json" in node.tree()


async def test_what_an_earlier_life_made_stays_when_this_one_is_refused(node):
    """A driver that keeps no mount where it staged: only the data file tells of it."""
    node.objects.has_driver()
    spec = claimed()
    await give(node, spec)
    disk.unmount(node.layout.root / STAGED / "globalmount")
    node.restart()
    node.driver.fault("NodeStageVolume", "INTERNAL", times=2)
    for _ in range(2):
        assert (await failure(node.plugin.stage(spec, POD, ""))).left == "something"
    assert f"{STAGED}/vol_data.json" in node.tree()
    await node.plugin.stage(spec, POD, "")
    await node.plugin.set_up(spec, POD, again=False)


async def test_publishing_again_never_harms(node):
    node.objects.has_driver(requiresRepublish=True)
    spec = claimed()
    assert node.plugin.republishes(spec)
    mounted = await give(node, spec)
    for code in ("INTERNAL", "UNAVAILABLE"):
        node.driver.fault("NodePublishVolume", code)
        assert (await failure(node.plugin.set_up(spec, POD, again=True))).left == "unchanged"
        assert disk.mounted(mounted.host_path)
        assert "pods/uid-1/volumes/kubernetes.io~csi/pv-1/vol_data.json" in node.tree()
    assert await node.plugin.set_up(spec, POD, again=True) == mounted
    node.objects.has_driver()
    assert not node.plugin.republishes(spec)
    assert not node.plugin.republishes(inline())


async def test_failures_of_the_way_back(node, tmp_path):
    node.objects.has_driver()
    spec = claimed()
    await give(node, spec)
    target, device = node.paths.target("uid-1", "pv-1"), node.plugin.device(spec)
    said = "rpc error: code = Internal desc = injected"
    node.driver.fault("NodeUnpublishVolume", "INTERNAL")
    assert await told(take(node, spec)) == (
        f"kubernetes.io/csi: Unmounter.TearDownAt failed: {said}",
        "something",
    )
    assert disk.mounted(target)
    async with idle_driver(node, tmp_path):
        text, left = await told(take(node, spec))
    assert f"the driver left {target} mounted" in text
    assert left == "something"
    assert "pods/uid-1/volumes/kubernetes.io~csi/pv-1/vol_data.json" in node.tree()
    await take(node, spec)
    node.driver.fault("NodeUnstageVolume", "INTERNAL")
    text, left = await told(node.plugin.unstage(device))
    assert (text, left) == (f"kubernetes.io/csi: attacher.UnmountDevice failed: {said}", "something")
    node.driver.fault("NodeGetCapabilities", "INTERNAL")
    text, left = await told(node.plugin.unstage(device))
    assert text.endswith(f"attacher.UnmountDevice failed to check whether STAGE_UNSTAGE_VOLUME set: {said}")
    assert left == "unchanged"
    await node.plugin.unstage(device)


async def test_what_a_driver_leaves_in_the_mount_directory_is_not_deleted(node, tmp_path):
    node.objects.has_driver()
    spec = claimed()
    await give(node, spec)
    target = node.paths.target("uid-1", "pv-1")
    await asyncio.to_thread(disk.unmount, target)
    await asyncio.to_thread(lambda: open(f"{target}/precious", "w").close())
    async with idle_driver(node, tmp_path):
        text, left = await told(take(node, spec))
    assert left == "something"
    assert os.listdir(target) == ["precious"]
    assert text.endswith(f"failed to clean mount dir [{target}]: {target}: directory not empty")
    os.unlink(f"{target}/precious")
    await take(node, spec)


async def test_a_link_in_place_of_the_mount_is_removed_itself(node, tmp_path):
    node.objects.has_driver()
    spec = claimed()
    await give(node, spec)
    target = node.paths.target("uid-1", "pv-1")
    await asyncio.to_thread(disk.unmount, target)
    os.rmdir(target)
    os.symlink(tmp_path, target)
    (tmp_path / "file").touch()
    async with idle_driver(node, tmp_path):
        await take(node, spec)
    assert not os.path.lexists(target)
    assert (tmp_path / "file").exists()
