"""The corridor: what becomes of updates, changes, probe results and kills."""

import asyncio

import msgspec
import pytest
from tests.pods.recording import Cgroups
from tests.pods.resize.model import c as container_with
from tests.pods.resizing import Resizing
from tests.pods.test_worker import Script, pod

from pykubelet.api.admission import Rejection
from pykubelet.api.core import ContainerState, ContainerStatus, PodReadinessGate, PodStatus
from pykubelet.observe.changes import ChangeKind, PodChange
from pykubelet.pods.admission import AdmissionChain
from pykubelet.pods.lifecycle import WorkerPhase
from pykubelet.pods.manager import ManagerDoors, PodManager
from pykubelet.pods.sources import Op, PodUpdate
from pykubelet.pods.statuses import LocalStatuses
from pykubelet.pods.store import PodStore

pytestmark = pytest.mark.looptime


class Node(Script):
    """A manager with real workers whose work is scripted; it is source, judge and runtime at once."""

    def __init__(self, directory) -> None:
        super().__init__()
        self.store, self.statuses = PodStore(), LocalStatuses(directory)
        self.queue: asyncio.Queue[PodUpdate] = asyncio.Queue()
        self.processed_sources: list[str] = []
        self.errors: list[str] = []
        self.ready = True
        self.refusal: Rejection | None = None
        self.judged: list[tuple[str, list[str]]] = []
        self.died: list[str] = []
        self.untidy = 0
        #: Whether the node's labels may be looked at, and what looks wait for.
        self.joined, self.labels_known = False, asyncio.Event()

    def start(self) -> None:
        self.resizing = Resizing(
            self.clock,
            self,
            Cgroups(),
            desired=self.store.get,
            active=lambda: self.manager.active_pods(),
            rejection=lambda pod, others: self.refusal,
            status=self.statuses.get,
            ready=lambda: self.ready,
            sync=lambda uid, cause: self.manager.sync(uid, cause),
        )
        self.manager = PodManager(
            self.clock,
            self,
            self,
            self.store,
            self.workers,
            ManagerDoors(
                statuses=self.statuses,
                admission=AdmissionChain([self], self, lambda pod, victims: None),
                allocation=self.resizing.allocation,
                sources_ready=lambda: self.ready,
                runtime_errors=lambda: self.errors,
                on_desired=lambda pod: None,
                on_untidy=self.get_untidy,
                on_died=self.died.append,
                look_at_labels=self.look if self.joined else None,
            ),
        )
        self.manager.start(self)

    async def look(self):
        await self.labels_known.wait()

    def worker_finished(self, uid):
        super().worker_finished(uid)
        self.manager.worker_finished(uid)

    def get_untidy(self):
        self.untidy += 1

    def admit(self, pod, others):
        self.judged.append((pod.metadata.uid, sorted(other.metadata.uid for other in others)))
        return self.refusal

    async def next_update(self):
        return await self.queue.get()

    def processed(self, update):
        self.processed_sources.append(update.source)

    async def send(self, op, *pods, wait=0.5):
        self.queue.put_nowait(PodUpdate(op, pods, "file"))
        await self.clock.sleep(wait)

    def changed(self, kind, uid="u1"):
        self.manager.on_change(PodChange(uid, kind, "0123456789abcdef", "web", "pidfd"))


@pytest.fixture
async def node(tmp_path):
    made = Node(tmp_path)
    yield made
    if hasattr(made, "manager"):
        await made.manager.stop()
    await made.workers.stop()


NO_ROOM = Rejection("OutOfcpu", "Node didn't have enough resource: cpu")


async def test_a_new_pod_is_judged_beside_the_active_ones_and_worked_on(node) -> None:
    node.start()
    await node.send(Op.ADD, pod("u1"))
    await node.send(Op.ADD, pod("u2", name="db"))
    assert node.judged == [("u1", []), ("u2", ["u1"])]
    assert node.did() == [("sync", "u1"), ("sync", "u2")]
    assert node.processed_sources == ["file", "file"]
    assert node.store.get("u2") is not None


