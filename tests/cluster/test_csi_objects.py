"""CSIDrivers by a watch, attachments and secrets by request."""

import random

import pytest
from tests.apiserver import Refuse, resources
from tests.apiserver.resources import CSI_DRIVERS, VOLUME_ATTACHMENTS
from tests.cluster.served import connected

from pykubelet.base.clock import SystemClock
from pykubelet.base.errors import VolumeError
from pykubelet.cluster import csi_objects
from pykubelet.cluster.csi_objects import CsiObjectReader


class Rig:
    def __init__(self, server, api):
        self.server = server
        self.changed = []
        self.reader = CsiObjectReader(api, SystemClock(), random.Random(1), on_driver=self.changed.append)


@pytest.fixture
async def rig():
    async with connected() as (server, api):
        made = Rig(server, api)
        yield made
        await made.reader.stop()


async def test_drivers_are_watched(rig):
    rig.server.create(CSI_DRIVERS, {"metadata": {"name": "d.io"}, "spec": {"attachRequired": False}})
    assert rig.reader.cached_driver("d.io") is None
    await rig.reader.start()
    found = await rig.reader.driver("d.io")
    assert found.spec.attachRequired is False
    assert await rig.reader.driver("none.io") is None
    assert rig.changed == ["d.io"]
    period = {"nodeAllocatableUpdatePeriodSeconds": 10}
    rig.server.patch(CSI_DRIVERS, "", "d.io", lambda d: d["spec"].update(period))
    rig.server.create(CSI_DRIVERS, {"metadata": {"name": "e.io"}, "spec": {}})
    await rig.server.wait_for(lambda: rig.changed[1:] == ["d.io", "e.io"])
    assert rig.reader.cached_driver("d.io").spec.nodeAllocatableUpdatePeriodSeconds == 10
    assert rig.server.requests.count("*csidrivers", "list") + rig.server.requests.count("*", "get") == 0


async def test_drivers_that_were_not_read_yet(rig, monkeypatch):
    monkeypatch.setattr(csi_objects, "_LIST_WAIT", 0.05)
    with rig.server.faults.during(Refuse(403, reason="Forbidden")), pytest.raises(VolumeError) as refused:
        await rig.reader.driver("d.io")
    assert str(refused.value) == 'csidriver.storage.k8s.io "d.io": CSI drivers have not been read yet'
    assert refused.value.left == "unchanged"


async def test_an_attachment(rig):
    assert await rig.reader.attachment("csi-1") is None
    spec = {"attacher": "d.io", "nodeName": "n", "source": {"persistentVolumeName": "pv"}}
    rig.server.create(VOLUME_ATTACHMENTS, {"metadata": {"name": "csi-1"}, "spec": spec})
    status = {"attached": True, "attachmentMetadata": {"path": "/dev/x"}}
    rig.server.patch(VOLUME_ATTACHMENTS, "", "csi-1", lambda a: a.update(status=status), "status")
    found = await rig.reader.attachment("csi-1")
    assert found.spec.source.persistentVolumeName == "pv"
    assert found.status.attachmentMetadata == {"path": "/dev/x"}
    with rig.server.faults.during(Refuse(403, reason="Forbidden")), pytest.raises(VolumeError) as refused:
        await rig.reader.attachment("csi-1")
    assert refused.value.left == "unchanged"


async def test_a_secret(rig):
    rig.server.create_namespace("ns")
    with pytest.raises(VolumeError, match=r'^secrets "s" not found$'):
        await rig.reader.secret("ns", "s")
    rig.server.create(resources.SECRETS, {"metadata": {"name": "s"}, "stringData": {"k": "value"}}, "ns")
    found = await rig.reader.secret("ns", "s")
    assert found.data == {"k": b"value"}
    assert "value" not in repr(found)
