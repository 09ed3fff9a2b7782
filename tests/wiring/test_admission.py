"""Which pods a node takes in, and what happens to those that give way."""

import asyncio
from types import SimpleNamespace

import pytest

from pykubelet.api.core import Pod, PodStatus
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.quantity import Quantity
from pykubelet.base.clock import SystemClock
from pykubelet.base.journal import NullJournal
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner
from pykubelet.config import load
from pykubelet.pods.admission import Rejections, Victims
from pykubelet.wiring.admission import Preemption, admission_chain
from pykubelet.wiring.startup import StartError


def pod(name):
    return Pod(metadata=ObjectMeta(name=name, namespace="ns", uid=f"u-{name}", generation=3))


def chain(host, tmp_path, sysctl):
    loaded = load([f"--root-dir={tmp_path}", f"--allowed-unsafe-sysctls={sysctl}"])
    node = SimpleNamespace(
        name="n",
        labels={},
        taints=(),
        allocatable={"pods": Quantity.of(1)},
        supplemental_groups_policy=False,
    )
    metrics = Metrics()
    judges = admission_chain(
        loaded, host, node, NullJournal(), lambda pod, victims: None, Rejections(metrics)
    )
    return judges, metrics


def test_a_pod_that_may_run(host, tmp_path):
    judges, metrics = chain(host, tmp_path, "net.core.somaxconn")
    assert judges.admit(pod("web"), []) is None
    assert judges.admit(pod("web"), [pod("other")]).reason == "OutOfpods"
    assert judges.admit_resized(pod("web"), [pod("other")]).reason == "OutOfpods"
    assert b'kubelet_admission_rejections_total{reason="OutOfpods"} 1.0\n' in metrics.render()


def test_a_sysctl_that_would_be_everybodys(host, tmp_path):
    with pytest.raises(StartError, match="allowedUnsafeSysctls: "):
        chain(host, tmp_path, "vm.swappiness")


class Killer:
    def __init__(self, error=None):
        self.events = []
        self.killed = []
        self._error = error

    def pod_event(self, ref, kind, reason, message):
        self.events.append((ref.name, reason))

    async def kill(self, uid, reason, change, grace, *, evict=False):
        self.killed.append((uid, reason, grace, evict, change(PodStatus()).phase))
        if self._error is not None:
            raise self._error


@pytest.mark.parametrize("error", [None, TimeoutError()])
async def test_victims_are_evicted_and_nobody_waits_for_them(error, caplog):
    killer, tasks = Killer(error), TaskOwner("test")
    preemption = Preemption(SystemClock(), killer, tasks, lambda: killer)
    preemption.make_room(pod("critical"), Victims((pod("a"), pod("b")), ()))
    assert killer.events == [("a", "Preempting"), ("b", "Preempting")]
    assert killer.killed == []
    await asyncio.gather(*tasks.tasks)
    reason = "it gives way to the critical pod ns/critical"
    assert killer.killed == [(f"u-{name}", reason, None, True, "Failed") for name in "ab"]
    assert caplog.text == ""
    await tasks.close()
