import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pykubelet.volumes.reconcile import (
    LONGEST_WAIT,
    Order,
    Renewal,
    Setback,
    Situation,
    next_look,
    reconcile,
    set_back,
)
from pykubelet.volumes.state import VolumeKey

A = VolumeKey("pod-a", "kubernetes.io/empty-dir", "data")
B = VolumeKey("pod-b", "kubernetes.io/host-path", "logs")
DUE, LATER = Renewal(100.0, "the config map changed"), Renewal(160.0, "nothing was told", routine=True)

QUIET = Situation(
    wanted=frozenset(),
    kept=frozenset(),
    named=frozenset(),
    actual={},
    directories=frozenset(),
    running=frozenset(),
    setbacks={},
    renewals={},
    sources_ready=True,
    now=100.0,
)


def plan(**changes):
    return reconcile(dataclasses.replace(QUIET, **changes))


def orders(**changes):
    return [(order.kind, order.target) for order in plan(**changes).orders]


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, []),
        ({"wanted": {A}, "kept": {"pod-a"}}, [("mount", A)]),
        ({"wanted": {A}, "actual": {A: "mounted"}}, []),
        ({"wanted": {A}, "actual": {A: "uncertain"}}, [("mount", A)]),
        ({"wanted": {A}, "running": {A}}, []),
        ({"actual": {A: "mounted"}}, [("unmount", A)]),
        ({"actual": {A: "uncertain"}}, [("unmount", A)]),
        ({"actual": {A: "mounted"}, "kept": {"pod-a"}}, []),
        ({"actual": {A: "mounted"}, "running": {A}}, []),
        ({"actual": {A: "mounted"}, "sources_ready": False}, []),
        ({"wanted": {B}, "actual": {A: "mounted"}, "sources_ready": False}, [("mount", B)]),
        ({"directories": {"pod-a"}}, [("clean", "pod-a")]),
        ({"directories": {"pod-a"}, "named": {"pod-a"}}, []),
        ({"directories": {"pod-a"}, "kept": {"pod-a"}}, []),
        ({"directories": {"pod-a"}, "sources_ready": False}, []),
        ({"directories": {"pod-a"}, "running": {"pod-a"}}, []),
        ({"directories": {"pod-a"}, "running": {A}}, []),
        ({"directories": {"pod-a"}, "actual": {A: "mounted"}}, [("unmount", A)]),
        ({"wanted": {A}, "actual": {A: "mounted"}, "renewals": {A: DUE}}, [("refresh", A)]),
        ({"wanted": {A}, "actual": {A: "mounted"}, "renewals": {A: LATER}}, []),
        ({"wanted": {A}, "actual": {A: "mounted"}, "renewals": {A: LATER}, "now": 160.0}, [("refresh", A)]),
        ({"wanted": {A}, "actual": {A: "mounted"}, "renewals": {A: DUE}, "running": {A}}, []),
        ({"wanted": {A}, "actual": {A: "uncertain"}, "renewals": {A: DUE}}, [("mount", A)]),
        ({"wanted": {A}, "renewals": {A: DUE}}, [("mount", A)]),
        ({"actual": {A: "mounted"}, "kept": {"pod-a"}, "renewals": {A: DUE}}, []),
        ({"actual": {A: "mounted"}, "renewals": {A: DUE}}, [("unmount", A)]),
        (
            {"wanted": {A}, "actual": {A: "mounted"}, "renewals": {A: DUE}, "sources_ready": False},
            [("refresh", A)],
        ),
        (
            {"wanted": {A, B}, "actual": {A: "mounted"}, "renewals": {A: DUE}},
            [("mount", B), ("refresh", A)],
        ),
    ],
)
def test_what_is_ordered(changes, wanted):
    assert orders(**changes) == wanted


