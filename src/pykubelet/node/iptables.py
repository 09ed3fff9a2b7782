"""Chains of iptables that other components on the node look for.

``KUBE-IPTABLES-HINT`` shows them which of iptables' two kinds (legacy, nft) is in use;
``KUBE-FIREWALL`` keeps packets from elsewhere away from addresses of the loopback network, to which
kube-proxy may have opened the way (CVE-2020-8558). Source: upstream's ``kubelet_network_linux.go``.
"""

import asyncio
import logging
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from pykubelet.base.clock import Clock
from pykubelet.base.journal import Journal
from pykubelet.base.tasks import TaskOwner

log = logging.getLogger(__name__)

HINT: Final = "KUBE-IPTABLES-HINT"
FIREWALL: Final = "KUBE-FIREWALL"
#: Seconds between looks whether somebody flushed the tables.
PERIOD: Final = 60.0
#: Seconds that one command may take; it waits 5 s for the tables' lock itself.
COMMAND_TIMEOUT: Final = 15.0
_WAIT: Final = ("-w", "5")
#: The command's exit status for a chain that exists already, or a rule that does not.
_NO: Final = 1
_MARTIANS: Final = (
    *("-m", "comment", "--comment", "block incoming localnet connections"),
    *("--dst", "127.0.0.0/8", "!", "--src", "127.0.0.0/8"),
    *("-m", "conntrack", "!", "--ctstate", "RELATED,ESTABLISHED,DNAT", "-j", "DROP"),
)

#: Runs a command; its exit status and what it wrote. Raises OSError when there is no such command.
Run = Callable[[Sequence[str]], Awaitable[tuple[int, str]]]


class IptablesError(Exception):
    """A command failed; the message says how."""


async def run_command(command: Sequence[str]) -> tuple[int, str]:
    """Run *command* in a thread; its exit status and its output.

    :raises OSError: it cannot be run.
    :raises IptablesError: it did not end in time.
    """

    def run() -> tuple[int, str]:
        try:
            ended = subprocess.run(
                command, capture_output=True, timeout=COMMAND_TIMEOUT, check=False, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired:
            raise IptablesError(f"{command[0]} did not end within {COMMAND_TIMEOUT:.0f}s") from None
        return ended.returncode, (ended.stderr or ended.stdout)[:1024].decode(errors="replace").strip()

    return await asyncio.to_thread(run)


class IptablesChains:
    """Makes the chains for IPv4 and IPv6, and makes them again after a flush."""

    def __init__(self, clock: Clock, journal: Journal, run: Run = run_command) -> None:
        self._clock = clock
        self._journal = journal
        self._run = run
        self._tasks = TaskOwner("iptables")

    async def start(self) -> None:
        """Begin, in the background: a node works without them."""
        for command in ("iptables", "ip6tables"):
            self._tasks.forever(command, self._keeper(command), pause=self._clock.sleep)

    async def stop(self) -> None:
        """Look no more; the chains stay."""
        await self._tasks.close()

    def _keeper(self, command: str) -> Callable[[], Awaitable[None]]:
        async def keep() -> None:
            complete, complaint = False, ""
            while True:
                try:
                    complete = await self._ensure(command, complete=complete)
                    complaint = ""
                except OSError as error:
                    log.warning("%s cannot be run, its chains are not made: %s", command, error)
                    return
                except IptablesError as error:
                    complete = False
                    if str(error) != complaint:
                        log.warning("%s: %s", command, error)
                    complaint = str(error)
                await self._clock.sleep(PERIOD)

        return keep

    async def _ensure(self, command: str, *, complete: bool) -> bool:
        """Make what is missing.

        Once everything was made the hint chain stands for all: only a flush takes it away.

        :raises OSError: there is no such command.
        :raises IptablesError: it failed.
        """
        made = await self._chain(command, "mangle", HINT)
        if complete and not made:
            return True
        if command == "iptables":
            await self._chain(command, "filter", FIREWALL)
            await self._rule(command, "-I", "OUTPUT", "-j", FIREWALL)
            await self._rule(command, "-I", "INPUT", "-j", FIREWALL)
            await self._rule(command, "-A", FIREWALL, *_MARTIANS)
        self._journal.record("IptablesChains", f"the chains of {command} are in place", created=made)
        return True

    async def _chain(self, command: str, table: str, chain: str) -> bool:
        """Make a chain; whether it was not there."""
        status, text = await self._run([command, *_WAIT, "-N", chain, "-t", table])
        if status not in {0, _NO}:
            raise IptablesError(f"chain {chain} of table {table} cannot be made: {text}")
        return status == 0

    async def _rule(self, command: str, place: str, chain: str, *rule: str) -> None:
        """Have the filter table contain a rule; *place* is where a new one goes (``-I``, ``-A``)."""
        status, text = await self._run([command, *_WAIT, "-C", chain, "-t", "filter", *rule])
        if status == _NO:
            status, text = await self._run([command, *_WAIT, place, chain, "-t", "filter", *rule])
        if status:
            raise IptablesError(f"a rule of chain {chain} cannot be made: {text}")
