"""The CSINode object is there, tells this node's drivers, and belongs to this very Node."""

import asyncio
import random

import pytest
from tests.apiserver import Refuse, resources
from tests.apiserver.resources import CSI_NODES
from tests.cluster.served import connected
from tests.cluster.test_node_status import Story

from pykubelet.api.node import Node
from pykubelet.base.clock import SystemClock
from pykubelet.base.errors import VolumeError
from pykubelet.base.tasks import TaskOwner
from pykubelet.cluster.csi_node import CsiNodePublisher
from pykubelet.cluster.paths import nodes

PATH = "/apis/storage.k8s.io/v1/csinodes"
ZONE = {"topology.example/zone": "a"}


class Rig:
    def __init__(self, server, api):
        self.server, self.api = server, api
        self.story = Story()
        self.changes = []
        self.tasks = TaskOwner("test")
        self.publisher = CsiNodePublisher(
            api, "n", SystemClock(), random.Random(1), self.story, on_change=self.changes.append
        )

    async def see(self, **more):
        """The Node is made, or made anew, and seen."""
        if self.server.node("n"):
            self.server.delete(resources.NODES, "", "n")
        self.server.create_node("n", **more)
        self.publisher.node_seen(await self.api.get(nodes("n"), Node))

    async def begin(self, **more):
        await self.publisher.start()
        await self.see(**more)
        await self.ready()

    async def ready(self):
        await self.server.wait_for(lambda: not self.publisher.errors())

    @property
    def found(self):
        return self.server.get(CSI_NODES, "", "n")

    @property
    def node(self):
        return self.server.node("n")["metadata"]

    def writes(self):
        return [each.verb for each in self.server.requests.find(f"{PATH}*") if each.verb != "get"]


@pytest.fixture
async def rig():
    async with connected() as (server, api):
        made = Rig(server, api)
        yield made
        await made.publisher.stop()