def test_a_setback_holds_up_only_the_same_operation():
    waiting = {A: Setback("mount", 3, 90.0, 104.0, "no")}
    held = plan(wanted={A}, setbacks=waiting)
    assert held.orders == ()
    assert held.wake_at == 104.0
    assert orders(wanted={A}, setbacks=waiting, now=104.0) == [("mount", A)]
    assert orders(actual={A: "uncertain"}, setbacks=waiting) == [("unmount", A)]


def test_a_refresh_waits_for_its_time_and_for_its_setback():
    there = {"wanted": {A}, "actual": {A: "mounted"}}
    assert plan(**there, renewals={A: LATER}).wake_at == 160.0
    waiting = {A: Setback("refresh", 2, 90.0, 104.0, "no")}
    held = plan(**there, renewals={A: DUE}, setbacks=waiting)
    assert (held.orders, held.wake_at) == ((), 104.0)
    assert plan(**there, renewals={A: LATER}, setbacks=waiting).wake_at == 160.0
    assert orders(**there, renewals={A: DUE}, setbacks=waiting, now=104.0) == [("refresh", A)]
    assert orders(actual={A: "mounted"}, renewals={A: DUE}, setbacks=waiting) == [("unmount", A)]
    (order,) = plan(**there, renewals={A: LATER}, now=161.0).orders
    assert order == Order("refresh", A, "nothing was told", routine=True)


@pytest.mark.parametrize(
    ("age", "at", "routine"),
    [(None, 400.0, True), (200, 300.0, False), (3600, 400.0, True), (1, 130.0, False), (-5, 130.0, False)],
)
def test_when_contents_are_looked_at_again(age, at, routine):
    wall = datetime(2026, 1, 1, tzinfo=UTC)
    refresh_at = None if age is None else wall + timedelta(seconds=age)
    look = next_look(refresh_at, wall, 100.0, 300.0)
    assert (look.at, look.routine) == (at, routine)


def test_waits_double_up_to_the_limit():
    setback, waits = None, []
    for _ in range(11):
        setback = set_back(setback, "mount", "no", 10.0)
        waits.append(setback.not_before - 10.0)
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, LONGEST_WAIT, LONGEST_WAIT, LONGEST_WAIT]
    assert setback.failures == 11
    assert setback.first == 10.0
    again = set_back(setback, "unmount", "no", 20.0)
    assert (again.failures, again.first, again.not_before) == (1, 20.0, 20.5)


def test_an_order_tells_its_cause():
    (order,) = plan(actual={A: "mounted"}).orders
    assert order == Order("unmount", A, "no pod that may run asks for it")
    assert order.uid == "pod-a"


# --- the whole life of a node, in small ------------------------------------------

KEYS = tuple(
    VolumeKey(f"pod-{pod}", "kubernetes.io/empty-dir", f"v{v}") for pod in range(3) for v in range(2)
)
UIDS = ("pod-0", "pod-1", "pod-2")


