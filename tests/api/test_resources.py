import pytest

from pykubelet.api import codec
from pykubelet.api.core import Pod
from pykubelet.api.qos import compute_qos, qos_class
from pykubelet.api.resources import (
    container_limit,
    containers_total,
    limited_by_all,
    pod_limits,
    pod_requests,
)


def one(requests=None, limits=None, sidecar=False):
    resources = {"requests": requests or {}, "limits": limits or {}}
    return {"name": "c", "resources": resources, **({"restartPolicy": "Always"} if sidecar else {})}


def pod(regular, init=(), **spec):
    return codec.convert({"spec": {"containers": list(regular), "initContainers": list(init), **spec}}, Pod)


def shown(amounts):
    return {name: str(amount) for name, amount in amounts.items()}


@pytest.mark.parametrize(
    ("regular", "init", "total"),
    [
        ([one({"cpu": "1"}), one({"cpu": "2", "memory": "1Gi"})], [], {"cpu": "3", "memory": "1Gi"}),
        ([one({"cpu": "1"})], [one({"cpu": "4"}), one({"cpu": "2"})], {"cpu": "4"}),
        ([one({"cpu": "1"})], [one({"cpu": "2"}, sidecar=True), one({"cpu": "3"})], {"cpu": "5"}),
        ([one({"cpu": "1"})], [one({"cpu": "3"}), one({"cpu": "2"}, sidecar=True)], {"cpu": "3"}),
        (
            [one({"cpu": "5"})],
            [one({"cpu": "2"}, sidecar=True), one({"cpu": "1"}, sidecar=True)],
            {"cpu": "8"},
        ),
    ],
)
def test_sums_follow_the_order_of_starts(regular, init, total):
    assert shown(containers_total(pod(regular, init), "requests")) == total


def test_overhead_and_pod_level():
    it = pod(
        [one({"cpu": "1"}, {"cpu": "2"})],
        overhead={"cpu": "100m", "memory": "10Mi"},
        resources={"requests": {"memory": "1Gi"}, "limits": {"memory": "2Gi", "a.b/c": "1"}},
    )
    assert shown(pod_requests(it)) == {"cpu": "1100m", "memory": "1034Mi"}
    assert shown(pod_requests(it, overhead=False)) == {"cpu": "1", "memory": "1Gi"}
    assert shown(pod_limits(it)) == {"cpu": "2100m", "memory": "2058Mi"}
    assert str(container_limit(it, it.spec.containers[0], "memory")) == "2Gi"
    assert str(container_limit(it, it.spec.containers[0], "cpu")) == "2"


def test_limited_by_all():
    it = pod([one(limits={"cpu": "1", "memory": "1Gi"}), one(limits={"memory": "1Gi"})])
    assert limited_by_all(it, "memory")
    assert not limited_by_all(it, "cpu")


FULL = {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("made", "qos"),
    [
        (pod([one()]), "BestEffort"),
        (pod([one({"cpu": "0"}, {"memory": "0"})]), "BestEffort"),
        (pod([one({"a.b/c": "1"}, {"a.b/c": "1"})]), "BestEffort"),
        (pod([one(FULL, FULL)]), "Guaranteed"),
        (pod([one(FULL, FULL), one()]), "Burstable"),
        (pod([one(FULL, FULL)], [one()]), "Burstable"),
        (pod([one({"cpu": "1"}, FULL)]), "Burstable"),
        (pod([one({"cpu": "1"})]), "Burstable"),
        (pod([one(limits={"cpu": "1"})]), "Burstable"),
        (pod([one()], resources={"requests": FULL, "limits": FULL}), "Guaranteed"),
        (pod([one(FULL, FULL)], resources={"requests": {"cpu": "1"}}), "Burstable"),
        (pod([one(FULL, FULL)], resources={}), "BestEffort"),
    ],
)
def test_qos_class(made, qos):
    assert compute_qos(made) == qos
    assert qos_class(made) == qos


def test_reported_class_wins():
    assert qos_class(codec.convert({"status": {"qosClass": "Burstable"}}, Pod)) == "Burstable"
