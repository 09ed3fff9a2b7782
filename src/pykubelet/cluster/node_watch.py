"""The Node object of the node itself, as the API server has it."""

import random
from collections.abc import Callable

from pykubelet.api.node import Node
from pykubelet.base.clock import Clock

from . import paths
from .door import Api, Change
from .reflector import Reflector


class NodeWatch:
    """Watches one Node."""

    def __init__(
        self,
        api: Api,
        node_name: str,
        clock: Clock,
        rng: random.Random,
        *,
        on_change: Callable[[Node | None], None] | None = None,
    ) -> None:
        """*on_change* is told the object whenever it differs; None when it was deleted."""
        self._name = node_name
        self._on_change = on_change or (lambda node: None)
        self._reflector = Reflector(
            api,
            paths.nodes(),
            Node,
            clock,
            rng,
            query={"fieldSelector": f"metadata.name={node_name}"},
            on_change=self._changed,
            # One that is made anew under the same name takes the old one's place.
            key=lambda node: node.metadata.name,
        )
        self.synced = self._reflector.synced

    async def start(self) -> None:
        """Begin to watch."""
        await self._reflector.start()

    async def stop(self) -> None:
        """End the watch."""
        await self._reflector.stop()

    def node(self) -> Node | None:
        """The object; None when there is none, or none was read yet (see ``synced``)."""
        return self._reflector.get(self._name)

    def _changed(self, change: Change[Node]) -> None:
        self._on_change(self.node())
