"""What ``/metrics/probes`` shows: attempts by result, and how long the good ones took."""

from collections.abc import MutableMapping
from dataclasses import dataclass, field

from prometheus_client import Counter, Histogram

from pykubelet.base.journal import PodRef
from pykubelet.base.metrics import Metrics

from .types import ProbeKind

#: The Prometheus client's own.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_RESULTS = ("successful", "failed")


class ProbeMetrics:
    """Both families, in a registry of their own: their many labels are not for everybody."""

    def __init__(self, metrics: Metrics) -> None:
        self._total = metrics.counter(
            "prober_probe_total",
            "Cumulative number of a liveness, readiness or startup probe for a container by result.",
            ("probe_type", "result", "container", "pod", "namespace", "pod_uid"),
        )
        self._seconds = metrics.histogram(
            "prober_probe_duration_seconds",
            "Duration in seconds for a probe response.",
            ("probe_type", "container", "pod", "namespace"),
            buckets=_BUCKETS,
        )
        #: How many probes observe each series of durations, which does not know the pod's UID: a pod
        #: that is made anew has that of the one before it.
        self._sharing: dict[tuple[str, ...], int] = {}

    def of(self, kind: ProbeKind, pod: PodRef, container: str) -> "ProbeCount":
        """What one probe counts with."""
        return ProbeCount(self._total, self._seconds, self._sharing, kind.capitalize(), pod, container)


@dataclass(slots=True)
class ProbeCount:
    """Counts the attempts of one probe."""

    _total: Counter
    _seconds: Histogram
    _sharing: MutableMapping[tuple[str, ...], int]
    _kind: str
    _pod: PodRef
    _container: str
    #: The series, made when they are first needed and then at hand.
    _counters: dict[bool, Counter] = field(default_factory=dict)
    _histogram: Histogram | None = None

    def count(self, seconds: float, *, success: bool) -> None:
        """One attempt had a result after *seconds*; as upstream has it, failures are not timed."""
        counter = self._counters.get(success)
        if counter is None:
            counter = self._counters[success] = self._total.labels(*self._labels(success))
        counter.inc()
        if not success:
            return
        if self._histogram is None:
            own = self._own()
            self._sharing[own] = self._sharing.get(own, 0) + 1
            self._histogram = self._seconds.labels(*own)
        self._histogram.observe(seconds)

    def forget(self) -> None:
        """The probe is over: its series go, but for durations that another probe still observes."""
        for success in self._counters:
            self._total.remove(*self._labels(success))
        if self._histogram is None:
            return
        own = self._own()
        self._sharing[own] -= 1
        if not self._sharing[own]:
            del self._sharing[own]
            self._seconds.remove(*own)

    def _labels(self, success: bool) -> tuple[str, ...]:
        result = _RESULTS[not success]
        return self._kind, result, self._container, self._pod.name, self._pod.namespace, self._pod.uid

    def _own(self) -> tuple[str, ...]:
        return self._kind, self._container, self._pod.name, self._pod.namespace
