"""Calls of a gRPC service, made from its descriptor: a thin stand-in for ``*_grpc.py``."""

from collections.abc import Callable
from typing import Any, cast

import grpc.aio
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

#: What makes one call: (request, timeout=seconds or None) → an aio call object.
Caller = Callable[..., Any]


def path(method: MethodDescriptor, package: str = "") -> str:
    """The method's path on the wire, under another *package* of the same services if given."""
    service = method.containing_service
    name = f"{package}.{service.name}" if package else service.full_name
    return f"/{name}/{method.name}"


def caller(channel: grpc.aio.Channel, method: MethodDescriptor, package: str = "") -> Caller:
    """What makes calls of *method* on *channel*; server-streaming or unary as the method is."""
    answer = GetMessageClass(method.output_type)
    make = channel.unary_stream if method.server_streaming else channel.unary_unary
    return cast(
        "Caller",
        make(
            path(method, package),
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        ),
    )


class Stub:
    """The methods of one service on one channel, each made once, when first used."""

    def __init__(self, channel: grpc.aio.Channel, service: ServiceDescriptor, package: str = "") -> None:
        self._channel = channel
        self._service = service
        self._package = package
        self._callers: dict[str, Caller] = {}

    def __getitem__(self, name: str) -> Caller:
        """What makes calls of the method *name*.

        :raises KeyError: the service has no such method.
        """
        made = self._callers.get(name)
        if made is None:
            method = self._service.methods_by_name[name]
            made = self._callers[name] = caller(self._channel, method, self._package)
        return made
