"""Probe workers over virtual time: when they try, what counts before and after, and how they end."""

import random
from datetime import timedelta

import pytest

from pykubelet.api.core import (
    Container,
    ContainerRestartRule,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    ExecAction,
    Pod,
    PodSpec,
    PodStatus,
    Probe,
)
from pykubelet.api.meta import ObjectMeta
from pykubelet.base.clock import LoopClock
from pykubelet.base.journal import NullJournal
from pykubelet.cri.errors import Code, CriError
from pykubelet.cri.types import ExecResult
from pykubelet.probes.handlers import Handlers
from pykubelet.probes.manager import ProbeManager

pytestmark = pytest.mark.looptime

GOOD, BAD = ExecResult(b"", b"", 0), ExecResult(b"no", b"", 1)
LOST = CriError(Code.Unavailable, "ExecSync", "gone")
CONTAINERS = {"liveness": "livenessProbe", "readiness": "readinessProbe", "startup": "startupProbe"}


class World(NullJournal):
    """A node with pods whose statuses the test sets, and a runtime that answers as told."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.statuses: dict[str, PodStatus] = {}
        self.answers: dict[str, object] = {}
        self.tries: list[tuple[float, str, str]] = []
        self.verdicts: list[tuple[float, str, bool | None]] = []
        self.events: list[tuple[str, str, str]] = []

    def at(self) -> float:
        return round(self.clock.monotonic(), 3)

    def pod_event(self, pod, kind, reason, message, *, field_path="") -> None:
        self.events.append((reason, message, field_path))

    async def exec_sync(self, container_id, command, timeout=0):
        self.tries.append((self.at(), command[0], container_id))
        answer = self.answers.get(command[0], GOOD)
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            return await answer()
        return answer

    def times(self, kind: str) -> list[float]:
        return [moment for moment, what, _ in self.tries if what == kind]

    def show(
        self, pod: Pod, *, container_id="c1", state=None, started=True, age=0.0, phase="Running", init=False
    ):
        """Set the pod's status; by default its container has just begun to run."""
        if state is None:
            began = self.clock.now() - timedelta(seconds=age)
            state = ContainerState(running=ContainerStateRunning(startedAt=began))
        of = ContainerStatus(
            name="web", state=state, containerID=f"containerd://{container_id}", started=started
        )
        status = PodStatus(
            phase=phase,
            podIP="10.0.0.1",
            containerStatuses=[] if init else [of],
            initContainerStatuses=[of] if init else [],
        )
        self.statuses[pod.metadata.uid] = status
        self.manager.status_changed(pod, status)

    async def later(self, seconds=1000) -> None:
        """Start the daemon, and let it be that old: by default older than any period."""
        self.manager = ProbeManager(
            Handlers(self, "1.36"),
            self.clock,
            self,
            self,
            status_of=self.statuses.get,
            on_verdict=lambda kind, uid, name, verdict: self.verdicts.append((self.at(), kind, verdict)),
            rng=random.Random(1),
        )
        await self.clock.sleep(seconds)


DEAD = ContainerState(terminated=ContainerStateTerminated(exitCode=1))


def pod_with(uid="u1", *, policy="Always", sidecar=False, rules=(), **probes) -> Pod:
    """A pod of one container with probes by kind; each runs the command named like its kind."""
    made = {
        CONTAINERS[kind]: Probe(
            exec=ExecAction(command=[kind]),
            **{
                "periodSeconds": 10,
                "timeoutSeconds": 1,
                "failureThreshold": 3,
                "successThreshold": 1,
                **more,
            },
        )
        for kind, more in probes.items()
    }
    container = Container(
        name="web", restartPolicy="Always" if sidecar else None, restartPolicyRules=list(rules), **made
    )
    spec = PodSpec(
        restartPolicy=policy,
        containers=[] if sidecar else [container],
        initContainers=[container] if sidecar else [],
    )
    return Pod(metadata=ObjectMeta(name="p", namespace="ns", uid=uid), spec=spec)


@pytest.fixture
async def world():
    made = World()
    yield made
    await made.manager.stop()


