import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from pykubelet.volumes.orders import (
    LONGEST_WAIT,
    DeviceState,
    Need,
    Order,
    Refusal,
    Renewal,
    Setback,
    Situation,
    next_look,
    set_back,
)
from pykubelet.volumes.reconcile import RESOLVING, in_use, reconcile
from pykubelet.volumes.state import DeviceKey, SourceKey, VolumeKey

A = VolumeKey("pod-a", "kubernetes.io/empty-dir", "data")
B = VolumeKey("pod-b", "kubernetes.io/host-path", "logs")
MOUNTING = Order("mount", A, "")
DUE, LATER = Renewal(100.0, "the config map changed"), Renewal(160.0, "nothing was told", routine=True)

QUIET = Situation(
    wanted=frozenset(),
    kept=frozenset(),
    named=frozenset(),
    actual={},
    directories=frozenset(),
    running={},
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
        ({"wanted": {A}, "running": {A: MOUNTING}}, []),
        ({"actual": {A: "mounted"}}, [("unmount", A)]),
        ({"actual": {A: "uncertain"}}, [("unmount", A)]),
        ({"actual": {A: "mounted"}, "kept": {"pod-a"}}, []),
        ({"actual": {A: "mounted"}, "running": {A: MOUNTING}}, []),
        ({"actual": {A: "mounted"}, "sources_ready": False}, []),
        ({"wanted": {B}, "actual": {A: "mounted"}, "sources_ready": False}, [("mount", B)]),
        ({"directories": {"pod-a"}}, [("clean", "pod-a")]),
        ({"directories": {"pod-a"}, "named": {"pod-a"}}, []),
        ({"directories": {"pod-a"}, "kept": {"pod-a"}}, []),
        ({"directories": {"pod-a"}, "sources_ready": False}, []),
        ({"directories": {"pod-a"}, "running": {"pod-a": Order("clean", "pod-a", "")}}, []),
        ({"directories": {"pod-a"}, "running": {A: MOUNTING}}, []),
        ({"directories": {"pod-a"}, "actual": {A: "mounted"}}, [("unmount", A)]),
        ({"wanted": {A}, "actual": {A: "mounted"}, "renewals": {A: DUE}}, [("refresh", A)]),
        ({"wanted": {A}, "actual": {A: "mounted"}, "renewals": {A: LATER}}, []),
        ({"wanted": {A}, "actual": {A: "mounted"}, "renewals": {A: LATER}, "now": 160.0}, [("refresh", A)]),
        ({"wanted": {A}, "actual": {A: "mounted"}, "renewals": {A: DUE}, "running": {A: MOUNTING}}, []),
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
    waiting = {(A, "mount"): Setback(3, 90.0, 104.0, "no")}
    held = plan(wanted={A}, setbacks=waiting)
    assert held.orders == ()
    assert held.wake_at == 104.0
    assert orders(wanted={A}, setbacks=waiting, now=104.0) == [("mount", A)]
    assert orders(actual={A: "uncertain"}, setbacks=waiting) == [("unmount", A)]


def test_a_refresh_waits_for_its_time_and_for_its_setback():
    there = {"wanted": {A}, "actual": {A: "mounted"}}
    assert plan(**there, renewals={A: LATER}).wake_at == 160.0
    waiting = {(A, "refresh"): Setback(2, 90.0, 104.0, "no")}
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


def test_looks_at_contents_come_together():
    wall = datetime(2026, 1, 1, tzinfo=UTC)
    looks = [next_look(None, wall, now, 300.0).at for now in (100.0, 100.1, 107.0, 110.0, 110.1)]
    assert looks == [400.0, 410.0, 410.0, 410.0, 420.0]


def test_it_is_known_when_something_waits_for_an_order_just_given():
    there = {"wanted": {A, B}, "actual": {A: "mounted", B: "mounted"}}
    assert not plan(**there, renewals={A: DUE, B: DUE}).held_back
    growing = plan(**there, renewals={A: DUE}, growing={A})
    assert [order.kind for order in growing.orders] == ["refresh"]
    assert growing.held_back
    sources = {SourceKey("pod-a", f"data-{number}"): True for number in range(RESOLVING + 1)}
    assert plan(unresolved=sources).held_back


def test_waits_double_up_to_the_limit():
    setback, waits = None, []
    for _ in range(11):
        setback = set_back(setback, "no", 10.0)
        waits.append(setback.not_before - 10.0)
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, LONGEST_WAIT, LONGEST_WAIT, LONGEST_WAIT]
    assert setback.failures == 11
    assert setback.first == 10.0


