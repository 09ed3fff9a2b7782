"""Pods' claims at an API server: resolved, and told how their volumes grow."""

import asyncio

import pytest
from tests.apiserver import Refuse
from tests.apiserver.resources import CLAIMS, PERSISTENT_VOLUMES
from tests.cluster.served import connected
from tests.cluster.test_node_status import Story

from pykubelet.api.codec import convert
from pykubelet.api.core import Pod
from pykubelet.api.quantity import Quantity
from pykubelet.base.clock import SystemClock
from pykubelet.base.errors import ExpandError, VolumeError
from pykubelet.base.tasks import TaskOwner
from pykubelet.cluster.claims import ClaimReader
from pykubelet.wiring.claimed_volumes import ClusterClaims

PATH = "/api/v1/namespaces/ns/persistentvolumeclaims/c"


class Rig:
    def __init__(self, server, api):
        self.server = server
        self.reader = ClaimReader(api)
        self.story = Story()
        self.claims = ClusterClaims(self.reader, SystemClock(), self.story)
        self.pod = convert(
            {
                "metadata": {"name": "p", "namespace": "ns", "uid": "pod-uid"},
                "spec": {
                    "containers": [{"name": "a", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
                    "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c", "readOnly": True}}],
                },
            },
            Pod,
        )

    def bound(self, **status):
        asks = {"resources": {"requests": {"storage": "2Gi"}}, "accessModes": ["ReadWriteOnce"]}
        meta = {"name": "c", "annotations": {}}
        made = self.server.create(CLAIMS, {"metadata": meta, "spec": {**asks, "volumeName": "pv"}}, "ns")
        ref = {"namespace": "ns", "name": "c", "uid": made["metadata"]["uid"]}
        spec = {"capacity": {"storage": "2Gi"}, "claimRef": ref, "accessModes": ["ReadWriteOnce"]}
        source = {"csi": {"driver": "d.io", "volumeHandle": "h"}}
        self.server.create(PERSISTENT_VOLUMES, {"metadata": {"name": "pv"}, "spec": {**spec, **source}})
        self.status(phase="Bound", **status)

    def status(self, **status):
        self.server.patch(CLAIMS, "ns", "c", lambda c: c.setdefault("status", {}).update(status), "status")

    @property
    def told(self):
        return self.server.get(CLAIMS, "ns", "c")["status"]

    async def resolve(self):
        return await self.claims.resolve(self.pod, self.pod.spec.volumes[0])

    def grown(self, stage="NodeResizePending"):
        """The controller grew the volume."""
        self.bound(
            capacity={"storage": "1Gi"},
            allocatedResources={"storage": "2Gi"},
            allocatedResourceStatuses={"storage": stage},
            conditions=[
                {"type": "FileSystemResizePending", "status": "True"},
                {"type": "Other", "status": "True"},
            ],
        )


@pytest.fixture
async def rig():
    async with connected() as (server, api):
        made = Rig(server, api)
        yield made
        await made.reader.stop()


async def test_a_claim_is_followed_to_its_volume(rig):
    rig.bound()
    spec = await rig.resolve()
    assert (spec.name, spec.read_only, spec.block) == ("pv", True, False)
    assert spec.kinds == ("csi",)
    assert spec.claim.status.phase == "Bound"
    # Asked anew each time.
    rig.status(phase="Lost")
    with pytest.raises(VolumeError, match=r"^error processing PVC ns/c: PVC is not bound$"):
        await rig.resolve()


async def test_what_is_missing(rig):
    rig.server.create_namespace("ns")
    with pytest.raises(VolumeError) as refused:
        await rig.resolve()
    assert str(refused.value) == (
        'error processing PVC ns/c: failed to fetch PVC from API server: persistentvolumeclaims "c" not found'
    )
    rig.bound()
    rig.server.delete(PERSISTENT_VOLUMES, "", "pv")
    with pytest.raises(VolumeError) as refused:
        await rig.resolve()
    assert str(refused.value) == (
        'error processing PVC ns/c: failed to fetch PV pv from API server: persistentvolumes "pv" not found'
    )
    with rig.server.faults.during(Refuse(503, reason="ServiceUnavailable")), pytest.raises(VolumeError):
        await rig.resolve()


async def test_pods_that_ask_at_once_share_the_requests(rig):
    rig.bound()
    rig.server.requests.clear()
    specs = await asyncio.gather(*(rig.resolve() for _ in range(10)))
    assert len({spec.pv.metadata.uid for spec in specs}) == 1
    assert len(rig.server.requests) == 2
    await rig.resolve()
    assert len(rig.server.requests) == 4


