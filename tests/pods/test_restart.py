import pytest
from tests.pods.model import instance, observed_pod

from pykubelet.api.core import (
    Container,
    ContainerRestartRule,
    ContainerRestartRuleOnExitCodes,
    ContainerState,
    ContainerStateTerminated,
    ContainerStatus,
    Pod,
    PodCondition,
    PodSpec,
    PodStatus,
)
from pykubelet.cri.types import ContainerState as State
from pykubelet.pods.restart import (
    any_regular_created,
    matching_rule,
    may_restart_all,
    policy_text,
    restart_all_cleaned,
    restart_all_wanted,
    restarts_after,
    restarts_after_kill,
)


def rule(action, operator, *values):
    codes = ContainerRestartRuleOnExitCodes(operator=operator, values=list(values))
    return ContainerRestartRule(action=action, exitCodes=codes)


def c(policy=None, *rules):
    return Container(name="a", restartPolicy=policy, restartPolicyRules=list(rules))


def test_the_first_matching_rule_counts():
    first, second = rule("Restart", "In", 1, 2), rule("RestartAllContainers", "NotIn", 3)
    container = c("Never", ContainerRestartRule(action="Restart"), rule("Restart", "Odd", 1), first, second)
    assert matching_rule(container, 2) is first
    assert matching_rule(container, 4) is second
    assert matching_rule(container, 3) is None


@pytest.mark.parametrize(
    ("container", "policy", "code", "expected"),
    [
        (c(), "Always", 0, True),
        (c(), "", 0, True),
        (c(), "OnFailure", 0, False),
        (c(), "OnFailure", 1, True),
        (c(), "Never", 1, False),
        (c("Always"), "Never", 0, True),
        (c("OnFailure"), "Never", 1, True),
        (c("OnFailure"), "Always", 0, False),
        (c("Never"), "Always", 1, False),
        (c("Never", rule("Restart", "In", 1)), "Always", 1, True),
        (c("Never", rule("RestartAllContainers", "In", 1)), "Always", 1, True),
        (c("Never", rule("Restart", "NotIn", 1)), "Always", 1, False),
        (c("Never", rule("Dance", "In", 1)), "Always", 1, False),
        (c(None, rule("Restart", "In", 1)), "Never", 1, False),
    ],
)
def test_restarts_after(container, policy, code, expected):
    assert restarts_after(container, PodSpec(restartPolicy=policy), code) is expected


def test_rules_do_not_speak_on_our_own_kills():
    assert not restarts_after_kill(c("Never", rule("Restart", "NotIn", 0)), PodSpec(restartPolicy="Always"))
    assert restarts_after_kill(c(), PodSpec(restartPolicy="OnFailure"))


def test_policies_in_words():
    spec = PodSpec(restartPolicy="OnFailure")
    assert policy_text(c(), spec, 1) == "restartPolicy OnFailure"
    assert policy_text(c("Always"), spec, 1) == "container restartPolicy Always"
    assert policy_text(c("Never", rule("Restart", "In", 1)), spec, 1) == "restart rule Restart"


ALL = Pod(spec=PodSpec(containers=[c("Never", rule("RestartAllContainers", "In", 42))]))
RUNS = PodStatus(conditions=[PodCondition(type="AllContainersRestarting", status="True")])
REPORTED = PodStatus(
    containerStatuses=[
        ContainerStatus(name="a", state=ContainerState(terminated=ContainerStateTerminated(exitCode=42)))
    ]
)


@pytest.mark.parametrize(
    ("instances", "status", "wanted"),
    [
        ([instance("a", State.EXITED, exit_code=42)], None, True),
        ([instance("a", State.EXITED, exit_code=1)], None, False),
        ([instance("a", State.EXITED, exit_code=1)], REPORTED, True),
        ([instance("a")], REPORTED, False),
        ([], REPORTED, False),
        ([instance("a")], RUNS, True),
    ],
)
def test_restart_of_all(instances, status, wanted):
    assert may_restart_all(ALL.spec)
    seen = observed_pod(*instances)
    assert restart_all_wanted(ALL, seen, status) is wanted
    assert restart_all_cleaned(ALL, seen) is not bool(instances)


@pytest.mark.parametrize(
    ("state", "created"),
    [(State.CREATED, True), (State.RUNNING, True), (State.EXITED, True), (State.UNKNOWN, False)],
)
def test_any_regular_created(state, created):
    assert any_regular_created(ALL, observed_pod(instance("a", state))) is created
    assert not any_regular_created(ALL, observed_pod(instance("other", state)))
