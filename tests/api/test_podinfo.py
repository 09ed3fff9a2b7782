from pykubelet.api import codec, podinfo
from pykubelet.api.core import Pod


def pod(annotations=None, **spec):
    return codec.convert(
        {"metadata": {"name": "a", "namespace": "b", "annotations": annotations or {}}, "spec": spec}, Pod
    )


def test_containers_of_all_kinds():
    it = pod(containers=[{"name": "r"}], initContainers=[{"name": "i"}], ephemeralContainers=[{"name": "e"}])
    assert [(c.name, kind) for c, kind in podinfo.all_containers(it)] == [
        ("i", "init"),
        ("r", "regular"),
        ("e", "ephemeral"),
    ]
    assert podinfo.find_container(it, "x") is None
    assert podinfo.field_path(it, "i") == "spec.initContainers{i}"
    assert podinfo.field_path(it, "x") == ""
    assert podinfo.full_name(it) == "a_b"


def test_where_it_comes_from_and_how_it_counts():
    static = pod({"kubernetes.io/config.source": "file"})
    mirror = pod({"kubernetes.io/config.source": "api", "kubernetes.io/config.mirror": "x"})
    plain, high, system = pod(), pod(priority=5), pod(priority=2_000_000_000)
    assert podinfo.is_static(static) and not podinfo.is_static(mirror) and not podinfo.is_static(plain)
    assert podinfo.is_mirror(mirror) and not podinfo.is_mirror(static)
    assert [podinfo.is_critical(p) for p in (static, mirror, plain, high, system)] == [
        True,
        True,
        False,
        False,
        True,
    ]
    assert podinfo.is_preemptable(high, by=static)
    assert podinfo.is_preemptable(pod(priority=1), by=high)
    assert not podinfo.is_preemptable(plain, by=high)
    assert not podinfo.is_preemptable(static, by=static)