async def test_a_pod_that_is_refused_fails_without_a_worker(node) -> None:
    node.start()
    node.refusal = NO_ROOM
    await node.send(Op.ADD, pod("u1"))
    status = node.statuses.get("u1")
    assert (status.phase, status.reason) == ("Failed", "OutOfcpu")
    assert status.message == "Pod was rejected: Node didn't have enough resource: cpu"
    assert (status.qosClass, status.startTime) == ("BestEffort", node.clock.now().replace(microsecond=0))
    assert node.events == [("OutOfcpu", "Node didn't have enough resource: cpu")]
    assert node.workers.state("u1") is None
    assert node.manager.active_pods() == []
    assert node.did() == []


BY_LABELS = Rejection("NodeAffinity", "node(s) didn't match", by_labels=True)


async def test_a_pod_is_not_refused_for_labels_that_are_not_known_yet(node) -> None:
    node.joined, node.refusal = True, BY_LABELS
    node.start()
    await node.send(Op.ADD, pod("u1"))
    await node.send(Op.UPDATE, pod("u1", label="newer"))
    assert node.manager.undecided("u1")
    assert (node.statuses.get("u1"), node.workers.state("u1"), node.events) == (None, None, [])
    node.refusal = None
    node.labels_known.set()
    await node.clock.sleep(0.5)
    assert node.did() == [("sync", "u1 newer")]
    assert not node.manager.undecided("u1")
    assert node.untidy


async def test_a_pod_whose_labels_do_not_fit_in_the_end_is_refused(node) -> None:
    node.joined, node.refusal = True, BY_LABELS
    node.labels_known.set()
    node.start()
    await node.send(Op.ADD, pod("u1"))
    assert node.statuses.get("u1").reason == "NodeAffinity"
    assert node.events == [("NodeAffinity", "node(s) didn't match")]
    assert len(node.judged) == 2


async def test_a_node_that_stands_alone_knows_its_labels(node) -> None:
    node.refusal = BY_LABELS
    node.start()
    await node.send(Op.ADD, pod("u1"))
    assert node.statuses.get("u1").reason == "NodeAffinity"
    assert len(node.judged) == 1


async def test_an_undecided_pod_stays_so_when_the_daemon_ends(node) -> None:
    """Housekeeping makes workers for pods that are wanted and have none, but not for these."""
    node.joined, node.refusal = True, BY_LABELS
    node.start()
    await node.send(Op.ADD, pod("u1"))
    await node.manager.stop()
    assert node.manager.undecided("u1")


async def test_a_pod_is_judged_when_a_look_at_the_labels_fails(node, monkeypatch) -> None:
    async def look():
        raise RuntimeError("no look")

    node.joined, node.refusal = True, BY_LABELS
    monkeypatch.setattr(node, "look", look)
    node.start()
    await node.send(Op.ADD, pod("u1"))
    assert not node.manager.undecided("u1")
    assert node.statuses.get("u1").reason == "NodeAffinity"


@pytest.mark.parametrize("op", [Op.REMOVE, Op.DELETE])
async def test_a_pod_that_goes_while_it_is_undecided(node, op) -> None:
    node.joined, node.refusal = True, BY_LABELS
    node.start()
    await node.send(Op.ADD, pod("u1"))
    await node.send(op, pod("u1", deleted=op is Op.DELETE))
    node.labels_known.set()
    await node.clock.sleep(0.5)
    assert len(node.judged) == 1
    assert node.statuses.get("u1") is None or node.statuses.get("u1").reason != "NodeAffinity"


async def test_a_refused_pod_is_judged_anew_when_its_source_brings_or_changes_it(node) -> None:
    node.start()
    node.refusal = NO_ROOM
    await node.send(Op.ADD, pod("u1"))
    await node.send(Op.UPDATE, pod("u1", label="smaller"))
    assert node.did() == []
    node.refusal = None
    await node.send(Op.UPDATE, pod("u1", label="smallest"))
    assert node.did() == [("sync", "u1 smallest")]
    assert [uid for uid, _ in node.judged] == ["u1"] * 3


async def test_one_pod_that_cannot_be_handled_does_not_stop_the_others(node, caplog) -> None:
    node.start()
    broken = pod("bad", name="bad")

    def admit(pod, others):
        if pod.metadata.uid == "bad":
            raise RuntimeError("judge broke")

    node.admit = admit
    node.queue.put_nowait(PodUpdate(Op.ADD, (broken, pod("u1")), "file"))
    await node.clock.sleep(1)
    assert node.did() == [("sync", "u1")]
    assert node.processed_sources == ["file"]
    assert "handling ADD of pod bad_ns(bad) failed" in caplog.text


