import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.api.core import Container, Pod, PodSpec, ResourceRequirements
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.quantity import Quantity
from pykubelet.api.volumes import EmptyDirVolumeSource, Volume
from pykubelet.base.errors import VolumeError
from pykubelet.volumes.medium import (
    HugePages,
    Tmpfs,
    medium_of,
    memory_size,
    page_size_of,
    pod_memory_limit,
)

MIB = 1 << 20


def limited(limit, *, restart=None):
    limits = {"memory": Quantity.parse(limit)} if limit else {}
    return Container(name="c", resources=ResourceRequirements(limits=limits), restartPolicy=restart)


def huge(*sizes):
    requests = {f"hugepages-{size}": Quantity.parse("1Gi") for size in sizes} | {"cpu": Quantity.parse("1")}
    return Container(name="c", resources=ResourceRequirements(requests=requests))


def pod_of(*containers, init=(), limit=None, overhead=None, requests=None):
    resources = None
    if limit or requests:
        limits = {"memory": Quantity.parse(limit)} if limit else {}
        wanted = {name: Quantity.parse(value) for name, value in (requests or {}).items()}
        resources = ResourceRequirements(limits=limits, requests=wanted)
    return Pod(
        metadata=ObjectMeta(name="p", namespace="n", uid="uid-1"),
        spec=PodSpec(
            containers=list(containers),
            initContainers=list(init),
            resources=resources,
            overhead={"memory": Quantity.parse(overhead)} if overhead else {},
        ),
    )


def volume_of(medium="", limit=None):
    size = Quantity.parse(limit) if limit else None
    return Volume(name="data", emptyDir=EmptyDirVolumeSource(medium=medium, sizeLimit=size))


@pytest.mark.parametrize(
    ("pod", "wanted"),
    [
        (pod_of(limited("1Mi"), limited("2Mi")), 3),
        (pod_of(limited("1Mi"), limited("")), 0),
        (pod_of(limited("1Mi"), init=[limited("")]), 0),
        (pod_of(limited("1Mi"), init=[limited("5Mi")]), 5),
        (pod_of(limited("2Mi"), init=[limited("1Mi", restart="Always"), limited("5Mi")]), 6),
        (pod_of(limited("2Mi"), init=[limited("5Mi"), limited("4Mi", restart="Always")]), 6),
        (pod_of(limited("1Mi"), limited(""), limit="9Mi"), 9),
        (pod_of(limited("1Mi"), overhead="1Mi"), 2),
    ],
)
def test_the_limit_of_a_pod(pod, wanted):
    assert pod_memory_limit(pod) == wanted * MIB


@pytest.mark.parametrize(
    ("node", "pod", "own", "wanted"),
    [
        (100, "", None, 100),
        (100, "10Mi", None, 10),
        (100, "10Mi", "4Mi", 4),
        (100, "10Mi", "40Mi", 10),
        (100, "", "40Mi", 40),
        (100, "200Mi", "0", 100),
        (0, "", None, 0),
    ],
)
def test_the_least_limit_is_the_size(node, pod, own, wanted):
    assert memory_size(pod_of(limited(pod)), volume_of("Memory", own), node * MIB) == wanted * MIB


def test_the_disk_needs_no_mount_and_memory_has_its_size():
    assert medium_of(pod_of(limited("4Mi")), volume_of(), 9 * MIB) is None
    assert medium_of(pod_of(limited("4Mi")), volume_of("Memory"), 9 * MIB) == Tmpfs(4 * MIB)


SEVERAL = "medium: HugePages can't be used if container requests multiple huge page sizes"


def none(medium):
    return f"medium {medium}: hugePages storage requested, but there is no resource request for huge pages"


@pytest.mark.parametrize(
    ("medium", "pod", "wanted"),
    [
        ("HugePages", pod_of(huge("2Mi")), "2Mi"),
        ("HugePages", pod_of(huge("2Mi"), huge("2048Ki")), "2Mi"),
        ("HugePages", pod_of(huge(), init=[huge("1Gi")]), "1Gi"),
        ("HugePages", pod_of(huge(), requests={"hugepages-1Gi": "2Gi"}), "1Gi"),
        ("HugePages-2Mi", pod_of(huge("1Gi", "2Mi")), "2Mi"),
        ("HugePages-1048576Ki", pod_of(huge("2Mi"), huge("1Gi")), "1Gi"),
    ],
)
def test_the_pages_are_those_requested(medium, pod, wanted):
    found = medium_of(pod, volume_of(medium), 0)
    assert isinstance(found, HugePages)
    assert (str(found.page_size), found.any_size) == (wanted, medium == "HugePages")


@pytest.mark.parametrize(
    ("medium", "pod", "error"),
    [
        ("Disk", pod_of(), 'unknown storage medium "Disk"'),
        ("HugePagesX", pod_of(huge("2Mi")), 'unknown storage medium "HugePagesX"'),
        ("HugePages", pod_of(huge("2Mi", "1Gi")), SEVERAL),
        ("HugePages", pod_of(huge("2Mi"), requests={"hugepages-1Gi": "1Gi"}), SEVERAL),
        ("HugePages", pod_of(huge()), none("HugePages")),
        ("HugePages-1Gi", pod_of(huge("2Mi")), none("HugePages-1Gi")),
        ("HugePages-big", pod_of(huge("2Mi")), "quantities must match the regular expression"),
        ("HugePages-", pod_of(huge("2Mi")), "quantities must"),
    ],
)
def test_media_that_cannot_be_had(medium, pod, error):
    with pytest.raises(VolumeError) as caught:
        medium_of(pod, volume_of(medium), 0)
    assert str(caught.value).startswith(error)


@given(st.lists(st.sampled_from(["2Mi", "1Gi", "64Ki"]), max_size=4), st.sampled_from(["2Mi", "1Gi", "64Ki"]))
def test_a_size_is_taken_exactly_when_it_is_requested(requested, size):
    pod = pod_of(*(huge(one) for one in requested))
    try:
        found = medium_of(pod, volume_of(f"HugePages-{size}"), 0)
    except VolumeError:
        assert size not in requested
    else:
        assert isinstance(found, HugePages)
        assert (size in requested, str(found.page_size)) == (True, size)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["pagesize=2M"], "2Mi"),
        (["pagesize=1024M"], "1Gi"),
        (["pagesize=64Ki"], "64Ki"),
        (["rw"], None),
    ],
)
def test_the_page_size_of_a_mount(options, wanted):
    found = page_size_of(options)
    assert (str(found) if found is not None else None) == wanted
