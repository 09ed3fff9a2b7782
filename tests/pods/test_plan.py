import pytest
from tests.pods.model import START_NS, Verdicts, instance, observed_pod, sandbox

from pykubelet.api.core import (
    Container,
    ContainerRestartRule,
    ContainerRestartRuleOnExitCodes,
    EphemeralContainer,
    Pod,
    PodSpec,
    Probe,
)
from pykubelet.api.meta import ObjectMeta
from pykubelet.cri.types import ContainerState, SandboxState
from pykubelet.pods.orders import KillReason, Plan
from pykubelet.pods.plan import plan_pod

RUNNING, EXITED, CREATED, UNKNOWN = (
    ContainerState.RUNNING,
    ContainerState.EXITED,
    ContainerState.CREATED,
    ContainerState.UNKNOWN,
)
DEAD = sandbox(0, SandboxState.NOTREADY)


def c(name, **more):
    return Container(name=name, image="img", **more)


def sidecar(name, **more):
    return c(name, restartPolicy="Always", **more)


def pod(*containers, init=(), policy="Always", **spec):
    return Pod(
        metadata=ObjectMeta(name="p", namespace="ns", uid="u"),
        spec=PodSpec(containers=list(containers), initContainers=list(init), restartPolicy=policy, **spec),
    )


def plan(p, *instances, sandboxes=None, verdicts=None, **more) -> Plan:
    return plan_pod(p, observed_pod(*instances, sandboxes=sandboxes), verdicts=verdicts or Verdicts(), **more)


def starts(result):
    return [o.container for o in result.start]


def init_starts(result):
    return [o.container for o in result.start_init]


TWO = (c("a"), c("b"))


def test_a_new_pod_gets_sandbox_and_all_containers():
    result = plan(pod(*TWO), sandboxes=())
    assert result.create_sandbox.attempt == 0
    assert not result.create_sandbox.changed
    assert result.kill_pod is None
    assert starts(result) == ["a", "b"]


def test_a_new_pod_with_init_containers_starts_the_first_only():
    result = plan(pod(*TWO, init=[c("i"), c("j")]), sandboxes=())
    assert (init_starts(result), starts(result)) == (["i"], [])


def test_all_running_is_nothing_to_do():
    result = plan(pod(*TWO), instance("b"), instance("a"))
    assert result.idle
    assert result.sandbox_id == "s0"


@pytest.mark.parametrize(
    ("sandboxes", "attempt", "changed", "cause"),
    [
        ([DEAD], 1, True, "is not ready"),
        ([sandbox(3), sandbox(2)], 4, True, "2 sandboxes are ready"),
        ([DEAD, sandbox(1)], 1, True, "is not ready"),
        ([sandbox(0, host_network=True)], 1, False, "network namespace"),
        ([sandbox(0, ips=())], 1, True, "no IP address"),
    ],
)
def test_a_sandbox_that_does_not_serve_is_made_anew(sandboxes, attempt, changed, cause):
    result = plan(pod(*TWO), instance("a"), sandboxes=sandboxes)
    assert result.kill_pod is not None
    assert (result.create_sandbox.attempt, result.create_sandbox.changed) == (attempt, changed)
    assert cause in result.create_sandbox.cause
    assert starts(result) == ["a", "b"]


@pytest.mark.parametrize(
    ("spec", "box"),
    [
        ({"hostNetwork": True}, sandbox(0, host_network=True)),
        ({}, sandbox(0, ips=(), network_reported=False)),
    ],
)
def test_no_ip_is_fine_where_none_is_due(spec, box):
    assert plan(pod(c("a"), **spec), instance("a"), sandboxes=[box]).create_sandbox is None


def test_never_with_containers_gets_no_second_sandbox():
    result = plan(pod(c("a"), policy="Never"), instance("a", EXITED), sandboxes=[DEAD])
    assert result.idle
    result = plan(pod(c("a"), policy="Never"), instance("a"), sandboxes=[DEAD])
    assert result.kill_pod is not None
    assert result.create_sandbox is None


def test_never_without_any_container_tries_again():
    result = plan(pod(c("a"), policy="Never"), sandboxes=[DEAD])
    assert result.create_sandbox.attempt == 1
    assert starts(result) == ["a"]


def test_on_failure_in_a_new_sandbox_leaves_out_what_succeeded():
    p = pod(*TWO, policy="OnFailure")
    result = plan(p, instance("a", EXITED), instance("b", EXITED, exit_code=1), sandboxes=[DEAD])
    assert starts(result) == ["b"]
    done = plan(p, instance("a", EXITED), instance("b", EXITED), sandboxes=[DEAD])
    assert done.create_sandbox is None
    assert done.idle


def test_own_policy_decides_in_a_new_sandbox():
    p = pod(c("a", restartPolicy="OnFailure"), c("b"), policy="Always")
    result = plan(p, instance("a", EXITED), instance("b", EXITED), sandboxes=[DEAD])
    assert starts(result) == ["b"]


