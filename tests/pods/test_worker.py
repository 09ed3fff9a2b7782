"""One worker a pod: what it works on, what cuts it short, when it looks again, and how it ends."""

import asyncio
import itertools
import random
from datetime import UTC, datetime

import pytest
from tests.pods.model import instance, observed_pod

from pykubelet.api.core import Pod, PodSpec, PodStatus
from pykubelet.api.meta import ObjectMeta
from pykubelet.base.clock import LoopClock
from pykubelet.base.journal import NullJournal
from pykubelet.cri.errors import Code, CriError
from pykubelet.observe.types import ObservedPod
from pykubelet.pods.lifecycle import KillRequest, WorkerPhase, WorkerUpdate
from pykubelet.pods.worker import ERROR_WAIT, JITTER, PodWorkers, SyncOutcome, TerminationError

pytestmark = pytest.mark.looptime
RESYNC = 60.0


def pod(uid="u1", *, name="web", static=False, grace=30, deleted=False, label="", phase="") -> Pod:
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace="ns",
            uid=uid,
            labels={"label": label},
            annotations={"kubernetes.io/config.source": "file"} if static else {},
            deletionTimestamp=datetime(2026, 1, 1, tzinfo=UTC) if deleted else None,
            deletionGracePeriodSeconds=grace if deleted else None,
        ),
        spec=PodSpec(terminationGracePeriodSeconds=grace),
        status=PodStatus(phase=phase),
    )


