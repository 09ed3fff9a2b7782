"""A node of a cluster and its API server in virtual time: outages of every kind, restarts, random lives."""

import asyncio
import gc
import itertools
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from tests.apiserver import Cut, Expire, HalfOpen, Hang, Malformed, Refuse, Slow, resources
from tests.apiserver.faults import Fault
from tests.joined_node import NODE, SOON, JoinedNode, names
from tests.memory_node import runs

from pykubelet.base.tasks import TaskOwner

pytestmark = [
    # Nothing outside of the loop is waited for, so time may go on as soon as the loop is idle.
    pytest.mark.looptime(noop_cycles=2),
    pytest.mark.timeout(120),
    pytest.mark.usefixtures("one_thread"),
]

Make = Callable[..., JoinedNode]
End = Callable[[], Awaitable[None]]
Begin = Callable[[JoinedNode], Awaitable[End]]

#: Requests tried in an outage at most: a few for the node's status and its lease each 10 s, as upstream.
TRIED_IN_A_SECOND = 1.2
PROBE = {"exec": {"command": ["true"]}, "periodSeconds": 10}


@pytest.fixture
def make(mount_area: Path, host: Any, monkeypatch: pytest.MonkeyPatch) -> Make:
    numbers = iter(range(1000))
    return lambda **config: JoinedNode(mount_area / f"node-{next(numbers)}", host, monkeypatch, **config)


def crashes() -> dict[str, Any]:
    return runs("app", seconds=3, code=1)


def probed() -> dict[str, Any]:
    return runs("app", livenessProbe=PROBE, readinessProbe=PROBE)


# --- outages ------------------------------------------------------------------


async def away(node: JoinedNode) -> End:
    await node.server.down()
    return node.server.up


async def vanishing(node: JoinedNode) -> End:
    node.server.network.partition()

    async def end() -> None:
        node.server.network.heal()

    return end


async def flapping(node: JoinedNode) -> End:
    tasks = TaskOwner("flapping")
    tasks.spawn("flap", node.server.flap(10_000, down=20, up=5))

    async def end() -> None:
        await tasks.close()
        await node.server.up()

    return end


def failing(fault: Fault) -> Begin:
    async def begin(node: JoinedNode) -> End:
        # Watches that work would go on.
        await node.server.drop_connections()
        switch = node.server.faults.add(fault)

        async def end() -> None:
            node.server.faults.remove(switch)

        return end

    return begin


OUTAGES: dict[str, Begin] = {
    "away": away,
    "vanishing": vanishing,
    "hanging": failing(Hang()),
    "busy": failing(Refuse(429, retry_after=7)),
    "broken": failing(Refuse(500)),
    "unavailable": failing(Refuse(503)),
    "unknown": failing(Refuse(401)),
    "forbidden": failing(Refuse(403)),
    "malformed": failing(Malformed()),
    "cut": failing(Cut()),
    "flapping": flapping,
}
#: Through these something comes, late.
TROUBLES: dict[str, Begin] = {
    "slow": failing(Slow(5)),
    "expired": failing(Expire()),
    "expired at once": failing(Expire(as_event=False)),
}


def node_controller(node: JoinedNode) -> None:
    """What the control plane says of a node that it does not hear of."""

    def unknown(obj: dict[str, Any]) -> None:
        for each in obj["status"]["conditions"]:
            if each["type"] == "Ready":
                each.update(status="Unknown", reason="NodeStatusUnknown")

    node.server.patch(resources.NODES, "", NODE, unknown)


async def wait_for_recovery(node: JoinedNode) -> None:
    await node.until(lambda: node.node_ready() and node.lease_age() < 12, 120)


