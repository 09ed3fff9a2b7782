"""The work of each phase, from one look at a pod to the orders that reach the runtime."""

from dataclasses import replace

import msgspec
import pytest
from tests.pods.model import ModelRuntime
from tests.pods.recording import Cgroups, Probes, Starter, Told, Volumes
from tests.pods.resizing import Resizing

from pykubelet.api.core import Container, Pod, PodSpec, Probe
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.quantity import Quantity
from pykubelet.base.clock import LoopClock
from pykubelet.base.errors import SandboxError, StartError, VolumeError, VolumeLimitError
from pykubelet.base.tasks import TaskOwner
from pykubelet.cri.errors import Code, CriError
from pykubelet.linux.cgroups import Limits
from pykubelet.pods.crashloop import CrashLoop
from pykubelet.pods.execute import Executor
from pykubelet.pods.holder import GraceHolder
from pykubelet.pods.lifecycle import WorkerState, WorkerUpdate
from pykubelet.pods.reasons import ReasonCache
from pykubelet.pods.status import NodeFacts
from pykubelet.pods.statuses import LocalStatuses
from pykubelet.pods.sync import PodSyncer, SyncDoors
from pykubelet.pods.worker import SyncOutcome, TerminationError

pytestmark = pytest.mark.looptime


def pod(*containers, policy="Always", init=(), deadline=None, host_network=False) -> Pod:
    made = [c if isinstance(c, Container) else Container(name=c, image="img") for c in containers or ("web",)]
    return Pod(
        metadata=ObjectMeta(name="p", namespace="ns", uid="u"),
        spec=PodSpec(
            containers=made,
            initContainers=list(init),
            restartPolicy=policy,
            terminationGracePeriodSeconds=30,
            activeDeadlineSeconds=deadline,
            hostNetwork=host_network,
        ),
    )


class World(Told):
    def __init__(self, tmp_path) -> None:
        super().__init__()
        self.clock = LoopClock()
        self.runtime = ModelRuntime()
        self.starter, self.probes, self.cgroups = Starter(self.runtime), Probes(), Cgroups()
        self.volumes, self.reasons = Volumes(self.clock), ReasonCache()
        self.statuses = LocalStatuses(tmp_path)
        self.network, self.wanted, self.reads = "", True, 0
        self.crash_loop = CrashLoop()
        #: By new sandbox, whether all went well.
        self.sandboxes_made: list[bool] = []
        self.resizing = Resizing(self.clock, self, self.cgroups)
        self.refused: list[str] = []
        executor = Executor(
            self.clock,
            self,
            self,
            self.starter,
            self.crash_loop,
            self.reasons,
            self.read,
            self.resizing.resizer,
            on_new_sandbox=lambda pod, well: self.sandboxes_made.append(well),
        )
        self.syncer = PodSyncer(
            self.clock,
            self,
            self,
            executor,
            SyncDoors(
                starter=self.starter,
                volumes=self.volumes,
                cgroups=self.cgroups,
                probes=self.probes,
                statuses=self.statuses,
                reasons=self.reasons,
                allocation=self.resizing.allocation,
                resizer=self.resizing.resizer,
                read=self.read,
                node_facts=lambda pod: NodeFacts(host_ips=("192.0.2.1",)),
                runtime_name=lambda: "containerd",
                network_error=lambda: self.network,
                active_pods=list,
                wanted=lambda uid: self.wanted,
                on_refused=self.refused.append,
            ),
        )

    async def read(self, uid, newer_than):
        self.reads += 1
        return self.runtime.observed()

    async def sync(self, pod):
        self.starter.calls.clear()
        await self.clock.sleep((self.runtime.now - self.clock.now_ns()) / 1e9)
        self.runtime.now = self.clock.now_ns()
        return await self.syncer.sync(WorkerUpdate("sync", pod), self.runtime.observed())

    async def terminate(self, pod, state=None):
        self.starter.calls.clear()
        grace = GraceHolder(self.clock, 30)
        update = WorkerUpdate("kill", pod, orphan=None if pod else self.runtime.observed())
        await self.syncer.terminate(update, state or STATE, self.runtime.observed(), grace)

    async def finish(self, pod, state=None):
        self.starter.calls.clear()
        await self.syncer.finish(WorkerUpdate("kill", pod), state or STATE)

    def status(self):
        return self.statuses.get("u")


