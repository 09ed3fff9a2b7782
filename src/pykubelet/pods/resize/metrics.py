"""The metrics of resizes, under upstream's names."""

from collections.abc import Iterable

from pykubelet.base.metrics import Metrics

from .amounts import Operation
from .conditions import DEFERRED, INFEASIBLE, ResizeConditions

_BUCKETS = (10, 50, 100, 500, 1000, 2000, 5000, 10000, 20000, 30000, 60000, 120000, 300000, 600000)


class ResizeMetrics:
    """Counts what is asked for, decided and done."""

    def __init__(self, metrics: Metrics) -> None:
        self._requested = metrics.counter(
            "kubelet_container_requested_resizes_total",
            "Number of requested resizes, counted at the container level.",
            ["resource", "requirement", "operation"],
        )
        self._duration = metrics.histogram(
            "kubelet_pod_resize_duration_milliseconds",
            "Duration in milliseconds to actuate a pod resize",
            ["success"],
            buckets=_BUCKETS,
        )
        self._pending = metrics.gauge(
            "kubelet_pod_pending_resizes", "Number of pending resizes for pods.", ["reason"]
        )
        self._infeasible = metrics.counter(
            "kubelet_pod_infeasible_resizes_total",
            "Number of infeasible resizes for pods.",
            ["reason_detail"],
        )
        self._in_progress = metrics.gauge(
            "kubelet_pod_in_progress_resizes", "Number of in-progress resizes for pods."
        )
        self._deferred_accepted = metrics.counter(
            "kubelet_pod_deferred_accepted_resizes_total",
            "Cumulative number of resizes that were accepted after being deferred.",
            ["retry_trigger"],
        )

    def requested(self, operations: Iterable[Operation]) -> None:
        """A spec asks for these changes."""
        for operation in operations:
            self._requested.labels(*operation).inc()

    def infeasible(self, detail: str) -> None:
        """A resize can never be."""
        self._infeasible.labels(detail).inc()

    def deferred_accepted(self, trigger: str) -> None:
        """A resize that had to wait was accepted."""
        self._deferred_accepted.labels(trigger).inc()

    def took(self, seconds: float, *, success: bool) -> None:
        """An attempt to put a resize into force ended."""
        self._duration.labels("true" if success else "false").observe(seconds * 1000)

    def tell(self, conditions: ResizeConditions) -> None:
        """So many resizes wait or are under way."""
        counts = conditions.pending_counts()
        for reason in (DEFERRED.lower(), INFEASIBLE.lower()):
            self._pending.labels(reason).set(counts[reason])
        self._in_progress.set(conditions.in_progress_count())