@pytest.mark.parametrize("kind", OUTAGES)
async def test_an_outage(make: Make, kind: str) -> None:
    async with make() as node:
        for name in names("plain", 6):
            node.create(name, probed())
        for name in names("crash", 4):
            node.create(name, crashes())
        node.write_static("static")
        await node.until(lambda: all(map(node.ready, [*names("plain", 6), "static-n"])))
        before = {name: node.running(name)[0].id for name in [*names("plain", 6), "static-n"]}

        end = await OUTAGES[kind](node)
        began, tried, spoken = node.time(), node.server.network.tried, len(node.complaints())
        await node.sleep(60)
        node_controller(node)
        node.create("new")
        node.delete("plain-0")
        node.runtime.end_container(before["plain-1"], 3)
        node.write_static("another")
        await node.sleep(60)
        tasks = len(asyncio.all_tasks())
        await node.sleep(1050)
        probes = node.probed
        await node.sleep(30)
        # The node manages what it knows of, and takes nothing for deleted that it does not hear of.
        assert node.running("another-n")
        # Five or six pods, two probes each, every 10 s.
        assert 26 <= node.probed - probes <= 40
        assert gaps(node.starts["crash-0"]) == pytest.approx([3, 13, 23, 43, 83, 163, 303, 303], abs=2)
        if kind != "flapping":
            assert not node.running("new")
            assert node.running("plain-0")
        for name in (*names("plain", 6)[2:], "static-n"):
            assert node.running(name)[0].id == before[name]
        # It bothers neither the server nor its own log. Requests under way have tasks at both ends; had
        # each try of these minutes left one, there would be hundreds.
        assert len(asyncio.all_tasks()) <= tasks + 25
        asked = max(len(node.requests(since=began)), node.server.network.tried - tried)
        assert asked < 1200 * TRIED_IN_A_SECOND
        told = node.complaints()[spoken:]
        assert len(told) < (200 if kind == "flapping" else 20), told

        back = node.time()
        await end()
        await wait_for_recovery(node)
        await node.until(lambda: node.ready("new") and node.server.pod("default", "plain-0") is None)
        await node.sleep(SOON)
        node.check_agreement()
        assert node.status("plain-1")["containerStatuses"][0]["restartCount"] == 1
        early = [request for request in node.requests(since=back) if request.at < back + 10]
        assert len(early) < 120
        patched = Counter(request.path for request in node.requests("*/pods/*/status", "patch", since=back))
        assert max(patched.values()) <= 6
        assert not node.requests("*/pods/plain-3/status", since=back)


def gaps(moments: list[float]) -> list[int]:
    return [round(later - earlier) for earlier, later in itertools.pairwise(moments)]


def live_objects() -> Counter[str]:
    """What this process holds, by type; without what the tests' own logs keep."""
    gc.collect()
    kept = ("Request", "Entry", "LogRecord", "traceback", "frame", "cell", "list", "tuple", "dict")
    found = Counter(type(each).__name__ for each in gc.get_objects())
    return Counter({name: number for name, number in found.items() if name not in kept})


