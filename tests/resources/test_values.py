import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.api.core import Container, Pod, PodSpec, ResourceRequirements
from pykubelet.api.quantity import Quantity
from pykubelet.linux.cgroups import Limits
from pykubelet.resources.values import (
    PodCgroupConfig,
    best_effort_values,
    burstable_values,
    compressible_values,
    hugepage_values,
    node_values,
    pod_values,
)

BOTH = {"cpu": "100m", "memory": "100Mi"}
MORE = {"cpu": "200m", "memory": "200Mi"}
MI100, MI200 = 100 << 20, 200 << 20


def limits(**values):
    return Limits(hugepages={}, **values)


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        ([("a", {}, {})], limits(cpu_shares=2)),
        ([("a", BOTH, {})], limits(cpu_shares=102)),
        (
            [("a", BOTH, MORE)],
            limits(cpu_shares=102, cpu_quota=20_000, cpu_period=100_000, memory=MI200),
        ),
        ([("a", BOTH, MORE), ("b", BOTH, {})], limits(cpu_shares=204)),
        ([("a", BOTH, {"memory": "200Mi"})], limits(cpu_shares=102, memory=MI200)),
        (
            [("a", BOTH, {"cpu": "200m"}), ("b", {}, {"cpu": "1"})],
            limits(cpu_shares=102, cpu_quota=120_000, cpu_period=100_000),
        ),
        (
            [("a", BOTH, BOTH)],
            limits(cpu_shares=102, cpu_quota=10_000, cpu_period=100_000, memory=MI100),
        ),
    ],
)
def test_pod(make_pod, make_container, containers, expected):
    pod = make_pod(*(make_container(*each) for each in containers))
    assert pod_values(pod, PodCgroupConfig()) == expected


def test_switches(make_pod, make_container):
    pod = make_pod(make_container("a", BOTH, BOTH))
    assert pod_values(pod, PodCgroupConfig(cpu_cfs_quota=False)).cpu_quota == -1
    assert pod_values(pod, PodCgroupConfig(), exclusive_cpus=True).cpu_quota == -1
    short = pod_values(pod, PodCgroupConfig(cpu_cfs_quota_period=5000, pod_pids_limit=77))
    assert (short.cpu_quota, short.cpu_period, short.pids) == (1000, 5000, 77)
    assert pod_values(pod, PodCgroupConfig(pod_pids_limit=0)).pids is None


def test_overhead_init_and_huge_pages(make_pod, make_container):
    pod = make_pod(
        make_container("a", {"cpu": "1", "memory": "1Mi", "hugepages-2Mi": "4Mi"}, {"hugepages-2Mi": "4Mi"}),
        init=[make_container("i", {"cpu": "3"})],
        overhead={"cpu": Quantity.parse("500m")},
    )
    values = pod_values(pod, PodCgroupConfig())
    assert values.cpu_shares == 3584
    assert values.hugepages == {2 << 20: 4 << 20}


def test_pod_level_limits(make_pod, make_container):
    level = ResourceRequirements(
        requests={"cpu": Quantity.parse("1")},
        limits={"cpu": Quantity.parse("2"), "memory": Quantity.parse("1Gi")},
    )
    values = pod_values(make_pod(make_container("a"), resources=level), PodCgroupConfig())
    assert (values.cpu_shares, values.cpu_quota, values.memory) == (1024, 200_000, 1 << 30)


def test_qos_levels(make_pod, make_container):
    pods = [
        make_pod(make_container("a", {"cpu": "250m"})),
        make_pod(make_container("a", {"cpu": "750m"})),
        make_pod(make_container("a", BOTH, BOTH)),
        make_pod(make_container("a")),
    ]
    unbounded = {2 << 20: 1 << 62}
    assert burstable_values(pods, (2 << 20,)) == Limits(cpu_shares=1024, hugepages=unbounded)
    assert burstable_values([], ()) == Limits(cpu_shares=2, hugepages={})
    assert best_effort_values((2 << 20,)) == Limits(cpu_shares=2, hugepages=unbounded)


def test_node():
    amounts = {"cpu": "1500m", "memory": "1Gi", "pid": "1000", "hugepages-1Gi": "2Gi", "pods": "110"}
    parsed = {name: Quantity.parse(text) for name, text in amounts.items()}
    assert node_values(parsed) == Limits(
        cpu_shares=1536, memory=1 << 30, pids=1000, hugepages={1 << 30: 2 << 30}
    )
    assert compressible_values(parsed) == Limits(cpu_shares=1536)
    assert node_values({}) == Limits(hugepages={})


def test_bad_huge_page_names():
    assert hugepage_values({"hugepages-x": Quantity.of(1), "memory": Quantity.of(1)}) == {}


milli = st.integers(0, 300_000)


@given(st.lists(st.tuples(milli, milli), min_size=1, max_size=5))
def test_values_stay_within_the_kernels_bounds(pairs):
    def amount(value):
        return {"cpu": Quantity.of_milli(value)} if value else {}

    containers = [
        Container(name=f"c{n}", resources=ResourceRequirements(requests=amount(low), limits=amount(high)))
        for n, (low, high) in enumerate(pairs)
    ]
    values = pod_values(Pod(spec=PodSpec(containers=containers)), PodCgroupConfig())
    assert values.cpu_shares is not None
    assert 2 <= values.cpu_shares <= 262_144
    assert values.cpu_quota is None or values.cpu_quota >= 1000
    assert (values.cpu_quota is None) == (values.cpu_period is None)
