"""Mirror pods follow their static pods."""

import asyncio
import random
from datetime import UTC, datetime

import msgspec
import pytest
from tests.cluster.pods_api import PodsApi

from pykubelet.api.core import Pod, PodStatus
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.node import Node
from pykubelet.api.podinfo import full_name
from pykubelet.base.clock import LoopClock
from pykubelet.cluster.errors import Refused, Unreachable
from pykubelet.cluster.mirror import CreateMirror, DeleteMirror, MirrorPods, mirror_action, mirror_pod

NOON = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
NODE = Node(metadata=ObjectMeta(name="n1", uid="node-uid"))


def static_pod(name="etcd", digest="h1") -> Pod:
    annotations = {"kubernetes.io/config.hash": digest, "kubernetes.io/config.source": "file"}
    meta = ObjectMeta(name=name, namespace="ns", uid=digest, annotations=annotations, labels={"a": "b"})
    return Pod(metadata=meta, status=PodStatus(phase="Running"))


def mirror_of(static: Pod, **meta) -> Pod:
    made = mirror_pod(static, NODE)
    return msgspec.structs.replace(made, metadata=msgspec.structs.replace(made.metadata, uid="m1", **meta))


def test_a_mirror_is_a_copy_with_the_hash_and_the_nodes_ownership() -> None:
    made = mirror_pod(static_pod(), NODE)
    assert (made.metadata.uid, made.status) == ("", PodStatus())
    assert made.metadata.annotations["kubernetes.io/config.mirror"] == "h1"
    assert made.metadata.labels == {"a": "b"}
    (owner,) = made.metadata.ownerReferences
    assert (owner.apiVersion, owner.kind, owner.name, owner.uid) == ("v1", "Node", "n1", "node-uid")
    assert (owner.controller, owner.blockOwnerDeletion) == (True, None)


@pytest.mark.parametrize(
    ("static", "mirror", "node", "terminating", "expected"),
    [
        (static_pod(), None, NODE, False, CreateMirror),
        (static_pod(), None, None, False, None),
        (
            static_pod(),
            None,
            Node(metadata=ObjectMeta(name="n1", uid="u", deletionTimestamp=NOON)),
            False,
            None,
        ),
        (static_pod(), mirror_of(static_pod()), NODE, False, None),
        (static_pod(), mirror_of(static_pod()), None, False, None),
        (static_pod(), mirror_of(static_pod(), deletionTimestamp=NOON), NODE, False, DeleteMirror),
        (static_pod(digest="h2"), mirror_of(static_pod()), NODE, False, DeleteMirror),
        (static_pod(digest="h2"), mirror_of(static_pod()), NODE, True, None),
        (None, mirror_of(static_pod()), NODE, False, DeleteMirror),
        (None, mirror_of(static_pod()), NODE, True, None),
        (None, None, NODE, False, None),
    ],
)
def test_what_is_done_about_a_mirror(static, mirror, node, terminating, expected) -> None:
    action = mirror_action(static, mirror, node, terminating=terminating)
    assert (type(action) if action is not None else None) is expected


def test_a_mirror_stays_until_all_static_pods_are_known() -> None:
    mirror = mirror_of(static_pod())
    assert mirror_action(None, mirror, NODE, terminating=False, complete=False) is None
    # What is known to be wrong is not waited with.
    changed = mirror_action(static_pod(digest="h2"), mirror, NODE, terminating=False, complete=False)
    assert isinstance(changed, DeleteMirror)


class World:
    """Static pods, the watch, the node's object, and stories."""

    def __init__(self) -> None:
        self.api = PodsApi()
        self.statics: dict[str, Pod] = {}
        self.watched: dict[str, Pod] = {}
        self.ending: set[str] = set()
        self.all_known = True
        self.node: Node | None = NODE
        self.stories: list[str] = []
        self.events: list[tuple[str, str]] = []

    def names(self):
        return self.statics.keys() | self.watched.keys()

    def static(self, name):
        return self.statics.get(name)

    def mirror(self, name):
        return self.watched.get(name)

    def terminating(self, name) -> bool:
        return name in self.ending

    def complete(self) -> bool:
        return self.all_known

    def record(self, decision, text, **facts) -> None:
        self.stories.append(decision)

    def pod_event(self, pod, kind, reason, message, *, field_path="") -> None:
        self.events.append((reason, pod.uid))

    def node_event(self, kind, reason, message) -> None:
        raise AssertionError

    def want(self, pod: Pod) -> None:
        self.statics[full_name(pod)] = pod

    def watch(self) -> None:
        pods = [self.api.seen(path, Pod) for path in self.api.objects]
        self.watched = {full_name(pod): pod for pod in pods}

    def verbs(self) -> list[str]:
        return [verb for _, verb, _, _ in self.api.requests]

    async def mirrors(self) -> MirrorPods:
        made = MirrorPods(self.api, self, lambda: self.node, LoopClock(), self, self, random.Random(1))
        await made.start()
        return made


