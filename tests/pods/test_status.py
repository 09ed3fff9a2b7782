from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import UNSET
from tests.pods.model import SECOND, START_NS, Verdicts, instance, observed_pod, sandbox

from pykubelet.api.core import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    EphemeralContainer,
    Pod,
    PodCondition,
    PodReadinessGate,
    PodSpec,
    PodStatus,
    Probe,
    ResourceRequirements,
)
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.quantity import Quantity
from pykubelet.api.volumes import VolumeMount
from pykubelet.base.clock import from_ns
from pykubelet.cri.types import ContainerState as State
from pykubelet.cri.types import LinuxResources, LinuxUser, SandboxState
from pykubelet.pods.status import (
    DEADLINE_MESSAGE,
    NodeFacts,
    generate_status,
    unready_with_probe,
)

NOW = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)
WHOLE = NOW.replace(microsecond=0)
DEAD = sandbox(0, SandboxState.NOTREADY)


def c(name="a", **more):
    return Container(name=name, image="img", **more)


def pod(*containers, init=(), policy="Always", status=None, meta=None, **spec):
    return Pod(
        metadata=ObjectMeta(name="p", namespace="ns", uid="u", generation=3, **(meta or {})),
        spec=PodSpec(containers=list(containers), initContainers=list(init), restartPolicy=policy, **spec),
        status=status or PodStatus(),
    )


def generate(p, *instances, old=None, sandboxes=None, **more):
    inputs = {
        "reasons": {},
        "verdicts": Verdicts(),
        "node": NodeFacts(host_ips=("192.0.2.1",)),
        "now": NOW,
        "runtime_name": "containerd",
        **more,
    }
    return generate_status(p, observed_pod(*instances, sandboxes=sandboxes), old_status=old, **inputs)


def conditions(status):
    return {k.type: (k.status, k.reason, k.message) for k in status.conditions}


def old_status(name="a", kind="containerStatuses", **fields):
    return PodStatus(**{kind: [ContainerStatus(name=name, **fields)]})


WAS_RUNNING = ContainerState(running=ContainerStateRunning(startedAt=from_ns(START_NS)))


def was_ended(code=0, **more):
    return ContainerState(terminated=ContainerStateTerminated(exitCode=code, **more))


def test_a_new_pod_is_pending():
    status = generate(pod(c()), sandboxes=())
    assert status.phase == "Pending"
    assert status.containerStatuses[0].state.waiting.reason == "ContainerCreating"
    assert (status.qosClass, status.observedGeneration, status.startTime) == ("BestEffort", 3, WHOLE)
    assert (status.hostIP, status.podIP) == ("192.0.2.1", "")
    assert [k.type for k in status.conditions] == [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ]
    assert conditions(status) == {
        "PodReadyToStartContainers": ("False", "", ""),
        "Initialized": ("True", "", ""),
        "Ready": ("False", "ContainersNotReady", "containers with unready status: [a]"),
        "ContainersReady": ("False", "ContainersNotReady", "containers with unready status: [a]"),
        "PodScheduled": ("True", "", ""),
    }
    assert {k.observedGeneration for k in status.conditions} == {3}


def test_with_init_containers_all_wait_for_initialization():
    status = generate(pod(c("a"), c("b"), init=[c("i"), c("j")]), sandboxes=())
    assert {s.state.waiting.reason for s in status.containerStatuses} == {"PodInitializing"}
    assert conditions(status)["Initialized"] == (
        "False",
        "ContainersNotInitialized",
        "containers with incomplete status: [i j]",
    )
    assert conditions(status)["Ready"][2] == "containers with unready status: [a b]"


def test_a_running_pod_is_ready():
    status = generate(pod(c()), instance("a"))
    (container,) = status.containerStatuses
    assert status.phase == "Running"
    assert (container.ready, container.started, container.restartCount) == (True, True, 0)
    assert container.containerID == "containerd://a-0"
    assert (container.image, container.imageID) == ("img", "img@sha256:0")
    assert container.state.running.startedAt == from_ns(START_NS)
    assert (status.podIP, [ip.ip for ip in status.podIPs]) == ("10.1.0.2", ["10.1.0.2"])
    assert conditions(status)["Ready"] == ("True", "", "")


