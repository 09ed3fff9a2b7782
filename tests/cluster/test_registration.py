"""The Node is made, put right, or waited for."""

import itertools
from types import SimpleNamespace

import msgspec
import pytest
from tests.cluster.fake_node_api import NODE, FakeNodeApi, away

from pykubelet.api.meta import ObjectMeta
from pykubelet.api.node import Node
from pykubelet.base.clock import LoopClock
from pykubelet.base.journal import NullJournal
from pykubelet.cluster.errors import Refused
from pykubelet.cluster.registration import Registration

pytestmark = pytest.mark.looptime(start=0)


class Story(NullJournal):
    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []

    def node_event(self, kind, reason, message) -> None:
        self.events.append((kind, reason, message))


@pytest.fixture
def api():
    return FakeNodeApi()


@pytest.fixture
def story():
    return Story()


def registration(api, story, **settings):
    event = SimpleNamespace(kind="Normal", reason="NodeHasSufficientMemory", message="m")
    node = Node(apiVersion="v1", kind="Node", metadata=ObjectMeta(name="n", labels={"a": "new"}))

    def reconcile(initial, existing):
        labels = {**existing.metadata.labels, **initial.metadata.labels}
        metadata = msgspec.structs.replace(existing.metadata, labels=labels)
        return msgspec.structs.replace(existing, metadata=metadata)

    initial = SimpleNamespace(node=node, events=(event,))
    return Registration(
        api, "n", LoopClock(), story, story, initial=lambda: initial, reconcile=reconcile, **settings
    )


def verbs(api):
    return [verb for _, verb, *_ in api.requests]


async def test_a_node_is_made(api, story) -> None:
    made = registration(api, story)
    node = await made.run()
    assert node.metadata.uid == api.objects[NODE]["metadata"]["uid"]
    assert verbs(api) == ["create"]
    assert story.events == [("Normal", "NodeHasSufficientMemory", "m")]
    del api.objects[NODE]
    await made.run()
    assert len(story.events) == 1


@pytest.mark.parametrize(
    ("labels", "patched"), [({"a": "old", "b": "1"}, True), ({"a": "new", "b": "1"}, False)]
)
async def test_one_that_is_there_is_put_right(api, story, labels, patched) -> None:
    api.put(NODE, Node(metadata=ObjectMeta(name="n", uid="u", labels=labels)))
    node = await registration(api, story).run()
    assert node.metadata.labels == {"a": "new", "b": "1"}
    assert verbs(api) == ["create", "get"] + ["patch"] * patched
    if patched:
        assert api.requests[-1][2:] == (f"{NODE}/status", {"metadata": {"labels": {"a": "new"}}})


async def test_tries_become_rarer_and_never_end(api, story) -> None:
    api.fails = away
    made, clock = registration(api, story), LoopClock()
    from pykubelet.base.tasks import TaskOwner

    owner = TaskOwner("test")
    task = owner.spawn("register", made.run())
    await clock.sleep(3600)
    times = [at for at, *_ in api.requests]
    waits = [late - early for early, late in itertools.pairwise(times)]
    assert waits[:3] == pytest.approx([0.11, 0.21, 0.41])
    assert max(waits) == pytest.approx(7.01)
    assert len(times) < 3600 / 6.5
    api.fails = lambda verb, path: None
    await clock.sleep(8)
    assert task.done()
    await owner.close()


async def test_where_making_is_forbidden_it_is_looked_for(api, story) -> None:
    api.put(NODE, Node(metadata=ObjectMeta(name="n", uid="u", labels={"a": "new"})))
    api.fails = lambda verb, path: Refused(403, "Forbidden", "no") if verb == "create" else None
    assert (await registration(api, story).run()).metadata.uid == "u"


async def test_with_the_gate_a_refusal_is_a_refusal(api, story) -> None:
    api.fails = lambda verb, path: Refused(403, "Forbidden", "no") if len(api.requests) < 3 else None
    await registration(api, story, get_when_forbidden=False).run()
    assert verbs(api) == ["create"] * 3


async def test_without_register_node_it_is_only_waited_for(api, story) -> None:
    from pykubelet.base.tasks import TaskOwner

    owner, clock = TaskOwner("test"), LoopClock()
    task = owner.spawn("register", registration(api, story, register=False).run())
    await clock.sleep(20)
    assert set(verbs(api)) == {"get"}
    api.put(NODE, Node(metadata=ObjectMeta(name="n", uid="u")))
    await clock.sleep(8)
    assert task.result().metadata.uid == "u"
    await owner.close()


async def test_the_servers_wish_for_a_wait_is_heeded(api, story) -> None:
    api.fails = lambda verb, path: (
        Refused(429, "TooManyRequests", "wait", retry_after=30) if len(api.requests) == 1 else None
    )
    await registration(api, story).run()
    assert api.requests[1][0] - api.requests[0][0] == pytest.approx(30, abs=0.1)
