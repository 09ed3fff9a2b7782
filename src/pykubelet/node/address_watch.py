"""The addresses of the machine may change while the daemon runs (DHCP, routes): they are looked at again."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from pykubelet.base.clock import Clock
from pykubelet.base.journal import Journal
from pykubelet.base.tasks import TaskOwner
from pykubelet.linux.addresses import AddressError, choose_node_ips, observe_network

log = logging.getLogger(__name__)

#: Seconds between looks.
PERIOD: Final = 30.0


class AddressWatch:
    """The node's IPs as last chosen; those of the start until then, and while none can be chosen."""

    def __init__(
        self,
        node_name: str,
        node_ip: str,
        ips: tuple[str, ...],
        clock: Clock,
        journal: Journal,
        *,
        on_change: Callable[[], None],
        choose: Callable[[str, str], tuple[str, ...]] | None = None,
    ) -> None:
        """*ips* are those of the start, empty if none could be chosen; *choose* blocks and runs in a thread.

        *choose* takes the node's name and ``--node-ip`` and raises ``AddressError`` if nothing fits.
        """
        self._node_name = node_name
        self._node_ip = node_ip
        self._clock = clock
        self._journal = journal
        self._on_change = on_change
        self._choose = choose or choose_ips
        self._tasks = TaskOwner("addresses")
        self._problem = ""
        self.ips = ips

    async def start(self) -> None:
        """Begin to look."""
        self._tasks.forever("look", self._look_forever, pause=self._clock.sleep)

    async def stop(self) -> None:
        """Look no more."""
        await self._tasks.close()

    async def _look_forever(self) -> None:
        while True:
            await self._clock.sleep(PERIOD)
            await self._look()

    async def _look(self) -> None:
        try:
            ips = await asyncio.to_thread(self._choose, self._node_name, self._node_ip)
        except AddressError as error:
            if str(error) != self._problem:
                log.warning("the node's address is unknown: %s", error)
            self._problem = str(error)
            return
        self._problem = ""
        if ips != self.ips:
            self._journal.record(
                "NodeAddressChanged",
                f"the node's address is {', '.join(ips)}",
                before=", ".join(self.ips),
            )
            self.ips = ips
            self._on_change()


def choose_ips(node_name: str, node_ip: str) -> tuple[str, ...]:
    """The node's IPs as this machine has them now; blocking.

    :raises AddressError: nothing fits.
    """
    return tuple(str(ip) for ip in choose_node_ips(node_name, node_ip, observe_network(node_name)))
