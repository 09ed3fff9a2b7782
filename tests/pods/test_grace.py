import pytest

from pykubelet.api.core import Container, Pod, PodSpec, Probe
from pykubelet.api.meta import ObjectMeta
from pykubelet.pods.grace import container_grace, kill_timeout, pod_grace, rest_after, stop_seconds
from pykubelet.pods.orders import KillReason


def pod(spec=None, deletion=None):
    return Pod(
        metadata=ObjectMeta(deletionGracePeriodSeconds=deletion),
        spec=PodSpec(terminationGracePeriodSeconds=spec),
    )


@pytest.mark.parametrize(
    ("current", "spec", "deletion", "override", "seconds", "changed"),
    [
        (0, 30, None, None, 30, False),
        (0, None, None, None, 1, False),
        (0, 30, 10, None, 10, False),
        (0, 30, 60, None, 60, False),
        (0, 30, 10, 5, 5, False),
        (0, 30, 10, 20, 10, False),
        (0, 30, None, 0, 1, False),
        (10, 30, 5, None, 5, True),
        (10, 30, 20, None, 10, False),
        (10, 30, 0, None, 1, True),
        (1, 30, 0, None, 1, False),
    ],
)
def test_pod_grace(current, spec, deletion, override, seconds, changed):
    answer = pod_grace(current, pod(spec, deletion), override)
    assert (answer.seconds, answer.changed) == (seconds, changed)


PROBED = Container(
    name="c",
    livenessProbe=Probe(terminationGracePeriodSeconds=7),
    startupProbe=Probe(terminationGracePeriodSeconds=8),
)


@pytest.mark.parametrize(
    ("spec", "deletion", "container", "reason", "override", "expected"),
    [
        (None, None, PROBED, KillReason.LIVENESS_PROBE, None, 2),
        (30, None, PROBED, KillReason.OTHER, None, 30),
        (30, None, PROBED, KillReason.LIVENESS_PROBE, None, 7),
        (30, None, PROBED, KillReason.STARTUP_PROBE, None, 8),
        (30, None, Container(name="c"), KillReason.STARTUP_PROBE, None, 30),
        (30, 4, PROBED, KillReason.LIVENESS_PROBE, None, 4),
        (30, 4, PROBED, KillReason.OTHER, 0, 0),
        (30, None, None, KillReason.OTHER, None, 30),
    ],
)
def test_container_grace(spec, deletion, container, reason, override, expected):
    assert container_grace(pod(spec, deletion), container, reason, override) == expected


def test_arithmetic():
    assert rest_after(30, 4.9) == 26
    assert stop_seconds(-3) == 2
    assert stop_seconds(5) == 5
    assert kill_timeout(pod(30)) == 45
    assert kill_timeout(pod(30), 0) == 10
    assert kill_timeout(pod(None)) == 10
    assert kill_timeout(pod(30), 21) == 31
