"""One CRI service on one channel: picks v1 or v1alpha2, sets deadlines, words errors, counts."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from prometheus_client import Counter, Histogram

from pykubelet.base.clock import Clock
from pykubelet.base.metrics import Metrics, exponential_buckets
from pykubelet.cri import v1alpha2
from pykubelet.cri.errors import Code, CriError
from pykubelet.rpc.calls import stream, unary
from pykubelet.rpc.errors import RpcError
from pykubelet.rpc.stub import Stub


class CallMetrics:
    """Upstream's three families about calls to the runtime."""

    def __init__(self, metrics: Metrics) -> None:
        labels = ("operation_type",)
        self._count = metrics.counter(
            "kubelet_runtime_operations_total", "Runtime operations begun, by operation type.", labels
        )
        self._errors = metrics.counter(
            "kubelet_runtime_operations_errors_total",
            "Runtime operations that failed, by operation type.",
            labels,
        )
        self._seconds = metrics.histogram(
            "kubelet_runtime_operations_duration_seconds",
            "How long runtime operations took, by operation type.",
            labels,
            buckets=exponential_buckets(0.005, 2.5, 14),
        )
        #: The series of each operation; finding them costs more than counting.
        self._series: dict[str, tuple[Counter, Histogram]] = {}

    def count(self, operation: str, seconds: float, *, failed: bool) -> None:
        """One call ended."""
        series = self._series.get(operation)
        if series is None:
            series = self._count.labels(operation), self._seconds.labels(operation)
            self._series[operation] = series
        count, histogram = series
        count.inc()
        histogram.observe(seconds)
        if failed:
            self._errors.labels(operation).inc()


class ServiceClient:
    """Calls of one service.

    Which API the runtime speaks is learnt from the calls themselves: one that is
    answered Unimplemented was not done, so it can be sent again under the other
    package's name. It is learnt anew when the service as a whole becomes unknown
    (a runtime that was replaced by a newer one).
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        service: ServiceDescriptor,
        clock: Clock,
        metrics: CallMetrics | None = None,
    ) -> None:
        self._stubs = {"v1": Stub(channel, service), "v1alpha2": Stub(channel, service, v1alpha2.PACKAGE)}
        self._clock = clock
        self._metrics = metrics
        self._api = "v1"
        self._sure = False

    @property
    def api(self) -> str:
        """The API in use: ``v1`` until the runtime turned out to speak ``v1alpha2`` only."""
        return self._api

    async def call(self, method: str, operation: str, request: Message, timeout: float | None) -> Any:
        """One unary call.

        :raises CriError: it failed, or took longer than *timeout* seconds.
        """
        began = self._clock.monotonic()
        failed = True
        try:
            answer = await self._negotiated(method, request, timeout)
            failed = False
            return answer
        finally:
            if self._metrics is not None:
                self._metrics.count(operation, self._clock.monotonic() - began, failed=failed)

    async def _negotiated(self, method: str, request: Message, timeout: float | None) -> Any:
        try:
            answer = await self._once(self._api, method, request, timeout)
        except CriError as error:
            if not self._doubts(error):
                raise
            first = error
        else:
            self._sure = True
            return answer
        other = self._other()
        try:
            answer = await self._once(other, method, request, timeout)
        except CriError as error:
            if error.unimplemented:
                raise first from None
            self._settle(other, error)
            raise
        self._settle(other, None)
        return answer

    def _other(self) -> str:
        return "v1alpha2" if self._api == "v1" else "v1"

    def _doubts(self, error: CriError) -> bool:
        """Whether *error* may mean that the runtime speaks the other API."""
        if not error.unimplemented:
            # Any answer of the runtime itself shows that it knows the service.
            self._sure = self._sure or error.code not in {
                Code.Unavailable,
                Code.DeadlineExceeded,
                Code.Canceled,
            }
            return False
        return not self._sure or error.message.startswith("unknown service")

    def _settle(self, api: str, error: CriError | None) -> None:
        if error is None or not (error.unavailable or error.timeout):
            self._api, self._sure = api, True

    async def _once(self, api: str, method: str, request: Message, timeout: float | None) -> Any:
        message = v1alpha2.request(request) if api == "v1alpha2" else request
        try:
            return await unary(self._stubs[api][method], message, timeout)
        except RpcError as error:
            raise CriError(error.code, method, error.message) from None

    async def stream(self, method: str, operation: str, request: Message) -> AsyncGenerator[Any, None]:
        """One server-streaming call without a deadline; ends when the runtime ends it.

        :raises CriError: it failed or was cut.
        """
        began = self._clock.monotonic()
        failed = True
        try:
            async for answer in self._stream_negotiated(method, request):
                yield answer
            failed = False
        except GeneratorExit:
            failed = False
            raise
        finally:
            if self._metrics is not None:
                self._metrics.count(operation, self._clock.monotonic() - began, failed=failed)

    async def _stream_negotiated(self, method: str, request: Message) -> AsyncGenerator[Any, None]:
        try:
            async for answer in self._stream_once(self._api, method, request):
                yield answer
        except CriError as error:
            if not self._doubts(error):
                raise
            first = error
        else:
            return
        try:
            async for answer in self._stream_once(self._other(), method, request):
                yield answer
        except CriError as error:
            raise (first if error.unimplemented else error) from None

    async def _stream_once(self, api: str, method: str, request: Message) -> AsyncGenerator[Any, None]:
        try:
            async with aclosing(stream(self._stubs[api][method], request)) as answers:
                async for answer in answers:
                    yield answer
        except RpcError as error:
            raise CriError(error.code, method, error.message) from None