def check_that_all_is_said_once(node: JoinedNode, back: float, crash: int, new: int, gone: int) -> None:
    """Since *back* the server heard each thing once; of *crash* pods that crash, *new* and *gone* ones."""
    said = Counter((request.verb, request.path) for request in node.requests(since=back))
    turns = math.ceil((node.time() - back) / 10)
    lives = sum(start >= back for name in names("crash", crash) for start in node.starts[name])
    events = sum(count for (_, path), count in said.items() if "/events" in path)
    # Of a life that it was Pulled, Created, Started, and BackOff after it; BackOff again at each sync, 60 s
    # apart at least. Of a new pod Pulled, Created, Started, MissingClusterDNS (of the node, too); Killing.
    assert events <= 4 * (crash + lives) + crash * (1 + turns // 6) + 4 * new + 1 + gone, said
    statuses = {path: count for (_, path), count in said.items() if "/pods/" in path and "/status" in path}
    # Running, crashed; Pending, running. Nothing is said of the pods that did not change.
    assert len(statuses) == crash + new + gone, said
    assert sum(statuses.values()) <= crash + 2 * lives + 2 * new + gone, said
    assert sum(count for (verb, _), count in said.items() if verb == "delete") == gone
    # Each 10 s the lease is renewed (and read once) and the Node's status may be patched; five watches. No
    # pod is read: of what found no connection it is known that it was not done.
    others = {key: n for key, n in said.items() if key[0] != "delete" and key[1] not in statuses}
    others = {key: n for key, n in others.items() if "/events" not in key[1]}
    assert len(others) <= 8, others
    assert max(others.values()) <= 1 + turns, others


# Some 15 s of the processor's time: on a busy machine, a multiple of that until it is over.
@pytest.mark.timeout(300)
async def test_an_hour_without_the_api_server(make: Make) -> None:
    async with make() as node:
        for name in names("plain", 30):
            node.create(name)
        for name in names("probed", 10):
            node.create(name, probed())
        for name in names("crash", 20):
            node.create(name, crashes())
        await node.until(lambda: all(map(node.ready, [*names("plain", 30), *names("probed", 10)])))
        before = {box.id for name in names("plain", 30) for box in node.running(name)}
        # What was said of the start is posted, at 50 events a second.
        await node.sleep(10)
        await node.server.down()
        tried = node.server.network.tried
        await node.sleep(300)
        held = live_objects()
        for name in names("plain", 5):
            node.delete(name)
        for name in names("new", 5):
            node.create(name)
        await node.sleep(3300)
        assert before <= set(node.runtime.world.containers)
        for name in names("crash", 20):
            waits = gaps(node.starts[name])
            assert waits == sorted(waits)
            assert waits[-1] == pytest.approx(303, abs=5)
        assert node.server.network.tried - tried < 3600 * TRIED_IN_A_SECOND
        # Nothing of the daemon's own piles up.
        grown = live_objects() - held
        assert {name: number for name, number in grown.items() if number > 300} == {}

        back = node.time()
        await node.server.up()
        # Each watch waits for its own, random time; only that of the pods tells of new and deleted ones.
        await node.until(lambda: node.requests("*/pods", "watch", since=back))
        await node.sleep(10)
        check_that_all_is_said_once(node, back, crash=20, new=5, gone=5)
        await wait_for_recovery(node)
        await node.until(lambda: all(map(node.ready, names("new", 5))))
        await node.sleep(SOON)
        node.check_agreement()


@pytest.mark.parametrize("kind", TROUBLES)
async def test_a_server_in_trouble_still_serves(make: Make, kind: str) -> None:
    async with make() as node:
        node.create("old")
        await node.until(lambda: node.ready("old"))
        end = await TROUBLES[kind](node)
        began = node.time()
        await node.sleep(30)
        node.create("new")
        node.delete("old")
        await node.until(lambda: node.ready("new") and node.server.pod("default", "old") is None, 150)
        await node.sleep(600)
        assert node.lease_age() < 20
        assert len(node.requests(since=began)) < 700 * TRIED_IN_A_SECOND
        await end()
        await node.sleep(SOON)
        node.check_agreement()


async def test_a_watch_that_falls_silent_is_begun_anew(make: Make) -> None:
    async with make() as node:
        await node.until(node.node_ready)
        switch = node.server.faults.add(HalfOpen(), path="*/pods", verb="watch", times=1)
        node.create("unseen")
        await node.sleep(60)
        assert switch.hits == 1
        assert not node.running("unseen")
        # The watch's own time limit ends it at the latest.
        await node.until(lambda: node.ready("unseen"), 640)


@pytest.mark.parametrize("rudely", [False, True])
async def test_a_restart_while_the_server_is_away(make: Make, rudely: bool) -> None:
    async with make() as node:
        for name in names("plain", 5):
            node.create(name, probed())
        node.write_static("static")
        await node.until(lambda: all(map(node.ready, [*names("plain", 5), "static-n"])))
        before = {name: node.running(name)[0].id for name in [*names("plain", 5), "static-n"]}
        await node.server.down()
        node.delete("plain-0")
        node.create("new")
        await node.restart(rudely=rudely)
        node.write_static("another")
        await node.sleep(600)
        assert {name: node.running(name)[0].id for name in before} == before
        assert node.running("another-n")
        node.runtime.end_container(before["static-n"], 1)
        await node.until(lambda: node.running("static-n"))
        await node.server.up()
        await wait_for_recovery(node)
        await node.until(lambda: node.ready("new") and node.server.pod("default", "plain-0") is None)
        await node.sleep(SOON)
        node.check_agreement()
        for name in names("plain", 5)[1:]:
            assert node.running(name)[0].id == before[name]


def zone_a(node: resources.Object) -> None:
    """Somebody labels the Node."""
    node["metadata"]["labels"]["zone"] = "a"


def decisions(node: JoinedNode, name: str) -> list[str]:
    """What the journal has of a pod."""
    return [entry.what for entry in node.journal.of_name("default", name)]


@pytest.mark.parametrize("rudely", [False, True])
@pytest.mark.parametrize("kind", ["away", "silent"])
async def test_no_pod_is_refused_for_labels_that_are_not_known_yet(
    make: Make, kind: str, rudely: bool
) -> None:
    """Others' labels of the Node are known only from the API server, which takes its time after a restart."""
    async with make() as node:
        await node.until(node.node_ready)
        node.server.patch(resources.NODES, "", NODE, zone_a)
        node.create("web", nodeSelector={"zone": "a"})
        node.write_static("static", nodeSelector={"zone": "a"})
        await node.until(lambda: node.ready("web") and node.ready("static-n"))
        before = {name: node.running(name)[0].id for name in ("web", "static-n")}
        if kind == "away":
            await node.server.down()
        else:
            for verb in ("watch", "list", "get"):
                node.server.faults.add(Hang(), path="*/nodes*", verb=verb)
        await node.restart(rudely=rudely)
        await node.sleep(300)
        assert "PodUndecided" in decisions(node, "static-n")
        assert {name: node.running(name)[0].id for name in before} == before
        node.server.faults.clear()
        if kind == "away":
            await node.server.up()
        await node.until(lambda: node.kubelet.pods.workers.state(node.uid("web")) is not None, 120)
        await node.sleep(2 * SOON)
        for name in before:
            assert "PodRejected" not in decisions(node, name)
        assert {name: node.running(name)[0].id for name in before} == before
        node.check_agreement()


async def test_nothing_is_made_for_a_pod_of_which_it_is_not_known_whether_it_may_run(
    make: Make, mount_area: Path
) -> None:
    async with make() as node:
        await node.until(node.node_ready)
        for verb in ("watch", "list", "get"):
            node.server.faults.add(Hang(), path="*/nodes*", verb=verb)
        await node.restart()
        made = mount_area / "made"
        volume = {"name": "data", "hostPath": {"path": str(made), "type": "DirectoryOrCreate"}}
        app = {**runs("app"), "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
        node.write_static("static", nodeSelector={"zone": "b"}, volumes=[volume], containers=[app])
        await node.sleep(100)
        assert decisions(node, "static-n")[-1] == "PodUndecided"
        assert not made.exists()
        node.server.faults.clear()
        await node.until(lambda: "PodRejected" in decisions(node, "static-n"))
        await node.sleep(SOON)
        assert not made.exists()


async def test_a_label_that_the_watch_did_not_bring_yet_counts(make: Make) -> None:
    async with make() as node:
        await node.until(node.node_ready)
        node.server.faults.add(HalfOpen(), path="*/nodes", verb="watch")
        node.server.patch(resources.NODES, "", NODE, zone_a)
        node.create("web", nodeSelector={"zone": "a"})
        node.create("lost", nodeSelector={"zone": "b"})
        await node.until(lambda: node.ready("web"))
        await node.until(lambda: node.status("lost").get("reason") == "NodeAffinity")


async def test_an_hour_at_rest(make: Make) -> None:
    async with make() as node:
        for name in names("plain", 20):
            node.create(name, probed())
        node.write_static("static")
        await node.until(lambda: all(map(node.ready, [*names("plain", 20), "static-n"])))
        await node.sleep(120)
        began, spoken = node.time(), len(node.complaints())
        await node.sleep(3600)
        asked = Counter((request.verb, request.path) for request in node.requests(since=began))
        lease = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE}"
        leases = asked.pop(("update", lease))
        statuses = asked.pop(("patch", f"/api/v1/nodes/{NODE}/status"))
        assert 340 <= leases <= 361
        assert 8 <= statuses <= 13
        assert {verb for verb, _ in asked} == {"watch"}
        assert max(asked.values()) <= 12
        assert node.complaints()[spoken:] == []
        assert node.server.network.tried < 40


async def test_a_node_that_is_deleted_is_registered_again(make: Make) -> None:
    async with make() as node:
        node.create("web")
        node.write_static("static")
        await node.until(lambda: node.ready("web") and node.ready("static-n"))
        before = node.running("web")[0].id
        old = node.server.node(NODE)
        node.server.delete(resources.NODES, "", NODE)
        await node.until(lambda: node.server.node(NODE) is not None and node.node_ready())
        new = node.server.node(NODE)
        assert old is not None and new is not None
        assert new["metadata"]["uid"] != old["metadata"]["uid"]
        await node.sleep(SOON)
        lease = node.server.get(resources.LEASES, "kube-node-lease", NODE)
        assert lease is not None
        assert [owner["uid"] for owner in lease["metadata"]["ownerReferences"]] == [new["metadata"]["uid"]]
        assert node.running("web")[0].id == before
        node.check_agreement()


@pytest.mark.parametrize("seconds", [-7200.0, 7200.0, 86400.0 * 400])
async def test_the_clock_jumps(make: Make, seconds: float) -> None:
    async with make() as node:
        for name in names("plain", 5):
            node.create(name, probed())
        node.create("crash", crashes())
        await node.until(lambda: all(map(node.ready, names("plain", 5))))
        before = {name: node.running(name)[0].id for name in names("plain", 5)}
        await node.sleep(60)
        node.clock.ahead += seconds
        began = node.time()
        await node.sleep(900)
        assert len(node.requests(since=began)) < 900 * TRIED_IN_A_SECOND
        assert node.lease_age() < 12
        assert node.node_ready()
        assert {name: node.running(name)[0].id for name in before} == before
        node.create("new")
        node.delete("plain-0")
        await node.until(lambda: node.ready("new") and node.server.pod("default", "plain-0") is None)
        await node.sleep(SOON)
        node.check_agreement()


# --- random lives -------------------------------------------------------------

KINDS: dict[str, Callable[[], dict[str, Any]]] = {
    "plain": lambda: {"containers": [runs("app"), runs("second")]},
    "crasher": lambda: {"containers": [crashes()]},
    "job": lambda: {"containers": [runs("app", seconds=7)], "restartPolicy": "Never"},
    "batch": lambda: {
        "initContainers": [runs("first", seconds=2)],
        "containers": [runs("app", seconds=9, code=1)],
        "restartPolicy": "OnFailure",
    },
}
ACTIONS = ("create", "create", "delete", "force", "label", "exit", "static", "outage", "compact", "restart")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(ACTIONS),
        st.sampled_from(sorted(KINDS)),
        st.sampled_from(sorted(OUTAGES)),
        st.sampled_from([0.0, 0.05, 1.0, 12.0, 70.0]),
    ),
    min_size=3,
    max_size=12,
)


