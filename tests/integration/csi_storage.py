"""A CSI driver on a node of a cluster, and claims for its volumes."""

import contextlib

from tests.apiserver.client import MERGE, Refusal
from tests.csidriver import disk
from tests.csidriver.driver import CsiDriver
from tests.integration.killed_node import container
from tests.listing import files_below

from pykubelet.volumes.csi.paths import attachment_name

DRIVER = "driver.example"
VOLUMES = "/api/v1/persistentvolumes"
DRIVERS = "/apis/storage.k8s.io/v1/csidrivers"
ATTACHMENTS = "/apis/storage.k8s.io/v1/volumeattachments"


class Storage:
    """A driver on the node, and what the cluster knows of its volumes."""

    def __init__(self, joined, driver):
        self.joined, self.driver, self.cluster = joined, driver, joined.cluster

    async def allow(self, **spec):
        """What the CSIDriver object says."""
        modes = {"volumeLifecycleModes": ["Persistent", "Ephemeral"], "fsGroupPolicy": "File"}
        body = {"metadata": {"name": DRIVER}, "spec": {"attachRequired": False, **modes, **spec}}
        with contextlib.suppress(Refusal):
            await self.cluster.delete(f"{DRIVERS}/{DRIVER}")
        await self.cluster.create(DRIVERS, body)

    async def bind(self, claim, volume, *, owner=None, mode="Filesystem", fs_type="", **attributes):
        """A claim that is bound to a volume of the driver."""
        spec = {
            "accessModes": ["ReadWriteMany"],
            "volumeMode": mode,
            "resources": {"requests": {"storage": "1Mi"}},
        }
        owners = [] if owner is None else [
            {"apiVersion": "v1", "kind": "Pod", "name": owner["metadata"]["name"],
             "uid": owner["metadata"]["uid"], "controller": True}
        ]  # fmt: skip
        made = await self.cluster.create(
            self.cluster.path("persistentvolumeclaims"),
            {"metadata": {"name": claim, "ownerReferences": owners}, "spec": {**spec, "volumeName": volume}},
        )
        reference = {"namespace": self.cluster.namespace, "name": claim, "uid": made["metadata"]["uid"]}
        source = {"driver": DRIVER, "volumeHandle": f"handle-{volume}", "volumeAttributes": attributes}
        source |= {"fsType": fs_type} if fs_type else {}
        await self.cluster.create(
            VOLUMES,
            {
                "metadata": {"name": volume},
                "spec": {
                    "accessModes": ["ReadWriteMany"],
                    "capacity": {"storage": "1Mi"},
                    "volumeMode": mode,
                    "claimRef": reference,
                    "csi": source,
                },
            },
        )
        status = {"phase": "Bound", "accessModes": ["ReadWriteMany"], "capacity": {"storage": "1Mi"}}
        path = self.cluster.path("persistentvolumeclaims", claim)
        await self.cluster.patch(f"{path}/status", {"status": status}, MERGE)

    async def in_use(self):
        return (await self.joined.node_object())["status"].get("volumesInUse") or []

    async def attach(self, handle):
        """What the attach/detach controller and the driver's attacher do."""
        name = attachment_name(handle, DRIVER, self.joined.name)
        spec = {"attacher": DRIVER, "nodeName": self.joined.name, "source": {"persistentVolumeName": "x"}}
        await self.cluster.create(ATTACHMENTS, {"metadata": {"name": name}, "spec": spec})
        status = {"attached": True, "attachmentMetadata": {"wwn": "77"}}
        await self.cluster.patch(f"{ATTACHMENTS}/{name}/status", {"status": status}, MERGE)
        attached = [{"name": f"kubernetes.io/csi/{DRIVER}^{handle}", "devicePath": ""}]
        path = f"{self.joined.node_path}/status"
        await self.cluster.patch(path, {"status": {"volumesAttached": attached}}, MERGE)

    def count(self, method, handle):
        return len([call for call in self.driver.calls(method) if call.request["volume_id"] == handle])

    async def undone(self, *handles):
        """Wait until the volumes are taken from the node, and nothing tells of them any more."""
        await self.joined.node.until(
            lambda: all(self.count("NodeUnstageVolume", handle) for handle in handles), about="unstage"
        )
        top = self.joined.node.kubelet.ground.layout.plugins / "kubernetes.io/csi"
        await self.joined.node.until(lambda: not files_below(top, "vol_data.json"), about="traces")


@contextlib.asynccontextmanager
async def storage_of(joined, root):
    """A driver with all of its own below *root*, on the node *joined*."""
    assert joined.server, "only the double lets a test attach volumes"
    layout = joined.node.kubelet.ground.layout
    async with CsiDriver(root, layout.plugins_registry, node_id=joined.name) as driver:
        yield Storage(joined, driver)
    disk.clean_up(root)


def claim_of(name):
    return {"name": "data", "persistentVolumeClaim": {"claimName": name}}


def user(**fields):
    return container("app", volumeMounts=[{"name": "data", "mountPath": "/data"}], **fields)