def test_an_order_tells_its_cause():
    (order,) = plan(actual={A: "mounted"}).orders
    assert order == Order("unmount", A, "no pod that may run asks for it")
    assert order.uid == "pod-a"


# --- volumes on devices -----------------------------------------------------------

D = "kubernetes.io/csi/driver^1"
KEY = DeviceKey(D)
P = VolumeKey("pod-a", "kubernetes.io/csi", "pv")
Q = VolumeKey("pod-b", "kubernetes.io/csi", "pv")
SOURCE = SourceKey("pod-a", "data")
PLAIN, ATTACHED = DeviceState(), DeviceState(attachable=True, attached="yes")
STAGED = DeviceState(attachable=True, attached="yes", staged="mounted")
UNSURE = DeviceState(attachable=True, attached="yes", staged="uncertain", found=True)
UNREAD = DeviceState(attached="uncertain", staged="uncertain", found=True)
NEED = Need(D, attachable=True)
ALONE = Need(D, alone=True)
WANTED = {"wanted": {P}, "kept": {"pod-a"}, "needs": {P: NEED}}
FREE = {"wanted": {P}, "kept": {"pod-a"}, "needs": {P: Need(D)}}
BOTH = {"wanted": {P, Q}, "kept": {"pod-a", "pod-b"}, "needs": {P: Need(D), Q: Need(D)}}
THERE = {"actual": {P: "mounted"}, "rests": {P: D}}


