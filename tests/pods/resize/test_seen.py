import pytest
from tests.pods.resize.model import c, of, pod

from pykubelet.linux.cgroups import Limits
from pykubelet.pods.resize.amounts import PodAmounts, ResizeGates
from pykubelet.pods.resize.seen import whole_in_force

MIB = 1 << 20
NONE = Limits(2, -1, 100_000, -1)


@pytest.mark.parametrize(
    ("p", "limits", "wanted", "expected"),
    [
        # As it should be: the spec's own amounts, not the kernel's rounded ones.
        (
            pod(c("a", "100m", "10M")),
            Limits(80, 10_000, 100_000, 9998336), Limits(80, 10_000, 100_000, 9998336),
            of("100m", "10M"),
        ),
        (pod(c("a", "100m/"), c("b", "/1")), Limits(102, -1, 100_000, -1), Limits(102), of("100m/", "")),
        (pod(c("a")), NONE, Limits(2), of()),
        # Not yet as it should be: the kernel's.
        (
            pod(c("a", "200m", "2Mi")),
            Limits(102, 10_000, 100_000, MIB), Limits(204, 20_000, 100_000, 2 * MIB),
            of("100m", "2Mi/1Mi"),
        ),
        (
            pod(c("a", "200m", "2Mi"), whole=("300m/400m", "4Mi")),
            Limits(102, 10_000, 100_000, MIB), Limits(307, 40_000, 100_000, 4 * MIB),
            of("100m", "4Mi/1Mi"),
        ),
    ],
)  # fmt: skip
def test_the_pod_as_a_whole(p, limits, wanted, expected):
    assert whole_in_force(p, None, limits, wanted, ResizeGates()) == expected


def test_memory_requests_are_those_that_were_recorded():
    p, before = pod(c("a", "", "2Mi/")), PodAmounts({"a": of("", "1Mi/")})
    assert whole_in_force(p, before, NONE, NONE, ResizeGates()) == of("", "1Mi/")