async def test_a_container_is_probed_as_soon_as_it_runs_and_then_every_period(world) -> None:
    await world.later()
    pod = pod_with(readiness={})
    world.manager.add_pod(pod)
    await world.clock.sleep(3)
    world.show(pod)
    await world.clock.sleep(25)
    assert world.times("readiness") == [1003, 1013, 1023]
    assert world.manager.readiness("c1") is True
    assert world.verdicts == [(1003, "readiness", True)]


async def test_before_its_first_try_only_liveness_counts_as_success(world) -> None:
    await world.later()
    pod = pod_with(readiness={"initialDelaySeconds": 5}, liveness={"initialDelaySeconds": 5}, startup={})
    world.answers["startup"] = LOST
    world.show(pod, started=False)
    world.manager.add_pod(pod)
    await world.clock.sleep(1)
    manager = world.manager
    assert [manager.readiness("c1"), manager.liveness("c1"), manager.startup("c1")] == [False, True, None]
    assert all(manager.has_worker("u1", "web", kind) for kind in CONTAINERS)
    assert not manager.has_worker("u1", "db", "liveness")


async def test_the_initial_delay_counts_from_the_start_of_the_container(world) -> None:
    await world.later()
    pod = pod_with(liveness={"initialDelaySeconds": 7})
    world.show(pod, age=2)
    world.manager.add_pod(pod)
    await world.clock.sleep(20)
    assert world.times("liveness") == [1005, 1015]


async def test_others_wait_until_the_container_has_started_up(world) -> None:
    await world.later()
    pod = pod_with(startup={"periodSeconds": 1}, liveness={}, readiness={})
    world.show(pod, started=False)
    world.manager.add_pod(pod)
    await world.clock.sleep(0.5)
    assert world.times("startup") == [1000]
    assert (1000, "startup", True) in world.verdicts
    await world.clock.sleep(3)
    assert world.times("liveness") == world.times("readiness") == []
    world.show(pod, started=True)
    await world.clock.sleep(0.1)
    assert world.times("startup") == [1000]
    assert world.times("liveness") == world.times("readiness") == [1003.5]


async def test_a_failed_startup_or_liveness_holds_until_another_container_runs(world) -> None:
    await world.later()
    pod = pod_with(liveness={"periodSeconds": 1, "failureThreshold": 2})
    world.answers["liveness"] = BAD
    world.show(pod)
    world.manager.add_pod(pod)
    await world.clock.sleep(10)
    assert len(world.times("liveness")) == 2
    assert world.manager.liveness("c1") is False
    assert world.verdicts[-1] == (1001, "liveness", False)
    assert world.events == [("Unhealthy", "Liveness probe failed: no", "spec.containers{web}")] * 2
    world.answers["liveness"] = GOOD
    world.show(pod, container_id="c2")
    await world.clock.sleep(0.1)
    assert world.manager.liveness("c1") is None
    assert world.manager.liveness("c2") is True
    assert world.tries[-1][2] == "c2"


async def test_counts_of_a_dead_container_do_not_count_for_the_next(world) -> None:
    await world.later()
    pod = pod_with(liveness={"periodSeconds": 1, "failureThreshold": 3})
    world.answers["liveness"] = BAD
    world.show(pod)
    world.manager.add_pod(pod)
    await world.clock.sleep(1.5)
    world.show(pod, state=DEAD)
    await world.clock.sleep(1)
    assert world.manager.liveness("c1") is False
    world.show(pod, container_id="c2")
    await world.clock.sleep(1.5)
    assert world.manager.liveness("c2") is True
    await world.clock.sleep(1)
    assert world.manager.liveness("c2") is False


async def test_readiness_goes_on_after_failures(world) -> None:
    await world.later()
    pod = pod_with(readiness={"periodSeconds": 1, "failureThreshold": 2, "successThreshold": 2})
    world.show(pod)
    world.manager.add_pod(pod)
    await world.clock.sleep(2.5)
    world.answers["readiness"] = BAD
    await world.clock.sleep(3)
    world.answers["readiness"] = GOOD
    await world.clock.sleep(3)
    assert world.verdicts == [
        (1001, "readiness", True),
        (1004, "readiness", False),
        (1007, "readiness", True),
    ]