def test_the_end_and_the_end_before():
    newest = instance("a", State.EXITED, number=1, exit_code=1, reason="Error", message="boom")
    status = generate(pod(c(), policy="Never"), newest, instance("a", State.EXITED, number=0, exit_code=7))
    (container,) = status.containerStatuses
    end = container.state.terminated
    assert (end.exitCode, end.reason, end.message, end.containerID) == (
        1,
        "Error",
        "boom",
        "containerd://a-1",
    )
    assert end.finishedAt == from_ns(START_NS + SECOND)
    assert container.lastState.terminated.exitCode == 7
    assert (container.restartCount, status.phase) == (1, "Failed")
    assert conditions(status)["Ready"] == ("False", "PodFailed", "")


def test_a_crash_loop_waits_and_shows_the_end_before():
    reasons = {"a": ("CrashLoopBackOff", "back-off 10s restarting failed container=a pod=p_ns(u)")}
    status = generate(pod(c()), instance("a", State.EXITED, exit_code=1), reasons=reasons)
    (container,) = status.containerStatuses
    assert container.state.waiting.reason == "CrashLoopBackOff"
    assert container.lastState.terminated.exitCode == 1
    assert status.phase == "Running"


def test_a_reason_counts_only_for_what_is_to_start():
    status = generate(
        pod(c(), policy="Never"), instance("a", State.EXITED), reasons={"a": ("ErrImagePull", "x")}
    )
    assert status.containerStatuses[0].state.terminated is not None
    assert status.phase == "Succeeded"


def test_an_image_that_cannot_be_pulled():
    status = generate(pod(c()), reasons={"a": ("ErrImagePull", "no such image")})
    waiting = status.containerStatuses[0].state.waiting
    assert (waiting.reason, waiting.message, status.phase) == ("ErrImagePull", "no such image", "Pending")


@pytest.mark.parametrize(("deleted", "count"), [(None, 3), (NOW, 2)])
def test_a_container_that_vanished_while_running(deleted, count):
    p = pod(c(), meta={"deletionTimestamp": deleted})
    status = generate(p, old=old_status(state=WAS_RUNNING, restartCount=2))
    (container,) = status.containerStatuses
    end = container.lastState.terminated
    assert (end.exitCode, end.reason, container.restartCount) == (137, "ContainerStatusUnknown", count)
    assert end.message == (
        "The container could not be located when the pod was deleted.  The container used to be Running"
    )
    assert container.state.waiting.reason == "ContainerCreating"


def test_an_unknown_container_that_ran_counts_as_ended():
    old = old_status(state=WAS_RUNNING, restartCount=2)
    status = generate(pod(c()), instance("a", State.UNKNOWN), old=old)
    (container,) = status.containerStatuses
    end = container.state.terminated
    assert (end.exitCode, end.reason, container.restartCount) == (137, "ContainerStatusUnknown", 3)
    assert end.message == "The container could not be located when the pod was terminated"


@pytest.mark.parametrize("state", [State.CREATED, State.UNKNOWN])
def test_created_and_unknown_wait_without_a_reason(state):
    status = generate(pod(c()), instance("a", state))
    assert status.containerStatuses[0].state == ContainerState(waiting=ContainerStateWaiting())
    assert status.phase == "Pending"


def test_an_end_the_runtime_forgot_is_kept():
    old = old_status(state=was_ended(3), restartCount=4, containerID="containerd://x")
    status = generate(pod(c(), policy="Never"), old=old)
    (container,) = status.containerStatuses
    assert (container.state.terminated.exitCode, container.restartCount) == (3, 4)


def test_a_restart_after_a_forgotten_end_counts_on():
    old = old_status(state=was_ended(3), restartCount=4, containerID="containerd://x")
    (container,) = generate(pod(c()), instance("a"), old=old).containerStatuses
    assert container.restartCount == 5
    assert container.lastState.terminated.exitCode == 3


def test_init_containers_that_are_gone_have_completed():
    status = generate(pod(c(), init=[c("i")]), instance("a"))
    end = status.initContainerStatuses[0].state.terminated
    assert (end.exitCode, end.reason) == (0, "Completed")
    assert end.message.startswith("Unable to get init container status from container runtime")
    assert conditions(status)["Initialized"] == ("True", "", "")
    assert status.phase == "Running"


