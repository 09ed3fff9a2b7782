from datetime import UTC, datetime

import pytest

from pykubelet.api.core import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Pod,
    PodCondition,
    PodSpec,
    PodStatus,
)
from pykubelet.api.meta import ObjectMeta
from pykubelet.pods.status_merge import illegal_transition, merge_conditions, settle_status, terminal_status

THEN = datetime(2024, 1, 1, tzinfo=UTC)
NOW = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
RUNNING = ContainerState(running=ContainerStateRunning(startedAt=NOW))
WAITING = ContainerState(waiting=ContainerStateWaiting())


def ended(code=0, message=""):
    return ContainerState(terminated=ContainerStateTerminated(exitCode=code, message=message, finishedAt=NOW))


def status(name="a", state=RUNNING, **more):
    return ContainerStatus(name=name, state=state, **more)


def test_transition_times_move_with_the_status_only():
    old = [
        PodCondition(type="Ready", status="True", lastTransitionTime=THEN, reason="x"),
        PodCondition(type="Initialized", status="False", lastTransitionTime=THEN),
    ]
    new = [
        PodCondition(type="Ready", status="True", reason="y"),
        PodCondition(type="Initialized", status="True"),
        PodCondition(type="PodScheduled", status="True"),
        PodCondition(type="foreign", status="True"),
    ]
    merged = {k.type: k.lastTransitionTime for k in merge_conditions(old, new, NOW)}
    assert merged == {"Ready": THEN, "Initialized": NOW, "PodScheduled": NOW, "foreign": None}


def test_settling_cuts_times_and_texts():
    pod = Pod(spec=PodSpec(containers=[Container(name="a"), Container(name="b")]))
    long = "x" * 6143 + "é"
    new = PodStatus(containerStatuses=[status("b"), status("a", ended(message=long))], observedGeneration=1)
    settled = settle_status(pod, PodStatus(startTime=THEN, observedGeneration=2), new, NOW)
    first, second = settled.containerStatuses
    assert (first.name, first.state.terminated.message) == ("a", "x" * 6143)
    assert second.state.running.startedAt == NOW.replace(microsecond=0)
    assert (settled.startTime, settled.observedGeneration) == (THEN, 2)
    assert settle_status(pod, settled, settled, NOW) == settled


@pytest.mark.parametrize(
    ("policy", "own", "code", "new", "legal"),
    [
        ("Always", None, 0, WAITING, True),
        ("Never", None, 0, WAITING, False),
        ("Never", None, 1, RUNNING, False),
        ("Never", None, 1, ended(1), True),
        ("OnFailure", None, 1, WAITING, True),
        ("OnFailure", None, 0, WAITING, False),
        ("Never", "Always", 0, WAITING, True),
    ],
)
@pytest.mark.parametrize("kind", ["containers", "initContainers"])
def test_transitions(policy, own, code, new, legal, kind):
    field = {"containers": "containerStatuses", "initContainers": "initContainerStatuses"}[kind]
    spec = PodSpec(restartPolicy=policy, **{kind: [Container(name="a", restartPolicy=own)]})
    before, after = (PodStatus(**{field: [status(state=s)]}) for s in (ended(code), new))
    text = illegal_transition(before, after, spec)
    what = "container" if kind == "containers" else "init container"
    assert text == (
        "" if legal else f"terminated {what} a attempted illegal transition to non-terminated state"
    )


def pod(*init, static=False):
    notes = {"kubernetes.io/config.source": "file"} if static else {}
    return Pod(
        metadata=ObjectMeta(annotations=notes),
        spec=PodSpec(containers=[Container(name="a")], initContainers=list(init)),
    )


def test_the_last_status_leaves_nothing_running():
    last = terminal_status(pod(), PodStatus(phase="Running", containerStatuses=[status()]))
    end = last.containerStatuses[0].state.terminated
    assert (end.exitCode, end.reason, last.phase) == (137, "ContainerStatusUnknown", "Failed")
    assert end.message == "The container could not be located when the pod was terminated"


@pytest.mark.parametrize(
    ("phase", "static", "expected"),
    [("Pending", False, "Failed"), ("Succeeded", False, "Succeeded"), ("Running", True, "Running")],
)
def test_the_last_phase(phase, static, expected):
    assert terminal_status(pod(static=static), PodStatus(phase=phase)).phase == expected


def test_a_pod_that_never_initialized_keeps_its_waiting_containers():
    p = pod(Container(name="i"), Container(name="j"))
    old = PodStatus(
        containerStatuses=[status("a", WAITING)],
        initContainerStatuses=[status("i"), status("j", WAITING)],
    )
    last = terminal_status(p, old)
    assert last.containerStatuses[0].state == WAITING
    assert last.initContainerStatuses[0].state.terminated.exitCode == 137
    assert last.initContainerStatuses[1].state == WAITING


def test_a_pod_whose_last_init_container_succeeded_was_initialized():
    old = PodStatus(containerStatuses=[status("a", WAITING)], initContainerStatuses=[status("i", ended())])
    last = terminal_status(pod(Container(name="i")), old)
    assert last.containerStatuses[0].state.terminated.exitCode == 137
    assert last.initContainerStatuses[0].state.terminated.exitCode == 0
