"""Decisions about resizes: whom, when, in which order, and what is told of them."""

import pytest
from tests.pods.recording import Cgroups, Told
from tests.pods.resize.model import c, of, pod
from tests.pods.resizing import Resizing

from pykubelet.api.admission import Rejection
from pykubelet.api.core import PodStatus
from pykubelet.api.resources import pod_requests
from pykubelet.base.clock import LoopClock
from pykubelet.pods.resize import allocation as module
from pykubelet.pods.resize.amounts import ResizeGates, amounts_of
from pykubelet.pods.resize.judge import ResizeRules

pytestmark = pytest.mark.looptime


class Node(Told):
    """A node with some CPUs."""

    def __init__(self, cpus=4, rules=None) -> None:
        super().__init__()
        self.cpus, self.ready, self.pods = cpus, True, {}
        self.statuses: dict[str, PodStatus] = {}
        self.synced: list[str] = []
        self.broken: set[str] = set()
        self.clock = LoopClock()
        self.made = Resizing(
            self.clock, self, Cgroups(),
            desired=self.pods.get,
            active=lambda: self.allocation.all_allocated(self.pods.values()),
            rejection=self.reject,
            status=self.statuses.get,
            ready=lambda: self.ready,
            sync=lambda uid, cause: self.synced.append(uid),
            rules=rules,
        )  # fmt: skip
        self.allocation, self.conditions = self.made.allocation, self.made.conditions

    def reject(self, p, others):
        if p.metadata.uid in self.broken:
            raise KeyError(p.metadata.uid)
        used = sum(pod_requests(other)["cpu"].value() for other in others)
        want = pod_requests(p)["cpu"].value()
        return Rejection("OutOfcpu", f"{used} used") if used + want > self.cpus else None

    def admit(self, uid, cpu, **more):
        made = pod(c("app", cpu), uid=uid, **more)
        self.pods[uid] = made
        self.allocation.admitted(made)
        return made

    def ask(self, uid, cpu, **more):
        old, self.pods[uid] = self.pods[uid], pod(c("app", cpu), uid=uid, generation=3, **more)
        self.allocation.changed(old, self.pods[uid])

    def has(self, uid):
        return str(self.allocation.allocated(self.pods[uid]).spec.containers[0].resources.requests["cpu"])

    def leave(self, uid):
        del self.pods[uid]
        self.allocation.removed(uid)


async def test_a_resize_that_fits_is_accepted_at_once() -> None:
    node = Node()
    made = node.admit("a", "1/9")
    assert node.allocation.allocated(made) is made
    node.ask("a", "2/9")
    assert node.has("a") == "2"
    assert node.event_reasons() == ["ResizeStarted"]
    assert node.decisions == ["ResizeAccepted"]
    assert node.conditions.in_progress("a")
    assert node.synced == ["a"]
    labels = 'operation="increase",requirement="requests",resource="cpu"'
    assert node.made.metric(f"kubelet_container_requested_resizes_total{{{labels}}} 1.0")
    assert node.made.metric("kubelet_pod_in_progress_resizes 1.0")


async def test_what_does_not_fit_waits_and_keeps_what_it_has() -> None:
    node = Node()
    node.admit("a", "1/9")
    node.admit("b", "3/9")
    node.ask("a", "2/9")
    assert (node.has("a"), node.conditions.pending_reason("a")) == ("1", "Deferred")
    assert node.event_reasons() == ["ResizeDeferred"]
    assert node.events[0][1].startswith('Pod resize OutOfcpu: {"containers":[{"name":"app"')
    assert node.made.metric('kubelet_pod_pending_resizes{reason="deferred"} 1.0')
    # The same again is no news.
    node.allocation.retry(module.PERIODIC)
    assert (len(node.events), node.synced) == (1, ["a"])
    node.leave("b")
    node.allocation.retry(module.PODS_REMOVED)
    assert (node.has("a"), node.conditions.pending_reason("a")) == ("2", "")
    assert node.made.metric('kubelet_pod_deferred_accepted_resizes_total{retry_trigger="pods_removed"} 1.0')


async def test_a_change_that_asks_for_less_lets_others_in_at_once() -> None:
    node = Node()
    for uid, cpu in (("a", "1/9"), ("b", "3/9")):
        node.admit(uid, cpu)
    node.ask("a", "2/9")
    node.ask("b", "2/9")
    assert (node.has("a"), node.has("b")) == ("2", "2")


async def test_the_more_important_comes_first() -> None:
    node = Node()
    for uid, priority in (("low", 1), ("high", 9), ("big", None)):
        node.admit(uid, "1/9" if uid != "big" else "2/9", priority=priority)
    node.ask("low", "2/9", priority=1)
    node.ask("high", "2/9", priority=9)
    node.cpus = 5
    node.allocation.retry(module.PERIODIC)
    assert (node.has("low"), node.has("high")) == ("1", "2")