async def test_an_attempt_that_goes_wrong_is_made_three_times_and_changes_nothing(world) -> None:
    await world.later()
    pod = pod_with(liveness={"failureThreshold": 1})
    world.answers["liveness"] = LOST
    world.show(pod)
    world.manager.add_pod(pod)
    await world.clock.sleep(1)
    assert world.times("liveness") == [1000] * 3
    assert world.manager.liveness("c1") is True
    assert world.events == [
        (
            "Unhealthy",
            "Liveness probe errored and resulted in unknown state: rpc error: code = Unavailable desc = gone",
            "spec.containers{web}",
        )
    ]


async def test_a_runtime_that_hangs_holds_up_one_probe_for_a_bounded_time(world) -> None:
    await world.later()
    pod = pod_with(liveness={"periodSeconds": 1})

    async def hang():
        await world.clock.sleep(1e6)

    world.answers["liveness"] = hang
    world.show(pod)
    world.manager.add_pod(pod)
    await world.clock.sleep(100)
    assert "the runtime did not answer" in world.events[0][1]


async def test_a_handler_that_breaks_does_not_end_the_probe(world, caplog) -> None:
    await world.later()
    pod = pod_with(readiness={})
    world.answers["readiness"] = RuntimeError("broken")
    world.show(pod)
    world.manager.add_pod(pod)
    await world.clock.sleep(5)
    assert "the readiness probe of web failed" in caplog.text
    assert world.manager.has_worker("u1", "web", "readiness")
    world.answers["readiness"] = GOOD
    await world.clock.sleep(10)
    assert world.manager.readiness("c1") is True


async def test_an_unready_container_is_probed_at_once_when_asked(world) -> None:
    await world.later()
    pod = pod_with(readiness={})
    world.answers["readiness"] = BAD
    world.show(pod)
    world.manager.add_pod(pod)
    await world.clock.sleep(4)
    world.manager.poke_readiness("u1", "web")
    world.manager.poke_readiness("u1", "other")
    world.manager.poke_readiness("u2", "web")
    await world.clock.sleep(12)
    assert world.times("readiness") == [1000, 1004, 1014]


async def test_a_status_that_shows_nothing_new_causes_no_probe(world) -> None:
    await world.later()
    pod = pod_with(readiness={})
    world.show(pod)
    status = world.statuses["u1"]
    world.manager.add_pod(pod)
    await world.clock.sleep(1)
    tries = len(world.tries)
    for _ in range(5):
        world.manager.status_changed(pod, status)
        await world.clock.sleep(0.1)
    assert len(world.tries) <= tries + 1


@pytest.mark.parametrize(
    ("more", "goes_on"),
    [
        ({"policy": "Never"}, False),
        ({"policy": "OnFailure"}, True),
        ({"policy": "Always"}, True),
        ({"policy": "Never", "sidecar": True}, True),
        ({"policy": "Never", "rules": [ContainerRestartRule(action="Restart")]}, True),
    ],
)
async def test_a_probe_ends_with_a_container_that_will_not_run_again(world, more, goes_on) -> None:
    await world.later()
    pod = pod_with(readiness={}, **more)
    world.show(pod, init=more.get("sidecar", False))
    world.manager.add_pod(pod)
    await world.clock.sleep(1)
    assert world.manager.readiness("c1") is True
    world.show(pod, state=DEAD, init=more.get("sidecar", False))
    await world.clock.sleep(11)
    assert world.manager.has_worker("u1", "web", "readiness") is goes_on
    assert world.manager.readiness("c1") is (False if goes_on else None)


async def test_probes_end_with_the_phase_of_the_pod(world) -> None:
    await world.later()
    pod = pod_with(readiness={}, liveness={})
    world.show(pod)
    world.manager.add_pod(pod)
    await world.clock.sleep(1)
    world.show(pod, phase="Failed")
    await world.clock.sleep(10)
    assert not world.manager.has_worker("u1", "web", "readiness")
    assert world.manager.readiness("c1") is None


async def test_a_container_that_waits_to_be_restarted_is_not_ready(world) -> None:
    await world.later()
    pod = pod_with(readiness={"periodSeconds": 1})
    world.show(pod)
    world.manager.add_pod(pod)
    await world.clock.sleep(0.5)
    world.show(pod, state=ContainerState(waiting=ContainerStateWaiting(reason="CrashLoopBackOff")))
    await world.clock.sleep(1)
    assert world.manager.readiness("c1") is False
    assert len(world.tries) == 1


