"""The node's status is reported in time, never in storms."""

import asyncio
import itertools
import random
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace

import msgspec
import pytest
from tests.cluster.fake_node_api import LEASE, NODE, FakeNodeApi, away

from pykubelet.api.meta import ObjectMeta
from pykubelet.api.node import Node, NodeCondition, NodeSpec, NodeStatus
from pykubelet.base.clock import LoopClock
from pykubelet.base.journal import NullJournal
from pykubelet.cluster.errors import Refused
from pykubelet.cluster.lease import NodeLease
from pykubelet.cluster.node_status import NodeReporter, ReporterDoors, ReporterSettings
from pykubelet.cluster.registration import Registration

pytestmark = pytest.mark.looptime(start=0)


class Story(NullJournal):
    def __init__(self) -> None:
        self.events: list[str] = []
        self.decisions: list[tuple[str, str]] = []

    def node_event(self, kind, reason, message) -> None:
        self.events.append(reason)

    def record(self, decision, text, *, cause="", **_) -> None:
        self.decisions.append((decision, cause))


@dataclass
class Update:
    node: Node
    events: tuple[SimpleNamespace, ...] = ()


class Rig:
    """A reporter of a node that is as *state* says."""

    def __init__(self, *, watched: bool = True, ready: str = "True") -> None:
        self.clock = LoopClock()
        self.api = FakeNodeApi()
        self.story = Story()
        self.ready = ready
        self.extra: tuple[str, ...] = ()
        self.resets = 0
        self.seen: list[Node] = []
        self.written: list[Node | None] = []
        self.watched = watched
        self.settled = asyncio.Event()
        self.settled.set()
        registration = Registration(
            self.api,
            "n",
            self.clock,
            self.story,
            self.story,
            initial=lambda: self.update(Node(metadata=ObjectMeta(name="n"))),
            reconcile=lambda initial, existing: existing,
        )
        self.reporter = NodeReporter(
            self.api,
            "n",
            self.clock,
            random.Random(1),
            self.story,
            self.story,
            registration,
            ReporterDoors(
                update=self.update,
                cached=lambda: self.api.seen(NODE, Node) if self.watched else None,
                outlook=lambda: self.ready,
                seen=self.seen.append,
                reset=self.reset,
                settled=self.settled.wait,
                written=self.written.append,
            ),
            ReporterSettings(update_frequency=10, report_frequency=300, timeout=10),
        )

    async def reset(self) -> None:
        self.resets += 1

    def update(self, old: Node) -> Update:
        now: datetime = self.clock.now().replace(microsecond=0)
        before = next((each for each in old.status.conditions if each.type == "Ready"), None)
        kept = before is not None and before.status == self.ready
        condition = NodeCondition(
            type="Ready",
            status=self.ready,
            lastHeartbeatTime=now,
            lastTransitionTime=before.lastTransitionTime if kept else now,
        )
        status = NodeStatus(conditions=[condition], declaredFeatures=list(self.extra))
        told = () if kept or before is None else ("NodeReady" if self.ready == "True" else "NodeNotReady",)
        events = tuple(SimpleNamespace(kind="Normal", reason=reason, message="") for reason in told)
        return Update(msgspec.structs.replace(old, status=status), events)

    @property
    def patches(self) -> list[float]:
        return [at for at, *_ in self.api.made("patch")]

    @property
    def shown(self) -> str:
        return str(self.api.objects[NODE]["status"]["conditions"][0]["status"])


@pytest.fixture
async def rig():
    made = Rig()
    yield made
    await made.reporter.stop()


async def test_at_rest_only_heartbeats_go_out(rig) -> None:
    await rig.reporter.start()
    await rig.clock.sleep(1)
    assert rig.shown == "True"
    start = len(rig.patches)
    await rig.clock.sleep(3600)
    waits = [late - early for early, late in zip(rig.patches[start:], rig.patches[start + 1 :], strict=False)]
    assert 11 <= len(rig.patches) - start <= 13
    assert all(300 <= wait <= 311 for wait in waits[1:])
    assert rig.api.made("get") == []
    assert rig.story.events == []