def test_initialized_is_sticky():
    old = PodStatus(conditions=[PodCondition(type="Initialized", status="True")])
    status = generate(pod(c(), init=[c("i")]), old=old, sandboxes=())
    assert conditions(status)["Initialized"] == ("True", "", "")


@pytest.mark.parametrize(
    ("policy", "code", "terminal", "phase"),
    [
        ("Always", 0, False, "Running"),
        ("Always", 0, True, "Succeeded"),
        ("Always", 1, True, "Failed"),
        ("OnFailure", 0, False, "Succeeded"),
        ("OnFailure", 1, False, "Running"),
        ("OnFailure", 1, True, "Failed"),
        ("Never", 0, False, "Succeeded"),
        ("Never", 1, False, "Failed"),
    ],
)
def test_phase_when_all_have_ended(policy, code, terminal, phase):
    p = pod(c(), policy=policy)
    assert generate(p, instance("a", State.EXITED, exit_code=code), terminal=terminal).phase == phase


def test_a_static_pod_gets_no_final_phase_by_its_end():
    p = pod(c(), meta={"annotations": {"kubernetes.io/config.source": "file"}})
    assert generate(p, instance("a", State.EXITED), terminal=True).phase == "Running"


@pytest.mark.parametrize(
    ("instances", "phase"),
    [
        ([], "Pending"),
        ([instance("i")], "Pending"),
        ([instance("i", State.EXITED)], "Pending"),
        ([instance("i", State.EXITED, exit_code=1)], "Failed"),
        ([instance("a"), instance("i", State.EXITED)], "Running"),
    ],
)
def test_phase_with_an_init_container(instances, phase):
    assert generate(pod(c(), init=[c("i")], policy="Never"), *instances).phase == phase


SIDECAR = c("s", restartPolicy="Always", startupProbe=Probe())


@pytest.mark.parametrize(
    ("instances", "startup", "phase"),
    [
        ([instance("s")], None, "Pending"),
        ([instance("s")], True, "Pending"),
        ([instance("a"), instance("s")], True, "Running"),
        ([instance("a"), instance("s")], False, "Running"),
        ([instance("a"), instance("s", State.EXITED)], None, "Running"),
        ([instance("a", State.EXITED), instance("s")], True, "Running"),
        ([instance("a", State.EXITED), instance("s", State.EXITED, exit_code=1)], None, "Succeeded"),
    ],
)
def test_phase_with_a_sidecar(instances, startup, phase):
    verdicts = Verdicts(startup={} if startup is None else {"s-0": startup}, workers={("s", "startup")})
    assert generate(pod(c(), init=[SIDECAR], policy="Never"), *instances, verdicts=verdicts).phase == phase


@pytest.mark.parametrize("where", ["old", "api"])
def test_a_final_phase_never_reverts(where):
    final = PodStatus(phase="Failed", reason="Evicted", message="low on memory")
    p = pod(c(), status=final if where == "api" else None)
    status = generate(p, instance("a"), old=final)
    assert (status.phase, status.reason, status.message) == ("Failed", "Evicted", "low on memory")


def test_the_deadline():
    p = pod(c(), activeDeadlineSeconds=60)
    young = PodStatus(startTime=NOW - timedelta(seconds=59))
    late = PodStatus(startTime=NOW - timedelta(seconds=60))
    assert generate(p, instance("a"), old=young).phase == "Running"
    status = generate(p, instance("a"), old=late)
    assert (status.phase, status.reason, status.message) == ("Failed", "DeadlineExceeded", DEADLINE_MESSAGE)
    again = generate(p, instance("a", State.EXITED), old=status, terminal=True)
    assert (again.phase, again.reason) == ("Failed", "DeadlineExceeded")


READY_PROBED = c("a", readinessProbe=Probe())


@pytest.mark.parametrize(
    ("readiness", "was_ready", "age", "ready"),
    [
        (None, None, 0, False),
        (False, None, 0, False),
        (True, None, 0, True),
        (None, "True", 60, True),
        (None, "False", 60, False),
        (False, "True", 60, False),
        (None, "True", 5, False),
    ],
)
def test_readiness_by_probe_and_over_a_restart(readiness, was_ready, age, ready):
    old = PodStatus(conditions=[PodCondition(type="Ready", status=was_ready)] if was_ready else [])
    status = generate(
        pod(READY_PROBED),
        instance("a"),
        old=old,
        verdicts=Verdicts(
            readiness={} if readiness is None else {"a-0": readiness}, workers={("a", "readiness")}
        ),
        node=NodeFacts(kubelet_started=from_ns(START_NS) + timedelta(seconds=age)),
    )
    assert status.containerStatuses[0].ready == ready
    verdicts = Verdicts(workers={("a", "readiness")})
    assert unready_with_probe(pod(READY_PROBED), status, verdicts) == (() if ready else ("a",))


