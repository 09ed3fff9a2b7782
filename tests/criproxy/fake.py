"""A gRPC server that answers CRI calls with given messages, for what no real runtime does on demand."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import grpc
import grpc.aio
from google.protobuf.message import Message
from tests.criproxy.proxy import methods

from pykubelet.rpc.channel import socket_path

#: One answer, raw bytes, or the messages of a stream (None: then wait for ever).
Answer = Message | bytes | list[Message | None]


def _bytes(answer: Message | bytes) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()


class FakeRuntime:
    """Answers with ``answers[method]``; everything else is Unimplemented."""

    def __init__(self, endpoint: str, answers: Mapping[str, Answer]) -> None:
        self.endpoint = endpoint
        self.answers = dict(answers)

    async def __aenter__(self) -> "FakeRuntime":
        self._server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
        self._server.add_generic_rpc_handlers((_Handler(self),))
        self._server.add_insecure_port(f"unix:{socket_path(self.endpoint)}")
        await self._server.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._server.stop(None)


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, fake: FakeRuntime) -> None:
        self._fake = fake
        self._methods = methods()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        method = details.method.rsplit("/", 1)[1]
        if method not in self._fake.answers:
            return None
        answer = self._fake.answers[method]

        async def unary(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            return _bytes(answer)

        async def stream(request: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
            for message in answer:
                if message is None:
                    await asyncio.Event().wait()
                else:
                    yield _bytes(message)

        if self._methods[method][1]:
            return grpc.unary_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(unary)
