"""One gRPC call, with whatever can go wrong in it as :class:`~pykubelet.rpc.errors.RpcError`."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message

from pykubelet.rpc.channel import explain
from pykubelet.rpc.errors import Code, RpcError
from pykubelet.rpc.stub import Caller


def _worded(error: grpc.aio.AioRpcError) -> RpcError:
    code, text = explain(error.code(), error.details() or "")
    return RpcError(Code(code.value[0]), text)


def _decoded(answer: Message | None) -> Message:
    # grpc gives None for an answer that it could not decode.
    if answer is None:
        raise RpcError(Code.Internal, "grpc: failed to unmarshal the received message")
    return answer


def _closing() -> RpcError:
    return RpcError(Code.Canceled, "grpc: the client connection is closing")


def _cut_by_channel() -> bool:
    """Whether a CancelledError comes from the channel being closed, not from our own task."""
    task = asyncio.current_task()
    return task is None or not task.cancelling()


async def unary(caller: Caller, request: Message, timeout: float | None) -> Any:
    """The answer to one unary call, within *timeout* seconds.

    :raises RpcError: it failed or took too long, or its channel was closed.
    """
    try:
        return _decoded(await caller(request, timeout=timeout))
    except grpc.aio.AioRpcError as error:
        raise _worded(error) from None
    except grpc.aio.UsageError:
        raise _closing() from None
    except asyncio.CancelledError:
        if _cut_by_channel():
            raise _closing() from None
        raise


async def stream(caller: Caller, request: Message) -> AsyncGenerator[Any, None]:
    """The answers to one server-streaming call without a deadline.

    :raises RpcError: it failed or was cut, or its channel was closed.
    """
    try:
        call = caller(request)
    except grpc.aio.UsageError:
        raise _closing() from None
    try:
        async for answer in call:
            yield _decoded(answer)
    except grpc.aio.AioRpcError as error:
        raise _worded(error) from None
    except asyncio.CancelledError:
        if _cut_by_channel():
            raise _closing() from None
        raise
    finally:
        call.cancel()
