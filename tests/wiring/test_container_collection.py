"""When dead containers are collected."""

import pytest

from pykubelet.base.clock import LoopClock
from pykubelet.base.tasks import TaskOwner
from pykubelet.pods.crashloop import CrashLoop
from pykubelet.wiring.container_collection import PERIOD, REST, ContainerCollection

pytestmark = pytest.mark.looptime


class Node:
    """A collector that notes when it was called; the first pass takes three seconds."""

    def __init__(self):
        self.clock = LoopClock()
        self.tasks = TaskOwner("test")
        self.collected = []
        self.events = []
        self.ready = False
        self.error = None
        self.collection = ContainerCollection(
            self, CrashLoop(), self.clock, self, first_pass=self.first_pass, sources_ready=lambda: self.ready
        )

    def start(self):
        self.tasks.spawn("collection", self.collection.run())

    async def first_pass(self, seconds):
        assert seconds == PERIOD
        await self.clock.sleep(3)

    async def collect(self, *, sources_ready):
        self.collected.append((self.clock.monotonic(), sources_ready))
        if self.error is not None:
            raise self.error

    def node_event(self, kind, reason, message):
        self.events.append((kind, reason, message))


@pytest.fixture
async def node():
    made = Node()
    yield made
    await made.tasks.close()


async def test_after_the_first_pass_and_then_once_a_minute(node):
    node.start()
    began = node.clock.monotonic()
    await node.clock.sleep(10)
    node.ready = True
    await node.clock.sleep(PERIOD)
    assert node.collected == [(began + 3, False), (began + 3 + PERIOD, True)]


async def test_leftovers_are_collected_soon_but_not_at_once(node):
    node.start()
    await node.clock.sleep(3.5)
    asked = node.clock.monotonic()
    for _ in range(3):
        node.collection.request()
    await node.clock.sleep(10)
    assert [at for at, _ in node.collected] == [asked - 0.5, asked - 0.5 + REST]


async def test_a_failure_is_told_and_it_goes_on(node):
    node.start()
    node.error = RuntimeError("the runtime is away")
    await node.clock.sleep(3.5 + PERIOD)
    assert node.events == [("Warning", "ContainerGCFailed", "the runtime is away")] * 2