ETCD = "/api/v1/namespaces/ns/pods/etcd"


@pytest.fixture
async def world():
    return World()


@pytest.mark.looptime
async def test_all_mirrors_appear_as_soon_as_the_node_is_known(world) -> None:
    world.node = None
    for i in range(20):
        world.want(static_pod(f"p{i}", f"h{i}"))
    mirrors = await world.mirrors()
    await asyncio.sleep(5)
    assert world.api.requests == []
    world.node = NODE
    mirrors.reconsider_all()
    await asyncio.sleep(0.1)
    assert len(world.api.objects) == 20
    world.watch()
    await asyncio.sleep(300)
    assert len(world.api.requests) == 20
    await mirrors.stop()


@pytest.mark.looptime
async def test_a_mirror_is_made_anew_when_it_or_its_pod_changes(world) -> None:
    world.want(static_pod())
    mirrors = await world.mirrors()
    await asyncio.sleep(0.1)
    world.watch()
    world.want(static_pod(digest="h2"))
    mirrors.reconsider("etcd_ns")
    await asyncio.sleep(0.1)
    assert world.verbs() == ["create", "delete", "create"]
    assert world.api.requests[1][3][0] == 0
    world.watch()
    del world.api.objects[ETCD]
    world.watch()
    mirrors.reconsider("etcd_ns")
    await asyncio.sleep(0.1)
    assert world.verbs()[3:] == ["create"]
    assert world.stories.count("MirrorCreated") == 3
    await mirrors.stop()


@pytest.mark.looptime
async def test_the_mirror_goes_when_its_pod_has_ended(world) -> None:
    world.want(static_pod())
    mirrors = await world.mirrors()
    await asyncio.sleep(0.1)
    world.watch()
    world.statics.clear()
    world.ending.add("etcd_ns")
    mirrors.reconsider("etcd_ns")
    await asyncio.sleep(60)
    assert ETCD in world.api.objects
    world.ending.clear()
    mirrors.reconsider("etcd_ns")
    await asyncio.sleep(0.1)
    assert world.api.objects == {}
    # The watch lags: nothing more is done about it.
    await asyncio.sleep(100)
    assert world.verbs() == ["create", "delete"]
    await mirrors.stop()


@pytest.mark.looptime
async def test_an_equal_mirror_that_is_there_already_is_fine(world) -> None:
    world.api.put(ETCD, mirror_of(static_pod()))
    world.want(static_pod())
    mirrors = await world.mirrors()
    await asyncio.sleep(1)
    assert world.verbs() == ["create", "get"]
    world.watch()
    await asyncio.sleep(100)
    assert len(world.verbs()) == 2
    await mirrors.stop()


@pytest.mark.looptime
@pytest.mark.parametrize("hidden", [False, True])
async def test_somebody_elses_pod_of_that_name_is_left_alone_and_told(world, hidden) -> None:
    if hidden:
        world.api.fails = lambda verb, path: Refused(403, "Forbidden", "not yours") if verb == "get" else None
    world.api.put(ETCD, Pod(metadata=ObjectMeta(name="etcd", namespace="ns", uid="theirs")))
    world.want(static_pod())
    mirrors = await world.mirrors()
    await asyncio.sleep(3600)
    assert "delete" not in world.verbs()
    assert len(world.verbs()) < 300
    assert world.events == [("FailedCreateMirrorPod", "h1")]
    await mirrors.stop()


@pytest.mark.looptime
async def test_a_refusal_is_told_once_and_retried_slowly_but_a_new_manifest_at_once(world) -> None:
    world.want(static_pod())
    world.api.fails = lambda verb, path: Refused(403, "Forbidden", "may not reference secrets")
    mirrors = await world.mirrors()
    await asyncio.sleep(3600)
    assert 20 < len(world.verbs()) < 150
    assert world.events == [("FailedCreateMirrorPod", "h1")]
    world.api.fails = lambda verb, path: None
    world.want(static_pod(digest="h2"))
    mirrors.reconsider("etcd_ns")
    await asyncio.sleep(0.1)
    assert ETCD in world.api.objects
    await mirrors.stop()


@pytest.mark.looptime
async def test_mirrors_come_after_an_outage(world) -> None:
    for i in range(10):
        world.want(static_pod(f"p{i}", f"h{i}"))
    world.api.fails = lambda verb, path: Unreachable("down")
    mirrors = await world.mirrors()
    await asyncio.sleep(600)
    assert len(world.verbs()) < 200
    world.api.fails = lambda verb, path: None
    await asyncio.sleep(20)
    assert len(world.api.objects) == 10
    assert world.events == []
    await mirrors.stop()
