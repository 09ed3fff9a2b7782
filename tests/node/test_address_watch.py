"""Addresses that change while the daemon runs."""

import pytest

from pykubelet.base.clock import LoopClock
from pykubelet.base.journal import NullJournal
from pykubelet.linux.addresses import AddressError
from pykubelet.node.address_watch import PERIOD, AddressWatch, choose_ips


@pytest.mark.looptime(start=0)
async def test_an_address_that_changes_is_noticed_and_one_that_goes_is_kept() -> None:
    clock, told = LoopClock(), []
    answers = [("10.0.0.1",), ("10.0.0.2",), AddressError("none"), ("10.0.0.2",)]

    def choose(name, flag):
        assert (name, flag) == ("n", "::")
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    watch = AddressWatch(
        "n",
        "::",
        ("10.0.0.1",),
        clock,
        NullJournal(),
        on_change=lambda: told.append(watch.ips),
        choose=choose,
    )
    await watch.start()
    await clock.sleep(PERIOD * 4.5)
    await watch.stop()
    assert (watch.ips, told, answers) == (("10.0.0.2",), [("10.0.0.2",)], [])


def test_this_machine_has_an_address() -> None:
    assert choose_ips("192.0.2.1", "") == ("192.0.2.1",)