STATE = WorkerState(full_name="p_ns", cause="it was removed")


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


async def test_a_new_pod_gets_its_sandbox_and_containers_and_is_reported_running(world) -> None:
    outcome = await world.sync(pod("web", "db"))
    assert world.starter.calls == ["prepare", "sandbox 0", "start web", "start db"]
    assert (outcome.error, outcome.terminal, outcome.next_in) == ("", False, None)
    assert outcome.read_after == world.clock.monotonic(), "it was looked at after the last start"
    assert world.status().phase == "Running"
    assert world.status().podIP == "10.1.0.2"
    assert world.probes.asked == [("add", "u")]
    assert world.cgroups.there == {"u"}
    assert await world.sync(pod("web", "db")) == SyncOutcome()
    assert world.starter.calls == ["prepare"]


async def test_each_new_sandbox_is_told_of_and_how_it_went(world) -> None:
    await world.sync(pod("web", "db"))
    await world.sync(pod("web", "db"))
    assert world.sandboxes_made == [True]
    world.runtime.sandboxes.clear()
    world.runtime.containers.clear()
    world.starter.failing["start db"] = StartError("CreateContainerError", "no")
    await world.sync(pod("web", "db"))
    assert world.sandboxes_made == [True, False]
    world.runtime.sandboxes.clear()
    world.runtime.containers.clear()
    world.starter.failing["sandbox 0"] = SandboxError("no")
    await world.sync(pod("web", "db"))
    assert world.sandboxes_made == [True, False, False]


async def test_a_container_in_back_off_is_shown_so_and_looked_at_when_it_is_over(world) -> None:
    await world.sync(pod())
    world.runtime.exit("web", 1)
    await world.sync(pod())
    world.runtime.exit("web", 1)
    outcome = await world.sync(pod())
    assert world.starter.calls == ["prepare"]
    assert 9 < outcome.next_in <= 10.1
    waiting = world.status().containerStatuses[0].state.waiting
    assert waiting.reason == "CrashLoopBackOff"
    assert waiting.message == "back-off 10s restarting failed container=web pod=p_ns(u)"
    assert ("BackOff", "Back-off restarting failed container web in pod p_ns(u)") in world.events
    await world.clock.sleep(outcome.next_in + 2)
    await world.sync(pod())
    assert world.starter.calls == ["prepare", "start web"]
    assert world.status().containerStatuses[0].restartCount == 2
    assert world.reasons.of("u") == {}


async def test_one_container_that_does_not_start_does_not_keep_the_others(world) -> None:
    world.starter.refuse("web")
    world.starter.failing["start db"] = CriError(Code.Unavailable, "CreateContainer", "gone")
    outcome = await world.sync(pod("web", "db", "cache"))
    assert world.starter.calls[-3:] == ["start web", "start db", "start cache"]
    assert outcome.error.startswith("ErrImagePull: no such image; starting db: rpc error")
    assert outcome.next_in is None
    shown = {s.name: s.state.waiting.reason for s in world.status().containerStatuses if s.state.waiting}
    assert shown["web"] == "ErrImagePull"


async def test_an_error_does_not_put_off_a_back_off_that_ends_sooner(world) -> None:
    both = pod("web", "db")
    await world.sync(both)
    for _ in range(2):
        world.runtime.exit("web", 1)
        last = await world.sync(both)
    await world.clock.sleep(last.next_in - 3)
    world.runtime.exit("db", 1)
    world.starter.refuse("db")
    outcome = await world.sync(both)
    assert outcome.error
    assert outcome.next_in == pytest.approx(3, abs=0.2)


