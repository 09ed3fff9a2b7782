"""The status manager against an API server in memory, in virtual time."""

import asyncio
import random
from datetime import UTC, datetime

import msgspec
import pytest
from msgspec.structs import replace
from tests.cluster.pods_api import PodsApi

from pykubelet.api.core import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Pod,
    PodCondition,
    PodStatus,
)
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.podinfo import is_static
from pykubelet.base.clock import LoopClock
from pykubelet.base.journal import NullJournal
from pykubelet.base.metrics import Metrics
from pykubelet.cluster.errors import NotAsked, Refused, Unreachable
from pykubelet.cluster.status_doors import StatusRules
from pykubelet.cluster.status_manager import StatusManager
from pykubelet.pods.status_conditions import OWNED_CONDITIONS
from pykubelet.pods.status_merge import settle_status, terminal_status
from pykubelet.pods.statuses import LocalStatuses

pytestmark = pytest.mark.looptime

RULES = StatusRules(OWNED_CONDITIONS, terminal_status, settle_status)
NOON = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


class World:
    """API server, watch cache and worker states, as the manager sees them."""

    def __init__(self) -> None:
        self.api = PodsApi()
        self.watched: dict[str, Pod] = {}
        self.running: set[str] = set()
        self.done: set[str] = set()
        self.told: list[tuple[str, str]] = []
        self.stories: list[str] = []
        self.metrics = Metrics()

    # The door ApiPods; a static pod's mirror is found by its name.

    def shown(self, pod: Pod) -> Pod | None:
        if is_static(pod):
            return next((p for p in self.watched.values() if p.metadata.name == pod.metadata.name), None)
        return self.watched.get(pod.metadata.uid)

    def may_run(self, uid: str) -> bool:
        return uid in self.running

    def finished(self, uid: str) -> bool:
        return uid in self.done

    def record(self, decision, text, **facts) -> None:
        self.stories.append(decision)

    # What others do.

    def bind(self, name: str, uid: str = "", **meta) -> Pod:
        pod = Pod(
            metadata=ObjectMeta(name=name, namespace="ns", uid=uid or f"{name}-uid", generation=1, **meta),
            status=PodStatus(phase="Pending"),
        )
        self.api.put(path(name), pod)
        self.watch(name)
        return self.watched[pod.metadata.uid]

    def watch(self, name: str) -> Pod | None:
        """The watch catches up with the pod of that name."""
        pod = self.api.seen(path(name), Pod)
        for uid in [uid for uid, old in self.watched.items() if old.metadata.name == name]:
            del self.watched[uid]
        if pod is not None:
            self.watched[pod.metadata.uid] = pod
        return pod

    def at_server(self, name: str) -> PodStatus:
        return self.api.seen(path(name), Pod).status

    async def manager(self, **more) -> StatusManager:
        manager = StatusManager(
            self.api, self, RULES, LoopClock(), self, self.metrics, random.Random(1),
            on_change=lambda pod, old, new: self.told.append((old.phase if old else "", new.phase)), **more,
        )  # fmt: skip
        await manager.start()
        return manager


def path(name: str) -> str:
    return f"/api/v1/namespaces/ns/pods/{name}"


def status(phase: str, ready: bool = False, message: str = "", **more) -> PodStatus:
    truth = "True" if ready else "False"
    conditions = [
        PodCondition(type=kind, status=truth, lastTransitionTime=NOON)
        for kind in ("Ready", "ContainersReady")
    ]
    return PodStatus(phase=phase, message=message, conditions=conditions, **more)


@pytest.fixture
async def world():
    return World()


async def test_a_status_is_patched_with_the_uid(world) -> None:
    pod = world.bind("web")
    manager = await world.manager()
    manager.set(pod, status("Running", ready=True))
    await asyncio.sleep(0.1)
    ((_, verb, where, body),) = world.api.requests
    assert (verb, where) == ("patch", path("web") + "/status")
    assert body["metadata"] == {"uid": "web-uid"}
    assert world.at_server("web").phase == "Running"
    assert manager.get("web-uid").phase == "Running"
    assert world.told == [("", "Running")]
    assert b'pykubelet_pod_status_requests_total{result="done",verb="patch"} 1.0' in world.metrics.render()
    assert b"kubelet_pod_status_sync_duration_seconds_count 1.0" in world.metrics.render()
    await manager.stop()


