import msgspec
import pytest

from pykubelet.pods.admission.ports import conflicting, host_ports, ports_free

ANY = "0.0.0.0"


@pytest.mark.parametrize(
    ("wanted", "used", "free"),
    [
        (("", "TCP", 80), ("", "TCP", 80), False),
        (("", "", 80), (ANY, "TCP", 80), False),
        (("", "UDP", 80), ("", "TCP", 80), True),
        (("", "TCP", 81), ("", "TCP", 80), True),
        (("10.0.0.1", "TCP", 80), ("10.0.0.2", "TCP", 80), True),
        (("10.0.0.1", "TCP", 80), ("10.0.0.1", "TCP", 80), False),
        (("10.0.0.1", "TCP", 80), ("", "TCP", 80), False),
        (("", "TCP", 80), ("10.0.0.2", "TCP", 80), False),
        (("", "TCP", 0), ("", "TCP", 0), True),
    ],
)
def test_conflicts(make_pod, wanted, used, free):
    assert ports_free(make_pod(ports=[wanted]), [make_pod("other", ports=[used])]) is free


def test_nobody_else(make_pod):
    assert ports_free(make_pod(ports=[("", "TCP", 80), ("", "TCP", 80)]), [])


def test_sidecars_count_and_init_containers_do_not(make_pod):
    pod = make_pod(ports=[("", "TCP", 80)])
    replace = msgspec.structs.replace
    for policy, expected in (("Always", 1), (None, 0)):
        init = replace(pod.spec.containers[0], restartPolicy=policy)
        changed = replace(pod, spec=replace(pod.spec, containers=[], initContainers=[init]))
        assert len(list(host_ports(changed))) == expected


def test_names_the_port():
    assert conflicting([(ANY, "TCP", 1), (ANY, "TCP", 2)], {(ANY, "TCP", 2)}) == (ANY, "TCP", 2)