async def test_the_node_is_not_ready_until_the_object_is_there(rig):
    await rig.publisher.start()
    assert rig.publisher.errors() == ("CSINode is not yet initialized",)
    await asyncio.sleep(0.05)
    assert rig.found is None
    await rig.see()
    await rig.ready()
    [owner] = rig.found["metadata"]["ownerReferences"]
    assert owner == {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": rig.node["uid"]}
    assert rig.found["spec"] == {"drivers": None}
    assert rig.changes == ["CSINode is initialized"]


async def test_a_daemon_that_starts_anew_can_wait_for_it(rig):
    """The first status that it reports does not tell of a node that is not ready."""
    await rig.publisher.settled()
    await rig.see()
    waiting = rig.tasks.spawn("wait", rig.publisher.settled())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await rig.publisher.start()
    await waiting
    assert rig.publisher.errors() == ()


async def test_an_attempt_that_fails_is_not_waited_for_further(rig):
    rig.server.faults.add(Refuse(403, reason="Forbidden"), path=f"{PATH}*")
    await rig.publisher.start()
    await rig.see()
    await rig.publisher.settled()
    assert rig.publisher.errors() != ()


async def test_an_object_that_is_there_is_put_right_and_kept(rig):
    await rig.begin()
    drivers = [{"name": "other", "nodeID": "x", "topologyKeys": None}]
    rig.server.patch(CSI_NODES, "", "n", lambda obj: obj.update(spec={"drivers": drivers}))
    rig.server.patch(CSI_NODES, "", "n", lambda obj: obj["metadata"].update(annotations={"a": "b"}))
    again = Rig(rig.server, rig.api)
    await again.publisher.start()
    again.publisher.node_seen(await rig.api.get(nodes("n"), Node))
    await again.ready()
    assert [each["name"] for each in again.found["spec"]["drivers"]] == ["other"]
    assert set(again.found["metadata"]["annotations"]) == {
        "a",
        "storage.alpha.kubernetes.io/migrated-plugins",
    }
    await again.publisher.stop()


async def test_a_driver_is_published_once_and_taken_back(rig):
    await rig.begin()
    rig.server.requests.clear()
    await rig.publisher.install("d.io", "id-1", 8, ZONE)
    assert rig.node["annotations"]["csi.volume.kubernetes.io/nodeid"] == '{"d.io":"id-1"}'
    assert ZONE.items() <= rig.node["labels"].items()
    [driver] = rig.found["spec"]["drivers"]
    assert driver["allocatable"] == {"count": 8}
    assert driver["topologyKeys"] == ["topology.example/zone"]
    await rig.publisher.install("d.io", "id-1", 8, ZONE)
    assert rig.writes() == ["update"]
    assert rig.server.requests.count("*/nodes/n/status", "patch") == 1
    await rig.publisher.install("d.io", "id-1", 9, ZONE)
    assert rig.found["spec"]["drivers"][0]["allocatable"] == {"count": 9}
    await rig.publisher.uninstall("d.io")
    await rig.publisher.uninstall("d.io")
    assert rig.found["spec"]["drivers"] is None
    assert "annotations" not in rig.node
    assert ZONE.items() <= rig.node["labels"].items()


async def test_many_drivers_at_once(rig):
    await rig.begin()
    names = [f"d{number}" for number in range(8)]
    await asyncio.gather(*(rig.publisher.install(name, "id", 0, {name: "x"}) for name in names))
    assert sorted(each["name"] for each in rig.found["spec"]["drivers"]) == names
    assert set(names) <= set(rig.node["labels"])


async def test_a_conflict_is_tried_again(rig):
    await rig.begin()
    rig.server.faults.add(Refuse(409, reason="Conflict"), verb="update", path=f"{PATH}/n", times=2)
    await rig.publisher.install("d.io", "id", 0, {})
    assert [each["name"] for each in rig.found["spec"]["drivers"]] == ["d.io"]


async def test_refusals_are_told(rig):
    await rig.begin(metadata={"name": "n", "labels": {"topology.example/zone": "b"}})
    with pytest.raises(VolumeError) as refused:
        await rig.publisher.install("d.io", "id", 0, ZONE)
    assert str(refused.value) == (
        "error updating Node object with CSI driver node info: error updating node: timed out waiting for "
        "the condition; caused by: detected topology value collision: driver reported "
        '"topology.example/zone":"a" but existing label is "topology.example/zone":"b"'
    )
    with pytest.raises(VolumeError, match="driverNodeID must not be empty"):
        await rig.publisher.install("d.io", "", 0, {})
    with rig.server.faults.during(Refuse(403, reason="Forbidden"), path=f"{PATH}*"):
        with pytest.raises(VolumeError, match=r"^error updating CSINode object with CSI driver node info: "):
            await rig.publisher.install("d.io", "id", 0, {})
        with pytest.raises(VolumeError, match=r"^error uninstalling CSI driver from CSINode object "):
            await rig.publisher.uninstall("d.io")
    assert rig.found["spec"]["drivers"] is None


async def test_a_driver_that_comes_before_the_node_waits_for_it(rig):
    await rig.publisher.start()
    installing = rig.tasks.spawn("install", rig.publisher.install("d.io", "id", 0, {}))
    await asyncio.sleep(0.05)
    assert not installing.done()
    await rig.see()
    await installing
    assert [each["name"] for each in rig.found["spec"]["drivers"]] == ["d.io"]


async def test_a_node_that_is_made_anew_has_its_own_object_and_drivers(rig):
    await rig.begin()
    await rig.publisher.install("d.io", "id", 3, ZONE)
    await rig.publisher.install("gone.io", "id", 3, {})
    await rig.publisher.uninstall("gone.io")
    old = rig.found["metadata"]["uid"]
    await rig.see()
    assert rig.publisher.errors() == ("CSINode is not yet initialized",)
    await rig.ready()
    assert rig.found["metadata"]["uid"] != old
    assert rig.found["metadata"]["ownerReferences"][0]["uid"] == rig.node["uid"]
    assert [each["name"] for each in rig.found["spec"]["drivers"]] == ["d.io"]
    assert rig.node["annotations"]["csi.volume.kubernetes.io/nodeid"] == '{"d.io":"id"}'


async def test_a_driver_that_does_not_fit_a_new_node_does_not_make_it_unready(rig):
    await rig.begin()
    await rig.publisher.install("d.io", "id", 3, ZONE)
    await rig.publisher.install("other.io", "id", 3, {})
    await rig.see(metadata={"name": "n", "labels": {"topology.example/zone": "b"}})
    await rig.ready()
    assert [each["name"] for each in rig.found["spec"]["drivers"]] == ["other.io"]


async def test_trouble_is_shown_and_outlasted(rig):
    await rig.publisher.start()
    with rig.server.faults.during(Refuse(403, reason="Forbidden"), path=f"{PATH}*"):
        await rig.see()
        await rig.server.wait_for(lambda: "failed to initialize CSINode: " in rig.publisher.errors()[0])
    await rig.ready()
    assert rig.found is not None
    assert len(rig.changes) >= 2
