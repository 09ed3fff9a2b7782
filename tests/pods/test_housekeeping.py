"""Housekeeping: orphans end, what was lost sight of starts, nothing is kept of pods that are gone."""

from types import SimpleNamespace

import pytest
from tests.pods.model import instance, observed_pod, sandbox
from tests.pods.recording import Cgroups, Probes
from tests.pods.test_manager import BY_LABELS, NO_ROOM, Node
from tests.pods.test_worker import pod

from pykubelet.api.core import PodStatus
from pykubelet.cri.types import ContainerState, SandboxState
from pykubelet.observe.types import ObservedPod
from pykubelet.pods.housekeeping import Housekeeping, HousekeepingDoors
from pykubelet.pods.sources import Op

pytestmark = pytest.mark.looptime
ENDED = sandbox(state=SandboxState.NOTREADY)


class House(Node):
    def start(self) -> None:
        super().start()
        self.probes, self.cgroups = Probes(), Cgroups()
        self.mounted: set[str] = set()
        self.unread: set[str] = set()
        self.held: set[str] = set()
        self.gone: list[str] = []
        self.leftovers: list[float] = []
        observer = SimpleNamespace(
            relisted=True,
            unread=lambda uid: uid in self.unread,
            cached=self.observed.get,
            uids=lambda: frozenset(uid for uid, seen in self.observed.items() if not seen.empty),
            cached_uids=lambda: tuple(self.observed),
            forget=lambda uid: self.observed.pop(uid) if self.observed[uid].empty else None,
        )
        self.observer = observer
        self.house = Housekeeping(
            self.clock,
            self,
            self.store,
            self.workers,
            self.manager,
            observer,
            HousekeepingDoors(
                statuses=self.statuses,
                probes=self.probes,
                cgroups=self.cgroups,
                sources_ready=lambda: self.ready,
                volumes_gone=lambda uid: uid not in self.mounted,
                on_gone=self.gone.append,
                on_leftovers=lambda: self.leftovers.append(self.clock.monotonic()),
                held=lambda uid: uid in self.held,
            ),
        )


@pytest.fixture
async def house(tmp_path):
    made = House(tmp_path)
    yield made
    if hasattr(made, "house"):
        await made.house.stop()
        await made.manager.stop()
    await made.workers.stop()


def lost(*containers, sandboxes=()) -> ObservedPod:
    return ObservedPod(
        "lost", name="lost", namespace="ns", containers=tuple(containers), sandboxes=tuple(sandboxes)
    )


@pytest.mark.parametrize(
    ("observed", "killed"),
    [
        (lost(instance("web")), True),
        (lost(sandboxes=[sandbox()]), True),
        (
            lost(instance("web", ContainerState.EXITED), sandboxes=[sandbox(state=SandboxState.NOTREADY)]),
            False,
        ),
    ],
)
async def test_what_runs_without_a_pod_is_ended_with_one_second(house, observed, killed) -> None:
    house.start()
    house.observed["lost"] = observed
    await house.house.tidy()
    await house.clock.sleep(0.05)
    assert [grace.seconds for grace in house.graces] == ([1] if killed else [])


async def test_what_a_source_has_but_cannot_be_read_is_no_orphan(house) -> None:
    house.start()
    house.held = {"lost"}
    house.observed["lost"] = lost(instance("web"))
    house.cgroups.there = {"lost"}
    await house.house.tidy()
    await house.clock.sleep(0.05)
    assert (house.graces, house.cgroups.destroyed, house.gone) == ([], [], [])
    house.held = set()
    await house.house.tidy()
    await house.clock.sleep(0.05)
    assert [grace.seconds for grace in house.graces] == [1]


async def test_before_all_sources_were_seen_nothing_is_an_orphan(house) -> None:
    house.start()
    house.ready = False
    house.observed["lost"] = lost(instance("web"))
    house.house.start()
    await house.clock.sleep(100)
    assert house.graces == []
    assert not house.house.passed
    house.ready = True
    house.observer.relisted = False
    await house.clock.sleep(100)
    assert not house.house.passed
    house.observer.relisted = True
    await house.clock.sleep(3)
    assert house.house.passed
    assert len(house.graces) == 1


async def test_pods_that_lost_their_source_unseen_are_ended(house) -> None:
    house.start()
    await house.send(Op.ADD, pod("u1"))
    house.ready = False
    await house.send(Op.REMOVE, pod("u1"))
    house.ready = True
    await house.house.tidy()
    await house.clock.sleep(1)
    assert house.did()[-1] == ("finish", "u1")
    assert house.states[0].cause == "no source has it any more"