@pytest.mark.parametrize(
    ("verdict", "before", "started"),
    [
        (None, None, False),
        (True, None, True),
        (False, "containerd://a-0", False),
        (None, "containerd://a-0", True),
        (None, "containerd://other", False),
    ],
)
def test_started_belongs_to_one_instance(verdict, before, started):
    old = None if before is None else old_status(state=WAS_RUNNING, containerID=before, started=True)
    verdicts = Verdicts(startup={} if verdict is None else {"a-0": verdict}, workers={("a", "startup")})
    status = generate(pod(c()), instance("a"), old=old, verdicts=verdicts)
    assert status.containerStatuses[0].started is started


def test_readiness_gates():
    foreign = [PodCondition(type="x/gate", status="False"), PodCondition(type="y/gate", status="True")]
    gates = [PodReadinessGate(conditionType=t) for t in ("x/gate", "y/gate", "z/gate")]
    status = generate(pod(c(), readinessGates=gates, status=PodStatus(conditions=foreign)), instance("a"))
    assert [k.type for k in status.conditions][:2] == ["x/gate", "y/gate"]
    assert conditions(status)["ContainersReady"][0] == "True"
    assert conditions(status)["Ready"] == (
        "False",
        "ReadinessGatesNotReady",
        'the status of pod readiness gate "x/gate" is not "True", but False, '
        'corresponding condition of pod readiness gate "z/gate" does not exist.',
    )


def test_containers_sort_by_name_and_init_by_spec():
    status = generate(pod(c("z"), c("b"), init=[c("y"), c("x")]))
    assert [s.name for s in status.containerStatuses] == ["b", "z"]
    assert [s.name for s in status.initContainerStatuses] == ["y", "x"]


def test_ephemeral_containers_have_statuses():
    p = pod(c(), ephemeralContainers=[EphemeralContainer(name="e")])
    status = generate(p, instance("a"), instance("e", State.EXITED, exit_code=2))
    assert status.ephemeralContainerStatuses[0].state.terminated.exitCode == 2


@pytest.mark.parametrize(
    ("mode", "supported", "shown"),
    [(None, True, "Disabled"), ("IfPossible", True, "Enabled"), ("IfPossible", False, "Disabled")],
)
def test_volume_mounts(mode, supported, shown):
    mounts = [
        VolumeMount(name="v", mountPath="/v", readOnly=True, recursiveReadOnly=mode),
        VolumeMount(name="w", mountPath="/w"),
    ]
    status = generate(
        pod(c(volumeMounts=mounts)), instance("a"), node=NodeFacts(recursive_read_only=supported)
    )
    first, second = status.containerStatuses[0].volumeMounts
    assert (first.name, first.mountPath, first.readOnly, first.recursiveReadOnly) == ("v", "/v", True, shown)
    assert second.recursiveReadOnly is None


def amounts(resources):
    return {name: str(amount) for name, amount in resources.items()}


def test_resources_in_force_and_user():
    wanted = ResourceRequirements(
        requests={"cpu": Quantity.parse("250m"), "memory": Quantity.parse("64Mi")},
        limits={"cpu": Quantity.parse("1"), "memory": Quantity.parse("128Mi")},
    )
    real = LinuxResources(
        cpu_period=100_000, cpu_quota=50_000, cpu_shares=512, memory_limit_in_bytes=64 << 20
    )
    seen = instance("a", resources=real, user=LinuxUser(1, 2, (3,)))
    (container,) = generate(pod(c(resources=wanted)), seen).containerStatuses
    assert amounts(container.resources.limits) == {"cpu": "500m", "memory": "64Mi"}
    assert amounts(container.resources.requests) == {"cpu": "500m", "memory": "64Mi"}
    assert amounts(container.allocatedResources) == {"cpu": "250m", "memory": "64Mi"}
    assert (container.user.linux.uid, container.user.linux.supplementalGroups) == (1, [3])


