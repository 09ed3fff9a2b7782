import asyncio

import pytest

from pykubelet.api.core import Pod
from pykubelet.api.meta import ObjectMeta
from pykubelet.base.clock import ManualClock
from pykubelet.base.journal import NullJournal
from pykubelet.pods.sources import Op, PodConfig


class Heard(NullJournal):
    def __init__(self):
        self.events = []

    def pod_event(self, pod, kind, reason, message, *, field_path=""):
        self.events.append((str(pod), kind, reason, message))


def pod(uid, name=""):
    return Pod(metadata=ObjectMeta(uid=uid, name=name or uid, namespace="default"))


@pytest.fixture
def heard():
    return Heard()


@pytest.fixture
def config(heard):
    return PodConfig(ManualClock(), heard, heard)


async def test_sources_are_ready_when_delivered_and_dealt_with(config):
    file, http = config.channel("file"), config.channel("http")
    assert not config.all_sources_ready()
    await file([])
    await http([pod("a")])
    assert not config.all_sources_ready()
    first, second = await config.next_update(), await config.next_update()
    assert (first.op, first.pods, first.source) == (Op.ADD, (), "file")
    assert (second.op, len(second.pods), second.source) == (Op.ADD, 1, "http")
    config.processed(first)
    assert not config.all_sources_ready()
    config.processed(second)
    assert config.all_sources_ready()


def test_without_sources_everything_is_ready(config):
    assert config.all_sources_ready()


def test_a_source_speaks_for_its_own_pods_alone(config):
    config.apply("file", [pod("a")])
    config.apply("http", [pod("b")])
    [update] = config.apply("file", [])
    assert (update.op, [p.metadata.uid for p in update.pods]) == (Op.REMOVE, ["a"])
    assert [p.metadata.uid for p in config.pods("http")] == ["b"]


def test_duplicates_are_told_once(config, heard):
    for _ in range(3):
        config.apply("file", [pod("1", "web"), pod("2", "web")])
    message = 'Error validating pod web_default(2) from file due to duplicate pod name "web", ignoring'
    assert heard.events == [("web_default(2)", "Warning", "FailedValidation", message)]
    config.apply("file", [pod("1", "web")])
    config.apply("file", [pod("1", "web"), pod("2", "web")])
    assert len(heard.events) == 2


async def test_a_full_queue_makes_sources_wait_and_loses_nothing(config):
    send = config.channel("file")
    sets = [[pod("a")], []] * 40
    sent = 0

    async def feed():
        nonlocal sent
        for one in sets:
            await send(one)
            sent += 1

    feeder = asyncio.get_running_loop().create_task(feed())
    await asyncio.sleep(0.01)
    assert sent == 50
    feeder.cancel()
    await asyncio.gather(feeder, return_exceptions=True)
    ops = [(await config.next_update()).op for _ in range(50)]
    await send([pod("last")])
    while not config._queue.empty():
        ops.append((await config.next_update()).op)
    assert ops[:51] == [Op.ADD, Op.REMOVE] * 25 + [Op.ADD]
    assert ops[51:] == [Op.REMOVE, Op.ADD]
