from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.pods.model import instance, observed_pod
from tests.pods.resize.model import c, of, pod

from pykubelet.cri.types import ContainerState, LinuxResources
from pykubelet.linux.cgroups import Limits
from pykubelet.pods.resize.amounts import PodAmounts, ResizeGates, amounts_of, effective
from pykubelet.pods.resize.plan import (
    Change,
    InForce,
    Lowered,
    MemoryUsage,
    RecordWhole,
    SetPodLimits,
    UpdateContainer,
    below_usage,
    changes,
    plan_resize,
    resize_in_progress,
)

GATES = ResizeGates()
MIB = 1 << 20


def have(*containers, whole=None, **more):
    """What is in force: as these containers were made."""
    return InForce(amounts_of(pod(*containers, whole=whole), GATES), **more)


def limits(memory=-1, quota=-1, shares=2):
    return Limits(shares, quota, 100_000, memory)


def plan_for(p, in_force, *running):
    seen = observed_pod(*(instance(each.name) for each in running or p.spec.containers))
    return plan_resize(p, changes(p, seen, in_force), in_force)


def short(steps):
    """Steps in a few words."""
    told = []
    for step in steps:
        if isinstance(step, UpdateContainer):
            told.append(f"{step.container} {step.resource}")
        elif isinstance(step, SetPodLimits):
            told += [
                f"pod {key}" for key in ("memory", "cpu_quota", "cpu_shares") if getattr(step.limits, key)
            ]
        else:
            told.append(f"whole {step.resource}")
    return told


def test_nothing_to_do():
    p = pod(c("app", "1", "1Gi"))
    assert plan_for(p, have(*p.spec.containers)) is None
    assert not resize_in_progress(p, observed_pod(instance("app")), have(*p.spec.containers))


def test_growing_the_pod_comes_first():
    p = pod(c("app", "2", "2Gi"))
    force = have(
        c("app", "1", "1Gi"), limits=limits(1 << 30, 100_000, 1024), wanted=limits(2 << 30, 200_000, 2048)
    )
    plan = plan_for(p, force)
    assert short(plan.steps) == ["pod memory", "app memory", "pod cpu_quota", "pod cpu_shares", "app cpu"]
    assert (plan.lowered, plan.resizes) == ((), True)
    memory, cpu = [step for step in plan.steps if isinstance(step, UpdateContainer)]
    assert (memory.resources, memory.before) == (of("1", "2Gi"), of("1", "1Gi"))
    assert (cpu.resources, cpu.before) == (of("2", "2Gi"), of("1", "2Gi"))


def test_shrinking_the_pod_comes_last():
    p = pod(c("app", "1", "1Gi"))
    force = have(
        c("app", "2", "2Gi"), limits=limits(2 << 30, 200_000, 2048), wanted=limits(1 << 30, 100_000, 1024)
    )
    plan = plan_for(p, force)
    assert short(plan.steps) == ["app memory", "pod memory", "app cpu", "pod cpu_shares", "pod cpu_quota"]
    assert plan.lowered == (Lowered(1 << 30), Lowered(1 << 30, "app", "app-0"))


def test_containers_that_shrink_make_room_for_those_that_grow():
    p = pod(c("a", "2"), c("b", "1"), c("d", "3/4"))
    force = have(c("a", "1"), c("b", "2"), c("d", "2/4"), limits=limits(), wanted=limits())
    assert short(plan_for(p, force).steps) == ["b cpu", "a cpu", "d cpu"]


def test_a_limit_that_is_added_or_lifted():
    p, bounded = pod(c("app", "1/", "1Gi/")), c("app", "1", "1Gi")
    lifted = plan_for(p, have(bounded, limits=limits(1 << 30), wanted=limits(None, None)))
    assert (short(lifted.steps), lifted.lowered) == (["app memory", "app cpu", "pod cpu_shares"][:2], ())
    added = plan_for(pod(bounded), have(*p.spec.containers, limits=limits(), wanted=limits(1 << 30, 100_000)))
    assert short(added.steps) == ["app memory", "pod memory", "app cpu", "pod cpu_quota"]
    assert added.lowered == (Lowered(1 << 30), Lowered(1 << 30, "app", "app-0"))


