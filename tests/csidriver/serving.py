"""A gRPC server on a Unix socket, made of service descriptors and objects with their methods."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass


def handlers(service: ServiceDescriptor, implementation: object) -> grpc.GenericRpcHandler:
    """What answers calls of *service* (unary ones) with its methods; others are Unimplemented."""
    made = {}
    for name, method in service.methods_by_name.items():
        answer: Callable[..., Any] | None = getattr(implementation, name, None)
        if answer is not None:
            made[name] = grpc.unary_unary_rpc_method_handler(
                answer,
                request_deserializer=GetMessageClass(method.input_type).FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
    return grpc.method_handlers_generic_handler(service.full_name, made)


class SocketServer:
    """Serves *services* at *path* between enter and exit; the socket is gone afterwards."""

    def __init__(self, path: Path, *services: tuple[ServiceDescriptor, object]) -> None:
        self.path = path
        self._services = services

    async def __aenter__(self) -> "SocketServer":
        if len(os.fsencode(self.path)) > 107:
            raise OSError(f"the path of a socket may have 107 bytes: {self.path}")
        self.path.unlink(missing_ok=True)
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers(
            tuple(handlers(service, implementation) for service, implementation in self._services)
        )
        if not self._server.add_insecure_port(f"unix:{self.path}"):
            raise OSError(f"cannot listen at {self.path}")
        await self._server.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._server.stop(None)
        self.path.unlink(missing_ok=True)