async def test_updates_and_deletions_reach_the_worker(node) -> None:
    node.start()
    await node.send(Op.ADD, pod("u1"))
    await node.send(Op.UPDATE, pod("u1", label="b"))
    await node.send(Op.DELETE, pod("u1", deleted=True, grace=5, label="c"))
    assert node.did() == [("sync", "u1"), ("sync", "u1 b"), ("terminate", "u1 c"), ("finish", "u1 c")]
    assert node.graces[0].seconds == 5


async def test_a_removed_pod_is_ended_and_then_forgotten(node) -> None:
    node.start()
    await node.send(Op.ADD, pod("u1"))
    node.statuses.set(pod("u1"), PodStatus(phase="Running"))
    await node.send(Op.REMOVE, pod("u1"))
    assert node.did()[-1] == ("finish", "u1")
    assert node.store.get("u1") is None
    assert node.workers.state("u1") is None
    assert node.statuses.get("u1") is None


async def test_nothing_is_killed_before_all_sources_were_seen(node) -> None:
    node.start()
    await node.send(Op.ADD, pod("u1"))
    node.ready = False
    await node.send(Op.REMOVE, pod("u1"))
    assert node.did() == [("sync", "u1")]
    assert node.store.get("u1") is None


async def test_a_uid_that_comes_back_while_it_ends_starts_anew_once_it_ended(node) -> None:
    node.start()
    node.takes["terminate"] = 3
    await node.send(Op.ADD, pod("u1", label="old"))
    await node.send(Op.REMOVE, pod("u1", label="old"))
    await node.send(Op.ADD, pod("u1", label="new"), wait=5)
    assert node.did() == [
        ("sync", "u1 old"),
        ("terminate", "u1 old"),
        ("finish", "u1 old"),
        ("sync", "u1 new"),
    ]
    assert node.workers.state("u1").phase is WorkerPhase.SYNCING


async def test_while_the_runtime_is_down_no_update_is_taken_and_none_is_lost(node) -> None:
    node.errors = ["container runtime is down"]
    node.start()
    await node.send(Op.ADD, pod("u1"), wait=60)
    assert node.did() == []
    assert node.clock.monotonic() - node.manager.last_tick <= 5
    node.errors = []
    await node.clock.sleep(6)
    assert node.did() == [("sync", "u1")]


async def test_a_loop_with_nothing_to_do_still_ticks(node) -> None:
    node.start()
    await node.clock.sleep(300)
    assert node.clock.monotonic() - node.manager.last_tick <= 10


@pytest.mark.parametrize(
    ("kind", "synced", "died"),
    [
        (ChangeKind.DIED, True, True),
        (ChangeKind.STARTED, True, False),
        (ChangeKind.REMOVED, False, False),
        (ChangeKind.CHANGED, False, False),
    ],
)
async def test_what_the_runtime_shows_lets_the_worker_look(node, kind, synced, died) -> None:
    node.start()
    await node.send(Op.ADD, pod("u1"))
    node.changed(kind)
    await node.clock.sleep(0.5)
    assert len(node.did()) == (2 if synced else 1)
    assert node.died == (["u1"] if died else [])


async def test_changes_of_pods_nobody_knows_ask_for_housekeeping(node) -> None:
    node.start()
    for kind in ChangeKind:
        before = node.untidy
        node.changed(kind, "foreign")
        assert node.untidy == before + 1


async def test_a_change_of_what_is_wanted_asks_for_housekeeping_and_a_status_from_outside_does_not(
    node,
) -> None:
    node.start()
    for op, asked in ((Op.ADD, 1), (Op.RECONCILE, 0), (Op.UPDATE, 1), (Op.REMOVE, 1)):
        before = node.untidy
        await node.send(op, pod("u1"), wait=0.01)
        assert node.untidy == before + asked, op


