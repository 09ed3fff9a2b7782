"""What the node knows of its runtime."""

import asyncio
from types import SimpleNamespace

import pytest

from pykubelet.base.clock import LoopClock
from pykubelet.base.journal import NullJournal
from pykubelet.base.tasks import TaskOwner
from pykubelet.cri.errors import Code, CriError
from pykubelet.cri.memory import MemoryRuntime
from pykubelet.observe.types import ObservedPod
from pykubelet.wiring.runtime_view import RuntimeView
from pykubelet.wiring.startup import StartError

pytestmark = pytest.mark.looptime


class Observer:
    trouble = ""
    error = None

    def __init__(self):
        self.listed = asyncio.Event()

    async def first_relist(self):
        await self.listed.wait()

    def unhealthy(self):
        return self.trouble

    async def read(self, uid, *, newer_than):
        if self.error is not None:
            raise self.error
        return ObservedPod(uid, read_at=newer_than + 1)

    def cached_uids(self):
        return ["a", "gone", "b"]

    def cached(self, uid):
        return None if uid == "gone" else ObservedPod(uid)


class Node:
    def __init__(self):
        self.clock = LoopClock()
        self.runtime = MemoryRuntime(self.clock)
        self.observer = Observer()
        self.doubts = 0
        health = SimpleNamespace(
            status=None, runtime_errors=lambda: ["down"], network_error=lambda: "no network", doubt=self.doubt
        )
        self.view = RuntimeView(self.runtime, health, self.observer, NullJournal())

    def doubt(self):
        self.doubts += 1


@pytest.fixture
async def node():
    return Node()


async def test_why_pods_cannot_be_worked_on(node):
    assert node.view.errors() == ["down"]
    node.observer.trouble = "no relist for long"
    assert node.view.errors() == ["down", "PLEG is not healthy: no relist for long"]
    assert node.view.network_error() == "no network"
    assert node.view.status is None


async def test_which_runtime_it_is(node):
    assert (node.view.name, node.view.version) == ("", "")
    await node.view.learn_version()
    assert (node.view.name, node.view.version) == ("memory", "1.0.0")


async def test_a_runtime_with_another_cgroup_driver(node):
    node.runtime.cgroup_driver = "systemd"
    with pytest.raises(StartError, match="cgroupDriver"):
        await node.view.learn_version()


@pytest.mark.parametrize(("code", "fatal"), [(Code.Unimplemented, False), (Code.Unavailable, True)])
async def test_a_runtime_that_does_not_tell_its_driver(node, monkeypatch, code, fatal):
    async def refused():
        raise CriError(code, "RuntimeConfig", "no")

    monkeypatch.setattr(node.runtime, "runtime_config", refused)
    if fatal:
        with pytest.raises(CriError):
            await node.view.learn_version()
    else:
        await node.view.learn_version()


@pytest.mark.parametrize(("code", "doubts"), [(Code.Unavailable, 1), (Code.NotFound, 0)])
async def test_a_reading_that_finds_nobody_has_the_runtime_looked_at(node, code, doubts):
    assert (await node.view.read("u", 7.0)).read_at == 8.0
    node.observer.error = CriError(code, "ListContainers", "no")
    with pytest.raises(CriError):
        await node.view.read("u", 7.0)
    assert node.doubts == doubts


async def test_what_runs_is_known_after_the_first_look(node):
    tasks = TaskOwner("test")
    tasks.spawn("look", node.view.look_first())
    waiting = tasks.spawn("pods", node.view.running_pods())
    await node.clock.sleep(5)
    assert not waiting.done()
    assert not node.view.settled.is_set()
    node.observer.listed.set()
    assert [pod.uid for pod in await waiting] == ["a", "b"]
    await tasks.close()