async def test_an_init_container_that_does_not_start_keeps_back_all_that_follow(world) -> None:
    world.starter.refuse("setup")
    outcome = await world.sync(pod(init=[Container(name="setup", image="img")]))
    assert world.starter.calls == ["prepare", "sandbox 0", "start setup"]
    assert outcome.error


async def test_without_a_sandbox_nothing_is_started(world) -> None:
    world.starter.refuse_sandbox()
    outcome = await world.sync(pod())
    assert world.starter.calls == ["prepare", "sandbox 0"]
    assert ("FailedCreatePodSandBox", "Failed to create pod sandbox: no network") in world.events
    assert outcome.error == "creating the sandbox: no network"


async def test_a_dead_sandbox_is_replaced_once(world) -> None:
    await world.sync(pod())
    world.runtime.lose_sandbox()
    await world.sync(pod())
    assert world.starter.calls == ["prepare", "stop s0", "sandbox 1", "start web"]
    assert ("SandboxChanged", "Pod sandbox changed, it will be killed and re-created.") in world.events


async def test_without_a_network_only_pods_of_the_host_network_start(world) -> None:
    world.network = "no CNI"
    outcome = await world.sync(pod())
    assert (outcome.network, outcome.error) == (True, "network is not ready: no CNI")
    assert world.events == [("NetworkNotReady", "network is not ready: no CNI")]
    assert world.starter.calls == []
    await world.sync(pod(host_network=True))
    assert "sandbox 0" in world.starter.calls


@pytest.mark.parametrize(("real", "events"), [(True, ["FailedMount"]), (False, [])])
async def test_volumes_that_are_missing_keep_the_pod_waiting(world, real, events) -> None:
    world.volumes.error = VolumeError("timed out", real=real)
    outcome = await world.sync(pod())
    assert outcome.error == "Unable to attach or mount volumes: timed out"
    assert world.event_reasons() == events
    assert world.starter.calls == ["prepare"]


async def test_a_pod_whose_volume_the_node_has_no_room_for_is_refused(world) -> None:
    world.volumes.error = VolumeLimitError("no more", real=False)
    outcome = await world.sync(pod())
    assert world.refused == ["VolumeAttachmentLimitExceeded"]
    assert outcome.terminal
    assert world.events == [("VolumeAttachmentLimitExceeded", "no more")]
    status = world.statuses.get("u")
    assert (status.phase, status.reason) == ("Failed", "VolumeAttachmentLimitExceeded")
    assert status.message == "Pod was rejected: no more"


async def test_after_a_long_wait_for_volumes_the_pod_is_looked_at_anew(world) -> None:
    world.volumes.takes = 60
    before = world.runtime.observed()
    world.runtime.sandboxes = []
    await world.syncer.sync(WorkerUpdate("sync", pod()), replace(before, containers=()))
    assert world.reads >= 2


async def test_a_cgroup_that_vanished_under_running_containers_kills_them_and_they_start_anew(world) -> None:
    await world.sync(pod())
    world.cgroups.there.clear()
    await world.sync(pod())
    assert world.starter.calls == ["stop web-0", "stop s0", "prepare", "stop s0", "sandbox 1", "start web"]
    assert world.cgroups.there == {"u"}


async def test_a_cgroup_that_cannot_be_made_is_an_event(world) -> None:
    world.cgroups.failing["ensure"] = OSError("read-only")
    outcome = await world.sync(pod())
    assert world.events == [("FailedCreatePodContainer", "unable to ensure pod container exists: read-only")]
    assert outcome.error
    assert world.starter.calls == []


async def test_directories_that_cannot_be_made_are_an_event(world) -> None:
    world.starter.failing["prepare"] = OSError("full")
    outcome = await world.sync(pod())
    assert world.events == [("Failed", "error making pod data directories: full")]
    assert outcome.error