class Node:
    """A disk, a set of pods and the core; operations end, fail or are cut when the test says so."""

    def __init__(self):
        self.disk, self.dirs = set(), set()
        self.named, self.live, self.ready = set(), set(), True
        self.now = 0.0
        self.newest, self.shown = dict.fromkeys(KEYS, 0), {}
        self.restart()

    def restart(self):
        self.actual = dict.fromkeys(self.disk, "uncertain")
        self.running, self.setbacks = {}, {}
        # A new life sets up everything anew: what is shown need not be remembered.
        self.renewals, self.taken = {}, {}

    def plan(self):
        return reconcile(
            Situation(
                wanted={key for key in KEYS if key.uid in self.named and key.uid in self.live},
                kept=self.live,
                named=self.named,
                actual=self.actual,
                directories=frozenset(self.dirs),
                running=self.running.keys(),
                setbacks=self.setbacks,
                renewals=self.renewals,
                sources_ready=self.ready,
                now=self.now,
            )
        )

    def step(self):
        made = self.plan()
        for order in made.orders:
            assert order.target not in self.running, "one operation at a time"
            self.check(order)
            self.running[order.target] = order
            if order.kind in ("mount", "refresh"):
                self.taken[order.target] = self.newest[order.target]
                self.renewals.pop(order.target, None)
        return made

    def change(self, uid):
        for key in KEYS:
            if key.uid == uid:
                self.newest[key] += 1
                self.renewals[key] = Renewal(self.now, "changed")

    def check(self, order):
        if order.kind in ("mount", "refresh"):
            assert order.uid in self.live
            assert (self.actual.get(order.target) == "mounted") == (order.kind == "refresh")
        else:
            assert self.ready
            assert order.uid not in self.live, "what is in use stays"
        if order.kind == "clean":
            assert not any(key.uid == order.uid for key in self.disk), "no volume is left inside"

    def finish(self, target, outcome):
        order = self.running.pop(target)
        if order.kind == "clean":
            if outcome == "done":
                self.dirs.discard(target)
        elif order.kind == "refresh":
            if outcome == "done":
                self.shown[target] = self.taken[target]
            else:
                self.renewals.setdefault(target, Renewal(self.now, "again"))
        elif order.kind == "mount":
            if outcome == "done":
                self.shown[target] = self.taken[target]
            if outcome != "failed early":
                self.disk.add(target)
                self.dirs.add(target.uid)
            self.actual[target] = "mounted" if outcome == "done" else "uncertain"
        elif outcome == "done":
            self.disk.discard(target)
            self.actual.pop(target, None)
        else:
            self.actual[target] = "uncertain"
        if outcome == "done":
            self.setbacks.pop(target, None)
        else:
            self.setbacks[target] = set_back(self.setbacks.get(target), order.kind, "no", self.now)

    def settle(self):
        for _ in range(200):
            made = self.step()
            if not self.running and made.wake_at is None:
                return
            for target in list(self.running):
                self.finish(target, "done")
            if made.wake_at is not None:
                self.now = max(self.now, made.wake_at)
        raise AssertionError("it never comes to rest")


moves = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(UIDS)),
    st.tuples(st.just("delete"), st.sampled_from(UIDS)),
    st.tuples(st.just("end"), st.sampled_from(UIDS)),
    st.tuples(st.just("change"), st.sampled_from(UIDS)),
    st.tuples(st.just("time"), st.floats(0, 200)),
    st.tuples(st.just("restart"), st.booleans()),
    st.tuples(st.just("sources"), st.booleans()),
    st.tuples(
        st.just("finish"), st.tuples(st.integers(0, 9), st.sampled_from(["done", "failed", "failed early"]))
    ),
)


def apply(node, move, value):
    if move == "add":
        node.named.add(value)
        node.live.add(value)
    elif move == "delete":
        node.named.discard(value)
    elif move == "end":
        node.live.discard(value)
    elif move == "change":
        node.change(value)
    elif move == "time":
        node.now += value
    elif move == "sources":
        node.ready = value
    elif move == "restart":
        # Cut off in flight: what ran may have happened or not.
        for target in list(node.running):
            node.finish(target, "done" if value else "failed")
        node.restart()
    elif node.running:
        index, outcome = value
        node.finish(sorted(node.running, key=str)[index % len(node.running)], outcome)


@settings(max_examples=150)
@given(st.lists(moves, max_size=40))
def test_actual_ends_as_desired_and_nothing_leaks(history):
    node = Node()
    for move, value in history:
        apply(node, move, value)
        node.step()
    node.ready = True
    # Every pod that no source names comes to its end.
    node.live &= node.named
    node.settle()
    wanted = {key for key in KEYS if key.uid in node.named and key.uid in node.live}
    assert {key for key, condition in node.actual.items() if condition == "mounted"} == wanted
    assert node.disk == wanted
    assert {key: node.shown[key] for key in wanted} == {key: node.newest[key] for key in wanted}
    assert node.dirs <= node.named