async def test_the_same_status_is_not_sent_twice_nor_looked_at_again(world) -> None:
    pod = world.bind("web")
    manager = await world.manager()
    manager.set(pod, status("Running", ready=True))
    await asyncio.sleep(1)
    manager.set(pod, status("Running", ready=True))
    world.watch("web")
    manager.recheck("web-uid")
    await asyncio.sleep(100)
    assert len(world.api.requests) == 1
    await manager.stop()


async def test_a_pod_that_the_server_shows_right_after_a_restart_costs_nothing(world) -> None:
    world.bind("web")
    world.api.objects[path("web")]["status"] = {"phase": "Running"}
    pod = world.watch("web")
    manager = await world.manager()
    assert manager.get("web-uid") is None
    manager.set(pod, PodStatus(phase="Running"))
    await asyncio.sleep(100)
    assert world.api.requests == []
    await manager.stop()


async def test_the_steps_of_a_start_are_few_writes(world) -> None:
    pod = world.bind("web")
    manager = await world.manager()

    def waiting(reason):
        return ContainerStatus(name="c", state=ContainerState(waiting=ContainerStateWaiting(reason=reason)))

    up = ContainerStatus(name="c", state=ContainerState(running=ContainerStateRunning()), containerID="x://1")
    steps = [
        status("Pending", containerStatuses=[waiting("ContainerCreating")]),
        status("Pending", podIP="10.0.0.1", containerStatuses=[waiting("ContainerCreating")]),
        status("Pending", podIP="10.0.0.1", containerStatuses=[waiting("")]),
        status("Pending", podIP="10.0.0.1", containerStatuses=[up]),
        status("Running", podIP="10.0.0.1", containerStatuses=[up]),
        status("Running", ready=True, podIP="10.0.0.1", containerStatuses=[up]),
    ]
    for step in steps:
        manager.set(pod, step)
        await asyncio.sleep(0.2)
    await asyncio.sleep(5)
    assert len(world.api.requests) <= 3
    assert world.at_server("web").conditions[0].status == "True"
    await manager.stop()


async def test_what_matters_goes_at_once_the_rest_waits_for_company(world) -> None:
    pod = world.bind("web")
    manager = await world.manager()
    manager.set(pod, status("Running"))
    await asyncio.sleep(1)
    manager.set(pod, status("Running", message="a"))
    await asyncio.sleep(0.3)
    assert len(world.api.requests) == 1
    manager.set(pod, status("Running", ready=True, message="b"))
    await asyncio.sleep(0.05)
    assert len(world.api.requests) == 2
    assert world.at_server("web").message == "b"
    await asyncio.sleep(60)
    assert len(world.api.requests) == 2
    await manager.stop()


async def test_foreign_conditions_stay_and_are_no_change(world) -> None:
    pod = world.bind("web")
    gate = {"type": "example.com/gate", "status": "True"}
    world.api.objects[path("web")]["status"]["conditions"] = [gate]
    world.watch("web")
    manager = await world.manager()
    manager.set(pod, status("Running"))
    await asyncio.sleep(0.1)
    assert [c.type for c in world.at_server("web").conditions] == [
        "example.com/gate",
        "Ready",
        "ContainersReady",
    ]
    more = status("Running")
    manager.set(pod, msgspec.structs.replace(more, conditions=[*more.conditions, PodCondition(type="x/y")]))
    await asyncio.sleep(30)
    assert len(world.api.requests) == 1
    await manager.stop()


