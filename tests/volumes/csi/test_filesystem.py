"""Volumes with file systems, by a driver that really mounts; each request field by field."""

import asyncio
import dataclasses
import os
import stat
from pathlib import Path

import pytest
from tests.csidriver import disk
from tests.volumes.csi.kit import DRIVER, NODE, claimed, inline, pod_of
from tests.volumes.csi.published import OTHER, POD, SINGLE, STAGED, H, give, mode_of, take, told

from pykubelet.api.storage import CSITokenRequest, SecretReference, VolumeAttachError
from pykubelet.api.volumes import LocalObjectReference
from pykubelet.base.errors import VolumeError
from pykubelet.linux import mountinfo
from pykubelet.volumes.csi.paths import attachment_name, inline_handle

pytestmark = pytest.mark.integration


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