def test_a_cgroup_that_is_not_as_it_should_be_is_put_right():
    p = pod(c("app", "1", "1Gi"))
    plan = plan_for(p, have(*p.spec.containers, limits=limits(1, 5, 7), wanted=limits(2, 5, 8)))
    assert short(plan.steps) == ["pod memory", "pod cpu_shares"]
    assert not plan.resizes
    # What is not wanted, or not known, is left alone.
    assert plan_for(p, have(*p.spec.containers, limits=limits(1, 5, 7), wanted=Limits())) is None


def test_what_does_not_run_is_made_right_when_it_starts():
    p = pod(c("app", "2"))
    ended = observed_pod(instance("app", ContainerState.EXITED))
    force = have(c("app", "1"), limits=limits(quota=1), wanted=limits(quota=2))
    assert changes(p, ended, force) == {}
    assert short(plan_resize(p, {}, force).steps) == ["pod cpu_quota"]


@pytest.mark.parametrize(
    ("restarts", "before", "restart"),
    [
        ((), of("1", "1Gi"), False),
        (("cpu",), of("1", "1Gi"), True),
        (("memory",), of("1", "1Gi"), False),
        (("memory",), of("2", "2Gi"), True),
        (("cpu", "memory"), of("2", "1Gi/2Gi"), True),
    ],
)
def test_who_is_restarted(restarts, before, restart):
    p = pod(c("app", "2", "1Gi", restarts=restarts))
    force = InForce(PodAmounts({"app": before}))
    [change] = changes(p, observed_pod(instance("app")), force).values()
    assert change == Change("app", "app-0", before, of("2", "1Gi"), restart)


def test_init_containers_are_resized_but_not_restarted_and_not_waited_for():
    p = pod(c("app"), init=[c("init", "2", restarts=["cpu"]), c("side", "2", sidecar=True, restarts=["cpu"])])
    force = InForce(PodAmounts({"init": of("1"), "side": of("2"), "app": of()}))
    seen = observed_pod(instance("init"), instance("side"))
    assert {name: change.restart for name, change in changes(p, seen, force).items()} == {"init": False}
    assert not resize_in_progress(p, seen, force)
    assert changes(p, seen, replace(force, gates=ResizeGates(init_containers=False))) == {}
    other = InForce(PodAmounts({"init": of("2"), "side": of("1"), "app": of()}))
    assert [change.restart for change in changes(p, seen, other).values()] == [True]
    assert resize_in_progress(p, seen, other)


def test_the_pod_as_a_whole():
    p = pod(c("app"), c("own", "1", "1Gi"), whole=("4", "4Gi"))
    before = have(c("app", "/2", "/2Gi"), c("own", "1", "1Gi"), whole=("2", "2Gi"))
    plan = plan_for(p, replace(before, limits=limits(2 << 30), wanted=limits(4 << 30)))
    # Containers without limits of their own are bound by the pod's.
    assert short(plan.steps) == ["pod memory", "app memory", "whole memory", "app cpu", "whole cpu"]
    assert RecordWhole("memory") in plan.steps
    only_requests = pod(c("own", "1", "1Gi"), whole=("3/4", "4Gi"))
    force = have(c("own", "1", "1Gi"), whole=("4", "4Gi"))
    assert short(plan_for(only_requests, force).steps) == ["whole memory", "whole cpu"]
    assert resize_in_progress(only_requests, observed_pod(), force)
    assert not resize_in_progress(only_requests, observed_pod(), have(c("own", "1", "1Gi")))
    off = replace(force, gates=ResizeGates(whole_pods=False))
    assert not resize_in_progress(only_requests, observed_pod(), off)


@pytest.mark.parametrize(
    ("real", "before"),
    [
        (None, None),
        (LinuxResources(100_000, 200_000, 2048, 2 << 30), None),
        (LinuxResources(100_000, 100_000, 2048, 2 << 30), of("2/1", "1Gi/2Gi")),
        (LinuxResources(100_000, 200_000, 1024, 1 << 30), of("1/2", "1Gi")),
        (LinuxResources(0, 0, 2, 0), of("2m/2", "1Gi/2Gi")),
        (LinuxResources(0, 0, 0, 0), None),
    ],
)
def test_what_nobody_recorded_is_as_the_runtime_shows_it(real, before):
    p = pod(c("app", "2", "1Gi/2Gi", restarts=["cpu"]))
    found = changes(p, observed_pod(instance("app", resources=real)), InForce())
    assert [change.before for change in found.values()] == ([] if before is None else [before])


PLAN = plan_for(
    pod(c("app", "", "24Mi"), c("b", "", "8Mi")),
    have(c("app", "", "64Mi"), c("b"), limits=limits(64 * MIB), wanted=limits(32 * MIB)),
)


