"""The contract: claims, persistent volumes, and what nodes tell of CSI."""

import asyncio
import secrets
from typing import Any

import pytest
from tests.apiserver.client import Refusal
from tests.apiserver.cluster import Cluster
from tests.apiserver.contract import SETTLE, by, version
from tests.apiserver.resources import Object

STORAGE = "/apis/storage.k8s.io/v1"
RESIZING = {"type": "Resizing", "status": "True", "lastTransitionTime": "2026-11-21T02:00:00Z"}
PENDING = {"type": "FileSystemResizePending", "status": "True"}


async def make(cluster: Cluster, collection: str, **more: Any) -> tuple[str, Object]:
    """The path of an object without a namespace, and the object."""
    name = f"contract-{secrets.token_hex(4)}"
    path = cluster.later(f"{collection}/{name}")
    return path, await cluster.create(collection, {"metadata": {"name": name}, **more})


class TestClaims:
    async def make(self, cluster: Cluster) -> tuple[str, Object]:
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "",
        }
        made = await cluster.create(
            cluster.path("persistentvolumeclaims"), {"metadata": {"name": "c"}, "spec": spec}
        )
        return cluster.path("persistentvolumeclaims", "c"), made

    async def test_a_new_one(self, cluster: Cluster) -> None:
        _, made = await self.make(cluster)
        assert made["status"] == {"phase": "Pending"}
        assert made["spec"]["volumeMode"] == "Filesystem"
        assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]

    async def test_its_status(self, cluster: Cluster) -> None:
        path, made = await self.make(cluster)
        # Not its capacity: a controller takes that from a claim without a volume.
        status = {
            "allocatedResources": {"storage": "2Gi"},
            "allocatedResourceStatuses": {"storage": "NodeResizePending"},
            "conditions": [RESIZING, PENDING],
        }
        body = {
            "status": status,
            "spec": {"volumeMode": "Block"},
            "metadata": {"uid": made["metadata"]["uid"]},
        }
        told = await cluster.patch(f"{path}/status", body)
        assert told["spec"]["volumeMode"] == "Filesystem"
        assert told["status"]["allocatedResourceStatuses"] == {"storage": "NodeResizePending"}
        conditions = by(told["status"]["conditions"], "type")
        assert conditions["Resizing"]["lastTransitionTime"] == "2026-11-21T02:00:00Z"
        assert conditions["FileSystemResizePending"]["lastTransitionTime"] is None
        done = {
            "allocatedResources": {"storage": "3Gi"},
            "allocatedResourceStatuses": None,
            "conditions": [{"$patch": "delete", "type": "FileSystemResizePending"}],
        }
        meta = {"resourceVersion": version(told)}
        left = (await cluster.patch(f"{path}/status", {"status": done, "metadata": meta}))["status"]
        assert left["allocatedResources"] == {"storage": "3Gi"}
        assert "allocatedResourceStatuses" not in left
        assert [each["type"] for each in left["conditions"]] == ["Resizing"]
        with pytest.raises(Refusal) as refused:
            await cluster.patch(
                f"{path}/status", {"status": {"allocatedResources": {"storage": "4Gi"}}, "metadata": meta}
            )
        assert (refused.value.code, refused.value.reason) == (409, "Conflict")
        none = await cluster.patch(f"{path}/status", {"status": {"conditions": None}})
        assert "conditions" not in none["status"]

    async def test_of_another_uid(self, cluster: Cluster) -> None:
        path, _ = await self.make(cluster)
        body = {"status": {"capacity": {"storage": "3Gi"}}, "metadata": {"uid": "0000"}}
        with pytest.raises(Refusal) as refused:
            await cluster.patch(f"{path}/status", body)
        assert refused.value.code in (409, 422)

    async def test_what_is_not_there(self, cluster: Cluster) -> None:
        for path, text in (
            (cluster.path("persistentvolumeclaims", "none"), 'persistentvolumeclaims "none" not found'),
            ("/api/v1/persistentvolumes/contract-none", 'persistentvolumes "contract-none" not found'),
            (
                f"{STORAGE}/volumeattachments/contract-none",
                'volumeattachments.storage.k8s.io "contract-none" not found',
            ),
        ):
            with pytest.raises(Refusal) as refused:
                await cluster.get(path)
            assert (refused.value.code, refused.value.message) == (404, text)