async def test_a_final_phase_is_held_back_while_containers_may_run(world) -> None:
    pod = world.bind("web")
    manager = await world.manager()
    world.running.add("web-uid")
    manager.set(pod, status("Running", ready=True))
    await asyncio.sleep(1)
    final = status("Failed", message="gone")
    manager.set(pod, final)
    await asyncio.sleep(60)
    assert world.at_server("web").phase == "Running"
    assert world.at_server("web").message == ""
    assert world.at_server("web").conditions[0].status == "False"
    assert "FinalPhaseHeld" in world.stories
    assert len(world.api.requests) == 2
    world.running.clear()
    manager.set(pod, final)
    await asyncio.sleep(0.1)
    assert world.at_server("web").phase == "Failed"
    await manager.stop()


async def test_a_deleted_pod_vanishes_when_its_worker_has_finished(world) -> None:
    pod = world.bind("web", deletionTimestamp=NOON)
    manager = await world.manager()
    end = ContainerStatus(name="c", state=ContainerState(terminated=ContainerStateTerminated(exitCode=0)))
    manager.set(pod, status("Succeeded", containerStatuses=[end]))
    manager.terminate(pod)
    await asyncio.sleep(60)
    assert [verb for _, verb, _, _ in world.api.requests] == ["patch"]
    world.done.add("web-uid")
    manager.recheck("web-uid")
    await asyncio.sleep(0.1)
    assert world.api.requests[-1][1:] == ("delete", path("web"), (0, "web-uid"))
    assert path("web") not in world.api.objects
    # The watch still has it: nothing is done twice.
    manager.recheck("web-uid")
    await asyncio.sleep(60)
    world.watch("web")
    await asyncio.sleep(60)
    assert len(world.api.requests) == 2
    await manager.stop()


async def test_a_terminated_pod_is_final_though_nothing_was_known_of_it(world) -> None:
    pod = world.bind("web", deletionTimestamp=NOON)
    world.done.add("web-uid")
    manager = await world.manager()
    manager.terminate(pod)
    await asyncio.sleep(0.1)
    assert [verb for _, verb, _, _ in world.api.requests] == ["patch", "delete"]
    assert world.api.requests[0][3]["status"]["phase"] == "Failed"
    await manager.stop()


async def test_a_pod_deleted_by_force_is_given_up(world) -> None:
    pod = world.bind("web")
    manager = await world.manager()
    del world.api.objects[path("web")]
    manager.set(pod, status("Running"))
    await asyncio.sleep(100)
    assert len(world.api.requests) == 1
    assert world.stories == ["StatusGivenUp"]
    world.watch("web")
    manager.set(pod, status("Failed"))
    manager.keep_only(set())
    await asyncio.sleep(100)
    assert len(world.api.requests) == 1
    assert manager.get("web-uid") is None
    await manager.stop()


async def test_another_pod_of_that_name_is_left_alone(world) -> None:
    pod = world.bind("web")
    manager = await world.manager()
    world.api.put(path("web"), Pod(metadata=ObjectMeta(name="web", namespace="ns", uid="other")))
    manager.set(pod, status("Running"))
    await asyncio.sleep(100)
    assert [verb for _, verb, _, _ in world.api.requests] == ["patch", "get"]
    assert world.at_server("web").phase == ""
    await manager.stop()


async def test_a_conflict_is_met_with_a_fresh_reading(world) -> None:
    pod = world.bind("web")
    manager = await world.manager()
    answers = iter([Refused(409, "Conflict", "try again")])
    world.api.fails = lambda verb, path: next(answers, None)
    manager.set(pod, status("Running"))
    await asyncio.sleep(5)
    assert [verb for _, verb, _, _ in world.api.requests] == ["patch", "get", "patch"]
    assert world.at_server("web").phase == "Running"
    await manager.stop()


async def test_a_stubborn_refusal_is_not_retried_hot(world) -> None:
    pod, other = world.bind("web"), world.bind("db")
    manager = await world.manager()
    world.api.fails = lambda verb, where: (
        Refused(422, "Invalid", "no") if "web" in where and verb == "patch" else None
    )
    manager.set(pod, status("Running"))
    await asyncio.sleep(3600)
    assert 30 < len(world.api.requests) < 300
    began = asyncio.get_running_loop().time()
    manager.set(other, status("Running"))
    await asyncio.sleep(0.1)
    assert world.at_server("db").phase == "Running"
    assert asyncio.get_running_loop().time() - began < 1
    await manager.stop()


