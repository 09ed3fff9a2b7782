"""Families by name, and the text they are rendered as."""

import pytest

from pykubelet.base.metrics import Metrics, exponential_buckets


def test_rendered_under_the_names_given():
    metrics = Metrics()
    metrics.counter("a_total", "Counts \\ a\nlot.", ("kind",)).labels('x"\n\\').inc(2)
    metrics.counter("plain", "No suffix.").inc()
    metrics.gauge("level", "Now.").set(1.5)
    metrics.histogram("took_seconds", "Time.", buckets=(1, 2)).observe(1.5)
    assert metrics.render().decode().splitlines() == [
        "# HELP a_total Counts \\\\ a\\nlot.",
        "# TYPE a_total counter",
        'a_total{kind="x\\"\\n\\\\"} 2.0',
        "# HELP plain No suffix.",
        "# TYPE plain counter",
        "plain 1.0",
        "# HELP level Now.",
        "# TYPE level gauge",
        "level 1.5",
        "# HELP took_seconds Time.",
        "# TYPE took_seconds histogram",
        'took_seconds_bucket{le="1.0"} 0.0',
        'took_seconds_bucket{le="2.0"} 1.0',
        'took_seconds_bucket{le="+Inf"} 1.0',
        "took_seconds_count 1.0",
        "took_seconds_sum 1.5",
    ]


def test_found_again_by_name():
    metrics = Metrics()
    assert metrics.counter("a_total", "A.") is metrics.counter("a_total", "A.")
    with pytest.raises(TypeError):
        metrics.gauge("a_total", "A.")


def test_two_nodes_share_nothing():
    Metrics().counter("a_total", "A.").inc()
    assert Metrics().render() == b""


def test_exponential_buckets():
    assert exponential_buckets(0.005, 2, 3) == (0.005, 0.01, 0.02)