async def test_a_persistent_volume(cluster: Cluster) -> None:
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "csi": {"driver": "contract.test", "volumeHandle": "h"},
    }
    _, made = await make(cluster, "/api/v1/persistentvolumes", spec=spec)
    assert made["status"]["phase"] == "Pending"
    assert made["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert made["spec"]["volumeMode"] == "Filesystem"
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]


class TestCsiNodes:
    DRIVER = {"name": "d.test", "nodeID": "n", "topologyKeys": ["z"], "allocatable": {"count": 3}}

    async def test_its_life(self, cluster: Cluster) -> None:
        path, made = await make(cluster, f"{STORAGE}/csinodes", spec={"drivers": []})
        assert made["spec"] == {"drivers": None}
        other = {"name": "o.test", "nodeID": "n", "topologyKeys": []}
        told = await cluster.update(path, {**made, "spec": {"drivers": [self.DRIVER, other]}})
        assert told["spec"]["drivers"] == [self.DRIVER, {**other, "topologyKeys": None}]
        with pytest.raises(Refusal) as refused:
            await cluster.update(path, {**made, "spec": {"drivers": []}})
        assert (refused.value.code, refused.value.reason) == (409, "Conflict")
        with pytest.raises(Refusal) as refused:
            await cluster.update(
                path, {"metadata": {"name": made["metadata"]["name"]}, "spec": {"drivers": []}}
            )
        assert (refused.value.code, refused.value.reason) == (422, "Invalid")

    async def test_a_driver_is_replaced_only_after_it_is_gone(self, cluster: Cluster) -> None:
        path, made = await make(cluster, f"{STORAGE}/csinodes", spec={"drivers": [self.DRIVER]})
        renamed = {**self.DRIVER, "nodeID": "m"}
        with pytest.raises(Refusal) as refused:
            await cluster.update(path, {**made, "spec": {"drivers": [renamed]}})
        assert (refused.value.code, refused.value.reason) == (422, "Invalid")
        more = {**self.DRIVER, "allocatable": {"count": 4}}
        told = await cluster.update(path, {**made, "spec": {"drivers": [more]}})
        assert told["spec"]["drivers"] == [more]
        gone = await cluster.update(path, {**told, "spec": {"drivers": []}})
        back = await cluster.update(path, {**gone, "spec": {"drivers": [renamed]}})
        assert back["spec"]["drivers"] == [renamed]


async def test_a_csi_driver(cluster: Cluster) -> None:
    _, made = await make(cluster, f"{STORAGE}/csidrivers", spec={"podInfoOnMount": True})
    expected = {
        "attachRequired": True,
        "podInfoOnMount": True,
        "fsGroupPolicy": "ReadWriteOnceWithFSType",
        "volumeLifecycleModes": ["Persistent"],
        "requiresRepublish": False,
        "seLinuxMount": False,
        "storageCapacity": False,
    }
    assert made["spec"] == expected


async def test_a_volume_attachment(cluster: Cluster) -> None:
    source = {"persistentVolumeName": "contract-none"}
    spec = {"attacher": "contract.test", "nodeName": "contract-nowhere", "source": source}
    path, made = await make(cluster, f"{STORAGE}/volumeattachments", spec=spec, status={"attached": True})
    assert made["status"] == {"attached": False}
    error = {"message": "full", "errorCode": 8, "time": "2026-11-21T02:00:00Z"}
    told = await cluster.patch(f"{path}/status", {"status": {"attached": False, "attachError": error}})
    assert told["status"]["attachError"] == error
    with pytest.raises(Refusal) as refused:
        await cluster.patch(path, {"spec": {"nodeName": "other"}})
    assert (refused.value.code, refused.value.reason) == (422, "Invalid")


async def test_an_unused_claim_goes_at_once(cluster: Cluster) -> None:
    resources = {"requests": {"storage": "1Gi"}}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": resources, "storageClassName": ""}
    claims = cluster.path("persistentvolumeclaims")
    await cluster.create(claims, {"metadata": {"name": "c"}, "spec": spec})
    await cluster.delete(f"{claims}/c")
    async with asyncio.timeout(SETTLE):
        while (await cluster.list(claims))["items"]:
            await asyncio.sleep(0.05)
