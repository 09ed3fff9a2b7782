import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.resources import names


@pytest.mark.parametrize(
    ("name", "cgroupfs", "systemd"),
    [
        ((), "/", "/"),
        (("kubepods",), "/kubepods", "/kubepods.slice"),
        (
            ("kubepods", "burstable", "pod1234-abcd-5678-efgh"),
            "/kubepods/burstable/pod1234-abcd-5678-efgh",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1234_abcd_5678_efgh.slice",
        ),
        (("a-b", "kubepods"), "/a-b/kubepods", "/a_b.slice/a_b-kubepods.slice"),
    ],
)
def test_written(name, cgroupfs, systemd):
    assert names.written(name, "cgroupfs") == cgroupfs
    assert names.written(name, "systemd") == systemd
    assert names.parse_cgroupfs(cgroupfs) == name
    assert names.parse_systemd(systemd) == name


@given(st.lists(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True), min_size=1, max_size=4))
def test_both_forms_read_back(parts):
    name = names.join((), *parts)
    assert names.parse_systemd(names.to_systemd(name)) == name
    assert names.parse_cgroupfs(names.to_cgroupfs(name)) == name


@pytest.mark.parametrize("part", ["a/b", "a_b", ""])
def test_parts_that_cannot_be_read_back(part):
    with pytest.raises(ValueError, match="invalid component"):
        names.join((), part)


def test_pods_by_class(make_pod, make_container):
    root = names.kubepods("/")
    best = make_pod(make_container("a"), uid="1-2")
    burstable = make_pod(make_container("a", {"cpu": "1"}), uid="1-2")
    both = {"cpu": "1", "memory": "1Gi"}
    guaranteed = make_pod(make_container("a", both, both), uid="1-2")
    assert names.pod_name(root, best) == ("kubepods", "besteffort", "pod1-2")
    assert names.pod_name(root, burstable) == ("kubepods", "burstable", "pod1-2")
    assert names.pod_name(root, guaranteed) == ("kubepods", "pod1-2")
    assert set(names.pod_candidates(root, "1-2")) == {
        names.pod_name(root, p) for p in (best, burstable, guaranteed)
    }


def test_prefix():
    assert names.kubepods("/pykubelet-test-abc") == ("pykubelet-test-abc", "kubepods")
    assert names.kubepods("") == ("kubepods",)


@pytest.mark.parametrize(
    ("last", "uid"),
    [("pod1-2", "1-2"), ("burstable", None), ("pod", None), ("xpod1", None), ("podpod1", None)],
)
def test_uid(last, uid):
    assert names.uid_of(last) == uid
