"""The Node object of the node itself, as the API server has it."""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

from pykubelet.api.node import Node
from pykubelet.base.clock import Clock

from . import paths
from .backoff import Backoff
from .door import Api, Change
from .errors import ClusterError, Refused
from .reflector import Reflector
from .shared_get import SharedGet

log = logging.getLogger(__name__)

#: Seconds for one question.
_LIMIT: Final = 10.0


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
        self._clock = clock
        self._rng = rng
        self._asked = SharedGet(api, "node")
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
        await self._asked.close()

    def node(self) -> Node | None:
        """The object; None when there is none, or none was read yet (see ``synced``)."""
        return self._reflector.get(self._name)

    async def look(self) -> None:
        """Ask the server itself, and let *on_change* hear of the object that it has now.

        While it does not answer, what the watch brought will do; as long as that brought nothing, it
        is asked again.
        """
        backoff = Backoff(self._rng)
        while True:
            try:
                async with asyncio.timeout(_LIMIT):
                    node = await self._asked.get(paths.nodes(self._name), Node)
            except (ClusterError, TimeoutError) as error:
                if self.node() is not None or (isinstance(error, Refused) and error.not_found):
                    return
                log.info("the Node is not known yet: %s", error or "no answer in time")
            else:
                self._on_change(node)
                return
            await self._clock.sleep(backoff.wait(self._clock.monotonic()))

    def _changed(self, change: Change[Node]) -> None:
        self._on_change(self.node())