async def test_a_pod_whose_containers_are_done_is_over(world) -> None:
    await world.sync(pod(policy="Never"))
    world.runtime.exit("web", 0)
    outcome = await world.sync(pod(policy="Never"))
    assert (outcome.terminal, outcome.cause) == (True, "its phase is Succeeded")
    assert world.starter.calls == []


async def test_a_pod_past_its_deadline_is_over_and_told_so_once(world) -> None:
    limited = pod(deadline=60)
    outcome = await world.sync(limited)
    assert 59 < outcome.next_in <= 60.1
    await world.clock.sleep(outcome.next_in)
    outcome = await world.sync(limited)
    assert (outcome.terminal, outcome.cause) == (True, "its phase is Failed DeadlineExceeded")
    await world.sync(limited)
    assert world.event_reasons() == ["DeadlineExceeded"]


async def test_an_unready_container_with_a_probe_is_probed_at_once(world) -> None:
    probed = Container(name="web", image="img", readinessProbe=Probe())
    world.probes = world.syncer._doors.probes
    world.probes._workers = {("web", "readiness")}
    await world.sync(pod(probed))
    assert ("poke", "web") in world.probes.asked


async def test_the_end_of_a_pod(world) -> None:
    await world.sync(pod("web", "db"))
    world.probes.asked.clear()
    await world.terminate(pod("web", "db"))
    assert sorted(world.starter.calls[:2]) == ["stop db-0", "stop web-0"]
    assert world.starter.calls[2:] == ["stop s0"]
    assert world.probes.asked == [("quiet", "u"), ("remove", "u")]
    assert all(s.state.terminated for s in world.status().containerStatuses)
    await world.finish(pod("web", "db"), replace(STATE, deleted=True))
    assert world.starter.calls == ["remove db-0", "remove web-0", "remove s0", "clean u ns p"]
    assert world.cgroups.destroyed == ["u"]
    assert world.status().phase in {"Failed", "Succeeded"}


async def test_what_does_not_stop_is_an_event_and_tried_again(world) -> None:
    await world.sync(pod())
    world.starter.failing["stop web-0"] = CriError(Code.Unavailable, "StopContainer", "gone")
    with pytest.raises(TerminationError):
        await world.terminate(pod())
    assert world.event_reasons()[-1] == "FailedKillPod"
    assert ("remove", "u") not in world.probes.asked
    world.starter.failing.clear()
    await world.terminate(pod())
    assert world.runtime.running() == []


async def test_who_spoke_last_says_what_is_reported(world) -> None:
    def says(reason):
        return lambda status: msgspec.structs.replace(status, phase="Failed", reason=reason)

    await world.sync(pod())
    await world.terminate(pod(), replace(STATE, changes=(says("Evicted"), says("Preempting"))))
    assert world.status().reason == "Preempting"


async def test_the_containers_of_a_pod_that_is_still_wanted_stay_to_be_looked_at(world) -> None:
    await world.sync(pod(policy="Never"))
    world.runtime.exit("web", 0)
    await world.terminate(pod(policy="Never"))
    await world.finish(pod(policy="Never"))
    assert world.starter.calls == []
    assert world.runtime.containers
    world.wanted = False
    await world.finish(pod(policy="Never"))
    assert world.runtime.containers == []


async def test_a_pod_that_was_taken_away_and_is_brought_again_begins_from_nothing(world) -> None:
    await world.sync(pod())
    await world.terminate(pod())
    await world.finish(pod(), replace(STATE, restart_requested=True))
    assert world.runtime.containers == []


async def test_a_container_that_cannot_be_removed_yet_is_tried_again(world) -> None:
    await world.sync(pod())
    await world.terminate(pod())
    refusal = CriError(Code.Unknown, "RemoveContainer", "container is in starting state, can't be removed")
    world.starter.failing["remove web-0"] = refusal
    tasks = TaskOwner("test")
    finish = tasks.spawn("finish", world.finish(pod(), replace(STATE, deleted=True)))
    await world.clock.sleep(0.5)
    world.starter.failing.clear()
    await finish
    assert world.starter.calls == [*["remove web-0"] * 4, "remove s0", "clean u ns p"]
    await tasks.close()