def test_resources_of_the_pod_as_a_whole_are_shown_with_their_gate():
    p = pod(c(resources=ResourceRequirements(requests={"cpu": Quantity.parse("250m")})))
    shown = generate(p)
    assert amounts(shown.allocatedResources) == amounts(shown.resources.requests) == {"cpu": "250m"}
    hidden = generate(p, node=NodeFacts(host_ips=("192.0.2.1",), whole_resources=False))
    assert (hidden.allocatedResources, hidden.resources) == ({}, None)


def test_tiny_resources_stay_as_asked():
    wanted = ResourceRequirements(
        requests={"cpu": Quantity.parse("1m")}, limits={"cpu": Quantity.parse("5m")}
    )
    real = LinuxResources(cpu_period=100_000, cpu_quota=1000, cpu_shares=2, memory_limit_in_bytes=0)
    (container,) = generate(pod(c(resources=wanted)), instance("a", resources=real)).containerStatuses
    assert amounts(container.resources.limits) == {"cpu": "5m"}
    assert amounts(container.resources.requests) == {"cpu": "1m"}


@pytest.mark.parametrize(
    ("ips", "prefer_ipv6", "expected"),
    [
        (("10.0.0.1", "fd00::1", "10.0.0.2"), False, ["10.0.0.1", "fd00::1"]),
        (("10.0.0.1", "fd00:0::1"), True, ["fd00::1", "10.0.0.1"]),
        (("nonsense", "10.0.0.1"), False, ["10.0.0.1"]),
    ],
)
def test_pod_ips_follow_the_nodes_family(ips, prefer_ipv6, expected):
    status = generate(pod(c()), sandboxes=[sandbox(ips=ips)], node=NodeFacts(prefer_ipv6=prefer_ipv6))
    assert [ip.ip for ip in status.podIPs] == expected


def test_ips_reported_last_stay_while_no_sandbox_is_ready():
    before = generate(pod(c()), sandboxes=[sandbox(ips=("10.0.0.1",))])
    dead = sandbox(ips=(), state=SandboxState.NOTREADY)
    assert [ip.ip for ip in generate(pod(c()), old=before, sandboxes=[dead]).podIPs] == ["10.0.0.1"]
    other = sandbox(ips=("10.0.0.9",))
    assert [ip.ip for ip in generate(pod(c()), old=before, sandboxes=[other]).podIPs] == ["10.0.0.9"]


def test_host_network_takes_the_nodes_ips():
    status = generate(
        pod(c(), hostNetwork=True),
        sandboxes=[sandbox(host_network=True)],
        node=NodeFacts(host_ips=("192.0.2.1", "2001:db8::1")),
    )
    assert [ip.ip for ip in status.podIPs] == ["192.0.2.1", "2001:db8::1"]
    assert [ip.ip for ip in status.hostIPs] == ["192.0.2.1", "2001:db8::1"]


def test_generating_again_changes_nothing_but_keeps_transition_times():
    p = pod(c())
    first = generate(p, instance("a"))
    again = generate(p, instance("a"), old=first, now=NOW + timedelta(hours=1))
    assert again == first
    ended = generate(p, instance("a", State.EXITED), old=first, now=NOW + timedelta(hours=1))
    moments = {k.type: k.lastTransitionTime for k in ended.conditions}
    assert moments["Ready"] == WHOLE + timedelta(hours=1)
    assert moments["PodScheduled"] == WHOLE


def test_a_dead_sandbox_shows():
    status = generate(pod(c()), instance("a", State.EXITED, exit_code=137), sandboxes=[DEAD])
    assert conditions(status)["PodReadyToStartContainers"][0] == "False"


@pytest.mark.parametrize(
    ("said", "gate", "shown"),
    [("SIGRTMINPLUS3", True, "SIGRTMIN+3"), ("SIGTERM", False, UNSET), ("", True, UNSET)],
)
def test_the_stop_signal_that_the_runtime_tells(said, gate, shown):
    running = replace(instance("a", State.RUNNING), stop_signal=said)
    status = generate(pod(c()), running, node=NodeFacts(stop_signals=gate))
    assert status.containerStatuses[0].stopSignal == shown