async def test_what_can_never_be_is_said_once_and_not_tried_again() -> None:
    node = Node(rules=ResizeRules(cpu_manager_policy="static"))
    made = pod(c("app", "1", "1Gi"), uid="a")
    node.pods["a"] = made
    node.allocation.admitted(made)
    node.pods["a"] = pod(c("app", "2", "1Gi"), uid="a", generation=3)
    node.allocation.changed(made, node.pods["a"])
    node.allocation.retry(module.PERIODIC)
    assert node.conditions.pending_reason("a") == "Infeasible"
    assert node.event_reasons() == ["ResizeInfeasible"]
    assert node.made.metric(
        'kubelet_pod_infeasible_resizes_total{reason_detail="guaranteed_pod_cpu_manager_static_policy"} 1.0'
    )
    assert node.has("a") == "1"


async def test_a_resize_that_is_withdrawn() -> None:
    node = Node()
    node.admit("a", "1/9")
    node.ask("a", "9/9")
    node.ask("a", "1/9")
    assert node.conditions.of("a") == ()
    assert node.decisions == ["ResizeDeferred", "ResizeWithdrawn"]
    node.ask("a", "1/9", nodeName="n")
    assert node.decisions == ["ResizeDeferred", "ResizeWithdrawn"]


async def test_a_restarted_daemon_goes_on_where_the_one_before_was() -> None:
    node = Node()
    allocated = pod(c("app", "1/9"), uid="a")
    node.made.book.set("a", amounts_of(allocated, ResizeGates()))
    node.pods["a"] = pod(c("app", "9/9"), uid="a", generation=3)
    node.conditions.set_pending("other", "OutOfcpu", "", 1, node.clock.now())
    node.statuses["a"] = PodStatus(conditions=list(node.conditions.of("other")))
    node.allocation.added([node.pods["a"]])
    assert (node.has("a"), node.conditions.pending_reason("a")) == ("1", "Deferred")
    node.cpus = 20
    node.allocation.retry(module.PERIODIC)
    assert node.has("a") == "9"
    node.allocation.keep_only({"b"})
    assert node.allocation.allocated(node.pods["a"]) is node.pods["a"]


async def test_a_resize_that_was_withdrawn_while_no_daemon_ran() -> None:
    node = Node()
    node.admit("a", "1/9")
    node.conditions.set_pending("other", "OutOfcpu", "", 1, node.clock.now())
    node.statuses["a"] = PodStatus(conditions=list(node.conditions.of("other")))
    node.allocation.added([node.pods["a"]])
    assert node.conditions.of("a") == ()
    assert node.decisions == ["ResizeWithdrawn"]


async def test_one_that_cannot_be_decided_about_does_not_stop_the_others(caplog) -> None:
    node = Node()
    for uid in ("a", "b"):
        node.admit(uid, "1/9")
    node.ready = False
    node.ask("a", "2/9")
    node.ask("b", "2/9")
    node.ready, node.broken = True, {"a"}
    node.allocation.retry(module.PERIODIC)
    assert (node.has("a"), node.has("b")) == ("1", "2")
    assert "the resize of pod" in caplog.text
    node.broken.clear()
    node.allocation.retry(module.PERIODIC)
    assert node.has("a") == "2"


async def test_nothing_is_decided_before_all_pods_are_known() -> None:
    node = Node()
    node.ready = False
    node.admit("a", "1/9")
    node.ask("a", "2/9")
    assert (node.has("a"), node.events) == ("1", [])
    node.allocation._book.start = nothing
    await node.allocation.start()
    await node.clock.sleep(40)
    node.ready = True
    await node.clock.sleep(30)
    assert node.has("a") == "2"
    node.ask("a", "9/9")
    node.cpus = 20
    await node.clock.sleep(170)
    assert node.has("a") == "2"
    await node.clock.sleep(20)
    assert node.has("a") == "9"
    await node.allocation.stop()


async def nothing() -> None:
    pass


async def test_pods_that_are_gone_wait_no_more() -> None:
    node = Node()
    node.admit("a", "1/9")
    node.ask("a", "9/9")
    node.leave("a")
    node.allocation.retry(module.PODS_REMOVED)
    assert node.allocation._pending == []


async def test_the_pod_as_a_whole_is_compared_too() -> None:
    node = Node()
    before = pod(c("app"), uid="a", whole=("1/9",))
    node.pods["a"] = before
    node.allocation.admitted(before)
    node.pods["a"] = pod(c("app"), uid="a", whole=("2/9",), generation=3)
    node.allocation.changed(before, node.pods["a"])
    assert node.allocation.allocated(before).spec.resources == of("2/9")
