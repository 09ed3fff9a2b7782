"""Who gets a slot, how many there are, and that waiting for one can be given up."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.base.clock import LoopClock
from pykubelet.cri.door import Turn
from pykubelet.cri.slots import PATIENCE, SlotQueue, Slots, Ticket, Tuner


def _order(tickets: list[Ticket], limit: int = 1) -> list[int]:
    """Indexes of *tickets* in the order they are served, one at a time."""
    queue = SlotQueue(limit)
    for ticket in tickets:
        queue.add(ticket)
    served = []
    while granted := queue.grant():
        for ticket in granted:
            served.append(tickets.index(ticket))
            queue.leave(ticket)
    return served


@pytest.mark.parametrize(
    ("tickets", "order"),
    [
        pytest.param([("a", False, 0), ("b", False, 0)], [0, 1], id="first come"),
        pytest.param([("a", False, 0), ("b", True, 0)], [1, 0], id="ends first"),
        pytest.param([("a", False, 0), ("b", False, 9)], [1, 0], id="critical first"),
        pytest.param([("a", False, 9), ("b", True, 0)], [1, 0], id="ends before critical starts"),
        pytest.param([("a", False, 0), ("b", False, 0, True)], [1, 0], id="what was begun first"),
        pytest.param([("a", False, 9), ("b", False, 0, True)], [0, 1], id="critical before what was begun"),
        pytest.param(
            [("a", False, 0), ("a", False, 0), ("a", False, 0), ("b", False, 0)], [0, 3, 1, 2], id="fair"
        ),
    ],
)
def test_order(tickets, order):
    assert _order([Ticket(*ticket) for ticket in tickets]) == order


def test_fair_between_pods_that_hold_slots():
    queue = SlotQueue(2)
    greedy, more, modest = Ticket("a", False, 0), Ticket("a", False, 0), Ticket("b", False, 0)
    queue.add(greedy)
    assert queue.grant() == [greedy]
    queue.add(more)
    queue.add(modest)
    assert queue.grant() == [modest]


_TICKETS = st.lists(
    st.builds(Ticket, st.sampled_from("abcd"), st.booleans(), st.integers(0, 2)), min_size=1, max_size=80
)


@given(_TICKETS, st.integers(1, 8))
def test_everyone_is_served_once_and_the_limit_holds(tickets, limit):
    queue = SlotQueue(limit)
    served: list[Ticket] = []
    for ticket in tickets:
        queue.add(ticket)
        served += queue.grant()
        assert queue.held <= limit
        assert queue.held == limit or queue.waiting == 0
    running = list(served)
    while running:
        queue.leave(running.pop(0))
        granted = queue.grant()
        served += granted
        running += granted
        assert queue.held <= limit
    assert len(served) == len(tickets) and set(served) == set(tickets)
    assert (queue.held, queue.waiting) == (0, 0)


@given(st.integers(PATIENCE + 1, 3 * PATIENCE))
def test_nobody_waits_for_ever(ends):
    queue = SlotQueue(1)
    start = Ticket("a", False, 0)
    queue.add(start)
    for passed in range(ends):
        queue.add(Ticket(f"p{passed}", True, 0))
        (granted,) = queue.grant()
        queue.leave(granted)
        if granted is start:
            assert passed == PATIENCE
            return
    raise AssertionError("never served")


@given(st.lists(st.tuples(st.sampled_from("xy"), st.floats(0, 100), st.booleans()), max_size=400))
def test_limit_stays_in_its_bounds(calls):
    tuner = Tuner()
    for kind, seconds, full in calls:
        assert 2 <= tuner.observe(kind, seconds, full=full) <= 8


@pytest.mark.parametrize(
    ("cores", "between"),
    [
        pytest.param(100, (7, 8), id="more slots, more flow"),
        pytest.param(1, (2, 3), id="more slots only queue"),
        pytest.param(5, (4, 6), id="up to the runtime's own bound"),
    ],
)
def test_limit_follows_the_flow(cores, between):
    tuner = Tuner()
    for _ in range(2000):
        tuner.observe("x", 0.1 * max(1.0, tuner.limit / cores), full=True)
        tuner.observe("y", 0.02 * max(1.0, tuner.limit / cores), full=True)
    low, high = between
    assert low <= tuner.limit <= high


def test_fixed_limit():
    tuner = Tuner(lowest=3, limit=3, highest=3)
    for _ in range(100):
        assert tuner.observe("x", 0.1, full=True) == 3


def test_idle_runtime_keeps_its_limit():
    tuner = Tuner()
    for _ in range(200):
        tuner.observe("x", 0.1, full=False)
    assert tuner.limit == 4


@pytest.mark.looptime
async def test_slots_let_only_so_many_run():
    slots = Slots(LoopClock(), Tuner(lowest=2, limit=2, highest=2))
    most = 0

    async def call(pod: str) -> None:
        nonlocal most
        async with slots.hold("x", Turn(pod), ends=False):
            most = max(most, slots.held)
            await asyncio.sleep(1)

    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*(call(str(number)) for number in range(6)))
    assert most == 2
    assert loop.time() - began == pytest.approx(3)
    assert (slots.held, slots.waiting) == (0, 0)


@pytest.mark.looptime
async def test_giving_up_frees_the_place():
    slots = Slots(LoopClock(), Tuner(lowest=1, limit=1, highest=1))

    async def call(seconds: float) -> None:
        async with slots.hold("x", Turn("a"), ends=False):
            await asyncio.sleep(seconds)

    async def brief(seconds: float) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call(seconds), 1)

    await asyncio.gather(brief(100), brief(100), call(2))
    assert (slots.held, slots.waiting) == (0, 0)
    with pytest.raises(ValueError, match="boom"):
        async with slots.hold("x", Turn("a"), ends=True):
            raise ValueError("boom")
    assert slots.held == 0