async def test_retry_after_is_respected_for_all(world) -> None:
    pods = [world.bind(f"p{i}") for i in range(10)]
    manager = await world.manager()
    world.api.fails = lambda verb, path: Refused(429, "TooManyRequests", "later", retry_after=30)
    for pod in pods:
        manager.set(pod, status("Running"))
    await asyncio.sleep(29)
    assert len(world.api.requests) <= 6
    world.api.fails = lambda verb, path: None
    await asyncio.sleep(30)
    assert {world.at_server(f"p{i}").phase for i in range(10)} == {"Running"}
    await manager.stop()


@pytest.mark.parametrize("error", [Unreachable("reset by peer"), NotAsked("no route to host")])
async def test_an_hour_without_a_server_then_each_pod_is_told_once(world, error) -> None:
    pods = [world.bind(f"p{i}") for i in range(60)]
    manager = await world.manager()
    world.api.fails = lambda verb, path: error
    for minute in range(60):
        for pod in pods:
            manager.set(pod, status("Running", message=str(minute)))
        await asyncio.sleep(60)
    assert len(world.api.requests) < 3600 / 3
    assert len(manager._queue) == 60
    world.api.fails = lambda verb, path: None
    before = len(world.api.requests)
    await asyncio.sleep(20)
    after = world.api.requests[before:]
    assert world.api.most_in_flight <= 6
    # Those of which a request may have come through are read first, and each is patched once.
    reads = {where for _, verb, where, _ in after if verb == "get"}
    assert bool(reads) == (not isinstance(error, NotAsked))
    assert sorted(where for _, verb, where, _ in after if verb == "patch") == sorted(
        f"{path(f'p{i}')}/status" for i in range(60)
    )
    assert {world.at_server(f"p{i}").message for i in range(60)} == {"59"}
    assert len(manager._queue) == 0
    await manager.stop()


async def test_a_flapping_server_gets_no_storm_and_in_the_end_the_truth(world) -> None:
    pods = [world.bind(f"p{i}") for i in range(20)]
    manager = await world.manager()
    loop = asyncio.get_running_loop()
    world.api.fails = lambda verb, path: Unreachable("down") if int(loop.time()) % 7 < 4 else None
    for step in range(30):
        for pod in pods:
            manager.set(pod, status("Running", ready=step % 2 == 0, message=str(step)))
        await asyncio.sleep(3)
    world.api.fails = lambda verb, path: None
    await asyncio.sleep(30)
    assert {world.at_server(f"p{i}").message for i in range(20)} == {"29"}
    assert len(world.api.requests) < 20 * 30 * 2
    await manager.stop()


async def test_readiness_goes_before_the_rest(world) -> None:
    pods = [world.bind(f"p{i}") for i in range(30)]
    manager = await world.manager(at_once=1)
    for pod in pods[:-1]:
        manager.set(pod, status("Pending", message="slow"))
    await asyncio.sleep(0.6)
    manager.set(pods[-1], status("Running", ready=True))
    before = len(world.api.requests)
    await asyncio.sleep(0.03)
    assert "p29" in world.api.requests[before][2]
    await manager.stop()


async def test_an_overwritten_status_is_corrected_by_the_next_look(world) -> None:
    pod = world.bind("web")
    manager = await world.manager()
    manager.set(pod, status("Running", ready=True))
    await asyncio.sleep(1)
    intruder = world.api.seen(path("web"), Pod)
    intruder = msgspec.structs.replace(
        intruder, status=msgspec.structs.replace(intruder.status, phase="Pending")
    )
    world.api.put(path("web"), intruder)
    world.watch("web")
    manager.recheck("web-uid")
    await asyncio.sleep(0.5)
    assert len(world.api.requests) == 1
    await asyncio.sleep(10)
    assert world.at_server("web").phase == "Running"
    assert "StatusCorrected" in world.stories
    await manager.stop()


