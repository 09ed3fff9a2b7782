"""Chains of iptables that others look for."""

import logging

import pytest

from pykubelet.base.clock import LoopClock
from pykubelet.base.journal import NullJournal
from pykubelet.node.iptables import IptablesChains, IptablesError, run_command


class Tables:
    """What iptables would keep."""

    def __init__(self) -> None:
        self.kept: set[tuple[str, ...]] = set()
        self.ran: list[tuple[str, ...]] = []
        self.refused = ""

    async def run(self, command) -> tuple[int, str]:
        self.ran.append(tuple(command))
        if command[0] == "ip6tables" and "absent" in self.refused:
            raise FileNotFoundError("ip6tables")
        if command[0] == "iptables" and "broken" in self.refused:
            return 3, "broken"
        key = (command[0], *command[4:])
        if command[3] == "-C":
            return int(key not in self.kept), ""
        known = key in self.kept
        self.kept.add(key)
        return int(known and command[3] == "-N"), ""


@pytest.mark.looptime(start=0)
async def test_the_chains_are_made_once_and_again_after_a_flush() -> None:
    clock, tables = LoopClock(), Tables()
    chains = IptablesChains(clock, NullJournal(), tables.run)
    await chains.start()
    await clock.sleep(1)
    assert ("iptables", "KUBE-IPTABLES-HINT", "-t", "mangle") in tables.kept
    assert ("ip6tables", "KUBE-IPTABLES-HINT", "-t", "mangle") in tables.kept
    made, whole = len(tables.ran), set(tables.kept)
    assert [rule[1] for rule in whole if "KUBE-FIREWALL" in rule and rule[0] == "ip6tables"] == []
    assert ("iptables", "INPUT", "-t", "filter", "-j", "KUBE-FIREWALL") in whole
    assert any("DROP" in rule for rule in whole)
    await clock.sleep(60)
    assert len(tables.ran) == made + 2
    tables.kept.clear()
    await clock.sleep(60)
    assert tables.kept == whole
    await chains.stop()


@pytest.mark.looptime(start=0)
async def test_without_iptables_the_node_works_on(caplog) -> None:
    clock, tables = LoopClock(), Tables()
    tables.refused = "absent and broken"
    chains = IptablesChains(clock, NullJournal(), tables.run)
    with caplog.at_level(logging.WARNING):
        await chains.start()
        await clock.sleep(200)
        await chains.stop()
    assert len([text for text in caplog.messages if "ip6tables cannot be run" in text]) == 1
    assert len([text for text in caplog.messages if "broken" in text]) == 1
    assert len([command for command in tables.ran if command[0] == "iptables"]) == 4


async def test_commands_run_and_tell_what_went_wrong(monkeypatch) -> None:
    assert await run_command(["sh", "-c", "echo no >&2; exit 3"]) == (3, "no")
    with pytest.raises(OSError):
        await run_command(["/does/not/exist"])
    monkeypatch.setattr("pykubelet.node.iptables.COMMAND_TIMEOUT", 0.05)
    with pytest.raises(IptablesError, match="did not end"):
        await run_command(["sleep", "5"])
