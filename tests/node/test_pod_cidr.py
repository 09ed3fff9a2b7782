"""The runtime learns the pod CIDR."""

import pytest

from pykubelet.base.clock import LoopClock
from pykubelet.base.journal import NullJournal
from pykubelet.cri.errors import Code, CriError
from pykubelet.node.pod_cidr import RETRY, PodCidr


class Runtime:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.failures = 0

    async def update_runtime_config(self, pod_cidr: str) -> None:
        self.told.append(pod_cidr)
        if self.failures:
            self.failures -= 1
            raise CriError(Code.Unavailable, "UpdateRuntimeConfig", "away")


@pytest.mark.looptime(start=0)
async def test_the_runtime_is_told_the_cidr_when_it_changes_and_until_it_knows() -> None:
    clock, runtime = LoopClock(), Runtime()
    cidr = PodCidr(runtime, clock, NullJournal())
    await cidr.start()
    cidr.want([])
    await clock.sleep(1)
    assert (runtime.told, cidr.cidr) == ([], "")
    runtime.failures = 1
    for _ in range(3):
        cidr.want(["10.0.0.0/24", "fd00::/64"])
        await clock.sleep(RETRY)
    assert runtime.told == ["10.0.0.0/24,fd00::/64"] * 2
    assert cidr.cidr == "10.0.0.0/24,fd00::/64"
    cidr.want(["10.9.0.0/24"])
    await clock.sleep(1)
    assert runtime.told[2:] == ["10.9.0.0/24"]
    await cidr.stop()
