"""The families of ``/metrics/probes``."""

from pykubelet.base.journal import PodRef
from pykubelet.base.metrics import Metrics
from pykubelet.probes.metrics import ProbeMetrics

POD = PodRef("ns", "web-1", "u1")
LABELS = 'container="app",namespace="ns",pod="web-1"'


def test_attempts_are_counted_by_result_and_the_good_ones_timed() -> None:
    metrics = Metrics()
    count = ProbeMetrics(metrics).of("liveness", POD, "app")
    count.count(0.02, success=True)
    count.count(0.03, success=True)
    count.count(9.0, success=False)
    lines = metrics.render().decode().splitlines()
    total = f'prober_probe_total{{{LABELS},pod_uid="u1",probe_type="Liveness",result='
    assert f'{total}"successful"}} 2.0' in lines
    assert f'{total}"failed"}} 1.0' in lines
    seconds = "prober_probe_duration_seconds"
    assert f'{seconds}_count{{{LABELS},probe_type="Liveness"}} 2.0' in lines
    assert f'{seconds}_bucket{{{LABELS[:15]},le="0.025",{LABELS[16:]},probe_type="Liveness"}} 1.0' in lines


def test_what_is_over_is_not_shown_any_more() -> None:
    metrics = Metrics()
    made = ProbeMetrics(metrics)
    one, other = made.of("readiness", POD, "app"), made.of("startup", POD, "app")
    one.count(0.1, success=True)
    one.count(0.1, success=False)
    other.count(0.1, success=True)
    one.forget()
    text = metrics.render().decode()
    assert "Readiness" not in text
    assert "Startup" in text
    made.of("readiness", POD, "none").forget()


def test_a_pod_that_is_made_anew_keeps_its_durations_when_the_one_before_goes() -> None:
    metrics = Metrics()
    made = ProbeMetrics(metrics)
    old, new = made.of("liveness", POD, "app"), made.of("liveness", PodRef("ns", "web-1", "u2"), "app")
    for each in (old, new):
        each.count(0.1, success=True)
    old.forget()
    new.count(0.1, success=True)
    text = metrics.render().decode()
    assert f'prober_probe_duration_seconds_count{{{LABELS},probe_type="Liveness"}} 3.0' in text
    assert 'pod_uid="u1"' not in text
    new.forget()
    assert "Liveness" not in metrics.render().decode()
