"""CSI volumes of a whole node: driver, claims, attachments and pods, over restarts of the daemon."""

import asyncio
import os

import pytest
import pytest_asyncio
from tests.apiserver.client import MERGE
from tests.csidriver import disk
from tests.integration.csi_storage import DRIVER, VOLUMES, claim_of, storage_of, user
from tests.integration.joined import container_status, is_ready
from tests.integration.killed_node import container
from tests.integration.node import pod

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def storage(joined, tmp_path_factory):
    async with storage_of(joined, tmp_path_factory.mktemp("d")) as made:
        yield made


async def test_two_pods_have_a_volume_that_is_attached(storage, joined):
    await storage.allow(attachRequired=True, nodeAllocatableUpdatePeriodSeconds=60)
    await storage.bind("shared", "pv-shared")
    handle = "handle-pv-shared"
    made = await joined.create(pod("first", user(), volumes=[claim_of("shared")]))
    unique = f"kubernetes.io/csi/{DRIVER}^{handle}"
    await joined.cluster.until(
        joined.node_path, lambda node: unique in (node["status"].get("volumesInUse") or [])
    )
    assert storage.count("NodeStageVolume", handle) == 0
    [told, _] = await joined.node.kubelet.api.volumes(made["metadata"]["uid"])
    assert (told.state, told.device, told.persistent_volume) == ("attaching", unique, "pv-shared")
    assert told.error.startswith("there is no VolumeAttachment csi-")
    asked = [
        entry.text for entry in joined.node.kubelet.ground.journal.of_node() if entry.what == "CsiDriverAsked"
    ]
    assert asked == [f"driver {DRIVER} is asked every 60 s how many volumes the node can have"]
    await storage.attach(handle)
    [first] = await joined.ready("first")
    assert await joined.exec(first, "echo kept > /data/file; cat /data/file") == "kept"
    await joined.create(pod("second", user(), volumes=[claim_of("shared")]))
    [second] = await joined.ready("second")
    assert await joined.exec(second, "cat /data/file") == "kept"
    assert (storage.count("NodeStageVolume", handle), storage.count("NodePublishVolume", handle)) == (1, 2)
    assert storage.driver.calls("NodeStageVolume")[-1].request["publish_context"] == {"wwn": "77"}
    await joined.delete("first")
    await joined.gone("first")
    assert storage.count("NodeUnstageVolume", handle) == 0
    await joined.delete("second")
    await joined.gone("second")
    await storage.undone(handle)
    await joined.cluster.until(joined.node_path, lambda node: not node["status"].get("volumesInUse"))
    assert storage.count("NodeUnpublishVolume", handle) == 2


async def test_a_volume_that_grows_in_use(storage, joined):
    await storage.allow()
    await storage.bind("growing", "pv-growing")
    await joined.create(pod("grower", user(), volumes=[claim_of("growing")]))
    await joined.ready("grower")
    size, claim = {"storage": "2Mi"}, storage.cluster.path("persistentvolumeclaims", "growing")
    await storage.cluster.patch(f"{VOLUMES}/pv-growing", {"spec": {"capacity": size}}, MERGE)
    turn = {"allocatedResources": size, "allocatedResourceStatuses": {"storage": "NodeResizePending"}}
    await storage.cluster.patch(f"{claim}/status", {"status": turn}, MERGE)
    # A claim is looked at with each sync of its pod; this makes it one.
    await joined.patch("grower", {"metadata": {"annotations": {"touched": "yes"}}})
    told = await storage.cluster.until(claim, lambda found: found["status"]["capacity"] == size)
    assert not told["status"].get("allocatedResourceStatuses")
    assert storage.driver.calls("NodeExpandVolume")[-1].request["capacity_range"] == {
        "required_bytes": str(2 << 20)
    }
    events = storage.cluster.path("events")
    wanted = {"Pod", "PersistentVolumeClaim"}
    async with asyncio.timeout(10):
        while wanted:
            for event in (await storage.cluster.list(events))["items"]:
                if event["reason"] == "FileSystemResizeSuccessful":
                    assert event["message"] == (
                        f'MountVolume.NodeExpandVolume succeeded for volume "pv-growing" {joined.name}'
                    )
                    wanted.discard(event["involvedObject"]["kind"])
            await asyncio.sleep(0.05)
    await joined.delete("grower", 0)
    await joined.gone("grower")
    await storage.undone("handle-pv-growing")


async def test_inline_and_generic_and_block(storage, joined):
    await storage.allow(podInfoOnMount=True)
    await storage.bind("raw", "pv-raw", mode="Block", size="1048576")
    app = container(
        "app",
        volumeMounts=[
            {"name": "inline", "mountPath": "/inline"},
            {"name": "generic", "mountPath": "/generic"},
        ],
        volumeDevices=[{"name": "raw", "devicePath": "/dev/raw"}],
    )
    template = {"spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Mi"}}}}
    volumes = [
        {
            "name": "inline",
            "csi": {"driver": DRIVER, "fsType": "tmpfs", "volumeAttributes": {"size": "1048576"}},
        },
        {"name": "generic", "ephemeral": {"volumeClaimTemplate": template}},
        {"name": "raw", "persistentVolumeClaim": {"claimName": "raw"}},
    ]
    context = {"fsGroup": 4321}
    made = await joined.create(pod("three", app, volumes=volumes, securityContext=context))
    # What the controllers of generic volumes and of binding do.
    await storage.bind("three-generic", "pv-generic", owner=made)
    [shown] = await joined.ready("three")
    assert (
        await joined.exec(shown, "stat -fc %T /inline; stat -c %g /generic; id -G") == "tmpfs\n4321\n0 4321"
    )
    script = "echo kept | dd of=/dev/raw conv=notrunc 2>/dev/null; head -c 4 /dev/raw; test -b /dev/raw"
    assert await joined.exec(shown, script) == "kept"
    await joined.delete("three")
    await joined.gone("three")
    await storage.undone("handle-pv-generic", "handle-pv-raw")
    assert not disk.Volume(storage.driver.files.root / "volumes", "handle-pv-raw").device()


async def test_a_restart_with_volumes_in_use(storage, joined):
    await storage.allow()
    await storage.bind("lasting", "pv-lasting")
    await storage.bind("going", "pv-going")
    await joined.create(pod("stays", user(), volumes=[claim_of("lasting")]))
    await joined.create(pod("goes", user(), volumes=[claim_of("going")]))
    stays, goes = await joined.ready("stays", "goes")
    await joined.exec(stays, "echo kept > /data/file")
    await joined.node.stop()
    await joined.delete("goes", 0)
    await joined.node.start()
    await joined.gone("goes")
    await joined.node.until(lambda: storage.count("NodeUnstageVolume", "handle-pv-going") == 1)
    # Mounted again over what is there; the container does not notice.
    await joined.node.until(lambda: storage.count("NodePublishVolume", "handle-pv-lasting") == 2)
    shown = await joined.until("stays", is_ready)
    assert container_status(shown) == container_status(stays)
    assert (
        await joined.exec(shown, "cat /data/file; echo more >> /data/file; wc -l < /data/file") == "kept\n2"
    )
    assert storage.count("NodeUnpublishVolume", "handle-pv-lasting") == 0
    await joined.delete("stays")
    await joined.gone("stays")
    await storage.undone("handle-pv-lasting")
    assert not [
        name for name in os.listdir(joined.node.kubelet.ground.layout.pods) if name == goes["metadata"]["uid"]
    ]
