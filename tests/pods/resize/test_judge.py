from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from tests.pods.resize.model import c, pod

from pykubelet.pods.resize.amounts import ResizeGates
from pykubelet.pods.resize.judge import PendingResize, ResizeRules, in_order, infeasible

START = datetime(2026, 1, 1, tzinfo=UTC)
RULES = ResizeRules()
SWAPS = ResizeRules(may_swap=lambda pod, container: container.name == "swaps")
STATIC = ResizeRules(cpu_manager_policy="static", memory_manager_policy="Static")


def one(cpu="", memory="", **more):
    return pod(c("app", cpu, memory, **more))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (one("1/2"), one("2/3")),
        (one("1", "1Gi"), one("2", "2Gi")),
        (pod(c("a", "1"), whole=("2",)), pod(c("a", "1"), whole=("3",))),
        (pod(c("a", "1"), init=[c("i", "1")]), pod(c("a", "1"), init=[c("i", "2")])),
    ],
)
def test_what_can_be(before, after):
    assert infeasible(after, before, RULES) is None


@pytest.mark.parametrize(
    ("before", "after", "rules", "message", "detail"),
    [
        (
            pod(c("swaps", "", "1Mi/2Mi")), pod(c("swaps", "", "2Mi/3Mi")), SWAPS,
            "In-place resize of containers with swap is not supported.", "swap_limitation",
        ),
        (
            pod(whole=("2",)), pod(whole=("3",)), ResizeRules(ResizeGates(whole_pods=False)),
            "InPlacePodLevelResourcesVerticalScaling is disabled", "plr_feature_gate_off",
        ),
        (
            one("1", "1Gi"), one("1/2", "1Gi"), RULES,
            "Pod QOS Class may not change as a result of resizing", "qos_class_change",
        ),
        (
            one("1", "1Gi"), one("2", "1Gi"), STATIC,
            'Resize is infeasible for Guaranteed Pods alongside CPU Manager policy "static"',
            "guaranteed_pod_cpu_manager_static_policy",
        ),
        (
            one("1", "1Gi"), one("1", "2Gi"), STATIC,
            'Resize is infeasible for Guaranteed Pods alongside Memory Manager policy "Static"',
            "guaranteed_pod_memory_manager_static_policy",
        ),
    ],
)  # fmt: skip
def test_what_can_never_be(before, after, rules, message, detail):
    found = infeasible(after, before, rules)
    assert (found.message, found.detail) == (message, detail)


@pytest.mark.parametrize(
    ("before", "after", "rules"),
    [
        (pod(c("other", "", "1Mi/2Mi")), pod(c("other", "", "2Mi/3Mi")), SWAPS),
        (pod(c("swaps", "1/2", "1Mi/2Mi")), pod(c("swaps", "2/3", "1Mi/2Mi")), SWAPS),
        (
            pod(c("swaps", "", "1Mi/2Mi", restarts=["memory"])),
            pod(c("swaps", "", "2Mi/3Mi", restarts=["memory"])), SWAPS,
        ),
        (one("1/2", "1Gi"), one("2/3", "1Gi"), STATIC),
        (
            one("1", "1Gi"), one("2", "2Gi"),
            ResizeRules(ResizeGates(exclusive_cpus=True, exclusive_memory=True), "static", "Static"),
        ),
    ],
)  # fmt: skip
def test_what_is_not_in_the_way(before, after, rules):
    assert infeasible(after, before, rules) is None


def pending(name, *, more=True, priority=None, guaranteed=False, since=None):
    high = "2" if more else "1"
    before, after = ("1", high) if guaranteed else ("1/9", f"{high}/9")
    memory = "1Gi" if guaranteed else ""
    made = [pod(c("app", cpu, memory), uid=name, priority=priority) for cpu in (after, before)]
    return PendingResize(*made, since=None if since is None else START + timedelta(seconds=since))


def test_the_order():
    wanted = [
        pending("shrinks", more=False),
        pending("important", priority=10),
        pending("guaranteed", guaranteed=True, since=9),
        pending("old", since=1),
        pending("young", since=2),
        pending("new"),
        pending("humble", priority=-1, since=0),
    ]
    for mixed in list(permutations(wanted))[::97]:
        assert [each.desired.metadata.uid for each in in_order(mixed)] == [
            each.desired.metadata.uid for each in wanted
        ]


def test_ties_keep_their_order():
    twins = [pending("a", since=1), pending("b", since=1)]
    assert in_order(twins) == twins
    assert in_order(twins[::-1]) == twins[::-1]