async def test_without_a_watch_the_node_is_asked_for() -> None:
    rig = Rig(watched=False)
    await rig.reporter.start()
    await rig.clock.sleep(100)
    await rig.reporter.stop()
    assert 9 <= len(rig.api.made("get")) <= 11


async def test_a_change_is_reported_at_once_with_its_event_and_cause(rig) -> None:
    await rig.reporter.start()
    await rig.clock.sleep(33)
    rig.ready = "False"
    rig.reporter.changed("the runtime is down")
    await rig.clock.sleep(0.1)
    assert rig.shown == "False"
    assert rig.story.events == ["NodeNotReady"]
    assert rig.story.decisions[-1] == ("NodeStatusReported", "the runtime is down")


async def test_changes_that_flutter_make_no_storm(rig) -> None:
    await rig.reporter.start()
    await rig.clock.sleep(33)
    before = len(rig.patches)
    for turn in range(200):
        rig.ready = "False" if turn % 2 == 0 else "True"
        rig.reporter.changed("flutter")
        await rig.clock.sleep(0.05)
    assert len(rig.patches) - before <= 12
    await rig.clock.sleep(2)
    assert rig.shown == rig.ready


async def test_a_watch_that_lags_hides_no_change(rig) -> None:
    await rig.reporter.start()
    await rig.clock.sleep(33)
    stale = rig.api.seen(NODE, Node)
    lagging = rig.api.seen
    rig.api.seen = lambda path, kind: stale if path == NODE and rig.watched == "lags" else lagging(path, kind)
    rig.ready = "False"
    rig.reporter.changed("down")
    await rig.clock.sleep(1)
    rig.watched = "lags"
    rig.ready = "True"
    rig.reporter.changed("up")
    await rig.clock.sleep(1)
    assert rig.shown == "True"


async def test_becoming_ready_is_reported_within_a_moment() -> None:
    rig = Rig(ready="False")
    await rig.reporter.start()
    await rig.clock.sleep(5)
    patches = len(rig.patches)
    rig.ready = "True"
    await rig.clock.sleep(0.2)
    assert (rig.shown, len(rig.patches)) == ("True", patches + 1)
    await rig.reporter.stop()


async def test_what_nobody_tells_is_seen_within_a_second(rig) -> None:
    await rig.reporter.start()
    await rig.clock.sleep(31)
    before = len(rig.patches)
    rig.ready = "False"
    await rig.clock.sleep(1.1)
    assert (rig.shown, len(rig.patches)) == ("False", before + 1)


async def test_a_node_that_does_not_become_ready_is_no_storm() -> None:
    rig = Rig(ready="False")
    await rig.reporter.start()
    await rig.clock.sleep(600)
    assert len(rig.patches) <= 4
    await rig.reporter.stop()


async def test_nothing_is_told_before_the_runtime_was_looked_at() -> None:
    rig = Rig()
    rig.settled.clear()
    await rig.reporter.start()
    await rig.clock.sleep(5)
    assert rig.api.requests == []
    rig.settled.set()
    await rig.clock.sleep(0.1)
    assert rig.api.made("create")
    await rig.reporter.stop()


async def test_a_runtime_that_never_answers_does_not_keep_the_node_away() -> None:
    rig = Rig(ready="False")
    rig.settled.clear()
    await rig.reporter.start()
    await rig.clock.sleep(21)
    assert rig.shown == "False"
    await rig.reporter.stop()


async def test_a_deleted_node_is_registered_again(rig) -> None:
    await rig.reporter.start()
    await rig.clock.sleep(33)
    uid = rig.reporter.node.metadata.uid
    del rig.api.objects[NODE]
    await rig.clock.sleep(11)
    assert rig.reporter.node.metadata.uid != uid
    assert rig.seen[-1].metadata.uid == rig.reporter.node.metadata.uid
    assert ("NodeGone", "") in rig.story.decisions


