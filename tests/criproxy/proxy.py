"""A proxy for CRI between a client and a real runtime that makes chosen calls go wrong.

It moves bytes and knows only names: v1 and v1alpha2 alike. A v1alpha2 call goes to
the runtime as v1, so that a client can be made to use v1alpha2 with any runtime.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import grpc
import grpc.aio

from pykubelet.rpc._gen import cri_service_pb2
from pykubelet.rpc.channel import MAX_MESSAGE, connect, socket_path

SERVICES = ("RuntimeService", "ImageService")


def methods() -> dict[str, tuple[str, bool]]:
    """Every method of CRI: its service, and whether it streams."""
    found = {}
    for name in SERVICES:
        for method in cri_service_pb2.DESCRIPTOR.services_by_name[name].methods:
            found[method.name] = (name, method.server_streaming)
    return found


@dataclass(frozen=True)
class Fault:
    """What happens to a call.

    ``code``: it is answered with that error. ``delay``: it goes on that many seconds
    later. ``hang``: it is never answered while the rule stands. ``cut``: the runtime
    does it, but the connection breaks instead of an answer; a stream breaks after
    ``cut_after`` messages.
    """

    name: str
    code: grpc.StatusCode | None = None
    message: str = "injected by the proxy"
    delay: float = 0.0
    hang: bool = False
    cut: bool = False
    cut_after: int = 0


ERROR = Fault("error", code=grpc.StatusCode.INTERNAL)
UNIMPLEMENTED = Fault("unimplemented", code=grpc.StatusCode.UNIMPLEMENTED, message="method not implemented")
HANG = Fault("hang", hang=True)
DELAY = Fault("delay", delay=0.3)
CUT = Fault("cut", cut=True)
FAULTS = (ERROR, HANG, DELAY, UNIMPLEMENTED, CUT)


@dataclass
class Rule:
    """*fault* for calls of *method* (``*``: all), at most *times* (None: until removed)."""

    method: str
    fault: Fault
    times: int | None = None
    api: str = "*"
    when: Callable[[bytes], bool] = lambda request: True
    hits: int = 0
    removed: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class Call:
    """One call that came; *fault* is the name of what was done to it, *deadline* seconds or None."""

    api: str
    method: str
    fault: str = ""
    deadline: float | None = None


class CriProxy:
    """Listens at *endpoint* and passes on to *upstream*, both Unix sockets.

    ``apis`` says which packages it admits to know; ``rules`` may change at any time
    through :meth:`add` and :meth:`clear`; ``calls`` lists what came, in order.
    """

    def __init__(self, endpoint: str, upstream: str) -> None:
        self.endpoint = endpoint
        self.upstream = upstream
        self.apis = {"v1", "v1alpha2"}
        self.calls: list[Call] = []
        self._rules: list[Rule] = []
        self._methods = methods()
        self._server: grpc.aio.Server | None = None
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> "CriProxy":
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._channel = connect(self.upstream)
        limits = [
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_send_message_length", MAX_MESSAGE),
        ]
        self._server = grpc.aio.server(options=limits)
        self._server.add_generic_rpc_handlers((_Handler(self),))
        self._server.add_insecure_port(f"unix:{socket_path(self.endpoint)}")
        await self._server.start()

    async def stop(self) -> None:
        """Close: calls under way are cut, as when a runtime dies."""
        self.clear()
        if self._server is not None and self._channel is not None:
            await self._server.stop(None)
            await self._channel.close(None)
            self._server = self._channel = None

    def add(self, method: str, fault: Fault, *, times: int | None = None, api: str = "*") -> Rule:
        """Set a rule; newer ones win."""
        if method != "*" and method not in self._methods:
            raise ValueError(f"CRI has no method {method}")
        rule = Rule(method, fault, times, api)
        self._rules.insert(0, rule)
        return rule

    def remove(self, rule: Rule) -> None:
        """Take a rule away; calls that hang through it go on."""
        if rule in self._rules:
            self._rules.remove(rule)
        rule.removed.set()

    def clear(self) -> None:
        """Take all rules away."""
        for rule in list(self._rules):
            self.remove(rule)

    def called(self, method: str) -> list[Call]:
        """The calls of *method* so far."""
        return [call for call in self.calls if call.method == method]

    def take(self, api: str, method: str, request: bytes, deadline: float | None = None) -> Rule | None:
        """Record a call and return the rule that applies to it."""
        for rule in self._rules:
            fits = rule.method in {"*", method} and rule.api in {"*", api} and rule.when(request)
            if fits and (rule.times is None or rule.hits < rule.times):
                rule.hits += 1
                self.calls.append(Call(api, method, rule.fault.name, deadline))
                return rule
        self.calls.append(Call(api, method, "", deadline))
        return None

    async def unary(self, api: str, method: str, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        """Pass one unary call on."""
        rule = await self._begin(api, method, request, context)
        assert self._channel is not None
        service, _ = self._methods[method]
        call = self._channel.unary_unary(f"/runtime.v1.{service}/{method}")
        try:
            answer: bytes = await call(request, timeout=context.time_remaining())
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
        if rule is not None and rule.fault.cut:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "error reading from server: EOF")
        return answer

    async def stream(
        self, api: str, method: str, request: bytes, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[bytes]:
        """Pass one stream on."""
        rule = await self._begin(api, method, request, context)
        assert self._channel is not None
        service, _ = self._methods[method]
        cut = rule.fault if rule is not None and rule.fault.cut else None
        call = self._channel.unary_stream(f"/runtime.v1.{service}/{method}")(request)
        passed = 0
        try:
            if cut is None or cut.cut_after > 0:
                async for answer in call:
                    yield answer
                    passed += 1
                    if cut is not None and passed >= cut.cut_after:
                        break
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "")
        finally:
            call.cancel()
        if cut is not None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "error reading from server: EOF")

    async def _begin(
        self, api: str, method: str, request: bytes, context: grpc.aio.ServicerContext
    ) -> Rule | None:
        """What goes wrong before the runtime hears of it."""
        if api not in self.apis:
            self.calls.append(Call(api, method, "unknown service"))
            service, _ = self._methods[method]
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"unknown service runtime.{api}.{service}")
        rule = self.take(api, method, request, context.time_remaining())
        if rule is None:
            return None
        if rule.fault.delay:
            await asyncio.sleep(rule.fault.delay)
        if rule.fault.hang:
            await rule.removed.wait()
        if rule.fault.code is not None:
            await context.abort(rule.fault.code, rule.fault.message)
        return rule


class _Handler(grpc.GenericRpcHandler):
    """Finds the proxy's function for a path such as ``/runtime.v1.ImageService/PullImage``."""

    def __init__(self, proxy: CriProxy) -> None:
        self._proxy = proxy
        self._methods = methods()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        package, _, rest = details.method.removeprefix("/runtime.").partition(".")
        service, _, method = rest.partition("/")
        known = self._methods.get(method)
        if known is None or known[0] != service:
            return None

        async def unary(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            return await self._proxy.unary(package, method, request, context)

        async def stream(request: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
            async for answer in self._proxy.stream(package, method, request, context):
                yield answer

        if known[1]:
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(unary)