async def test_while_a_pod_ends_only_readiness_goes_on(world) -> None:
    await world.later()
    pod = pod_with(readiness={"periodSeconds": 1}, liveness={"periodSeconds": 1, "failureThreshold": 1})
    world.answers["liveness"] = BAD
    world.show(pod)
    world.manager.add_pod(pod)
    await world.clock.sleep(0.5)
    world.manager.stop_liveness_and_startup("u1")
    await world.clock.sleep(3)
    assert world.manager.liveness("c1") is True
    assert len(world.times("liveness")) == 1
    assert len(world.times("readiness")) > 3
    world.manager.remove_pod("u1")
    await world.clock.sleep(3)
    assert world.manager.liveness("c1") is None
    assert world.manager.readiness("c1") is None


async def test_nothing_is_kept_of_pods_that_are_gone(world) -> None:
    await world.later()
    pods = [pod_with(f"u{number}", readiness={}, liveness={}, startup={}) for number in range(5)]
    for number, pod in enumerate(pods):
        world.show(pod, container_id=f"c{number}", started=number % 2 == 0)
        world.manager.add_pod(pod)
    await world.clock.sleep(1)
    world.manager.stop_liveness_and_startup("u3")
    world.manager.keep_only({"u1"})
    await world.clock.sleep(0.1)
    manager = world.manager
    assert manager.readiness("c1") is False
    for number in (0, 2, 3, 4):
        assert [manager.readiness(f"c{number}"), manager.liveness(f"c{number}")] == [None, None]
        assert not manager.has_worker(f"u{number}", "web", "liveness")
    assert set(manager._pods) == {"u1"}
    assert {key[1] for key in manager._verdicts} == {"c1"}
    assert all("/u1/" in task.get_name() for task in manager._tasks.tasks)


async def test_a_pod_that_is_removed_while_it_is_probed_leaves_no_verdict(world) -> None:
    await world.later()
    pod = pod_with(readiness={})

    async def slow():
        await world.clock.sleep(0.5)
        return GOOD

    world.answers["readiness"] = slow
    world.show(pod)
    world.manager.add_pod(pod)
    await world.clock.sleep(0.2)
    world.manager.remove_pod("u1")
    world.manager.remove_pod("u1")
    await world.clock.sleep(5)
    assert world.manager.readiness("c1") is None
    assert world.verdicts == []


async def test_adding_a_pod_again_starts_no_second_worker(world) -> None:
    await world.later()
    pod = pod_with(readiness={})
    world.show(pod)
    for _ in range(3):
        world.manager.add_pod(pod)
    await world.clock.sleep(1)
    assert len(world.tries) == 1


async def test_just_after_the_daemons_start_probes_are_spread_over_their_period(world) -> None:
    await world.later(1)
    pods = [pod_with(f"u{number}", readiness={}) for number in range(20)]
    for number, pod in enumerate(pods):
        world.show(pod, container_id=f"c{number}", age=100)
        world.manager.add_pod(pod)
    await world.clock.sleep(10)
    moments = [moment for moment, _, _ in world.tries]
    assert len(set(moments)) > 15
    assert max(moments) - min(moments) > 5


async def test_a_container_from_before_the_daemon_keeps_its_readiness_until_a_probe_speaks(world) -> None:
    await world.later(1)
    pod = pod_with(readiness={"failureThreshold": 2, "periodSeconds": 2}, startup={})
    world.answers["readiness"] = BAD
    world.show(pod, age=60)
    world.manager.add_pod(pod)
    await world.clock.sleep(2.5)
    assert len(world.times("readiness")) >= 1
    assert world.manager.readiness("c1") is None
    assert world.manager.startup("c1") is None
    await world.clock.sleep(3)
    assert world.manager.readiness("c1") is False
    assert [verdict for _, _, verdict in world.verdicts] == [False]


async def test_a_sidecar_that_had_started_up_before_the_daemon_counts_as_started(world) -> None:
    await world.later(1)
    pod = pod_with(startup={}, sidecar=True)
    world.show(pod, age=60, init=True)
    world.manager.add_pod(pod)
    await world.clock.sleep(10)
    assert world.manager.startup("c1") is True
    assert world.times("startup") == []
