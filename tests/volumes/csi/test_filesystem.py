"""Volumes with file systems, by a driver that really mounts; each request field by field."""

import asyncio
import dataclasses
import os
import stat
from pathlib import Path

import pytest
from tests.csidriver import disk
from tests.csidriver.driver import CsiDriver
from tests.volumes.csi.kit import DRIVER, NODE, claimed, idle_driver, inline, pod_of

from pykubelet.api.storage import CSITokenRequest, SecretReference, VolumeAttachError
from pykubelet.api.volumes import LocalObjectReference
from pykubelet.base.errors import VolumeError
from pykubelet.linux import mountinfo
from pykubelet.volumes.csi.paths import attachment_name, inline_handle

pytestmark = pytest.mark.integration

POD, OTHER = pod_of("uid-1"), pod_of("uid-2")
SINGLE = {"access_mode": {"mode": "SINGLE_NODE_WRITER"}}
#: sha256("h")
H = "aaa9402664f1a41f40ebbc52c9993eb66aeb366602958fdfaa283b71e64db123"
STAGED = f"plugins/kubernetes.io/csi/{DRIVER}/{H}"


async def failure(awaitable) -> VolumeError:
    with pytest.raises(VolumeError) as caught:
        await awaitable
    return caught.value


async def told(awaitable) -> tuple[str, str]:
    error = await failure(awaitable)
    return str(error), error.left


