"""When drivers are asked again how many volumes the node can have."""

import asyncio

import pytest
from tests.volumes.csi.kit import DRIVER, Objects

from pykubelet.base.clock import LoopClock
from pykubelet.base.errors import VolumeError
from pykubelet.explain.journal import DecisionJournal
from pykubelet.volumes.csi.refresher import Refresher

pytestmark = pytest.mark.looptime


class Asked:
    """Implements ``Asked``."""

    def __init__(self):
        self.registered: dict[str, object] = {}
        self.times: list[float] = []
        self.errors: list[Exception | None] = []

    async def refresh(self, name):
        assert name == DRIVER
        self.times.append(asyncio.get_running_loop().time())
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error


class Lab:
    def __init__(self):
        self.asked, self.objects, clock = Asked(), Objects(), LoopClock()
        self.journal = DecisionJournal(clock)
        self.refresher = Refresher(self.asked, self.objects, clock, self.journal)

    def says(self, period):
        """The CSIDriver object has that period."""
        self.objects.has_driver(nodeAllocatableUpdatePeriodSeconds=period)
        self.refresher.look(DRIVER)

    def comes(self):
        self.asked.registered[DRIVER] = object()
        self.refresher.look(DRIVER)

    def goes(self):
        del self.asked.registered[DRIVER]
        self.refresher.look(DRIVER)

    def decisions(self, name):
        return [entry for entry in self.journal.of_node() if entry.what == name]


@pytest.fixture
async def lab():
    lab = Lab()
    yield lab
    await lab.refresher.stop()


def tasks():
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("csi-refresh/")]


async def test_a_driver_is_asked_as_often_as_its_object_says(lab):
    lab.comes()
    assert not tasks(), "nobody asked for it"
    await asyncio.sleep(1000)
    lab.says(60)
    await asyncio.sleep(200)
    assert lab.asked.times == [1060, 1120, 1180]
    lab.says(10)
    await asyncio.sleep(25)
    assert lab.asked.times[3:] == [1210, 1220]
    lab.says(None)
    await asyncio.sleep(1000)
    assert len(lab.asked.times) == 5
    assert not tasks()
    assert [entry.text.split(" is asked ")[1] for entry in lab.decisions("CsiDriverAsked")] == [
        f"{often} how many volumes the node can have" for often in ("every 60 s", "every 10 s", "no more")
    ]


async def test_other_changes_of_the_object_leave_the_rhythm(lab):
    lab.comes()
    lab.says(60)
    for _ in range(6):
        await asyncio.sleep(30)
        lab.says(60)
    await asyncio.sleep(1)
    assert lab.asked.times == [60, 120, 180]


@pytest.mark.parametrize("first", ["object", "driver"])
async def test_only_a_driver_that_is_there_is_asked(lab, first):
    if first == "object":
        lab.says(10)
        assert not tasks()
        lab.comes()
    else:
        lab.comes()
        lab.says(10)
    await asyncio.sleep(11)
    assert lab.asked.times == [10]
    lab.goes()
    await asyncio.sleep(100)
    assert lab.asked.times == [10]
    lab.comes()
    await asyncio.sleep(11)
    assert lab.asked.times == [10, 121]


async def test_the_object_goes(lab):
    lab.comes()
    lab.says(10)
    lab.objects.drivers.clear()
    lab.refresher.look(DRIVER)
    await asyncio.sleep(0)
    assert not tasks()


async def test_a_driver_that_fails_is_asked_on_and_told_once(lab, caplog):
    lab.asked.errors = [VolumeError("no"), VolumeError("no"), KeyError("?"), None, VolumeError("no")]
    lab.comes()
    lab.says(10)
    await asyncio.sleep(61)
    assert len(lab.asked.times) == 6
    told = [(entry.text, entry.cause) for entry in lab.decisions("CsiDriverSilent")]
    text = f"driver {DRIVER} does not tell how many volumes the node can have, next try in 10 s"
    assert told == [(text, "no")] * 2
    assert f"asking CSI driver {DRIVER} about the node failed" in caplog.text


async def test_nothing_begins_after_the_end(lab):
    lab.comes()
    lab.says(10)
    await lab.refresher.stop()
    lab.says(20)
    assert not tasks()