def busy(kind, target):
    return {target: Order(kind, target, "", device=D)}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"unresolved": {SOURCE: False}}, [("resolve", SOURCE)]),
        ({"unresolved": {SOURCE: True}, "running": {SOURCE: Order("resolve", SOURCE, "")}}, []),
        # Attaching: only after a status told of it, and only if it may be there.
        (WANTED, []),
        (WANTED | {"told": {D}}, []),
        (WANTED | {"visible": {D}}, []),
        (WANTED | {"told": {D}, "visible": {D}}, [("attach", KEY)]),
        (WANTED | {"told": {D}, "visible": {D}, "devices": {D: UNREAD}}, []),
        # Where no controller attaches, that is told; what it attached before is used.
        (WANTED | {"by_controller": False}, [("attach", KEY)]),
        (WANTED | {"by_controller": False, "devices": {D: UNREAD}}, []),
        (WANTED | {"by_controller": False, "devices": {D: ATTACHED}}, [("stage", KEY)]),
        (FREE | {"by_controller": False}, [("stage", KEY)]),
        (WANTED | {"told": {D}, "visible": {D}, "devices": {D: ATTACHED}}, [("stage", KEY)]),
        # Staging, then mounting; each of one volume at a time.
        (FREE, [("stage", KEY)]),
        (FREE | {"devices": {D: DeviceState(staged="uncertain")}}, [("stage", KEY)]),
        (FREE | {"devices": {D: STAGED}}, [("mount", P)]),
        (FREE | {"devices": {D: UNREAD}}, [("stage", KEY)]),
        (FREE | {"running": busy("stage", KEY)}, []),
        (FREE | {"devices": {D: STAGED}, "running": busy("unmount", Q)}, []),
        (FREE | {"devices": {D: STAGED}, "running": busy("expand", Q)}, []),
        (BOTH, [("stage", KEY)]),
        (BOTH | {"devices": {D: STAGED}}, [("mount", P)]),
        (BOTH | {"devices": {D: STAGED}} | THERE, [("mount", Q)]),
        ({"wanted": {P}, "needs": {P: Need()}}, [("mount", P)]),
        # Afterwards.
        (FREE | {"devices": {D: STAGED}, "growing": {P}} | THERE, [("expand", P)]),
        (FREE | {"devices": {D: STAGED}, "growing": {P}, "renewals": {P: DUE}} | THERE, [("refresh", P)]),
        (FREE | {"devices": {D: STAGED}, "growing": {P}, "running": busy("unmount", Q)} | THERE, []),
        ({"devices": {D: STAGED}, "growing": {P}, "kept": {"pod-a"}} | THERE, []),
        # Away: unmount, unstage, detach.
        ({"devices": {D: STAGED}} | THERE, [("unmount", P)]),
        ({"devices": {D: STAGED}, "kept": {"pod-a"}} | THERE, []),
        ({"devices": {D: STAGED}, "sources_ready": False} | THERE, []),
        ({"devices": {D: UNREAD}, "attachments_known": False} | THERE, []),
        ({"devices": {D: STAGED}, "running": busy("mount", Q)} | THERE, []),
        ({"devices": {D: STAGED}, "running": busy("unmount", Q)} | THERE, [("unmount", P)]),
        ({"devices": {D: STAGED}}, [("unstage", KEY)]),
        ({"devices": {D: STAGED}, "sources_ready": False}, []),
        ({"devices": {D: UNSURE}, "attachments_known": False}, []),
        ({"devices": {D: UNSURE}}, [("unstage", KEY)]),
        ({"devices": {D: UNSURE}, "obscure": True}, []),
        ({"devices": {D: STAGED}, "obscure": True}, [("unstage", KEY)]),
        ({"devices": {D: UNSURE}, "unresolved": {SOURCE: False}}, [("resolve", SOURCE)]),
        (
            {
                "devices": {D: UNSURE},
                "unresolved": {SOURCE: False},
                "setbacks": {(SOURCE, "resolve"): Setback(1, 90.0, 104.0, "not bound")},
            },
            [("unstage", KEY)],
        ),
        ({"devices": {D: STAGED}, "running": busy("unmount", P)}, []),
        ({"devices": {D: ATTACHED}}, [("detach", KEY)]),
        ({"devices": {D: PLAIN}}, []),
        ({"devices": {D: ATTACHED}, "running": busy("attach", KEY)}, []),
        (WANTED | {"devices": {D: STAGED}}, [("mount", P)]),
    ],
)
def test_what_is_ordered_of_devices(changes, wanted):
    assert orders(**changes) == wanted


def test_a_volume_for_one_pod_only():
    both = {"wanted": {P, Q}, "needs": {P: ALONE, Q: ALONE}, "devices": {D: STAGED}}
    there = {"actual": {Q: "mounted"}, "rests": {Q: D}}
    (order,) = plan(**both, **there, kept={"pod-a", "pod-b"}).orders
    assert (order.target, order.device) == (P, "")
    assert order.refusal == Refusal(
        "SetUp", "volume uses the ReadWriteOncePod access mode and is already in use by another pod"
    )
    # The other pod is just leaving: that is waited for without a word.
    alone = {"wanted": {P}, "needs": {P: ALONE}, "devices": {D: STAGED}}
    assert orders(**alone, **there, kept={"pod-a"}) == [("unmount", Q)]
    assert orders(**alone, **there, kept={"pod-a"}, sources_ready=False) == []


ELSE = DeviceState(staged="mounted", label="a")