@pytest.mark.parametrize(
    ("whole", "app", "other", "problem"),
    [
        (31, 23, 7, ""),
        (32, 23, 7, "attempting to set pod memory limit (33554432) below current usage (33554432)"),
        (
            31, 30, 7,
            'attempting to set container "app" memory limit (25165824) below current usage (31457280)',
        ),
        (None, 23, 7, "missing pod memory usage"),
        (31, 23, None, 'missing container "b" memory usage'),
        (
            40, None, 7,
            "[attempting to set pod memory limit (33554432) below current usage (41943040), "
            'missing container "app" memory usage]',
        ),
    ],
)  # fmt: skip
def test_no_limit_below_what_is_used(whole, app, other, problem):
    def size(mib):
        return None if mib is None else mib * MIB

    usage = MemoryUsage(size(whole), {"app-0": size(app), "b-0": size(other)})
    assert below_usage(PLAN, usage) == (f"cannot decrease memory limits: {problem}" if problem else "")


amounts = st.sampled_from(["1", "2", "3", "1/2", "2/3", "1/3", "1/", ""])
containers = st.lists(st.tuples(amounts, amounts), min_size=2, max_size=3)


def total(parts, which):
    """The pod's limits and requests as its cgroup gets them; a limit only if all have one."""
    numbers = [effective(of(*part)) for part in parts]
    bounds = [getattr(each, f"{which}_limit") for each in numbers]
    return (sum(bounds) if all(bounds) else -1), sum(getattr(each, f"{which}_request") for each in numbers)


@given(st.lists(st.tuples(amounts, amounts, amounts, amounts), min_size=1, max_size=3), st.integers(0, 12))
def test_cut_anywhere_it_ends_where_it_should_and_the_pod_never_binds_more_than_it_must(parts, cut):
    """Steps are done one by one, cut once, planned anew: the pod's limit is never below its containers'."""
    old, new = [part[:2] for part in parts], [part[2:] for part in parts]
    names = [f"c{number}" for number in range(len(parts))]
    target = pod(*(c(name, *part) for name, part in zip(names, new, strict=True)))
    has = {name: of(*part) for name, part in zip(names, old, strict=True)}

    def kernel(side):
        memory, (quota, request) = total(side, "memory")[0], total(side, "cpu")
        return Limits(max(2, request), quota, 1000, memory)

    # Limits are not lifted here: the API server refuses that.
    current, wanted = kernel(old), kernel(new)
    wanted = replace(
        wanted,
        memory=wanted.memory if wanted.memory > 0 else None,
        cpu_quota=wanted.cpu_quota if wanted.cpu_quota > 0 else None,
    )
    seen = observed_pod(*(instance(name) for name in names))

    def step(plan):
        nonlocal current
        if isinstance(plan, SetPodLimits):
            given_limits = {
                k: getattr(plan.limits, k) for k in ("memory", "cpu_quota", "cpu_shares", "cpu_period")
            }
            current = replace(current, **{k: v for k, v in given_limits.items() if v is not None})
        elif isinstance(plan, UpdateContainer):
            assert has[plan.container] == plan.before or effective(has[plan.container]) == effective(
                plan.before
            )
            has[plan.container] = plan.resources

    def bound(which, kernel_limit):
        if kernel_limit is None or kernel_limit <= 0:
            return True
        need = [getattr(effective(each), f"{which}_limit") for each in has.values()]
        return not all(need) or sum(need) <= kernel_limit

    started_bound = bound("memory", current.memory) and bound("cpu", current.cpu_quota)
    for limit in (cut, 99):
        force = InForce(PodAmounts(dict(has)), current, wanted)
        plan = plan_resize(target, changes(target, seen, force), force)
        for each in (plan.steps if plan else ())[:limit]:
            step(each)
            if started_bound and all(b > 0 for b in (kernel(old).memory, kernel(new).memory)):
                assert bound("memory", current.memory)
    assert {name: effective(each) for name, each in has.items()} == {
        name: effective(of(*part)) for name, part in zip(names, new, strict=True)
    }
    assert current.cpu_shares == wanted.cpu_shares
    assert wanted.memory in (None, current.memory)
    assert wanted.cpu_quota in (None, current.cpu_quota)
    force = InForce(PodAmounts(dict(has)), current, wanted)
    assert plan_resize(target, changes(target, seen, force), force) is None
    assert not resize_in_progress(target, seen, force)
