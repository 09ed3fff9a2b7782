"""A node without a valid client certificate ends, so that its start may bootstrap it anew."""

import logging
from collections.abc import Callable
from typing import Final

from pykubelet.base.clock import Clock
from pykubelet.base.journal import Journal
from pykubelet.base.tasks import TaskOwner

from .certificate_manager import CertificateManager

log = logging.getLogger(__name__)

#: Seconds between looks, and without a certificate after which the node ends.
_PERIOD: Final = 10.0
_PATIENCE: Final = 5 * 60.0


def must_end(without: float, server_healthy: bool) -> bool:
    """Whether to end after *without* seconds without a valid certificate. Pure.

    While the API server is away a restart would gain nothing: pods go on as they are.
    """
    return without > _PATIENCE and server_healthy


class ClientCertificateWatch:
    """Looks whether the node still has a client certificate."""

    def __init__(
        self, manager: CertificateManager, clock: Clock, journal: Journal, give_up: Callable[[str], None]
    ) -> None:
        """*give_up* gets the reason once; it ends the daemon with exit code 1."""
        self._manager = manager
        self._clock = clock
        self._journal = journal
        self._give_up = give_up
        self._tasks = TaskOwner("client certificate watch")

    async def start(self) -> None:
        """Look from now on; the manager has loaded what is stored."""
        self._tasks.forever("look", self._look, pause=self._clock.sleep)

    async def stop(self) -> None:
        """Look no more."""
        await self._tasks.close()

    async def _look(self) -> None:
        last = self._clock.monotonic()
        while True:
            await self._clock.sleep(_PERIOD)
            if self._manager.current is not None:
                last = self._clock.monotonic()
                continue
            without = self._clock.monotonic() - last
            if must_end(without, self._manager.server_healthy):
                reason = "no valid client certificate is found and the server is responsive, exiting"
                self._journal.record("NodeEnds", reason, cause=f"without one for {without:.0f} s")
                self._give_up(reason)
                return
            if without > _PATIENCE:
                log.error("no valid client certificate is found, but the server is not responsive")
