import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.pods.resize.model import c, of, pod

from pykubelet.pods.resize.amounts import (
    Effective,
    PodAmounts,
    ResizeGates,
    amounts_of,
    asks_for_more,
    effective,
    laid_over,
    operations,
    with_inherited_limits,
    with_resource,
)

ALL, OLD = ResizeGates(), ResizeGates(whole_pods=False, init_containers=False)
INIT = [c("init", "1", "1Mi"), c("side", "2", "2Mi", sidecar=True)]


def test_what_is_allocated_follows_the_gates():
    p = pod(c("app", "1", "1Gi"), init=INIT, whole=("4", "4Gi"))
    assert amounts_of(p, ALL) == PodAmounts(
        {"init": of("1", "1Mi"), "side": of("2", "2Mi"), "app": of("1", "1Gi")}, of("4", "4Gi")
    )
    assert amounts_of(p, OLD) == PodAmounts({"side": of("2", "2Mi"), "app": of("1", "1Gi")})


def test_an_allocation_takes_the_place_of_what_is_asked_for():
    have, want = pod(c("app", "1"), whole=("1",), init=INIT), pod(c("app", "2"), c("new"), init=INIT)
    laid = laid_over(want, amounts_of(have, ALL), ALL)
    assert [each.resources for each in laid.spec.containers] == [of("1"), of()]
    assert laid.spec.resources == of("1")
    assert laid.metadata is want.metadata
    # Without the gates the pod's own and an init container's are not allocated.
    other = pod(c("app", "1"), init=[c("init", "9"), INIT[1]])
    kept = laid_over(other, amounts_of(have, ALL), OLD)
    assert kept.spec.resources is None
    assert kept.spec.initContainers[0].resources == of("9")


def test_the_same_pod_if_nothing_differs():
    p = pod(c("app", "1000m", "1024Mi"))
    assert laid_over(p, amounts_of(pod(c("app", "1", "1Gi")), ALL), ALL) is p
    assert laid_over(p, PodAmounts(), ALL) is p


texts = st.sampled_from(["", "1", "2", "1/2", "/2"])
pods = st.builds(
    lambda a, b, m, w: pod(c("a", a, m), c("b", b), whole=w),
    texts, texts, texts, st.none() | st.tuples(texts),
)  # fmt: skip


@given(pods, pods)
def test_laid_over_it_is_what_was_allocated(have, want):
    allocated = amounts_of(have, ALL)
    laid = laid_over(want, allocated, ALL)
    assert amounts_of(laid, ALL) == allocated
    assert laid_over(laid, allocated, ALL) is laid
    assert laid_over(laid, amounts_of(want, ALL), ALL) == want
    assert (operations(have, laid, ALL), asks_for_more(have, laid)) == ([], False)


def test_limits_of_the_whole_pod_bind_containers_without_their_own():
    whole = of("500m", "1Gi")
    assert with_inherited_limits(of("", "/32Mi"), whole) == of("/500m", "/32Mi")
    assert with_inherited_limits(of(), whole) == of("/500m", "/1Gi")
    assert with_inherited_limits(of("1", "1Gi"), whole) == of("1", "1Gi")
    assert with_inherited_limits(of(), None) == of()


def test_numbers():
    assert effective(of("100m/1", "1Mi/2Mi")) == Effective(2 << 20, 1 << 20, 1000, 100)
    assert effective(None) == effective(of()) == Effective(0, 0, 0, 0)


def test_one_resource_of_two():
    assert with_resource(of("1", "1Mi"), "memory", of("2/3", "2Mi/3Mi")) == of("1", "2Mi/3Mi")
    assert with_resource(of("1", "1Mi"), "memory", of("2")) == of("1")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (of("1"), of("1000m"), []),
        (of("1/2"), of("2/2"), [("cpu", "requests", "increase")]),
        (of("1/2"), of("1/1"), [("cpu", "limits", "decrease")]),
        (of(), of("1/"), [("cpu", "requests", "add")]),
        (of("", "/1Mi"), of(), [("memory", "limits", "remove")]),
        (of("", "1Mi"), of("1/", "2Mi/1Mi"), [
            ("memory", "requests", "increase"), ("cpu", "requests", "add"),
        ]),
        (of("0"), of(), []),
    ],
)  # fmt: skip
def test_operations(before, after, expected):
    def with_resources(resources):
        p = pod(c("app"), c("other", "1"))
        p.spec.containers[0].resources = resources
        return p

    assert operations(with_resources(before), with_resources(after), ALL) == expected


def test_a_container_that_is_not_allocated_asks_for_nothing():
    assert operations(pod(init=[c("i", "1")]), pod(init=[c("i", "2")]), OLD) == []
    assert len(operations(pod(init=[c("i", "1")]), pod(init=[c("i", "2")]), ALL)) == 2


@pytest.mark.parametrize(
    ("allocated", "desired", "more"),
    [
        (pod(c("a", "1"), c("b", "2")), pod(c("a", "2"), c("b", "1")), False),
        (pod(c("a", "1", "1Gi")), pod(c("a", "500m", "2Gi")), True),
        (pod(c("a", "1/2")), pod(c("a", "1/4")), False),
        (pod(c("a")), pod(c("a", "1")), True),
        (pod(c("a", "1"), whole=("2",)), pod(c("a", "2"), whole=("2",)), False),
    ],
)
def test_what_asks_for_more(allocated, desired, more):
    assert asks_for_more(allocated, desired) is more
