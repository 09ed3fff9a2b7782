import asyncio

import pytest
from tests.pods.model import instance, observed_pod, sandbox

from pykubelet.api.core import Container, ExecAction, Lifecycle, LifecycleHandler, Pod, PodSpec, Probe
from pykubelet.api.meta import ObjectMeta
from pykubelet.base.clock import LoopClock
from pykubelet.base.journal import NullJournal
from pykubelet.base.tasks import TaskOwner
from pykubelet.cri.types import ContainerState, SandboxState
from pykubelet.pods.holder import GraceHolder
from pykubelet.pods.orders import KillReason
from pykubelet.pods.termination import kill_container, kill_pod, stop_order

pytestmark = pytest.mark.looptime
FOREVER = 10_000.0


class Recorder(NullJournal):
    def __init__(self):
        self.events = []

    def pod_event(self, pod, kind, reason, message, *, field_path=""):
        self.events.append((str(pod), kind, reason, message, field_path))


class Starter:
    """Containers end *lives* seconds after their stop signal, hooks take *hooks* seconds."""

    def __init__(self, lives=None, hooks=None, errors=None):
        self.lives, self.hooks, self.errors = lives or {}, hooks or {}, errors or {}
        self.clock = LoopClock()
        self.calls = []

    def note(self, *call):
        self.calls.append((round(self.clock.monotonic(), 1), *call))

    async def pre_stop(self, pod, container, container_id, ips, timeout):
        self.note("preStop", container.name, timeout)
        await asyncio.sleep(self.hooks.get(container.name, 0))
        self.note("preStop done", container.name)
        if container.name in self.errors:
            raise RuntimeError("hook")

    async def stop_container(self, container_id, grace):
        self.note("stop", container_id, grace)
        if container_id in self.errors:
            raise RuntimeError(self.errors[container_id])
        await asyncio.sleep(min(self.lives.get(container_id, 0), grace))
        self.note("ended", container_id)

    async def stop_sandbox(self, sandbox_id):
        self.note("sandbox", sandbox_id)
        if sandbox_id in self.errors:
            raise RuntimeError(self.errors[sandbox_id])

    def of(self, what):
        return [call for call in self.calls if call[1] == what]


HOOK = Lifecycle(preStop=LifecycleHandler(exec=ExecAction(command=["x"])))


def pod(*containers, init=(), grace=30):
    return Pod(
        metadata=ObjectMeta(name="p", namespace="ns", uid="u"),
        spec=PodSpec(
            containers=list(containers), initContainers=list(init), terminationGracePeriodSeconds=grace
        ),
    )


async def kill(starter, p, *instances, grace=None, recorder=None, sandboxes=None):
    recorder = recorder or Recorder()
    seen = observed_pod(*instances, sandboxes=sandboxes)
    return await kill_pod(starter, recorder, recorder, starter.clock, p, seen, grace)


async def test_containers_stop_together_then_all_sandboxes():
    starter, recorder = Starter({"a-0": 3, "b-0": 5}), Recorder()
    result = await kill(
        starter,
        pod(Container(name="a"), Container(name="b")),
        instance("a"),
        instance("b"),
        instance("b", ContainerState.EXITED, number=1),
        recorder=recorder,
        sandboxes=[sandbox(1), sandbox(0, SandboxState.NOTREADY)],
    )
    assert starter.of("stop") == [(0, "stop", "a-0", 30), (0, "stop", "b-0", 30)]
    assert starter.of("sandbox") == [(5, "sandbox", "s1"), (5, "sandbox", "s0")]
    assert result.error == ""
    assert [(k.container, k.id) for k in result.containers] == [("a", "a-0"), ("b", "b-0")]
    assert recorder.events[0] == (
        "p_ns(u)",
        "Normal",
        "Killing",
        "Stopping container a",
        "spec.containers{a}",
    )


async def test_pre_stop_takes_whole_seconds_off_the_grace():
    starter = Starter(hooks={"a": 4.5})
    await kill(starter, pod(Container(name="a", lifecycle=HOOK)), instance("a"))
    assert starter.of("preStop") == [(0, "preStop", "a", 37.0)]
    assert starter.of("stop") == [(4.5, "stop", "a-0", 26)]


async def test_a_hook_without_end_leaves_two_seconds():
    starter = Starter(hooks={"a": FOREVER})
    await kill(starter, pod(Container(name="a", lifecycle=HOOK), grace=5), instance("a"))
    assert starter.of("stop") == [(5, "stop", "a-0", 2)]
    assert starter.of("preStop done") == []


async def test_a_hook_goes_on_in_the_seconds_after_the_grace():
    starter = Starter({"a-0": 2}, hooks={"a": 6})
    await kill(starter, pod(Container(name="a", lifecycle=HOOK), grace=5), instance("a"))
    assert starter.of("stop") == [(5, "stop", "a-0", 2)]
    assert starter.of("preStop done") == [(6, "preStop done", "a")]


async def test_a_failed_hook_stops_nothing():
    starter = Starter(errors={"a": "x"})
    result = await kill(starter, pod(Container(name="a", lifecycle=HOOK)), instance("a"))
    assert result.error == ""
    assert starter.of("ended")


async def test_no_hook_without_grace():
    starter = Starter()
    p = pod(Container(name="a", lifecycle=HOOK))
    await kill(starter, p, instance("a"), grace=GraceHolder(starter.clock, 0))
    assert starter.of("preStop") == []
    assert starter.of("stop") == [(0, "stop", "a-0", 2)]


def sidecars(*names):
    return [Container(name=name, restartPolicy="Always") for name in names]


async def test_stop_order_waits_for_regular_ones_and_the_next_sidecar():
    p = pod(
        Container(name="a"), Container(name="b"), init=[*sidecars("s"), Container(name="i"), *sidecars("t")]
    )
    assert stop_order(p) == {"t": ("a", "b"), "s": ("a", "b", "t")}


