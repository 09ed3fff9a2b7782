"""One talk with a socket in ``plugins_registry``: who is there, and what became of it."""

import asyncio
from dataclasses import dataclass
from typing import Final, Self

import grpc.aio

from pykubelet.rpc import plugin_registration
from pykubelet.rpc._gen import plugin_registration_pb2
from pykubelet.rpc.calls import unary
from pykubelet.rpc.channel import connect
from pykubelet.rpc.errors import RpcError
from pykubelet.rpc.stub import Stub

#: Seconds to get through to the socket, for GetInfo, and for NotifyRegistrationStatus.
_DIAL: Final = 10.0
_INFO: Final = 1.0
_NOTIFY: Final = 5.0

_SERVICE = plugin_registration_pb2.DESCRIPTOR.services_by_name["Registration"]


class AnnouncementError(Exception):
    """The talk failed; the text names the step and the socket."""


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """What a plug-in tells of itself; *endpoint* is the path of the socket it works at."""

    type: str
    name: str
    endpoint: str
    versions: tuple[str, ...]


class Announcement:
    """A connection to the socket at *path* between enter and exit."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def __aenter__(self) -> Self:
        self._channel: grpc.aio.Channel = connect(self._path)
        self._stub = Stub(self._channel, _SERVICE)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._channel.close(None)

    async def info(self) -> PluginInfo:
        """Get through, and ask who is there.

        :raises AnnouncementError: nobody answers, or not in time.
        """
        try:
            async with asyncio.timeout(_DIAL):
                await self._channel.channel_ready()
        except TimeoutError:
            raise AnnouncementError(
                f"RegisterPlugin error -- dial failed at socket {self._path}, err: "
                f"failed to dial socket {self._path}, err: context deadline exceeded"
            ) from None
        try:
            told = await unary(self._stub["GetInfo"], plugin_registration.InfoRequest(), _INFO)
        except RpcError as error:
            raise AnnouncementError(
                "RegisterPlugin error -- failed to get plugin info using RPC GetInfo "
                f"at socket {self._path}, err: {error}"
            ) from None
        return PluginInfo(
            told.type, told.name, told.endpoint or self._path, tuple(map(str, told.supported_versions))
        )

    async def notify(self, error: str = "") -> None:
        """Tell the plug-in that it was taken, or with *error* that it was not.

        :raises AnnouncementError: it does not listen.
        """
        status = plugin_registration.RegistrationStatus(plugin_registered=not error, error=error)
        try:
            await unary(self._stub["NotifyRegistrationStatus"], status, _NOTIFY)
        except RpcError as failure:
            raise AnnouncementError(
                f"RegisterPlugin error -- failed to send registration status at socket {self._path}, "
                f"err: {error}: {failure}"
            ) from None