async def test_one_who_waits_no_more_takes_nothing_from_the_others(rig):
    rig.bound()
    tasks = TaskOwner("test")
    first, second = tasks.spawn("first", rig.resolve()), tasks.spawn("second", rig.resolve())
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).name == "pv"


async def test_a_volume_grows_and_its_claim_is_told(rig):
    rig.grown()
    planned = await rig.claims.expanding(await rig.resolve())
    assert (planned.act, str(planned.size)) == ("expand", "2Gi")
    assert rig.told["allocatedResourceStatuses"] == {"storage": "NodeResizeInProgress"}
    assert [decision for decision, _ in rig.story.decisions] == ["VolumeExpansionBegun"]
    await rig.claims.expanded(planned, None)
    assert rig.told["capacity"] == {"storage": "2Gi"}
    assert rig.told.get("allocatedResourceStatuses", {}) == {}
    assert [each["type"] for each in rig.told["conditions"]] == ["Other"]
    settled = await rig.claims.expanding(await rig.resolve())
    assert (settled.act, settled.size) == ("settled", Quantity.parse("2Gi"))


async def test_a_claim_that_changed_meanwhile_is_not_overwritten(rig):
    rig.grown()
    planned = await rig.claims.expanding(await rig.resolve())
    rig.status(phase="Bound", extra="x")
    with pytest.raises(
        VolumeError, match=r"^mountVolume.NodeExpandVolume update pvc status failed: "
    ) as told:
        await rig.claims.expanded(planned, None)
    assert 'patchPVCStatus failed to patch PVC "c": ' in str(told.value)
    assert rig.told["capacity"] == {"storage": "1Gi"}


async def test_an_expansion_that_failed(rig):
    rig.grown()
    spec = await rig.resolve()
    planned = await rig.claims.expanding(spec)
    await rig.claims.expanded(planned, ExpandError("busy", left="something"))
    assert "NodeResizeError" not in {each["type"] for each in rig.told["conditions"]}
    await rig.claims.expanded(planned, ExpandError("no", left="nothing"))
    [error] = [each for each in rig.told["conditions"] if each["type"] == "NodeResizeError"]
    assert (error["status"], error["message"]) == ("True", "failed to expand pvc with no")
    assert rig.told["allocatedResourceStatuses"] == {"storage": "NodeResizeInProgress"}
    await rig.claims.expanded(planned, ExpandError("never", "infeasible", left="nothing"))
    assert rig.told["allocatedResourceStatuses"] == {"storage": "NodeResizeInfeasible"}
    assert (await rig.claims.expanding(spec)).act == "wait"


async def test_a_failure_gives_up_what_the_user_wants_no_more(rig):
    rig.grown()
    spec = await rig.resolve()
    await rig.claims.expanded(await rig.claims.expanding(spec), ExpandError("no", left="nothing"))
    resources = {"requests": {"storage": "3Gi"}}
    rig.server.patch(CLAIMS, "ns", "c", lambda c: c["spec"].update(resources=resources))
    await rig.claims.expanded(await rig.claims.expanding(spec), ExpandError("no", left="nothing"))
    assert rig.told["allocatedResourceStatuses"] == {"storage": "NodeResizeInfeasible"}


async def test_another_claim_of_that_name_is_left_alone(rig):
    rig.grown()
    spec = await rig.resolve()
    rig.server.delete(CLAIMS, "ns", "c")
    rig.server.create(CLAIMS, {"metadata": {"name": "c"}, "spec": {"resources": {}}}, "ns")
    with pytest.raises(VolumeError, match="is not the one that volume pv is bound to"):
        await rig.claims.expanding(spec)


async def test_what_cannot_be_told_does_not_begin(rig):
    rig.grown()
    spec = await rig.resolve()
    for path, text in (
        (f"{PATH}/status", 'patchPVCStatus failed to patch PVC "c": refused by a fault'),
        (PATH, "mountVolume.NodeExpandVolume get PVC failed : refused by a fault"),
    ):
        fault = rig.server.faults.during(Refuse(403, reason="Forbidden"), path=path)
        with fault, pytest.raises(VolumeError) as refused:
            await rig.claims.expanding(spec)
        assert (str(refused.value), refused.value.left) == (text, "unchanged")