async def test_sidecars_end_last_in_reverse_order():
    starter = Starter({"a-0": 3, "t-0": 2, "s-0": 1})
    p = pod(Container(name="a"), init=sidecars("s", "t"))
    await kill(starter, p, instance("a"), instance("t"), instance("s"))
    assert starter.of("stop") == [(0, "stop", "a-0", 30), (3, "stop", "t-0", 27), (5, "stop", "s-0", 25)]


async def test_sidecars_do_not_wait_longer_than_their_grace():
    starter = Starter({"a-0": FOREVER, "s-0": FOREVER}, errors={"a-0": "stuck"})
    result = await kill(
        starter, pod(Container(name="a"), init=sidecars("s"), grace=6), instance("a"), instance("s")
    )
    assert starter.of("stop") == [(0, "stop", "a-0", 6), (6, "stop", "s-0", 2)]
    assert result.error == 'failed to "KillContainer" for "a" with KillContainerError: "stuck"'


async def test_sidecars_of_ended_containers_stop_at_once():
    starter = Starter()
    p = pod(Container(name="a"), init=sidecars("s"))
    await kill(starter, p, instance("a", ContainerState.EXITED), instance("s"))
    assert starter.of("stop") == [(0, "stop", "s-0", 30)]


@pytest.mark.parametrize(
    ("hook", "lives", "expected"),
    [
        (0, FOREVER, [(0, "stop", "a-0", 60), (10, "stop", "a-0", 5)]),
        (FOREVER, 0, [(15, "stop", "a-0", 2)]),
    ],
)
async def test_a_shortened_grace_takes_effect_at_once(hook, lives, expected):
    starter, owner = Starter({"a-0": lives}, {"a": hook}), TaskOwner("test")
    grace = GraceHolder(starter.clock, 60)
    p = pod(Container(name="a", lifecycle=HOOK if hook else None))
    running = owner.spawn("kill", kill(starter, p, instance("a"), grace=grace))
    await asyncio.sleep(10)
    assert grace.shorten(5)
    await running
    assert starter.of("stop") == expected
    assert starter.of("sandbox")[0][0] <= 17


async def test_sidecars_hear_of_a_shortened_grace():
    starter, owner = Starter({"a-0": FOREVER}), TaskOwner("test")
    grace = GraceHolder(starter.clock, 60)
    p = pod(Container(name="a"), init=sidecars("s"))
    running = owner.spawn("kill", kill(starter, p, instance("a"), instance("s"), grace=grace))
    await asyncio.sleep(10)
    grace.shorten(5)
    await running
    assert starter.of("stop")[-1] == (15, "stop", "s-0", 2)


async def test_grace_only_shrinks():
    clock = LoopClock()
    grace = GraceHolder(clock, 30)
    assert not grace.shorten(40)
    assert grace.shorten(20)
    grace.begin()
    await asyncio.sleep(15)
    grace.begin()
    assert grace.left() == pytest.approx(5, abs=0.1)
    assert not grace.shorten(6)
    assert grace.shorten(3)
    await asyncio.sleep(4)
    assert grace.rest() < 0
    assert grace.left() == 0


async def test_a_failed_kill_tried_again_goes_on_with_the_rest():
    starter = Starter(errors={"a-0": "no"})
    grace = GraceHolder(starter.clock, 30)
    await kill(starter, pod(Container(name="a")), instance("a"), grace=grace)
    await asyncio.sleep(12)
    await kill(starter, pod(Container(name="a")), instance("a"), grace=grace)
    assert starter.of("stop") == [(0, "stop", "a-0", 30), (12, "stop", "a-0", 18)]


async def test_errors_of_sandboxes_are_told():
    starter = Starter(errors={"s0": 'said "no"'})
    result = await kill(starter, pod())
    assert result.error == 'failed to "KillPodSandbox" for "u" with KillPodSandboxError: "said \\"no\\""'


async def test_cancellation_ends_every_call():
    starter, owner = Starter({"a-0": FOREVER}), TaskOwner("test")
    running = owner.spawn("kill", kill(starter, pod(Container(name="a")), instance("a")))
    await asyncio.sleep(1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(asyncio.all_tasks()) == 1


async def test_an_orphan_is_ended_by_what_its_labels_tell():
    starter, recorder = Starter(hooks={"a": 1}), Recorder()
    orphan = instance(
        "a",
        labels={
            "io.kubernetes.container.name": "a",
            "io.kubernetes.pod.name": "p",
            "io.kubernetes.pod.namespace": "ns",
            "io.kubernetes.pod.uid": "u",
        },
        annotations={
            "io.kubernetes.pod.terminationGracePeriod": "9",
            "io.kubernetes.container.preStopHandler": '{"exec":{"command":["x"]}}',
        },
    )
    await kill(starter, None, orphan, recorder=recorder)
    assert starter.of("preStop") == [(0, "preStop", "a", 16.0)]
    assert starter.of("stop") == [(1, "stop", "a-0", 8)]
    assert recorder.events[0][0] == "p_ns(u)"


async def test_one_container_is_killed_with_its_probes_grace():
    starter, recorder = Starter(), Recorder()
    p = pod(Container(name="a", livenessProbe=Probe(terminationGracePeriodSeconds=4)))
    result = await kill_container(
        starter,
        recorder,
        recorder,
        starter.clock,
        p,
        instance("a"),
        message="Container a failed liveness probe, will be restarted",
        reason=KillReason.LIVENESS_PROBE,
    )
    assert result.error == ""
    assert starter.of("stop") == [(0, "stop", "a-0", 4)]
    assert recorder.events[0][3] == "Container a failed liveness probe, will be restarted"
