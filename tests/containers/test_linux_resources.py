"""Numbers for the runtime, and OOM scores."""

import pytest

from pykubelet.api.core import Container, ResourceRequirements
from pykubelet.api.oom import oom_score_adj
from pykubelet.api.qos import compute_qos
from pykubelet.api.quantity import Quantity
from pykubelet.containers.linux_resources import (
    MachineFacts,
    container_resources,
    huge_page_size,
    may_swap,
    sandbox_resources,
    updated_resources,
)
from pykubelet.containers.settings import ContainerSettings
from pykubelet.linux.cgroups import Limits

MACHINE = MachineFacts(memory=1000 << 20, swap=100 << 20, huge_page_sizes=("2MB", "1GB"))


def amounts(values):
    return {name: Quantity.parse(value) for name, value in values.items()}


def box(name="app", requests=(), limits=(), **more):
    resources = ResourceRequirements(requests=amounts(dict(requests)), limits=amounts(dict(limits)))
    return Container(name=name, resources=resources, **more)


def made(make_pod, container, settings=ContainerSettings(), **more):  # noqa: B008
    pod = make_pod(container)
    return container_resources(pod, container, compute_qos(pod), settings, MACHINE, **more)


@pytest.mark.parametrize(
    ("requests", "limits", "shares", "quota", "memory"),
    [
        ({}, {}, 2, 0, 0),
        ({"cpu": "500m"}, {}, 512, 0, 0),
        ({}, {"cpu": "1", "memory": "1Mi"}, 1024, 100_000, 1 << 20),
        ({"cpu": "1m"}, {"cpu": "5m"}, 2, 1000, 0),
        ({"cpu": "1000"}, {}, 262_144, 0, 0),
    ],
)
def test_cpu_and_memory(make_pod, requests, limits, shares, quota, memory):
    result = made(make_pod, box(requests=requests, limits=limits))
    assert (result.cpu_shares, result.cpu_quota, result.memory_limit_in_bytes) == (shares, quota, memory)
    assert result.cpu_period == 100_000


def test_quota_switches(make_pod):
    container = box(limits={"cpu": "1"})
    assert made(make_pod, container, ContainerSettings(cpu_cfs_quota=False)).cpu_period == 0
    assert made(make_pod, container, exclusive_cpus=True).cpu_quota == -1


def test_huge_pages(make_pod):
    result = made(make_pod, box(limits={"hugepages-2Mi": "4Mi"}))
    assert [(h.page_size, h.limit) for h in result.hugepage_limits] == [("2MB", 4 << 20), ("1GB", 0)]
    assert [huge_page_size(f"hugepages-{s}") for s in ("64Ki", "1Gi")] == ["64KB", "1GB"]


def test_cgroup_v2_kills_groups_and_denies_swap(make_pod):
    v2 = ContainerSettings(cgroup_v2=True, swap_controller=True)
    assert dict(made(make_pod, box(), v2).unified) == {"memory.oom.group": "1", "memory.swap.max": "0"}
    single = ContainerSettings(cgroup_v2=True, single_process_oom_kill=True)
    assert not made(make_pod, box(), single).unified


def test_swap(make_pod):
    limited = ContainerSettings(cgroup_v2=True, swap_controller=True, swap_behavior="LimitedSwap")
    share = made(make_pod, box(requests={"memory": "100Mi"}), limited).unified["memory.swap.max"]
    assert share == str(10 << 20)
    v1 = ContainerSettings(swap_controller=True)
    assert made(make_pod, box(limits={"memory": "1Mi"}), v1).memory_swap_limit_in_bytes == 1 << 20