class Life:
    """What is done to a node at random."""

    def __init__(self, node: JoinedNode) -> None:
        self.node = node
        self.end: End | None = None

    async def do(self, action: str, kind: str, outage: str) -> None:
        node, name = self.node, f"{kind}-pod"
        pod = node.server.pod("default", name)
        match action:
            case "create" if pod is None:
                node.server.create_pod(name, node=NODE, terminationGracePeriodSeconds=2, **KINDS[kind]())
            case "delete" if pod is not None:
                node.delete(name)
            case "force" if pod is not None:
                node.server.delete(resources.PODS, "default", name, 0)
            case "label" if pod is not None:
                change = {"labels": {"seen": str(node.server.store.version)}}
                node.server.patch(resources.PODS, "default", name, lambda obj: obj["metadata"].update(change))
            case "exit":
                for box in node.running(name)[:1]:
                    node.runtime.end_container(box.id, 1)
            case "static":
                path = node.manifests / f"{kind}.yaml"
                if path.exists():
                    path.unlink()
                else:
                    node.write_static(kind)
            case "outage":
                await self.heal()
                self.end = await OUTAGES[outage](node)
            case "compact":
                node.server.compact()
                await node.server.drop_connections()
            case "restart":
                await node.restart(rudely=outage < "c")

    async def heal(self) -> None:
        if self.end is not None:
            await self.end()
        self.end = None


@pytest.mark.timeout(120)
@settings(
    max_examples=10,
    derandomize=True,
    deadline=None,
    # A life takes seconds: one that fails is told as it is.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# The daemon is ended while it is just about to start what waits for the runtime.
@example(steps=[("restart", "job", "unknown", 0.05)])
@given(STEPS)
async def test_random_lives_converge(make: Make, steps: list[tuple[str, str, str, float]]) -> None:
    async with make() as node:
        life = Life(node)
        for action, kind, outage, pause in steps:
            await life.do(action, kind, outage)
            await node.sleep(pause)
        await life.heal()
        await wait_for_recovery(node)
        # The longest waits of both sides are over, and no crash-looping container is just about to end.
        await node.sleep(420)
        node.check_agreement()
