"""Which runtime handler a RuntimeClass stands for."""

import random

from pykubelet.api.objects import RuntimeClass
from pykubelet.base.clock import Clock

from . import paths
from .door import Api
from .reflector import Reflector


class RuntimeClassLister:
    """Watches the RuntimeClasses; implements containers' ``RuntimeClasses``."""

    def __init__(self, api: Api, clock: Clock, rng: random.Random) -> None:
        self._reflector = Reflector(
            api,
            paths.group("node.k8s.io/v1", "runtimeclasses"),
            RuntimeClass,
            clock,
            rng,
            # They are asked for by name, and have no namespace.
            key=lambda found: found.metadata.name,
        )
        self.synced = self._reflector.synced

    async def start(self) -> None:
        """Begin to watch."""
        await self._reflector.start()

    async def stop(self) -> None:
        """End the watch."""
        await self._reflector.stop()

    def handler(self, name: str | None) -> str:
        """The handler; ``""`` for no class.

        :raises LookupError: there is no such class, or none have been read yet.
        """
        if not name:
            return ""
        found = self._reflector.get(name)
        if found is not None:
            return found.handler
        if not self.synced.is_set():
            raise LookupError(f'runtimeclass.node.k8s.io "{name}": runtime classes have not been read yet')
        raise LookupError(f'runtimeclass.node.k8s.io "{name}" not found')
