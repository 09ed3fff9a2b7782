import pytest

from pykubelet.api.resources import is_extended
from pykubelet.pods.admission.failures import Insufficient
from pykubelet.pods.admission.fit import is_scalar, shortages, without_unknown


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        ({}, []),
        ({"cpu": "2", "memory": "2Gi"}, []),
        ({"cpu": "2001m"}, [Insufficient("cpu", 2001, 2000, 4000)]),
        ({"memory": "3Gi"}, [Insufficient("memory", 3 << 30, 2 << 30, 4 << 30)]),
        (
            {"ephemeral-storage": "11Gi", "cpu": "9"},
            [
                Insufficient("cpu", 9000, 2000, 4000),
                Insufficient("ephemeral-storage", 11 << 30, 0, 10 << 30),
            ],
        ),
        ({"example.com/gpu": "2"}, [Insufficient("example.com/gpu", 2, 1, 2)]),
        ({"hugepages-2Mi": "2Mi"}, [Insufficient("hugepages-2Mi", 2 << 20, 0, 0)]),
        ({"strange": "5"}, []),
    ],
)
def test_shortages(make_pod, make_node, requests, expected):
    other = make_pod("other", {"cpu": "2", "memory": "2Gi", "example.com/gpu": "1"})
    node = make_node({"example.com/gpu": "2"})
    assert list(shortages(make_pod(requests=requests), [other], node.allocatable)) == expected


def test_number_of_pods(make_pod, make_node):
    others = [make_pod(f"p{n}") for n in range(10)]
    assert list(shortages(make_pod(), others, make_node().allocatable)) == [Insufficient("pods", 1, 10, 10)]
    assert list(shortages(make_pod(), others[1:], make_node().allocatable)) == []


def test_unknown_extended_resources_are_not_ours(make_pod, make_node):
    allocatable = make_node({"example.com/gpu": "0"}).allocatable
    pod = make_pod(requests={"example.com/x": "1", "example.com/gpu": "1", "cpu": "1"})
    kept = without_unknown(pod, allocatable)
    assert set(kept.spec.containers[0].resources.requests) == {"example.com/gpu", "cpu"}
    plain = make_pod(requests={"cpu": "1"})
    assert without_unknown(plain, allocatable) is plain


@pytest.mark.parametrize(
    ("name", "extended", "scalar"),
    [
        ("example.com/gpu", True, True),
        ("cpu", False, False),
        ("gpu", False, False),
        ("kubernetes.io/x", False, True),
        ("requests.example.com/x", False, False),
        ("hugepages-2Mi", False, True),
        ("attachable-volumes-x", False, True),
        ("example.com/-bad", False, False),
    ],
)
def test_kinds(name, extended, scalar):
    assert is_extended(name) is extended
    assert is_scalar(name) is scalar


def test_text():
    rejection = Insufficient("cpu", 500, 3900, 4000).rejection()
    assert rejection.reason == "OutOfcpu"
    assert (
        rejection.message
        == "Node didn't have enough resource: cpu, requested: 500, used: 3900, capacity: 4000"
    )
