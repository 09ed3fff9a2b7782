"""The runtime's own word on its health, and what follows from it."""

import pytest

from pykubelet.base.clock import LoopClock
from pykubelet.cri.errors import Code, CriError
from pykubelet.cri.types import RuntimeCondition, RuntimeStatus
from pykubelet.observe.health import RuntimeHealth

pytestmark = pytest.mark.looptime
NOT_YET = ["container runtime status check may not have completed yet"]


def status(ready=True, network=True) -> RuntimeStatus:
    return RuntimeStatus(
        (
            RuntimeCondition("RuntimeReady", ready, "" if ready else "Broken", "" if ready else "no disk"),
            RuntimeCondition(
                "NetworkReady", network, "" if network else "NoCNI", "" if network else "no plugin"
            ),
        )
    )


class Node:
    """A runtime that answers as told, and what it is told in turn."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.answer: RuntimeStatus | Exception | str = status()
        self.asked = 0
        self.started = 0
        self.start_error: Exception | None = None
        self.recovered = 0
        self.health = RuntimeHealth(
            self, self.clock, on_first_good=self.first_good, on_recovered=self.recover
        )

    async def status(self) -> RuntimeStatus:
        self.asked += 1
        if self.answer == "hang":
            await self.clock.sleep(1e6)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def first_good(self, status) -> None:
        self.started += 1
        if self.start_error is not None:
            raise self.start_error

    def recover(self) -> None:
        self.recovered += 1


@pytest.fixture
async def node():
    made = Node()
    yield made
    await made.health.stop()


LOST = CriError(Code.Unavailable, "Status", "gone")


async def test_before_the_first_answer_nothing_is_known(node) -> None:
    assert node.health.runtime_errors() == NOT_YET
    assert node.health.network_error()
    assert node.health.status is None


async def test_the_first_good_status_starts_what_waited_for_it_once(node) -> None:
    await node.health.start()
    await node.clock.sleep(60)
    assert node.started == 1
    assert node.recovered == 0
    assert node.health.runtime_errors() == []
    assert node.health.network_error() == ""
    assert node.health.status == status()
    assert 12 <= node.asked <= 13


async def test_what_failed_to_start_is_started_again(node, caplog) -> None:
    node.start_error = OSError("busy")
    await node.health.start()
    await node.clock.sleep(0.5)
    assert node.health.runtime_errors() == NOT_YET
    node.start_error = None
    await node.clock.sleep(5)
    assert node.started == 2
    assert node.health.runtime_errors() == []


async def test_a_runtime_that_is_gone_for_half_a_minute_is_down_until_it_answers(node, caplog) -> None:
    await node.health.start()
    await node.clock.sleep(1)
    node.answer = LOST
    await node.clock.sleep(20)
    assert node.health.runtime_errors() == []
    assert caplog.messages[-1].endswith("rpc error: code = Unavailable desc = gone")
    await node.clock.sleep(20)
    assert node.health.runtime_errors() == ["container runtime is down"]
    node.answer = status()
    await node.clock.sleep(1.5)
    assert node.health.runtime_errors() == []
    assert (node.recovered, node.started) == (1, 1)


async def test_a_runtime_that_hangs_counts_as_gone(node, caplog) -> None:
    await node.health.start()
    await node.clock.sleep(1)
    node.answer = "hang"
    await node.clock.sleep(60)
    assert node.health.runtime_errors() == ["container runtime is down"]
    assert caplog.messages[-1].endswith("no answer within 10s")


async def test_a_runtime_that_says_it_is_not_ready_is_believed(node) -> None:
    node.answer = status(ready=False)
    await node.health.start()
    await node.clock.sleep(3)
    assert node.started == 0
    assert node.health.runtime_errors() == NOT_YET
    node.answer = status()
    await node.clock.sleep(1.5)
    node.answer = status(ready=False)
    await node.clock.sleep(5)
    assert node.health.runtime_errors() == [
        "container runtime not ready: RuntimeReady=false reason:Broken message:no disk"
    ]


async def test_a_missing_network_is_told_apart(node) -> None:
    node.answer = status(network=False)
    await node.health.start()
    await node.clock.sleep(1)
    assert node.health.runtime_errors() == []
    assert node.health.network_error() == (
        "container runtime network not ready: NetworkReady=false reason:NoCNI message:no plugin"
    )
    node.answer = RuntimeStatus((RuntimeCondition("RuntimeReady", True),))
    await node.clock.sleep(5)
    assert "does not report NetworkReady" in node.health.network_error()


async def test_a_short_outage_that_a_call_found_is_seen_and_its_end_told(node) -> None:
    await node.health.start()
    await node.clock.sleep(1)
    node.answer = LOST
    node.health.doubt()
    await node.clock.sleep(0.5)
    node.answer = status()
    await node.clock.sleep(1.5)
    assert node.recovered == 1


async def test_doubts_without_an_outage_wake_nobody(node) -> None:
    await node.health.start()
    for _ in range(5):
        await node.clock.sleep(0.5)
        node.health.doubt()
    await node.clock.sleep(0.5)
    assert node.recovered == 0
    assert node.asked == 6