async def test_a_status_from_outside_syncs_pods_with_readiness_gates_and_tidies_evicted_ones(node) -> None:
    node.start()
    plain = pod("u1")
    gated = pod("u2", name="gated")
    gated = msgspec.structs.replace(
        gated, spec=msgspec.structs.replace(gated.spec, readinessGates=[PodReadinessGate(conditionType="x")])
    )
    await node.send(Op.ADD, plain, gated)
    await node.send(Op.RECONCILE, plain, gated)
    assert node.did()[2:] == [("sync", "u2")]
    evicted = msgspec.structs.replace(plain, status=PodStatus(phase="Failed", reason="Evicted"))
    await node.send(Op.RECONCILE, evicted)
    assert node.died == ["u1"]


async def test_a_kill_waits_for_the_end(node) -> None:
    node.start()
    node.takes["terminate"] = 8
    await node.send(Op.ADD, pod("u1"))
    began = node.clock.monotonic()
    await node.manager.kill("u1", "memory is low", lambda status: status, 1, evict=True)
    assert node.clock.monotonic() - began == pytest.approx(8, abs=0.1)
    assert node.workers.state("u1").evicted
    await node.manager.kill("unknown", "x", lambda status: status, 1)


@pytest.mark.parametrize(("grace", "wait"), [(1, 10), (20, 30), (None, 45)])
async def test_a_kill_that_takes_too_long_is_an_event(node, grace, wait) -> None:
    node.start()
    node.takes["terminate"] = 1000
    await node.send(Op.ADD, pod("u1", grace=30))
    began = node.clock.monotonic()
    with pytest.raises(TimeoutError):
        await node.manager.kill("u1", "memory is low", lambda status: status, grace)
    assert node.clock.monotonic() - began == pytest.approx(wait)
    assert node.events == [
        (
            "ExceededGracePeriod",
            "Container runtime did not kill the pod within specified grace period.",
        )
    ]


async def test_statuses_show_pods_that_still_end(node) -> None:
    node.start()
    node.takes["terminate"] = 10
    await node.send(Op.ADD, pod("u1"), pod("u2", name="b"))
    ran = PodStatus(phase="Running", containerStatuses=[ContainerStatus(name="c", state=ContainerState())])
    node.statuses.set(pod("u1"), ran)
    await node.send(Op.REMOVE, pod("u1"))
    assert {p.metadata.uid: s.phase for p, s in node.manager.statuses()} == {"u1": "Running", "u2": ""}


def sized(uid, cpu):
    made = pod(uid, name=uid)
    made.spec.containers.append(container_with("app", cpu))
    return made


async def test_what_was_allocated_is_judged_and_what_is_asked_for_later(node) -> None:
    node.start()
    asked: list[str] = []
    node.admit = lambda p, others: asked.append(str(p.spec.containers[0].resources.requests["cpu"]))
    before = sized("u1", "1/9")
    node.resizing.allocation.admitted(before)
    node.ready = False
    node.queue.put_nowait(PodUpdate(Op.ADD, (sized("u1", "2/9"),), "file"))
    await node.clock.sleep(0.5)
    # It ran with that before this daemon began: it is no new pod.
    assert asked == ["1"]
    allocated = node.resizing.allocation.allocated
    assert str(allocated(node.store.get("u1")).spec.containers[0].resources.requests["cpu"]) == "1"
    node.ready = True
    node.refusal = NO_ROOM
    await node.send(Op.UPDATE, sized("u1", "3/9"))
    assert node.resizing.conditions.pending_reason("u1") == "Deferred"
    assert [p.spec.containers[0].resources.requests["cpu"].value() for p in node.manager.active_pods()] == [1]
    node.refusal = None
    await node.send(Op.REMOVE, sized("u2", "1/9"))
    assert node.resizing.conditions.in_progress("u1")
    assert [p.spec.containers[0].resources.requests["cpu"].value() for p in node.manager.active_pods()] == [3]


async def test_a_resize_that_was_left_is_tried_as_soon_as_all_sources_are_known(node) -> None:
    node.start()
    node.resizing.allocation.admitted(sized("u1", "1/9"))
    node.ready = False
    node.processed = lambda update: setattr(node, "ready", True)
    await node.send(Op.ADD, sized("u1", "2/9"))
    assert node.resizing.conditions.in_progress("u1")