async def test_a_static_pods_status_waits_for_its_mirror_and_survives_restarts(world, tmp_path) -> None:
    annotations = {"kubernetes.io/config.source": "file"}
    static = Pod(metadata=ObjectMeta(name="etcd", namespace="ns", uid="hash", annotations=annotations))
    keeper = LocalStatuses(tmp_path)
    manager = await world.manager(keeper=keeper)
    manager.set(static, status("Running", ready=True))
    await asyncio.sleep(60)
    assert world.api.requests == []
    world.bind("etcd", uid="mirror-1", annotations={"kubernetes.io/config.mirror": "hash"})
    manager.recheck("hash")
    await asyncio.sleep(0.1)
    assert world.api.requests[-1][3]["metadata"] == {"uid": "mirror-1"}
    # Another mirror has to be told anew.
    del world.api.objects[path("etcd")]
    world.bind("etcd", uid="mirror-2", annotations={"kubernetes.io/config.mirror": "hash"})
    manager.recheck("hash")
    await asyncio.sleep(0.1)
    assert world.api.requests[-1][3]["metadata"] == {"uid": "mirror-2"}
    # A mirror is never deleted by us because its static pod ended.
    world.done.add("hash")
    manager.terminate(static)
    await asyncio.sleep(30)
    assert all(verb == "patch" for _, verb, _, _ in world.api.requests)
    await manager.stop()
    again = await world.manager(keeper=keeper)
    assert again.get("hash").conditions[0].status == "True"
    again.keep_only(set())
    assert again.get("hash") is None
    await again.stop()


async def test_what_a_mirror_shows_is_the_last_status_until_its_static_pod_is_heard_of(
    world, tmp_path
) -> None:
    static = Pod(
        metadata=ObjectMeta(
            name="etcd", namespace="ns", uid="hash", annotations={"kubernetes.io/config.source": "file"}
        )
    )
    keeper = LocalStatuses(tmp_path)
    keeper.set(static, status("Running", message="long ago"))
    manager = await world.manager(keeper=keeper)
    notes = {"kubernetes.io/config.mirror": "hash"}
    shown = replace(world.bind("etcd", uid="m", annotations=notes), status=status("Running", ready=True))
    manager.recall(shown)
    assert manager.get("hash") == shown.status
    # Later ones are echoes of what is told here.
    manager.recall(replace(shown, status=status("Running")))
    assert manager.get("hash") == shown.status
    manager.set(static, status("Running", message="now"))
    assert world.told == [("Running", "Running")]
    assert manager.get("hash").message == "now"
    manager.remove("hash")
    assert manager.get("hash") is None
    await manager.stop()


@pytest.mark.parametrize("phase", ["Pending", "Failed", "Succeeded"])
async def test_only_a_running_pod_is_remembered_by_its_mirror(world, phase) -> None:
    manager = await world.manager()
    mirror = world.bind("etcd", uid="m", annotations={"kubernetes.io/config.mirror": "hash"})
    manager.recall(replace(mirror, status=status(phase)))
    running = replace(mirror, status=status("Running"))
    manager.recall(replace(running, metadata=replace(running.metadata, deletionTimestamp=NOON)))
    assert manager.get("hash") is None
    manager.recall(running)
    manager.keep_only(set())
    assert manager.get("hash") is None
    await manager.stop()


async def test_our_own_answer_counts_until_the_watch_has_caught_up(world) -> None:
    pod = world.bind("web")
    manager = await world.manager()
    manager.set(pod, status("Running", message="one"))
    await asyncio.sleep(1)
    manager.set(pod, status("Running", message=""))
    await asyncio.sleep(1)
    assert world.api.requests[-1][3]["status"] == {"message": None}
    assert world.at_server("web").message == ""
    await asyncio.sleep(60)
    assert len(world.api.requests) == 2
    await manager.stop()


def test_a_null_journal_will_do() -> None:
    metrics = Metrics()
    StatusManager(PodsApi(), World(), RULES, LoopClock(), NullJournal(), metrics, random.Random(1))