async def test_a_pod_that_is_not_judged_yet_is_left_alone(house) -> None:
    house.joined, house.refusal = True, BY_LABELS
    house.start()
    await house.send(Op.ADD, pod("u1"))
    house.observed["u1"] = lost(instance("web"))
    house.cgroups.there = {"u1"}
    await house.house.tidy()
    await house.clock.sleep(1)
    assert (house.did(), house.graces, house.cgroups.destroyed, house.gone) == ([], [], [], [])


async def test_a_wanted_pod_without_a_worker_is_started_unless_it_was_refused(house) -> None:
    house.start()
    house.store.set(pod("u1"))
    house.refusal = NO_ROOM
    await house.send(Op.ADD, pod("u2", name="big"))
    await house.house.tidy()
    await house.clock.sleep(0.5)
    assert house.did() == [("sync", "u1")]


async def test_a_deleted_pod_that_had_ended_is_cleaned_up(house) -> None:
    house.start()
    house.store.set(pod("u1", phase="Succeeded", deleted=True))
    await house.house.tidy()
    await house.clock.sleep(0.5)
    assert [what for what, _ in house.did()] == ["finish"]


async def test_probes_and_statuses_of_other_pods_go(house) -> None:
    house.start()
    await house.send(Op.ADD, pod("u1"))
    for uid in ("u1", "gone"):
        house.statuses.set(pod(uid), PodStatus(phase="Running"))
    house.probes.asked.clear()
    await house.house.tidy()
    assert house.probes.asked == [("keep", frozenset({"u1"}))]
    assert set(house.statuses.all()) == {"u1"}


async def test_cgroups_go_with_their_pods_once_nothing_is_mounted_or_runs(house) -> None:
    house.start()
    await house.send(Op.ADD, pod("u1"))
    house.cgroups.there = {"u1", "old", "mounted", "running", "unread"}
    house.mounted, house.unread = {"mounted"}, {"unread"}
    house.observed["running"] = observed_pod(instance("web"))
    house.takes["terminate"] = 100
    await house.house.tidy()
    assert house.cgroups.destroyed == ["old"]
    house.mounted.clear()
    await house.house.tidy()
    assert house.cgroups.destroyed == ["old", "mounted"]


async def test_cgroups_that_cannot_be_listed_or_removed_do_not_stop_the_rest(house, caplog) -> None:
    house.start()
    house.observed["gone"] = ObservedPod("gone")
    house.cgroups.failing["list"] = OSError("no such controller")
    await house.house.tidy()
    assert house.gone == ["gone"]
    house.cgroups.there = {"a", "b"}
    house.cgroups.failing = {"destroy": OSError("busy")}
    await house.house.tidy()
    assert house.cgroups.destroyed == ["a", "b"]
    assert caplog.text.count("cannot be") == 3


async def test_what_was_observed_of_gone_pods_is_forgotten(house) -> None:
    house.start()
    await house.send(Op.ADD, pod("u1"))
    house.observed["u1"] = observed_pod(instance("web"))
    house.observed["gone"] = ObservedPod("gone")
    await house.house.tidy()
    assert set(house.observed) == {"u1"}
    assert house.gone == ["gone"]


async def test_what_is_dead_and_known_to_nobody_is_told_of(house) -> None:
    house.start()
    await house.send(Op.ADD, pod("u1"))
    house.observed["u1"] = observed_pod(instance("web", ContainerState.EXITED), sandboxes=[ENDED])
    await house.house.tidy()
    assert house.leftovers == []
    house.observed["lost"] = lost(instance("web", ContainerState.EXITED), sandboxes=[ENDED])
    await house.house.tidy()
    assert len(house.leftovers) == 1


async def test_requests_are_bundled_into_one_pass_soon(house) -> None:
    house.start()
    passes = []

    async def tidy():
        passes.append(house.clock.monotonic())

    house.house.tidy = tidy
    house.house.start()
    for _ in range(10):
        house.house.request()
        await house.clock.sleep(0.01)
    await house.clock.sleep(1)
    assert len(passes) == 1
    await house.clock.sleep(95)
    assert len(passes) == 4


async def test_the_first_pass_is_waited_for_but_not_for_ever(house) -> None:
    house.start()
    began = house.clock.monotonic()
    await house.house.first_pass(5)
    assert house.clock.monotonic() - began == pytest.approx(5)
    assert not house.house.passed
    house.house.start()
    await house.house.first_pass(100)
    assert house.house.passed
