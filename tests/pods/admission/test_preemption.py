from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pykubelet.api.core import Container, Pod, PodCondition, PodSpec, PodStatus, ResourceRequirements
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.quantity import Quantity
from pykubelet.pods.admission.failures import Insufficient
from pykubelet.pods.admission.preemption import PreemptionError, choose_victims, preempted, requested

CRITICAL = 2_000_000_000
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def lacking(resource, quantity):
    return Insufficient(resource, quantity, 0, 0)


def names(pods):
    return [pod.metadata.name for pod in pods]


@pytest.fixture
def critical(make_pod):
    return make_pod("critical", priority=CRITICAL)


@pytest.fixture
def candidates(make_pod):
    def guaranteed(name, cpu, memory):
        amounts = {"cpu": cpu, "memory": memory}
        return make_pod(name, amounts, limits=amounts)

    return {
        "best": make_pod("best"),
        "small": make_pod("small", {"cpu": "100m", "memory": "100Mi"}),
        "large": make_pod("large", {"cpu": "300m", "memory": "300Mi"}),
        "small-guaranteed": guaranteed("small-guaranteed", "100m", "100Mi"),
        "large-guaranteed": guaranteed("large-guaranteed", "300m", "300Mi"),
        "critical-other": make_pod("critical-other", {"cpu": "1", "memory": "1Gi"}, priority=CRITICAL),
    }


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        ([], []),
        ([lacking("pods", 1)], ["best"]),
        ([lacking("pods", 2)], ["best", "small"]),
        ([lacking("cpu", 100)], ["small"]),
        ([lacking("cpu", 101)], ["large"]),
        ([lacking("memory", 300 << 20)], ["large"]),
        ([lacking("cpu", 400)], ["large", "small"]),
        ([lacking("cpu", 500)], ["large", "small", "small-guaranteed"]),
        ([lacking("cpu", 700)], ["large", "small", "large-guaranteed"]),
        ([lacking("cpu", 800)], ["large", "small", "large-guaranteed", "small-guaranteed"]),
    ],
)
def test_choice(critical, candidates, needs, expected):
    chosen = names(choose_victims(critical, list(candidates.values()), needs))
    assert sorted(chosen) == sorted(expected)


def test_not_enough(critical, candidates):
    with pytest.raises(PreemptionError) as caught:
        choose_victims(critical, list(candidates.values()), [lacking("cpu", 801)])
    assert str(caught.value) == ("no set of running pods found to reclaim resources: [(res: cpu, q: 1), ]")


def test_only_less_important_pods(critical, make_pod):
    same = make_pod("same", {"cpu": "1"}, priority=CRITICAL)
    static = make_pod("static", {"cpu": "1"}, annotations={"kubernetes.io/config.source": "file"})
    for pod in (same, static):
        with pytest.raises(PreemptionError):
            choose_victims(critical, [pod], [lacking("cpu", 1)])
    higher = make_pod("higher", priority=CRITICAL + 1)
    assert names(choose_victims(higher, [same], [lacking("cpu", 1)])) == ["same"]


def test_what_an_end_frees(make_pod):
    overhead = {"cpu": Quantity.parse("100m"), "memory": Quantity.parse("1Mi")}
    pod = make_pod(requests={"cpu": "1"}, overhead=overhead)
    assert requested(pod, "cpu") == 1100
    assert requested(pod, "memory") == 0
    assert requested(pod, "pods") == 1


def test_status():
    old = PodCondition(type="DisruptionTarget", status="False")
    ready = PodCondition(type="Ready", status="True")
    status = preempted(PodStatus(phase="Running", conditions=[old, ready]), 3, NOW)
    assert (status.phase, status.reason) == ("Failed", "Preempting")
    assert status.message == "Preempted in order to admit critical pod"
    condition = status.conditions[-1]
    assert (condition.status, condition.reason) == ("True", "TerminationByKubelet")
    assert condition.message == "Pod was preempted by Kubelet to accommodate a critical pod."
    assert condition.lastTransitionTime == NOW
    later = preempted(status, 3, datetime(2027, 1, 1, tzinfo=UTC))
    assert later.conditions == status.conditions


amount = st.integers(0, 8)
pods = st.lists(st.tuples(amount, amount, st.booleans()), max_size=6)


def build(n, cpu, memory, equal):
    amounts = {}
    if cpu:
        amounts["cpu"] = Quantity.of(cpu)
    if memory:
        amounts["memory"] = Quantity.of(memory)
    resources = ResourceRequirements(requests=amounts, limits=amounts if equal else {})
    return Pod(
        metadata=ObjectMeta(name=f"p{n}", uid=f"u{n}"),
        spec=PodSpec(containers=[Container(name="c", resources=resources)]),
    )


@given(pods, st.integers(0, 12), st.integers(0, 12), st.integers(0, 3))
def test_frees_enough_and_takes_nobody_in_vain(shapes, cpu, memory, count):
    active = [build(n, *shape) for n, shape in enumerate(shapes)]
    needs = [lacking("cpu", cpu * 1000), lacking("memory", memory), lacking("pods", count)]
    boss = Pod(spec=PodSpec(priority=CRITICAL))

    def freed(victims):
        return all(sum(requested(pod, need.resource) for pod in victims) >= need.lacking for need in needs)

    if not freed(active):
        with pytest.raises(PreemptionError):
            choose_victims(boss, active, needs)
        return
    victims = choose_victims(boss, active, needs)
    assert freed(victims)
    assert len({pod.metadata.uid for pod in victims}) == len(victims)
    if not any(need.lacking for need in needs):
        assert victims == ()
    # Guaranteed pods go only if all the others together would not do.
    guaranteed = [pod for pod, shape in zip(active, shapes, strict=True) if all(shape)]
    if freed([pod for pod in active if pod not in guaranteed]):
        assert not [pod for pod in victims if pod in guaranteed]


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(1, 20))
def test_one_pod_suffices_where_one_is_large_enough(sizes, need):
    assume(max(sizes) >= need)
    active = [build(n, 0, size, False) for n, size in enumerate(sizes)]
    victims = choose_victims(Pod(spec=PodSpec(priority=CRITICAL)), active, [lacking("memory", need)])
    assert len(victims) == 1
    assert requested(victims[0], "memory") == min(size for size in sizes if size >= need)
