"""CSI on one node as the composition has it: drivers come, and what was missed for them is told."""

import pytest
from tests.csidriver.fake import NODE as NODE_SERVICE
from tests.csidriver.fake import FakeNode
from tests.csidriver.serving import SocketServer
from tests.volumes.csi.kit import DRIVER, NODE, Objects, Tokens, claimed, pod_of

from pykubelet.base.clock import SystemClock
from pykubelet.base.errors import VolumeError
from pykubelet.base.layout import Layout
from pykubelet.base.metrics import Metrics
from pykubelet.explain.journal import DecisionJournal
from pykubelet.rpc import csi_v1
from pykubelet.rpc.plugins import PluginRefusedError
from pykubelet.volumes import CsiVolumes, NoNodeInfoSink


class Lab:
    def __init__(self, root):
        self.objects, self.found = Objects(), []
        self.journal = DecisionJournal(SystemClock())
        self.csi = CsiVolumes(
            Layout(root=root),
            NODE,
            SystemClock(),
            self.journal,
            self.journal,
            Metrics(),
            sink=NoNodeInfoSink(),
            objects=self.objects,
            tokens=Tokens(),
            on_found=self.found.append,
        )

    def asked(self):
        """What was decided about asking drivers for their limits."""
        return [entry.text for entry in self.journal.of_node() if entry.what == "CsiDriverAsked"]


@pytest.fixture
async def lab(tmp_path):
    made = Lab(tmp_path)
    yield made
    await made.csi.stop()


@pytest.fixture
async def endpoint(tmp_path):
    node = FakeNode()
    node.answers["NodeGetInfo"] = csi_v1.NodeGetInfoResponse(node_id="n1")
    async with SocketServer(tmp_path / "s", (NODE_SERVICE, node)) as server:
        yield str(server.path)


async def test_a_driver_that_was_missed_is_told_when_it_comes(lab, endpoint):
    lab.objects.attach()
    with pytest.raises(VolumeError, match="not found in the list of registered CSI drivers"):
        await lab.csi.plugin.stage(claimed(), pod_of(), "")
    assert lab.csi.plugin_type == "CSIPlugin"
    lab.csi.validate(DRIVER, endpoint, ["1.0.0"])
    await lab.csi.register(DRIVER, endpoint, ["1.0.0"])
    assert lab.found == [{"uid-1"}]
    await lab.csi.deregister(DRIVER, endpoint)
    await lab.csi.register(DRIVER, endpoint, ["1.0.0"])
    assert len(lab.found) == 1


async def test_its_limits_are_followed_while_it_is_there(lab, endpoint):
    lab.objects.has_driver(nodeAllocatableUpdatePeriodSeconds=60)
    lab.csi.driver_changed(DRIVER)
    assert lab.asked() == []
    await lab.csi.register(DRIVER, endpoint, ["1.0.0"])
    lab.objects.has_driver(nodeAllocatableUpdatePeriodSeconds=90)
    lab.csi.driver_changed(DRIVER)
    await lab.csi.deregister(DRIVER, endpoint)
    told = "how many volumes the node can have"
    assert lab.asked() == [
        f"driver {DRIVER} is asked {often} {told}" for often in ("every 60 s", "every 90 s", "no more")
    ]


async def test_one_that_cannot_be_had_is_told_to_nobody(lab, tmp_path):
    with pytest.raises(PluginRefusedError):
        await lab.csi.register(DRIVER, str(tmp_path / "missing"), ["1.0.0"])
    assert lab.found == []