def test_a_new_sandbox_purges_init_containers():
    p = pod(c("a"), init=[c("i"), sidecar("s")])
    result = plan(p, instance("a"), instance("s"), instance("i", EXITED), sandboxes=[DEAD])
    assert [(r.id, r.keep_logs) for r in result.remove] == [("s-0", False), ("i-0", False)]
    assert init_starts(result) == ["i"]


@pytest.mark.parametrize(
    ("policy", "code", "restarted"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_restart_policies(policy, code, restarted):
    result = plan(pod(*TWO, policy=policy), instance("a", EXITED, exit_code=code), instance("b"))
    assert starts(result) == (["a"] if restarted else [])
    assert not result.kill


RULE = [
    ContainerRestartRule(
        action="Restart", exitCodes=ContainerRestartRuleOnExitCodes(operator="In", values=[42])
    )
]


@pytest.mark.parametrize(
    ("own", "rules", "code", "restarted"),
    [
        ("Never", [], 1, False),
        ("Never", RULE, 42, True),
        ("Never", RULE, 1, False),
        ("OnFailure", RULE, 1, True),
        ("OnFailure", RULE, 0, False),
        (None, RULE, 42, False),
    ],
)
def test_restart_rules(own, rules, code, restarted):
    p = pod(c("a", restartPolicy=own, restartPolicyRules=rules), c("b"), policy="Never")
    result = plan(p, instance("a", EXITED, exit_code=code), instance("b"))
    assert starts(result) == (["a"] if restarted else [])


def test_the_cause_tells_the_end():
    ended = instance("a", EXITED, exit_code=1, reason="Error", finished_at=START_NS)
    result = plan(pod(*TWO), ended, instance("b"))
    assert result.start[0].cause == (
        "a exited with code 1 (Error) at 2023-11-14T22:13:20Z; restartPolicy Always"
    )


def test_unknown_is_killed_before_its_restart():
    result = plan(pod(*TWO), instance("a", UNKNOWN), instance("b"))
    assert [k.message for k in result.kill] == [
        'Container is in "unknown" state, try killing it before restart'
    ]
    assert starts(result) == ["a"]


def test_created_is_started_again():
    assert starts(plan(pod(*TWO), instance("a", CREATED), instance("b"))) == ["a"]


@pytest.mark.parametrize(
    ("policy", "verdicts", "image_hash", "message", "reason"),
    [
        ("Always", {}, "1", "Container a definition changed, will be restarted", KillReason.OTHER),
        ("Never", {}, "1", "Container a definition changed, will be restarted", KillReason.OTHER),
        (
            "Always",
            {"liveness": {"a-0": False}},
            None,
            "Container a failed liveness probe, will be restarted",
            KillReason.LIVENESS_PROBE,
        ),
        (
            "Never",
            {"liveness": {"a-0": False}},
            None,
            "Container a failed liveness probe",
            KillReason.LIVENESS_PROBE,
        ),
        (
            "OnFailure",
            {"startup": {"a-0": False}},
            None,
            "Container a failed startup probe, will be restarted",
            KillReason.STARTUP_PROBE,
        ),
        (
            "Always",
            {"startup": {"a-0": False}, "liveness": {"a-0": False}},
            "1",
            "Container a definition changed, will be restarted",
            KillReason.OTHER,
        ),
    ],
)
def test_running_containers_that_must_go(policy, verdicts, image_hash, message, reason):
    result = plan(
        pod(*TWO, policy=policy),
        instance("a", image_hash=image_hash),
        instance("b"),
        verdicts=Verdicts(**verdicts),
    )
    assert [(k.id, k.message, k.reason) for k in result.kill] == [("a-0", message, reason)]
    assert starts(result) == (["a"] if message.endswith("restarted") else [])


def test_verdicts_that_are_good_or_missing_change_nothing():
    verdicts = Verdicts(liveness={"a-0": True}, startup={"a-0": True}, readiness={"a-0": False})
    assert plan(pod(c("a")), instance("a"), verdicts=verdicts).idle


def test_a_completed_pod_is_killed_with_its_sidecars():
    p = pod(c("a"), init=[sidecar("s")], policy="Never")
    result = plan(p, instance("a", EXITED), instance("s"))
    assert "a exited with code 0" in result.kill_pod.cause
    assert not result.start_init


def test_a_deleted_pod_starts_nothing():
    p = pod(c("a"), c("b"))
    p.metadata.deletionTimestamp = "now"
    assert starts(plan(p, instance("a", EXITED), instance("b"))) == []


def test_terminating_only_kills():
    result = plan(pod(*TWO), instance("a"), terminating="the pod was deleted")
    assert result == Plan(kill_pod=result.kill_pod)
    assert plan(pod(*TWO), instance("a", EXITED), sandboxes=[DEAD], terminating="x").idle


def test_ephemeral_containers_run_once():
    p = pod(c("a"), ephemeralContainers=[EphemeralContainer(name="e"), EphemeralContainer(name="f")])
    result = plan(p, instance("a"), instance("e", EXITED, exit_code=1))
    assert [o.container for o in result.start_ephemeral] == ["f"]


# --- init containers ----------------------------------------------------------

THREE = [c("i"), c("j"), c("k")]


@pytest.mark.parametrize(
    ("instances", "policy", "expected_init", "expected", "killed"),
    [
        ([], "Always", ["i"], [], False),
        ([instance("i")], "Always", [], [], False),
        ([instance("i", EXITED)], "Always", ["j"], [], False),
        ([instance("j", EXITED), instance("i", EXITED)], "Always", ["k"], [], False),
        ([instance("k", EXITED)], "Always", [], ["a"], False),
        ([instance("i", EXITED, exit_code=1)], "Always", ["i"], [], False),
        ([instance("i", EXITED, exit_code=1)], "OnFailure", ["i"], [], False),
        ([instance("i", EXITED, exit_code=1)], "Never", [], [], True),
        ([instance("k", EXITED, exit_code=1), instance("i", EXITED)], "Always", ["k"], [], False),
        ([instance("i", CREATED)], "Always", ["i"], [], False),
        ([instance("a")], "Always", [], [], False),
        ([instance("a", EXITED)], "Always", ["i"], [], False),
        ([instance("k", UNKNOWN)], "Never", [], [], True),
    ],
)
def test_init_containers(instances, policy, expected_init, expected, killed):
    result = plan(pod(c("a"), init=THREE, policy=policy), *instances)
    assert (init_starts(result), starts(result)) == (expected_init, expected)
    assert (result.kill_pod is not None) == killed


def test_an_init_container_of_unknown_state_is_killed_first():
    result = plan(pod(c("a"), init=THREE), instance("i", UNKNOWN))
    assert [k.message for k in result.kill] == [
        'Init container is in "unknown" state, try killing it before restart'
    ]
    assert init_starts(result) == ["i"]


def test_older_dead_init_containers_are_pruned():
    result = plan(
        pod(c("a"), init=[c("i")]),
        instance("i", EXITED, number=2, exit_code=1),
        instance("i", EXITED, number=1, exit_code=1),
        instance("i", UNKNOWN, number=0),
    )
    assert [(r.id, r.kill) for r in result.remove] == [("i-1", False), ("i-0", True)]


PROBED = sidecar("s", startupProbe=Probe(), livenessProbe=Probe())


@pytest.mark.parametrize(
    ("verdicts", "expected_init", "expected", "messages"),
    [
        ({}, [], [], []),
        ({"startup": {"s-0": True}}, [], ["a"], []),
        ({"startup": {"s-0": False}}, ["s"], [], ["Init container s failed startup probe"]),
        (
            {"startup": {"s-0": True}, "liveness": {"s-0": False}},
            ["s"],
            ["a"],
            ["Init container s failed liveness probe"],
        ),
    ],
)
def test_probes_of_the_last_sidecar(verdicts, expected_init, expected, messages):
    result = plan(pod(c("a"), init=[PROBED]), instance("s"), verdicts=Verdicts(**verdicts))
    assert (init_starts(result), starts(result)) == (expected_init, expected)
    assert [k.message for k in result.kill] == messages


@pytest.mark.parametrize(
    ("instances", "expected_init", "expected"),
    [
        ([instance("s")], ["t"], []),
        ([instance("t"), instance("s")], [], ["a"]),
        ([instance("t"), instance("s", EXITED)], ["s"], ["a"]),
        ([instance("a"), instance("t")], ["s"], []),
        ([instance("a"), instance("t", EXITED), instance("s", EXITED)], ["s", "t"], []),
        ([instance("a", EXITED), instance("t", EXITED), instance("s")], ["t"], []),
        ([instance("s", image_hash="1")], ["s", "t"], []),
    ],
)
def test_sidecars(instances, expected_init, expected):
    result = plan(pod(c("a"), init=[sidecar("s"), sidecar("t")]), *instances)
    assert (init_starts(result), starts(result)) == (expected_init, expected)


# --- restart of all containers ------------------------------------------------


def test_restart_of_all_removes_causes_last():
    rule = ContainerRestartRule(
        action="RestartAllContainers",
        exitCodes=ContainerRestartRuleOnExitCodes(operator="In", values=[42]),
    )
    p = pod(c("a", restartPolicy="Never", restartPolicyRules=[rule]), c("b"), init=[c("i")])
    result = plan(
        p,
        instance("a", EXITED, exit_code=42),
        instance("b"),
        instance("i", EXITED),
        restart_all=True,
    )
    assert [(r.id, r.kill, r.keep_logs) for r in result.remove] == [
        ("b-0", True, True),
        ("i-0", False, True),
        ("a-0", False, True),
    ]
    assert not result.start
    assert init_starts(plan(p, restart_all=True)) == ["i"]