def mode_of(path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


async def give(node, spec, pod=POD):
    """Stage and publish."""
    if node.plugin.device(spec) is not None:
        await node.plugin.stage(spec, pod, "")
    return await node.plugin.set_up(spec, pod, again=False)


async def take(node, spec, pod=POD):
    await node.plugin.tear_down(pod.metadata.uid, spec.name, block=spec.block)


async def test_a_whole_life(node):
    node.objects.attach(wwn="77")
    spec = claimed(
        fsType="ext4", volumeAttributes={"a": "1", "size": "8388608"}, options=["noatime"],
        nodeStageSecretRef=SecretReference(name="stage", namespace="vault"),
        nodePublishSecretRef=SecretReference(name="publish", namespace="vault"),
    )  # fmt: skip
    node.objects.has_secret("vault", "stage", key="s1")
    node.objects.has_secret("vault", "publish", key="s2")
    assert await node.plugin.attachable(spec)
    mounted = await give(node, spec)
    target, staging = node.paths.target("uid-1", "pv-1"), node.paths.staging(DRIVER, "h")
    capability = {"mount": {"fs_type": "ext4", "mount_flags": ["noatime"]}, **SINGLE}
    assert node.sent("NodeStageVolume") == {
        "volume_id": "h",
        "publish_context": {"wwn": "77"},
        "staging_target_path": staging,
        "volume_capability": capability,
        "secrets": {"key": "s1"},
        "volume_context": {"a": "1", "size": "8388608"},
    }
    assert node.sent("NodePublishVolume") == {
        "volume_id": "h",
        "publish_context": {"wwn": "77"},
        "staging_target_path": staging,
        "target_path": target,
        "volume_capability": capability,
        "secrets": {"key": "s2"},
        "volume_context": {"a": "1", "size": "8388608"},
    }
    assert (mounted.name, mounted.host_path, mounted.read_only) == ("data", target, False)
    assert not mounted.selinux_relabel
    second = await give(node, spec, OTHER)
    with open(f"{mounted.host_path}/file", "w") as file:
        file.write("kept")
    with open(f"{second.host_path}/file") as file:
        assert file.read() == "kept"
    device = node.plugin.device(spec)
    text, left = await told(node.plugin.unstage(device))
    assert f'the device mount path "{staging}" is still mounted by other references [{target} ' in text
    assert left == "something"
    await take(node, spec)
    await take(node, spec, OTHER)
    assert node.sent("NodeUnpublishVolume") == {
        "volume_id": "h",
        "target_path": node.paths.target("uid-2", "pv-1"),
    }
    await node.plugin.unstage(device)
    assert node.sent("NodeUnstageVolume") == {"volume_id": "h", "staging_target_path": staging}
    assert not [path for path in node.tree() if "vol_data" in path or "mount" in path or H in path]
    # Gone already is fine, and nobody is asked again.
    calls = len(node.driver.calls())
    await take(node, spec)
    await node.plugin.unstage(device)
    assert len(node.driver.calls()) == calls


async def test_the_layout_is_upstreams(node):
    node.objects.attach()
    spec = claimed(fsType="tmpfs")
    await give(node, spec)
    pod = "pods/uid-1/volumes/kubernetes.io~csi/pv-1"
    expected = {STAGED, f"{STAGED}/globalmount", f"{STAGED}/vol_data.json"}
    expected |= {pod, f"{pod}/mount", f"{pod}/vol_data.json"}
    assert {path for path in node.tree() if path.startswith((STAGED, pod))} == expected
    root = node.layout.root
    assert (root / STAGED / "vol_data.json").read_text() == (
        '{"driverName":"driver.example","volumeHandle":"h"}\n'
    )
    attachment = attachment_name("h", DRIVER, "node-1")
    assert (root / pod / "vol_data.json").read_text() == (
        f'{{"attachmentID":"{attachment}","driverName":"driver.example","nodeName":"node-1",'
        '"specVolID":"pv-1","volumeHandle":"h","volumeLifecycleMode":"Persistent"}\n'
    )
    assert [mode_of(root / path) for path in (STAGED, pod, f"{pod}/vol_data.json")] == [0o750, 0o750, 0o644]


async def test_what_gos_kubelet_made_is_taken_over(node):
    """Files as Go's kubelet writes them; what is mounted is the driver's."""
    node.objects.attach()
    spec = claimed(fsType="tmpfs")
    await give(node, spec)
    root = node.layout.root
    for path in (root / STAGED, root / "pods/uid-1/volumes/kubernetes.io~csi/pv-1"):
        text = (path / "vol_data.json").read_text()
        (path / "vol_data.json").unlink()
        (path / "vol_data.json").write_text(text)
    plugin = node.restart()
    found = await asyncio.to_thread(lambda: plugin.found("uid-1", "pv-1", block=False))
    assert found.device == node.plugin.device(spec)
    assert list(await asyncio.to_thread(plugin.devices_found)) == [found.device]
    await take(node, spec)
    await plugin.unstage(found.device)
    assert not disk.mounted(root / STAGED / "globalmount")
    assert not (root / STAGED).exists()


async def test_a_driver_that_does_not_stage(node):
    node.driver.files.set(capabilities=[])
    node.objects.attach()
    spec = claimed(nodeStageSecretRef=SecretReference(name="missing", namespace="x"))
    mounted = await give(node, spec)
    assert node.count("NodeStageVolume") == 0
    assert "staging_target_path" not in node.sent("NodePublishVolume")
    assert f"{STAGED}/globalmount" in node.tree()
    assert f"{STAGED}/vol_data.json" not in node.tree()
    assert disk.mounted(mounted.host_path)
    await take(node, spec)
    await node.plugin.unstage(node.plugin.device(spec))
    assert STAGED not in node.tree()
    assert node.count("NodeUnstageVolume") == 0


async def test_pod_information_and_tokens(node):
    wanted = [CSITokenRequest(audience="vault", expirationSeconds=600)]
    node.objects.has_driver(podInfoOnMount=True, tokenRequests=wanted)
    spec = claimed(volumeAttributes={"a": "1"})
    await give(node, spec)
    text = '{"vault":{"token":"token-vault","expirationTimestamp":null}}'
    tokens = {"csi.storage.k8s.io/serviceAccount.tokens": text}
    info = {
        "csi.storage.k8s.io/pod.name": "web",
        "csi.storage.k8s.io/pod.namespace": "shop",
        "csi.storage.k8s.io/pod.uid": "uid-1",
        "csi.storage.k8s.io/serviceAccount.name": "clerk",
        "csi.storage.k8s.io/ephemeral": "false",
    }
    sent = node.sent("NodePublishVolume")
    assert sent["volume_context"] == {"a": "1", **info, **tokens}
    assert "secrets" not in sent
    assert "publish_context" not in sent
    assert spec.pv.spec.csi.volumeAttributes == {"a": "1"}
    assert "csi.storage.k8s.io" not in str(node.sent("NodeStageVolume"))
    node.objects.has_driver(tokenRequests=wanted, serviceAccountTokenInSecrets=True)
    await node.plugin.set_up(spec, POD, again=True)
    sent = node.sent("NodePublishVolume")
    assert sent["secrets"] == tokens
    assert sent["volume_context"] == {"a": "1"}


async def test_an_inline_volume(node):
    node.objects.has_driver(volumeLifecycleModes=["Ephemeral"], podInfoOnMount=True)
    node.objects.has_secret("shop", "s", key="value")
    spec = inline(
        fsType="tmpfs", volumeAttributes={"a": "1"}, readOnly=True,
        nodePublishSecretRef=LocalObjectReference(name="s"),
    )  # fmt: skip
    assert node.plugin.device(spec) is None
    assert not await node.plugin.attachable(spec)
    mounted = await give(node, spec)
    handle = inline_handle("uid-1", "scratch")
    sent = node.sent("NodePublishVolume")
    assert sent["volume_id"] == handle
    assert sent["target_path"] == mounted.host_path == node.paths.target("uid-1", "scratch")
    assert sent["readonly"] is True
    assert sent["secrets"] == {"key": "value"}
    assert sent["volume_context"]["csi.storage.k8s.io/ephemeral"] == "true"
    assert sent["volume_capability"] == {"mount": {"fs_type": "tmpfs"}, **SINGLE}
    assert "staging_target_path" not in sent
    assert mounted.read_only
    plugin = node.restart()
    found = await asyncio.to_thread(lambda: plugin.found("uid-1", "scratch", block=False))
    assert found.device is None
    assert not await asyncio.to_thread(plugin.devices_found)
    await take(node, spec)
    assert node.sent("NodeUnpublishVolume")["volume_id"] == handle
    assert not [path for path in node.tree() if "scratch" in path]


async def test_an_inline_volume_needs_a_driver_that_gives_such(node):
    text, left = await told(give(node, inline()))
    assert text == (
        "kubernetes.io/csi: mounter.SetupAt failed to check volume lifecycle mode: "
        'volume mode "Ephemeral" not supported by driver driver.example (no CSIDriver object)'
    )
    assert left == "unchanged"
    node.objects.has_driver()
    text, _ = await told(give(node, inline()))
    assert text.endswith('(only supports ["Persistent"])')
    assert node.driver.calls() == []
    assert node.tree() == []


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


async def test_a_group_that_the_kubelet_gives(node):
    node.objects.has_driver()
    spec, pod = claimed(fsType="tmpfs"), pod_of(group=4321)
    mounted = await give(node, spec, pod)
    root = os.stat(mounted.host_path)
    assert (root.st_gid, stat.S_IMODE(root.st_mode) & 0o2770) == (4321, 0o2770)
    assert "volume_mount_group" not in node.sent("NodePublishVolume")["volume_capability"]["mount"]


async def test_a_group_that_the_driver_gives(node):
    node.objects.has_driver(fsGroupPolicy="File")
    node.driver.files.set(capabilities=["STAGE_UNSTAGE_VOLUME", "VOLUME_MOUNT_GROUP"])
    spec, pod = claimed(), pod_of(group=4321)
    await give(node, spec, pod)
    for method in ("NodeStageVolume", "NodePublishVolume"):
        assert node.sent(method)["volume_capability"]["mount"] == {"volume_mount_group": "4321"}


async def test_a_group_is_not_given_to_a_volume_that_is_only_read(node):
    node.objects.has_driver(fsGroupPolicy="File")
    mounted = await give(node, claimed(read_only=True), pod_of(group=4321))
    assert os.stat(mounted.host_path).st_gid != 4321
    assert mounted.read_only
    assert node.sent("NodePublishVolume")["readonly"] is True
    with pytest.raises(OSError, match="Read-only"):
        Path(mounted.host_path, "file").touch()


async def test_a_group_that_cannot_be_given_leaves_the_mount_to_be_undone(node, monkeypatch):
    node.objects.has_driver(fsGroupPolicy="File")
    spec = claimed()

    def refuse(*arguments, **more):
        raise PermissionError(1, "Operation not permitted", "/x")

    monkeypatch.setattr("pykubelet.volumes.ownership.give_to_group", refuse)
    text, left = await told(give(node, spec, pod_of(group=7)))
    assert (text, left) == ("applyFSGroup failed for vol h: /x: operation not permitted", "something")
    assert (await told(node.plugin.set_up(spec, pod_of(group=7), again=True)))[1] == "unchanged"
    await take(node, spec)


async def test_a_label_is_a_mount_option(node):
    label = "system_u:object_r:data:s0:c1,c2"
    node.labels = True
    node.restart()
    node.objects.has_driver(seLinuxMount=True)
    spec = claimed(fsType="ext4", options=["noatime"], volumeAttributes={"size": "8388608"})
    mounted = await give(node, dataclasses.replace(spec, label=label))
    option = f'context="{label}"'
    for method in ("NodeStageVolume", "NodePublishVolume"):
        assert node.sent(method)["volume_capability"]["mount"]["mount_flags"] == ["noatime", option]
    root = node.layout.root
    for path in (STAGED, "pods/uid-1/volumes/kubernetes.io~csi/pv-1"):
        assert f'"seLinuxMountContext":"{label}"' in (root / path / "vol_data.json").read_text()
    assert not mounted.selinux_relabel


@pytest.mark.parametrize(
    ("labels", "read_only", "options", "relabelled"),
    [
        (True, False, "rw,seclabel", True),
        (True, True, "rw,seclabel", False),
        (True, False, "rw", False),
        (False, False, "rw,seclabel", False),
    ],
)
async def test_what_takes_labels_is_relabelled(node, monkeypatch, labels, read_only, options, relabelled):
    node.labels = labels
    node.restart()
    node.objects.has_driver()
    spec = claimed(read_only=read_only)
    # This kernel may have no SELinux: its mounts never say that they take labels.
    line = f"900 1 8:1 / /x rw - ext4 /dev/x {options}".encode()
    monkeypatch.setattr(
        "pykubelet.volumes.csi.filesystem.mountinfo.mount_of", lambda *args: mountinfo.parse_line(line)
    )
    assert (await give(node, spec)).selinux_relabel is relabelled


@pytest.mark.parametrize(
    ("stated", "labelled"), [({"seLinuxMount": True}, True), ({"seLinuxMount": False}, False), ({}, False)]
)
async def test_drivers_that_take_labels(node, stated, labelled):
    for spec in (claimed(), inline()):
        # No CSIDriver object: it may not be asked for what it might not know.
        node.objects.drivers.clear()
        assert not await node.plugin.labelled(spec)
        node.objects.has_driver(**stated)
        assert await node.plugin.labelled(spec) is labelled
    node.objects.trouble = "nobody knows"
    with pytest.raises(VolumeError, match="nobody knows"):
        await node.plugin.labelled(claimed())


async def test_access_modes(node):
    node.objects.has_driver()
    node.driver.files.set(capabilities=["STAGE_UNSTAGE_VOLUME", "SINGLE_NODE_MULTI_WRITER"])
    for number, (mode, sent) in enumerate(
        [("ReadWriteOnce", "SINGLE_NODE_MULTI_WRITER"), ("ReadWriteOncePod", "SINGLE_NODE_SINGLE_WRITER"),
         ("ReadWriteMany", "MULTI_NODE_MULTI_WRITER"), ("ReadOnlyMany", "MULTI_NODE_READER_ONLY")]
    ):  # fmt: skip
        await give(node, claimed(f"pv-{number}", f"h{number}", modes=[mode]))
        for method in ("NodeStageVolume", "NodePublishVolume"):
            assert node.sent(method)["volume_capability"]["access_mode"] == {"mode": sent}


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


# --- ends at any point ---------------------------------------------------------


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


async def test_why_a_volume_is_not_attached(node):
    spec, name = claimed(), attachment_name("h", DRIVER, NODE)
    told = f"there is no VolumeAttachment {name} yet: the attach/detach controller makes it"
    assert await node.plugin.unattached(spec) == told
    node.objects.attach(attached=False, error=VolumeAttachError(message="disk is on fire"))
    told = f"VolumeAttachment {name} has an error: disk is on fire"
    assert await node.plugin.unattached(spec) == told
    assert await node.plugin.unattached(inline()) == ""
    node.objects.has_driver(attachRequired=False)
    assert await node.plugin.unattached(spec) == ""
    node.objects.trouble = "the server is away"
    with pytest.raises(VolumeError, match="the server is away"):
        await node.plugin.unattached(spec)


async def test_a_node_that_is_full(node):
    spec = claimed()
    node.objects.has_driver(attachRequired=True, nodeAllocatableUpdatePeriodSeconds=60)
    node.objects.attach(attached=False, error=VolumeAttachError(message="full", errorCode=8))
    assert await node.plugin.exhausted(spec)
    assert node.clients.refreshed == [DRIVER]
    node.objects.attach()
    assert not await node.plugin.exhausted(spec)
    assert not await node.plugin.exhausted(inline())
    node.objects.trouble = "away"
    assert not await node.plugin.exhausted(spec)
    assert node.clients.refreshed == [DRIVER]
