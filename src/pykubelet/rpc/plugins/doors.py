"""The door of the plug-in watcher: what takes plug-ins of one type."""

from collections.abc import Sequence
from typing import Protocol


class PluginRefusedError(Exception):
    """A plug-in is not taken; the text is sent to it."""


class PluginHandler(Protocol):
    """Takes plug-ins of one type (``CSIPlugin``, ``DevicePlugin``, ``DRAPlugin``).

    Calls about plug-ins of one name come one after the other. A plug-in that was
    made anew at its path is deregistered and registered again. Several sockets may
    tell of one name: each is registered, and deregistered with its own endpoint.
    """

    def validate(self, name: str, endpoint: str, versions: Sequence[str]) -> None:
        """Look whether the plug-in can be taken; *endpoint* is the path of its socket.

        :raises PluginRefusedError: not this one.
        """
        ...

    async def register(self, name: str, endpoint: str, versions: Sequence[str]) -> None:
        """Take the plug-in; bounded in time. After an error nothing of it is left.

        :raises PluginRefusedError: it cannot be had; tried again later.
        """
        ...

    async def deregister(self, name: str, endpoint: str) -> None:
        """The plug-in's socket is gone; it was registered before. Does not raise."""
        ...
