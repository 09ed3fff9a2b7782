"""Volumes of a node of a cluster, in virtual time: when it has as many as it can; where SELinux is on."""

from dataclasses import replace

import pytest
from tests.apiserver import resources
from tests.joined_node import NODE, JoinedNode
from tests.memory_node import runs

from pykubelet.linux.selinux import SELinux
from pykubelet.volumes.csi.paths import attachment_name

pytestmark = [
    pytest.mark.looptime(noop_cycles=2),
    pytest.mark.timeout(60),
    pytest.mark.usefixtures("one_thread"),
]

DRIVER = "driver.example"


def claim(node, *, period=None, mode="ReadWriteOnce", **driver):
    """A claim ``data``, bound to a volume of a driver whose attacher says that the node is full."""
    server = node.server
    server.create(
        resources.CSI_DRIVERS,
        {"metadata": {"name": DRIVER}, "spec": {"nodeAllocatableUpdatePeriodSeconds": period, **driver}},
    )
    amount = {"storage": "1Mi"}
    spec = {"accessModes": [mode], "volumeMode": "Filesystem"}
    made = server.create(
        resources.CLAIMS,
        {
            "metadata": {"name": "data"},
            "spec": {**spec, "volumeName": "pv", "resources": {"requests": amount}},
        },
        "default",
    )
    status = {"phase": "Bound", "capacity": amount}
    server.patch(resources.CLAIMS, "default", "data", lambda found: found.update(status=status), "status")
    reference = {"namespace": "default", "name": "data", "uid": made["metadata"]["uid"]}
    source = {"driver": DRIVER, "volumeHandle": "h"}
    server.create(
        resources.PERSISTENT_VOLUMES,
        {
            "metadata": {"name": "pv"},
            "spec": {**spec, "capacity": amount, "claimRef": reference, "csi": source},
        },
    )
    name = attachment_name("h", DRIVER, NODE)
    attached = {"attacher": DRIVER, "nodeName": NODE, "source": {"persistentVolumeName": "pv"}}
    server.create(resources.VOLUME_ATTACHMENTS, {"metadata": {"name": name}, "spec": attached})
    told = {"attached": False, "attachError": {"message": "26 of 26 volumes", "errorCode": 8}}
    server.patch(resources.VOLUME_ATTACHMENTS, "", name, lambda found: found.update(status=told), "status")
    return name


@pytest.mark.parametrize("period", [60, None])
async def test_a_pod_for_whose_volume_a_node_has_no_room(mount_area, host, monkeypatch, period):
    async with JoinedNode(mount_area / "node", host, monkeypatch) as node:
        name = claim(node, period=period)
        mounts = [{"name": "data", "mountPath": "/data"}]
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
        node.create("web", {**runs("app"), "volumeMounts": mounts}, volumes=volumes)
        await node.sleep(110)
        assert node.status("web")["phase"] == "Pending"
        await node.sleep(60)
        status = node.status("web")
        missing = [
            entry for entry in node.journal.of_name("default", "web") if entry.what == "VolumesMissing"
        ]
        assert [entry.cause for entry in missing] == [
            f"data is not attached: VolumeAttachment {name} has an error: 26 of 26 volumes"
        ]
        if period is None:
            # The driver does not tell when there is room again: others may have the patience.
            assert status["phase"] == "Pending"
            return
        text = (
            "Node has reached its volume attachment limit, rejecting pod. unmounted volumes=[data], "
            "unattached volumes=[data], failed to process volumes=[]: context deadline exceeded"
        )
        told = (status["phase"], status["reason"], status["message"])
        assert told == ("Failed", "VolumeAttachmentLimitExceeded", f"Pod was rejected: {text}")
        events = [event for event in node.server.list(resources.EVENTS) if event["reason"] == told[1]]
        assert [(event["type"], event["message"]) for event in events] == [("Warning", text)]
        await node.sleep(300)
        assert node.status("web") == status
        assert node.did == {}, "nothing of the pod was ever started"
        await node.until(lambda: not (node.server.node(NODE)["status"].get("volumesInUse")))
        node.delete("web")
        await node.until(lambda: node.server.pod("default", "web") is None)


async def test_a_volume_that_no_controller_attaches(mount_area, host, monkeypatch):
    area = mount_area / "node"
    async with JoinedNode(area, host, monkeypatch, enableControllerAttachDetach=False) as node:
        claim(node, period=None)
        mounts = [{"name": "data", "mountPath": "/data"}]
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
        node.create("web", {**runs("app"), "volumeMounts": mounts}, volumes=volumes)
        await node.sleep(130)
        text = (
            'AttachVolume.Attach failed for volume "pv" : attaching volumes from the kubelet is not supported'
        )
        events = node.server.list(resources.EVENTS)
        told = [event for event in events if event["reason"] == "FailedAttachVolume"]
        assert {(event["type"], event["message"]) for event in told} == {("Warning", text)}
        assert {event["involvedObject"]["name"] for event in told} == {"web"}
        (missing,) = [
            entry for entry in node.journal.of_name("default", "web") if entry.what == "VolumesMissing"
        ]
        assert missing.cause.startswith(
            "data is not attached: no controller attaches volumes to this node "
            "(enableControllerAttachDetach is false)"
        )
        (story,) = node.kubelet.volumes.manager.explain(node.uid("web"))
        assert (story.state, story.step, story.error) == (
            "attaching", "attach", "attaching volumes from the kubelet is not supported"
        )  # fmt: skip
        assert "enableControllerAttachDetach is false" in story.waits_for
        made = node.server.node(NODE)
        assert "volumes.kubernetes.io/controller-managed-attach-detach" not in made["metadata"].get(
            "annotations", {}
        )
        # A controller that attached volumes before detaches them only when they are in use no more.
        assert made["status"].get("volumesInUse") == [f"kubernetes.io/csi/{DRIVER}^h"]
        node.delete("web")
        await node.until(lambda: node.server.pod("default", "web") is None)
        await node.until(lambda: not node.server.node(NODE)["status"].get("volumesInUse"))


async def test_pods_that_need_different_labels_of_one_volume(mount_area, host, monkeypatch):
    host = replace(host, selinux=SELinux("u:r:container_t:s0", "u:r:file_t:s0"))
    monkeypatch.setattr("pykubelet.linux.selinux.set_file_label", lambda path, label: None)
    async with JoinedNode(mount_area / "node", host, monkeypatch) as node:
        claim(node, mode="ReadWriteOncePod", seLinuxMount=True)
        mounts = [{"name": "data", "mountPath": "/data"}]
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
        for name in ("a", "b"):
            context = {"seLinuxOptions": {"level": f"s0:{name}"}}
            app = {**runs("app"), "volumeMounts": mounts}
            node.create(name, app, volumes=volumes, securityContext=context)
            await node.sleep(5)
        events = [event for event in node.server.list(resources.EVENTS) if event["reason"] == "FailedMount"]
        told = {event["message"] for event in events}
        text = 'conflicting SELinux labels of volume pv: "u:r:file_t:s0:a" and "u:r:file_t:s0:b"'
        assert told == {
            "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[], "
            f"failed to process volumes=[data]: {text}"
        }
        name = "volume_manager_selinux_volume_context_mismatch_errors_total"
        line = f'{name}{{access_mode="RWOP",volume_plugin="kubernetes.io/csi/{DRIVER}"}} 1.0'
        assert line.encode() in node.kubelet.ground.metrics.render()
        for name in ("a", "b"):
            node.delete(name)
            await node.until(lambda name=name: node.server.pod("default", name) is None)
