"""What the API client counts, under client-go's names."""

from pykubelet.base.metrics import Metrics

_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)


class ClientMetrics:
    """The families of one node; every client of it counts into the same."""

    def __init__(self, metrics: Metrics, host: str) -> None:
        """*host* is the API server's, as the labels have it."""
        self._host = host
        self._requests = metrics.counter(
            "rest_client_requests_total",
            "Number of HTTP requests, partitioned by status code, method, and host.",
            ("code", "method", "host"),
        )
        self._seconds = metrics.histogram(
            "rest_client_request_duration_seconds",
            "Request latency in seconds. Broken down by verb, and host.",
            ("verb", "host"),
            buckets=_SECONDS,
        )
        self._limiter = metrics.histogram(
            "rest_client_rate_limiter_duration_seconds",
            "Client side rate limiter latency in seconds. Broken down by verb, and host.",
            ("verb", "host"),
            buckets=_SECONDS,
        )
        self._retries = metrics.counter(
            "rest_client_request_retries_total",
            "Number of request retries, partitioned by status code, verb, and host.",
            ("code", "verb", "host"),
        )

    def request(self, method: str, code: str) -> None:
        """A request was answered with *code*, or came to nothing (``<error>``)."""
        self._requests.labels(code, method, self._host).inc()

    def took(self, method: str, seconds: float) -> None:
        """A request took *seconds*."""
        self._seconds.labels(method, self._host).observe(seconds)

    def limited(self, method: str, seconds: float) -> None:
        """A request waited *seconds* for its turn."""
        self._limiter.labels(method, self._host).observe(seconds)

    def retried(self, method: str, code: int) -> None:
        """A request is made again because of *code*."""
        self._retries.labels(str(code), method, self._host).inc()