@pytest.mark.parametrize(
    ("state", "changes", "wanted"),
    [
        (ELSE, {}, [("unstage", KEY)]),
        (DeviceState(staged="uncertain", label="a"), {}, [("unstage", KEY)]),
        (DeviceState(staged="mounted", label=""), {}, [("unstage", KEY)]),
        (DeviceState(staged="mounted", label="b"), {}, [("mount", P)]),
        # Nobody knows with which: it is staged over, as ever.
        (DeviceState(staged="uncertain", found=True), {}, [("stage", KEY)]),
        (DeviceState(), {}, [("stage", KEY)]),
        # Another pod has it, wants it to end, or is still being rid of it.
        (ELSE, {"actual": {Q: "mounted"}, "rests": {Q: D}, "kept": {"pod-b"}}, []),
        (ELSE, {"actual": {Q: "mounted"}, "rests": {Q: D}}, [("unmount", Q)]),
        (ELSE, {"running": busy("unmount", Q), "actual": {Q: "uncertain"}, "rests": {Q: D}}, []),
        (ELSE, {"running": busy("unstage", KEY)}, []),
        # The pod's own mount is not there any more, but its directory.
        (ELSE, {"actual": {P: "uncertain"}, "rests": {P: D}}, [("unmount", P)]),
        # As with all that is taken away.
        (ELSE, {"sources_ready": False}, []),
        (ELSE, {"attachments_known": False}, []),
        (DeviceState(staged="uncertain", found=True, label="a"), {"obscure": True}, []),
        (ELSE, {"obscure": True}, [("unstage", KEY)]),
    ],
)
def test_what_is_staged_with_another_label(state, changes, wanted):
    changes = {"wanted": {P}, "needs": {P: Need(D, label="b")}, "devices": {D: state}} | changes
    assert orders(**changes) == wanted


def test_staging_anew_is_told_to_the_pod_that_waits():
    (order,) = plan(wanted={P}, needs={P: Need(D)}, devices={D: ELSE}).orders
    assert (order.kind, order.uid, order.volume) == ("unstage", "pod-a", P)
    held = {(KEY, "unstage"): Setback(1, 90.0, 104.0, "in use")}
    waiting = plan(wanted={P}, needs={P: Need(D)}, devices={D: ELSE}, setbacks=held)
    assert (waiting.orders, waiting.wake_at) == ((), 104.0)


def test_a_refusal_is_told_and_waits_by_itself():
    refused = Need(D, refusal=Refusal("NodeAffinity check", "no matching NodeSelectorTerms"))
    both = BOTH | {"needs": {P: refused, Q: Need(D)}, "devices": {D: STAGED}}
    assert [(order.target, order.refusal is None) for order in plan(**both).orders] == [(P, False), (Q, True)]
    held = {(P, "mount"): Setback(3, 90.0, 104.0, "no matching NodeSelectorTerms")}
    assert orders(**both, setbacks=held) == [("mount", Q)]


def test_a_failed_mount_holds_up_the_device_for_all():
    held = {(KEY, "mount"): Setback(3, 90.0, 104.0, "no")}
    waiting = plan(**BOTH, devices={D: STAGED}, setbacks=held)
    assert (waiting.orders, waiting.wake_at) == ((), 104.0)
    assert orders(devices={D: STAGED}, setbacks=held, **THERE) == [("unmount", P)]


def test_what_the_status_lists_as_in_use():
    def names(**changes):
        return in_use(dataclasses.replace(QUIET, **changes))

    assert names(**WANTED) == {D}
    assert names(**FREE) == frozenset()
    assert names(devices={D: ATTACHED}) == {D}
    assert names(devices={D: PLAIN}) == frozenset()


def test_many_claims_are_asked_for_a_few_at_a_time():
    """First those of which nothing is known; one that waits for its next try takes nobody's turn."""
    sources = [SourceKey("pod", f"v-{number:02}") for number in range(RESOLVING + 3)]
    unresolved = {source: source is sources[0] for source in sources}
    setbacks = {(sources[1], "resolve"): Setback(1, 90.0, 110.0, "away")}
    assert orders(unresolved=unresolved, setbacks=setbacks) == [
        ("resolve", source) for source in sources[2 : RESOLVING + 2]
    ]
    running = {source: Order("resolve", source, "") for source in sources[2:RESOLVING]}
    assert orders(unresolved=unresolved, setbacks=setbacks, running=running) == [
        ("resolve", source) for source in sources[RESOLVING : RESOLVING + 2]
    ]
