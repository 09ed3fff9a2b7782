"""What the node's status tells of volumes, and what is believed of it."""

import pytest

from pykubelet.api.meta import ObjectMeta
from pykubelet.api.node import AttachedVolume, Node, NodeStatus
from pykubelet.base.errors import VolumeError
from pykubelet.cluster.attachments import NodeAttachments
from pykubelet.cluster.errors import Unreachable


def node(*in_use, attached=()):
    volumes = [AttachedVolume(name=name, devicePath=f"/dev/{name}") for name in attached]
    status = NodeStatus(volumesInUse=list(in_use), volumesAttached=volumes)
    return Node(metadata=ObjectMeta(name="n"), status=status)


class Rig:
    def __init__(self):
        self.server, self.cached = node(), None
        self.asked = self.changes = 0
        self.down = False
        self.reports = []
        self.attachments = NodeAttachments(
            self, "n", lambda: self.cached, report=self.reports.append, on_change=self._changed
        )

    def _changed(self):
        self.changes += 1

    async def get(self, path, kind, **_):
        assert path == "/api/v1/nodes/n"
        self.asked += 1
        if self.down:
            raise Unreachable("connection refused")
        return self.server

    def write(self):
        """A status is written, as the reporter does."""
        wanted = self.attachments.to_write()
        self.server = node(*(self.server.status.volumesInUse if wanted is None else wanted))
        self.attachments.written(self.server)


@pytest.fixture
def rig():
    return Rig()


def test_what_an_earlier_life_listed_stays_until_volumes_are_known(rig):
    rig.server = node("old")
    assert rig.attachments.to_write() is None
    rig.write()
    assert rig.server.status.volumesInUse == ["old"]
    assert rig.reports == []
    # It is listed, so the controller keeps it.
    assert rig.attachments.told("old")


def test_volumes_come_into_use_and_go(rig):
    rig.attachments.use(["b", "a", "b"])
    assert rig.attachments.to_write() == ("a", "b")
    assert rig.reports == ["the volumes in use changed"]
    assert not rig.attachments.told("a")
    rig.write()
    assert rig.attachments.told("a")
    assert rig.changes == 1
    rig.attachments.use({"a", "b"})
    assert len(rig.reports) == 1
    rig.attachments.use(["b"])
    rig.write()
    assert not rig.attachments.told("a")
    assert rig.attachments.told("b")
    assert rig.changes == 1
    assert len(rig.reports) == 2


def test_a_volume_that_comes_back_is_told_anew(rig):
    """The controller may have seen the list without it."""
    rig.attachments.use(["a"])
    rig.write()
    on_its_way = rig.server
    rig.attachments.use([])
    rig.attachments.written(on_its_way)
    assert not rig.attachments.told("a")
    rig.attachments.use(["a"])
    assert not rig.attachments.told("a")
    rig.write()
    assert rig.attachments.told("a")


def test_a_node_that_is_gone_lists_nothing(rig):
    rig.attachments.use(["a"])
    rig.write()
    rig.attachments.written(None)
    assert not rig.attachments.told("a")
    rig.write()
    assert rig.attachments.told("a")


async def test_what_is_attached_is_asked_of_the_server(rig):
    rig.server = node(attached=["v"])
    assert await rig.attachments.attached() == {"v": "/dev/v"}
    rig.down = True
    with pytest.raises(VolumeError) as refused:
        await rig.attachments.attached()
    assert (str(refused.value), refused.value.left) == ("connection refused", "unchanged")


def test_the_watch_tells_when_it_is_worth_a_request(rig):
    assert rig.attachments.seen("v") is None
    rig.cached = node(attached=["v"])
    assert rig.attachments.seen("v") is True
    assert rig.attachments.seen("w") is False
    assert rig.asked == 0


def test_what_is_attached_is_a_hint_when_it_changes(rig):
    for brought, changes in [
        (node(), 0),
        (node("a"), 0),
        (node(attached=["v"]), 1),
        (node("a", attached=["v"]), 1),
        (node(attached=["v", "w"]), 2),
        (None, 3),
    ]:
        rig.attachments.node_changed(brought)
        assert rig.changes == changes
