"""The lease is held on time, whatever happens."""

import itertools
import random

import pytest
from tests.cluster.fake_node_api import LEASE, FakeNodeApi, away

from pykubelet.api.meta import ObjectMeta, OwnerReference
from pykubelet.api.objects import Lease, LeaseSpec
from pykubelet.base.clock import LoopClock
from pykubelet.base.journal import NullJournal
from pykubelet.cluster.errors import Refused
from pykubelet.cluster.lease import NodeLease

pytestmark = pytest.mark.looptime(start=0)


class Held:
    def __init__(self, **settings) -> None:
        self.clock = LoopClock()
        self.api = FakeNodeApi(**settings)
        self.resets = 0
        self.lease = NodeLease(
            self.api, "n", self.clock, random.Random(1), NullJournal(), duration=40, reset=self.reset
        )

    async def reset(self) -> None:
        self.resets += 1

    @property
    def seen(self) -> Lease:
        return self.api.seen(LEASE, Lease)

    def times(self, verb: str) -> list[float]:
        return [at for at, *_ in self.api.made(verb)]


@pytest.fixture
async def held():
    made = Held()
    yield made
    await made.lease.stop()


async def test_it_is_made_when_the_node_is_known_and_renewed_in_time(held) -> None:
    await held.lease.start()
    await held.clock.sleep(3)
    assert held.api.made("create") == []
    held.lease.owned_by("u")
    await held.clock.sleep(1)
    made = held.seen
    assert made.spec.holderIdentity == "n"
    assert made.spec.leaseDurationSeconds == 40
    assert made.metadata.ownerReferences == [OwnerReference(apiVersion="v1", kind="Node", name="n", uid="u")]
    assert len(made.spec.renewTime) == len("2026-11-21T01:02:03.000000Z")
    await held.clock.sleep(100)
    times = held.times("update")
    assert len(times) in {9, 10}
    assert all(10 <= late - early <= 10.4 for early, late in itertools.pairwise(times))
    assert len(held.api.requests) == len(times) + 2


async def test_one_that_is_there_is_taken_over_and_brought_up_to_date(held) -> None:
    await held.lease.start()
    held.api.put(
        LEASE,
        Lease(metadata=ObjectMeta(name="n"), spec=LeaseSpec(holderIdentity="n", leaseDurationSeconds=7)),
    )
    await held.clock.sleep(1)
    assert held.seen.spec.leaseDurationSeconds == 40
    assert held.seen.metadata.ownerReferences == []
    held.lease.owned_by("u")
    await held.clock.sleep(11)
    assert held.seen.metadata.ownerReferences[0].uid == "u"
    held.lease.owned_by("v")
    await held.clock.sleep(11)
    assert [owner.uid for owner in held.seen.metadata.ownerReferences] == ["v"]


async def test_a_slow_server_does_not_stretch_the_interval() -> None:
    slow = Held(delay=4)
    slow.lease.owned_by("u")
    await slow.lease.start()
    await slow.clock.sleep(100)
    await slow.lease.stop()
    times = slow.times("update")
    assert all(10 <= late - early <= 10.4 for early, late in itertools.pairwise(times))


async def test_a_conflict_is_read_and_tried_again(held) -> None:
    await held.lease.start()
    held.lease.owned_by("u")
    await held.clock.sleep(1)
    other = held.seen
    held.api.put(LEASE, other)
    await held.clock.sleep(10)
    assert [verb for _, verb, *_ in held.api.requests][2:] == ["update", "get", "update"]


async def test_one_that_was_deleted_is_made_again(held) -> None:
    await held.lease.start()
    held.lease.owned_by("u")
    await held.clock.sleep(1)
    del held.api.objects[LEASE]
    await held.clock.sleep(10)
    assert [verb for _, verb, *_ in held.api.requests][2:] == ["update", "get", "create"]


async def test_after_an_outage_it_is_held_again_at_once(held) -> None:
    await held.lease.start()
    held.lease.owned_by("u")
    await held.clock.sleep(1)
    held.api.fails = away
    await held.clock.sleep(3600)
    failures = len(held.api.requests)
    assert failures < 3600 / 6
    assert held.resets > 0
    held.api.fails = lambda verb, path: None
    await held.clock.sleep(8)
    assert [verb for _, verb, *_ in held.api.requests][failures:] == ["get", "update"]


async def test_the_servers_wish_for_a_wait_is_heeded(held) -> None:
    await held.lease.start()
    held.lease.owned_by("u")
    await held.clock.sleep(1)
    held.api.fails = lambda verb, path: Refused(429, "TooManyRequests", "slow down", retry_after=6)
    before = len(held.api.requests)
    await held.clock.sleep(12)
    assert len(held.api.requests) - before <= 2


async def test_a_server_that_hangs_is_given_up_and_connections_are_closed(held) -> None:
    await held.lease.start()
    held.lease.owned_by("u")
    await held.clock.sleep(1)
    held.api.hangs = lambda verb, path: True
    await held.clock.sleep(35)
    held.api.hangs = lambda verb, path: False
    await held.clock.sleep(11)
    assert held.resets >= 1
    assert held.times("update")[-1] > 35