async def test_cordoning_is_told(rig) -> None:
    await rig.reporter.start()
    await rig.clock.sleep(1)
    node = rig.api.seen(NODE, Node)
    rig.api.put(NODE, msgspec.structs.replace(node, spec=NodeSpec(unschedulable=True)))
    await rig.clock.sleep(11)
    rig.api.put(NODE, rig.api.seen(NODE, Node))
    await rig.clock.sleep(11)
    rig.api.put(NODE, msgspec.structs.replace(node, spec=NodeSpec()))
    await rig.clock.sleep(11)
    assert rig.story.events == ["NodeNotSchedulable", "NodeSchedulable"]


async def test_an_hours_outage_ends_with_one_report_and_each_event_once(rig) -> None:
    await rig.reporter.start()
    await rig.clock.sleep(33)
    rig.api.fails = away
    rig.ready = "False"
    rig.reporter.changed("down")
    await rig.clock.sleep(3600)
    assert rig.story.events == []
    assert rig.resets > 0
    tried = len(rig.api.requests)
    assert tried < 3600 / 10 * 5 + 20
    rig.api.fails = lambda verb, path: None
    await rig.clock.sleep(11)
    assert rig.shown == "False"
    assert rig.story.events == ["NodeNotReady"]
    assert len(rig.api.requests) == tried + 1


async def test_the_servers_wish_for_a_wait_is_heeded(rig) -> None:
    await rig.reporter.start()
    await rig.clock.sleep(33)
    rig.api.fails = lambda verb, path: Refused(429, "TooManyRequests", "wait", retry_after=45)
    rig.ready = "False"
    rig.reporter.changed("down")
    await rig.clock.sleep(40)
    assert len(rig.api.made("patch")) == len([at for at in rig.patches if at <= 33.5])


async def test_the_lease_is_renewed_while_the_status_hangs(rig) -> None:
    await rig.reporter.start()

    async def reset() -> None:
        return None

    lease = NodeLease(rig.api, "n", rig.clock, random.Random(2), NullJournal(), duration=40, reset=reset)
    await lease.start()
    lease.owned_by("u")
    await rig.clock.sleep(33)
    rig.api.hangs = lambda verb, path: path.startswith(NODE)
    rig.ready = "False"
    rig.reporter.changed("down")
    await rig.clock.sleep(200)
    times = [at for at, verb, path, _ in rig.api.requests if path == LEASE and verb == "update"]
    assert all(late - early < 10.5 for early, late in itertools.pairwise(times))
    assert times[-1] > 220
    assert rig.shown == "True"
    rig.api.hangs = lambda verb, path: False
    await rig.clock.sleep(25)
    assert rig.shown == "False"
    await lease.stop()


async def test_a_reboot_is_told_once(rig) -> None:
    await rig.reporter.start()
    rebooted = SimpleNamespace(kind="Warning", reason="Rebooted", message="")
    plain = rig.update

    def update(old):
        made = plain(old)
        return Update(made.node, (*made.events, rebooted) if old.metadata.uid else made.events)

    rig.update = update
    object.__setattr__(rig.reporter._doors, "update", update)
    await rig.clock.sleep(1)
    rig.extra = ("a",)
    await rig.clock.sleep(11)
    rig.extra = ("b",)
    await rig.clock.sleep(11)
    assert rig.story.events.count("Rebooted") == 1


async def test_what_is_wanted_is_known_to_be_written(rig) -> None:
    """By a write, or because a look finds it so; never by a write that failed."""
    await rig.reporter.start()
    await rig.clock.sleep(33)
    assert rig.written[-1] == rig.api.seen(NODE, Node)
    rig.written.clear()
    rig.api.fails = lambda verb, path: away(verb, path) if verb == "patch" else None
    rig.extra = ("new",)
    rig.reporter.changed("something")
    await rig.clock.sleep(8)
    assert rig.written == []
    rig.api.fails = lambda verb, path: None
    await rig.clock.sleep(12)
    assert rig.written[0].status.declaredFeatures == ["new"]
    del rig.api.objects[NODE]
    rig.reporter.changed("something")
    rig.extra = ()
    await rig.clock.sleep(12)
    gone = rig.written.index(None)
    assert rig.written[gone + 1].metadata.uid.startswith("made-")
