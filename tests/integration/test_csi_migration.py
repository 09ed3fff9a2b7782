"""In-tree cloud volumes on a whole node, whose CSI driver made itself known; over a restart of the daemon."""

import pytest
import pytest_asyncio
from tests.apiserver.client import MERGE
from tests.csidriver import disk
from tests.csidriver.driver import CsiDriver
from tests.integration.joined import container_status, is_ready
from tests.integration.killed_node import container
from tests.integration.node import pod

from pykubelet.volumes.csi.paths import attachment_name

pytestmark = pytest.mark.asyncio(loop_scope="module")

DRIVER, ZONE = "ebs.csi.aws.com", "us-east-1a"
ATTACHMENTS = "/apis/storage.k8s.io/v1/volumeattachments"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def driver(joined, tmp_path_factory):
    assert joined.server, "only the double lets a test attach volumes"
    root = tmp_path_factory.mktemp("d")
    registry = joined.node.kubelet.ground.layout.plugins_registry
    topology = {f"topology.{DRIVER}/zone": ZONE}
    async with CsiDriver(root, registry, name=DRIVER, node_id=joined.name, topology=topology) as driver:
        spec = {"attachRequired": True, "fsGroupPolicy": "File", "volumeLifecycleModes": ["Persistent"]}
        await joined.cluster.create(
            "/apis/storage.k8s.io/v1/csidrivers", {"metadata": {"name": DRIVER}, "spec": spec}
        )
        await joined.cluster.until(
            joined.node_path, lambda node: topology.items() <= node["metadata"]["labels"].items()
        )
        yield driver
    disk.clean_up(root)


async def bind(joined, volume):
    """A claim ``old`` that is bound to *volume* of Amazon's, made before there was CSI."""
    spec = {"accessModes": ["ReadWriteOnce"], "volumeMode": "Filesystem"}
    size = {"storage": "1Mi"}
    made = await joined.cluster.create(
        joined.cluster.path("persistentvolumeclaims"),
        {
            "metadata": {"name": "old"},
            "spec": {**spec, "resources": {"requests": size}, "volumeName": "pv-old"},
        },
    )
    reference = {"namespace": joined.cluster.namespace, "name": "old", "uid": made["metadata"]["uid"]}
    source = {"volumeID": f"aws://{ZONE}/{volume}", "fsType": "tmpfs"}
    await joined.cluster.create(
        "/api/v1/persistentvolumes",
        {
            "metadata": {"name": "pv-old", "labels": {"failure-domain.beta.kubernetes.io/zone": ZONE}},
            "spec": {**spec, "capacity": size, "claimRef": reference, "awsElasticBlockStore": source},
        },
    )
    path = joined.cluster.path("persistentvolumeclaims", "old")
    status = {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": size}
    await joined.cluster.patch(f"{path}/status", {"status": status}, MERGE)


async def attach(joined, *volumes):
    """What the attach/detach controller and the driver's attacher do, once the node's status lists them."""
    names = [f"kubernetes.io/csi/{DRIVER}^{volume}" for volume in volumes]
    await joined.cluster.until(
        joined.node_path, lambda node: (node["status"].get("volumesInUse") or []) == sorted(names)
    )
    for volume in volumes:
        name = attachment_name(volume, DRIVER, joined.name)
        inline = {"csi": {"driver": DRIVER, "volumeHandle": volume}, "accessModes": ["ReadWriteOnce"]}
        spec = {"attacher": DRIVER, "nodeName": joined.name, "source": {"inlineVolumeSpec": inline}}
        await joined.cluster.create(ATTACHMENTS, {"metadata": {"name": name}, "spec": spec})
        status = {"attached": True, "attachmentMetadata": {"wwn": volume}}
        await joined.cluster.patch(f"{ATTACHMENTS}/{name}/status", {"status": status}, MERGE)
    attached = [{"name": name, "devicePath": ""} for name in names]
    await joined.cluster.patch(f"{joined.node_path}/status", {"status": {"volumesAttached": attached}}, MERGE)


async def test_a_claim_and_a_pods_own_volume(driver, joined):
    await bind(joined, "vol-1")
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("claimed", "own")]
    volumes = [
        {"name": "claimed", "persistentVolumeClaim": {"claimName": "old"}},
        {"name": "own", "awsElasticBlockStore": {"volumeID": "vol-2", "fsType": "tmpfs"}},
    ]
    app = container("app", volumeMounts=mounts)
    await joined.create(pod("moved", app, volumes=volumes, securityContext={"fsGroup": 4321}))
    await attach(joined, "vol-1", "vol-2")
    [made] = await joined.ready("moved")
    script = "stat -fc %T /claimed /own; stat -c %g /claimed /own; echo kept > /own/file"
    assert await joined.exec(made, script) == "tmpfs\ntmpfs\n4321\n4321"
    staged = {call.request["volume_id"]: call.request for call in driver.calls("NodeStageVolume")}
    assert {name: request["publish_context"] for name, request in staged.items()} == {
        "vol-1": {"wwn": "vol-1"},
        "vol-2": {"wwn": "vol-2"},
    }
    uid = made["metadata"]["uid"]
    directory = joined.node.kubelet.ground.layout.pod_volumes(uid) / "kubernetes.io~csi"
    assert sorted(path.name for path in directory.iterdir()) == [f"{DRIVER}-vol-2", "pv-old"]
    await joined.node.stop()
    await joined.node.start()
    # Mounted again over what is there; the container does not notice.
    await joined.node.until(lambda: len(driver.calls("NodePublishVolume")) == 4)
    shown = await joined.until("moved", is_ready)
    assert container_status(shown) == container_status(made)
    assert await joined.exec(shown, "cat /own/file") == "kept"
    assert driver.calls("NodeUnpublishVolume") == []
    await joined.delete("moved")
    await joined.gone("moved")
    await joined.node.until(lambda: len(driver.calls("NodeUnstageVolume")) == 2, about="unstage")
    await joined.cluster.until(joined.node_path, lambda node: not node["status"].get("volumesInUse"))
    assert not directory.exists()