async def test_a_container_that_is_never_removed_fails_the_end(world) -> None:
    await world.sync(pod())
    await world.terminate(pod())
    world.starter.failing["remove web-0"] = CriError(Code.Unknown, "RemoveContainer", "no")
    with pytest.raises(CriError):
        await world.finish(pod(), replace(STATE, deleted=True))


async def test_a_pod_is_not_finished_while_its_volumes_or_cgroup_are_there(world) -> None:
    world.volumes.gone_error = VolumeError("busy")
    with pytest.raises(VolumeError):
        await world.finish(pod())
    assert world.cgroups.destroyed == []
    world.volumes.gone_error = None
    world.cgroups.failing["destroy"] = OSError("busy")
    with pytest.raises(OSError, match="busy"):
        await world.finish(pod())


async def test_what_only_the_runtime_knows_is_stopped_and_removed_whole(world) -> None:
    await world.sync(pod())
    await world.terminate(None)
    assert world.starter.calls == ["stop web-0", "stop s0", "remove web-0", "remove s0", "clean u ns p"]
    await world.finish(None)
    assert world.starter.calls == []


async def test_what_a_probe_found_is_told_without_a_look_at_the_runtime(world) -> None:
    probed = pod(Container(name="web", image="img", readinessProbe=Probe()))
    world.syncer.show_verdicts(probed)
    assert world.status() is None
    world.probes._workers = {("web", "readiness")}
    await world.sync(probed)
    assert world.status().containerStatuses[0].ready is False
    reads = world.reads
    world.probes._readiness[world.runtime.containers[0].id] = True
    world.syncer.show_verdicts(probed)
    assert world.status().containerStatuses[0].ready is True
    assert {c.type: c.status for c in world.status().conditions}["Ready"] == "True"
    assert world.reads == reads


async def test_what_is_allocated_runs_until_another_is_and_then_comes_into_force(world) -> None:
    def sized(cpu) -> Pod:
        p = pod(Container(name="web", image="img"))
        p.spec.containers[0].resources.requests["cpu"] = Quantity.parse(cpu)
        return p

    small, large = sized("100m"), sized("200m")
    world.cgroups.wanted = Limits(102, -1, 100_000, -1)
    world.resizing.allocation.admitted(small)
    # The pod asks for more before it even starts: it gets what was admitted.
    await world.sync(large)
    assert world.resizing.recorded.get("u").containers["web"].requests == {"cpu": Quantity.parse("100m")}
    assert world.status().allocatedResources == {"cpu": Quantity.parse("100m")}
    world.resizing.allocation.admitted(large)
    world.resizing.conditions.begin("u", 2, world.clock.now())
    world.cgroups.wanted = Limits(204, -1, 100_000, -1)
    world.resizing.updater.failing["web"] = CriError(Code.Unknown, "UpdateContainerResources", "not now")
    outcome = await world.sync(large)
    assert "not now" in outcome.error
    [condition] = [c for c in world.status().conditions if c.type == "PodResizeInProgress"]
    assert (condition.reason, condition.status) == ("Error", "True")
    [web] = world.status().containerStatuses
    assert (str(web.resources.requests["cpu"]), str(web.allocatedResources["cpu"])) == ("100m", "200m")
    assert str(world.status().resources.requests["cpu"]) == "200m"
    world.resizing.updater.failing.clear()
    assert (await world.sync(large)).error == ""
    [web] = world.status().containerStatuses
    assert str(web.resources.requests["cpu"]) == "200m"
    assert not [c for c in world.status().conditions if c.type == "PodResizeInProgress"]
    assert world.event_reasons()[-2:] == ["ResizeError", "ResizeCompleted"]
    assert world.resizing.updater.told == [("web-0", {}, {"cpu": "200m"})]
    assert world.starter.calls == ["prepare"]