@pytest.mark.parametrize(
    ("container", "spec", "wanted"),
    [
        (box(), {}, 1000),
        (box(limits={"cpu": "1", "memory": "1Mi"}, requests={"cpu": "1", "memory": "1Mi"}), {}, -997),
        (box(requests={"memory": "100Mi"}), {}, 900),
        (box(requests={"cpu": "1"}), {}, 999),
        (box(requests={"memory": "999Mi"}), {}, 3),
        (box(), {"priorityClassName": "system-node-critical", "priority": 2_000_001_000}, -997),
    ],
)
def test_oom_score(make_pod, container, spec, wanted):
    pod = make_pod(container, **spec)
    assert oom_score_adj(pod, container, compute_qos(pod), 1000 << 20) == wanted


def test_a_sidecar_is_not_killed_before_the_smallest_container(make_pod):
    sidecar = box("side", restartPolicy="Always")
    pod = make_pod(box(requests={"memory": "500Mi"}), initContainers=[sidecar])
    assert oom_score_adj(pod, sidecar, compute_qos(pod), 1000 << 20) == 500


def test_a_pods_own_request_is_shared(make_pod):
    pod = make_pod(box("a"), box("b"), resources=ResourceRequirements(requests=amounts({"memory": "400Mi"})))
    assert oom_score_adj(pod, pod.spec.containers[0], compute_qos(pod), 1000 << 20) == 800


@pytest.mark.parametrize(
    ("before", "after", "swap", "expected"),
    [
        ({"cpu": "1", "memory": "1Mi"}, {"cpu": "2", "memory": "2Mi"}, False, (200_000, 2 << 20, 0)),
        ({"cpu": "1", "memory": "1Mi"}, {"cpu": "1", "memory": "2Mi"}, True, (100_000, 2 << 20, 2 << 20)),
        # Nothing is said of what never was limited, and that the limit is lifted where it was.
        ({}, {}, True, (0, 0, 0)),
        ({"cpu": "1", "memory": "1Mi"}, {}, True, (-1, -1, -1)),
        ({"cpu": "1", "memory": "1Mi"}, {}, False, (-1, -1, 0)),
    ],
)
def test_other_resources_of_a_running_container(make_pod, before, after, swap, expected):
    container = box(limits=before)
    settings = ContainerSettings(swap_controller=swap)
    resources = ResourceRequirements(limits=amounts(after))
    result = updated_resources(
        make_pod(container), container, resources, container.resources, "Burstable", settings, MACHINE
    )
    told = (result.cpu_quota, result.memory_limit_in_bytes, result.memory_swap_limit_in_bytes)
    assert told == expected


def test_a_pods_limits_without_its_overhead(make_pod):
    limits = Limits(cpu_shares=1024, cpu_quota=100_000, cpu_period=100_000, memory=100 << 20)
    plain = sandbox_resources(make_pod(box()), limits)
    assert (plain.cpu_shares, plain.cpu_quota, plain.memory_limit_in_bytes) == (1024, 100_000, 100 << 20)
    heavy = make_pod(box(), overhead=amounts({"cpu": "250m", "memory": "20Mi"}))
    rest = sandbox_resources(heavy, limits)
    assert (rest.cpu_shares, rest.cpu_quota, rest.memory_limit_in_bytes) == (768, 75_000, 80 << 20)
    unbounded = sandbox_resources(heavy, Limits(cpu_shares=1024, cpu_quota=-1, cpu_period=1, memory=-1))
    assert (unbounded.cpu_quota, unbounded.memory_limit_in_bytes) == (-1, -1)


def test_who_may_swap(make_pod):
    limited = ContainerSettings(swap_behavior="LimitedSwap", cgroup_v2=True, swap_controller=True)
    container = box(requests={"memory": "1Mi"}, limits={"memory": "2Mi"})
    pod = make_pod(container)
    assert may_swap(pod, container, "Burstable", limited)
    assert not may_swap(pod, container, "Guaranteed", limited)
    assert not may_swap(pod, container, "Burstable", ContainerSettings(cgroup_v2=True, swap_controller=True))
    assert not may_swap(pod, box(limits={"memory": "1Mi"}, requests={"memory": "1Mi"}), "Burstable", limited)
    assert not may_swap(pod, box(), "Burstable", limited)