class Script(NullJournal):
    """Implements ``PodSync``: every phase takes its time and does as it was told; all is written down."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.log: list[tuple[float, str, str]] = []
        self.events: list[tuple[str, str]] = []
        self.outcomes: list[SyncOutcome | Exception] = []
        self.takes = {"sync": 0.1, "terminate": 0.1, "finish": 0.1}
        self.failures: dict[str, list[Exception]] = {}
        self.finished: list[str] = []
        self.observed: dict[str, ObservedPod] = {}
        self.reads: list[tuple[str, float]] = []
        self.read_error: Exception | None = None
        self.states = []
        self.graces = []
        self.workers = PodWorkers(
            self.clock,
            self,
            self,
            self,
            read=self.read,
            cached=self.observed.get,
            on_finished=lambda uid: self.worker_finished(uid),
            resync=RESYNC,
            rng=random.Random(7),
        )

    def pod_event(self, pod, kind, reason, message, *, field_path="") -> None:
        self.events.append((reason, message))

    def worker_finished(self, uid) -> None:
        self.finished.append(uid)

    def note(self, what: str, update: WorkerUpdate) -> None:
        label = update.pod.metadata.labels.get("label") if update.pod is not None else "orphan"
        self.log.append((round(self.clock.monotonic(), 2), what, f"{update.uid} {label}".strip()))

    def did(self) -> list[tuple[str, str]]:
        return [(what, which) for _, what, which in self.log]

    async def read(self, uid, newer_than):
        self.reads.append((uid, newer_than))
        if self.read_error is not None:
            raise self.read_error
        return self.observed.get(uid) or ObservedPod(uid)

    async def _do(self, what, update):
        self.note(what, update)
        try:
            await self.clock.sleep(self.takes[what])
        except asyncio.CancelledError:
            self.note(f"{what} cut", update)
            raise
        if self.failures.get(what):
            raise self.failures[what].pop(0)

    async def sync(self, update, observed):
        await self._do("sync", update)
        return self.outcomes.pop(0) if self.outcomes else SyncOutcome()

    async def terminate(self, update, state, observed, grace):
        self.states.append(state)
        self.graces.append(grace)
        grace.begin()
        await self._do("terminate", update)

    async def finish(self, update, state):
        await self._do("finish", update)

    def create(self, pod: Pod) -> None:
        self.workers.update(WorkerUpdate("create", pod, cause="added"))

    def change(self, pod: Pod) -> None:
        self.workers.update(WorkerUpdate("update", pod, cause="changed"))

    def kill(self, pod: Pod, **request) -> None:
        self.workers.update(WorkerUpdate("kill", pod, kill=KillRequest(**request), cause="kill"))


@pytest.fixture
async def script():
    made = Script()
    yield made
    await made.workers.stop()


async def test_a_pod_is_worked_on_at_once_and_then_every_period_with_jitter(script) -> None:
    script.create(pod())
    await script.clock.sleep(400)
    times = [moment for moment, _, _ in script.log]
    assert times[0] == 0
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(gaps) >= 3
    assert all(RESYNC <= gap <= RESYNC * (1 + JITTER) + 0.2 for gap in gaps)
    assert len(set(gaps)) > 1


async def test_of_the_updates_that_come_during_work_only_the_newest_is_worked_on(script) -> None:
    script.create(pod(label="a"))
    await script.clock.sleep(0.05)
    for label in "bcd":
        script.change(pod(label=label))
    await script.clock.sleep(1)
    assert script.did() == [("sync", "u1 a"), ("sync", "u1 d")]


async def test_work_is_never_done_twice_at_once(script) -> None:
    running, most = 0, 0

    async def sync(update, observed):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await script.clock.sleep(0.3)
        running -= 1
        return SyncOutcome(next_in=0.05)

    script.sync = sync
    script.create(pod())
    for _ in range(20):
        await script.clock.sleep(0.1)
        script.change(pod())
        script.workers.wake_all()
    assert most == 1


async def test_a_deletion_cuts_the_running_sync_short_and_ends_the_pod(script) -> None:
    script.takes["sync"] = 100
    script.create(pod())
    await script.clock.sleep(1)
    ending = script.workers.ending("u1")
    script.change(pod(deleted=True, grace=5))
    await script.clock.sleep(1)
    assert script.did() == [
        ("sync", "u1"),
        ("sync cut", "u1"),
        ("terminate", "u1"),
        ("finish", "u1"),
    ]
    assert script.log[2][0] == 1
    assert script.graces[0].seconds == 5
    assert ending.is_set()
    assert script.finished == ["u1"]
    assert script.workers.state("u1").phase is WorkerPhase.FINISHED


async def test_after_cut_work_the_runtime_is_looked_at_anew(script) -> None:
    script.takes["sync"] = 100
    script.create(pod())
    await script.clock.sleep(1)
    script.kill(pod())
    await script.clock.sleep(0.05)
    assert [newer for _, newer in script.reads] == [0.0, 1.0]


async def test_a_reading_that_followed_the_last_orders_does_for_the_next_look_for_a_moment(script) -> None:
    script.takes["sync"] = 1
    script.outcomes = [SyncOutcome(read_after=0.9), SyncOutcome(read_after=1.9), SyncOutcome()]
    script.create(pod())
    await script.clock.sleep(1.1)
    for wait in (2, 2, 2):
        script.workers.update(WorkerUpdate("update", pod()))
        await script.clock.sleep(wait)
    assert [newer for _, newer in script.reads] == [0.0, 0.9, 2.1, 4.1]


async def test_a_grace_that_is_shortened_reaches_the_running_termination(script) -> None:
    script.takes["terminate"] = 20
    script.create(pod())
    await script.clock.sleep(1)
    script.kill(pod(), grace=30)
    await script.clock.sleep(2)
    heard = asyncio.get_running_loop().time()
    await asyncio.gather(script.graces[0].shortened(), shorten(script))
    assert asyncio.get_running_loop().time() - heard < 1
    assert script.graces[0].left() <= 3
    await script.clock.sleep(30)
    assert [what for what, _ in script.did()] == ["sync", "terminate", "finish"]


async def shorten(script):
    await asyncio.sleep(0)
    script.kill(pod(), grace=3)
    # A longer grace never counts.
    script.kill(pod(), grace=60)


async def test_a_termination_that_fails_is_tried_again_with_what_is_left_of_its_grace(script) -> None:
    script.failures["terminate"] = [
        TerminationError("web still runs"),
        CriError(Code.Unavailable, "X", "gone"),
    ]
    script.create(pod())
    await script.clock.sleep(1)
    script.kill(pod())
    await script.clock.sleep(60)
    moments = [moment for moment, what, _ in script.log if what == "terminate"]
    assert len(moments) == 3
    assert all(10 <= b - a <= 15.2 for a, b in itertools.pairwise(moments))
    assert script.graces[0] is script.graces[1] is script.graces[2]
    assert script.finished == ["u1"]


async def test_a_clean_up_that_fails_is_tried_again(script) -> None:
    script.failures["finish"] = [OSError("busy")]
    script.create(pod())
    script.kill(pod())
    await script.clock.sleep(0.5)
    assert script.workers.state("u1").phase is WorkerPhase.TERMINATED
    assert script.workers.ending("u1").is_set()
    await script.clock.sleep(20)
    assert script.finished == ["u1"]


async def test_a_sync_that_finds_the_pod_over_ends_it(script) -> None:
    script.outcomes = [SyncOutcome(), SyncOutcome(terminal=True, cause="its phase is Succeeded")]
    script.create(pod())
    await script.clock.sleep(1)
    script.change(pod())
    await script.clock.sleep(1)
    assert [what for what, _ in script.did()] == ["sync", "sync", "terminate", "finish"]
    assert script.states[0].cause == "its phase is Succeeded"


@pytest.mark.parametrize(
    ("outcome", "least", "most"),
    [
        (SyncOutcome(error="broken"), ERROR_WAIT, ERROR_WAIT * 1.5),
        (SyncOutcome(error="network is not ready: x", network=True), 1, 1.5),
        (SyncOutcome(next_in=20), 20, 20),
        (SyncOutcome(next_in=-3), 0, 0),
        (SyncOutcome(next_in=10_000), RESYNC, RESYNC * 1.5),
        (RuntimeError("a bug"), ERROR_WAIT, ERROR_WAIT * 1.5),
        (CriError(Code.Unavailable, "X", "gone"), ERROR_WAIT, ERROR_WAIT * 1.5),
    ],
)
async def test_when_the_pod_is_looked_at_again(script, outcome, least, most) -> None:
    if isinstance(outcome, Exception):
        script.failures["sync"] = [outcome]
    else:
        script.outcomes = [outcome]
    script.create(pod())
    await script.clock.sleep(100)
    first, second = [moment for moment, _, _ in script.log][:2]
    assert least <= second - first - 0.1 <= most + 0.02


async def test_a_runtime_that_cannot_be_read_is_an_event_and_a_wait(script) -> None:
    script.read_error = CriError(Code.Unavailable, "ListContainers", "gone")
    script.create(pod())
    await script.clock.sleep(1)
    assert script.events == [
        ("FailedSync", "error determining status: rpc error: code = Unavailable desc = gone")
    ]
    script.read_error = None
    script.workers.wake_all()
    await script.clock.sleep(0.05)
    assert script.did() == [("sync", "u1")]


async def test_static_pods_of_one_name_run_one_after_the_other_in_their_order(script) -> None:
    for uid in ("u1", "u2", "u3"):
        script.create(pod(uid, static=True))
    script.create(pod("x1", name="other", static=True))
    await script.clock.sleep(30)
    assert {which for _, _, which in script.log} == {"u1", "x1"}
    assert script.workers.started("u1")
    assert not script.workers.started("u2")
    script.kill(pod("u1", static=True))
    await script.clock.sleep(1)
    assert script.did()[-1] == ("sync", "u2")
    script.kill(pod("u2", static=True))
    await script.clock.sleep(1)
    assert script.did()[-1] == ("sync", "u3")
    assert script.finished == ["u1", "u2"]


async def test_a_static_pod_that_is_removed_before_its_turn_ends_without_work(script) -> None:
    script.create(pod("u1", static=True))
    script.create(pod("u2", static=True))
    script.create(pod("u3", static=True))
    await script.clock.sleep(1)
    script.kill(pod("u2", static=True))
    await script.clock.sleep(1)
    assert script.finished == ["u2"]
    script.kill(pod("u1", static=True))
    await script.clock.sleep(1)
    assert "u2" not in {which for _, _, which in script.log}
    assert script.did()[-1] == ("sync", "u3")


async def test_a_pod_that_is_created_again_while_it_ends_is_remembered(script) -> None:
    script.create(pod())
    await script.clock.sleep(1)
    script.kill(pod())
    await script.clock.sleep(0.05)
    script.create(pod(label="new"))
    await script.clock.sleep(5)
    state = script.workers.state("u1")
    assert state.phase is WorkerPhase.FINISHED
    assert state.restart_requested
    assert ("sync", "u1 new") not in script.did()
    assert script.workers.forget("u1")
    script.create(pod(label="new"))
    await script.clock.sleep(0.05)
    assert script.did()[-1] == ("sync", "u1 new")


async def test_a_finished_worker_takes_no_updates_and_only_it_may_be_forgotten(script) -> None:
    script.create(pod())
    await script.clock.sleep(1)
    assert not script.workers.forget("u1")
    script.kill(pod())
    await script.clock.sleep(1)
    before = len(script.log)
    script.change(pod())
    await script.clock.sleep(200)
    assert len(script.log) == before
    assert script.workers.forget("u1")
    assert script.workers.forget("never seen")
    assert script.workers.states() == {}
    assert script.workers.pods() == []


async def test_what_only_the_runtime_knows_is_stopped_and_then_over(script) -> None:
    orphan = ObservedPod("u9", name="lost", namespace="ns", containers=(instance("web"),))
    script.workers.update(WorkerUpdate("kill", orphan=orphan, kill=KillRequest(grace=1)))
    await script.clock.sleep(1)
    assert [what for what, _ in script.did()] == ["terminate"]
    assert script.graces[0].seconds == 1
    assert script.finished == ["u9"]


async def test_a_pod_that_ended_before_the_daemon_did_is_only_cleaned_up(script) -> None:
    script.create(pod(phase="Succeeded"))
    await script.clock.sleep(1)
    assert [what for what, _ in script.did()] == ["finish"]


async def test_a_pod_that_ended_but_still_runs_something_is_stopped_first(script) -> None:
    script.observed["u1"] = observed_pod(instance("web"))
    script.create(pod(phase="Failed"))
    await script.clock.sleep(1)
    assert [what for what, _ in script.did()] == ["terminate", "finish"]


async def test_the_status_changes_of_all_who_kill_are_kept_in_order(script) -> None:
    def first(status):
        return status

    def second(status):
        return status

    script.takes["terminate"] = 5
    script.create(pod())
    await script.clock.sleep(1)
    script.kill(pod(), change=first, evict=True)
    script.kill(pod(), change=second)
    await script.clock.sleep(1)
    state = script.workers.state("u1")
    assert state.changes == (first, second)
    assert state.evicted


async def test_stopping_leaves_the_pods_alone_and_no_task_behind(script) -> None:
    script.takes["sync"] = 100
    for number in range(5):
        script.create(pod(f"u{number}"))
    await script.clock.sleep(1)
    await script.workers.stop()
    assert {what for what, _ in script.did()} == {"sync", "sync cut"}
    assert script.finished == []


async def test_a_worker_at_rest_does_nothing(script) -> None:
    script.create(pod())
    await script.clock.sleep(1)
    reads = len(script.reads)
    await script.clock.sleep(50)
    assert len(script.reads) == reads == 1
