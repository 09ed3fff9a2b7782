"""What feature gates switch off does not reach a pod's worker."""

from pykubelet.api.core import (
    Container,
    ContainerRestartRule,
    ContainerRestartRuleOnExitCodes,
    Pod,
    PodSpec,
)
from pykubelet.pods.gated import gated
from pykubelet.pods.restart import may_restart_all, restarts_after

RULES, ALL = "ContainerRestartRules", "RestartAllContainersOnContainerExits"


def rule(action, *codes):
    on = ContainerRestartRuleOnExitCodes(operator="In", values=list(codes))
    return ContainerRestartRule(action=action, exitCodes=on)


RULED = Container(
    name="a",
    restartPolicy="Never",
    restartPolicyRules=[rule("RestartAllContainers", 3), rule("Restart", 3, 4)],
)
POD = Pod(
    spec=PodSpec(
        restartPolicy="OnFailure",
        containers=[RULED, Container(name="b")],
        initContainers=[
            Container(name="s", restartPolicy="Always"),
            Container(name="i", restartPolicy="Never"),
        ],
    )
)


def with_gates(*on):
    return gated(lambda name: name in on)(POD)


def test_all_on_changes_nothing():
    assert with_gates(RULES, ALL) is POD


def test_without_restarts_of_all_containers_their_rule_leaves_it_to_the_containers_policy():
    made = with_gates(RULES)
    a = made.spec.containers[0]
    assert not may_restart_all(made.spec)
    assert [restarts_after(a, made.spec, code) for code in (3, 4, 5)] == [False, True, False]
    assert made.spec.initContainers == POD.spec.initContainers


def test_without_restart_rules_only_the_pods_policy_counts_and_sidecars_stay():
    spec = with_gates().spec
    assert [restarts_after(spec.containers[0], spec, code) for code in (0, 3, 5)] == [False, True, True]
    assert [c.restartPolicy for c in spec.initContainers] == ["Always", None]
    assert with_gates(ALL).spec == spec


def test_a_pod_that_asks_for_nothing_of_it_is_left_alone():
    pod = Pod(spec=PodSpec(containers=[Container(name="b")]))
    assert gated(lambda name: False)(pod) is pod
