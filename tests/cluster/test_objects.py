"""The manager of config maps and secrets: registered pods, the three strategies, the adapters."""

import asyncio
import random
from collections.abc import Collection

import pytest
from tests.cluster.fake_objects import FakeObjects, forbidden

from pykubelet.api.codec import convert
from pykubelet.api.core import Pod
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.objects import ConfigMap, Secret
from pykubelet.base.clock import LoopClock
from pykubelet.cluster.errors import Refused, Unreachable
from pykubelet.cluster.object_cache import object_ttl
from pykubelet.cluster.objects import ContainerObjects, ObjectManager, Strategy
from pykubelet.explain.journal import DecisionJournal

pytestmark = pytest.mark.looptime


def pod(uid: str = "u1", *, maps: Collection[str] = ("app",), secrets: Collection[str] = ()) -> Pod:
    volumes = [{"name": name, "configMap": {"name": name}} for name in maps]
    return convert(
        {
            "metadata": {"name": uid, "namespace": "ns", "uid": uid},
            "spec": {"volumes": volumes, "imagePullSecrets": [{"name": name} for name in secrets]},
        },
        Pod,
    )


def config_map(value: str = "1") -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(namespace="ns", name="app"), data={"key": value})


def secret(value: bytes = b"s") -> Secret:
    return Secret(metadata=ObjectMeta(namespace="ns", name="pull"), data={"key": value})


class Bench:
    def __init__(self, strategy: Strategy = "Watch") -> None:
        clock = LoopClock()
        self.api = FakeObjects()
        self.told: list[tuple[str, str, str, list[str]]] = []
        self.ttl: float | None = None
        self.journal = DecisionJournal(clock)
        self.manager = ObjectManager(
            self.api,
            clock,
            random.Random(1),
            self.journal,
            strategy=strategy,
            sync_period=60,
            ttl=lambda: self.ttl,
            on_change=lambda kind, namespace, name, pods: self.told.append(
                (kind, namespace, name, sorted(pods))
            ),
        )

    async def value(self) -> str | None:
        found = await self.manager.config_map("ns", "app")
        return None if found is None else found.data["key"]


async def test_watched_from_the_first_pod_to_the_last() -> None:
    bench = Bench()
    bench.api.put(config_map())
    await bench.manager.start()
    bench.manager.register(pod("u1"))
    bench.manager.register(pod("u1"))
    bench.manager.register(pod("u2"))
    await asyncio.sleep(2)
    assert bench.api.asked == {"list ns/configmaps/app": 1, "watch ns/configmaps/app": 1}
    bench.manager.unregister(pod("u1"))
    bench.manager.unregister(pod("u1"))
    assert await bench.value() == "1"
    bench.manager.unregister(pod("u2"))
    with pytest.raises(LookupError, match='object "ns"/"app" not registered'):
        await bench.value()
    await bench.manager.stop()


async def test_a_changed_spec_needs_other_objects() -> None:
    bench = Bench()
    bench.api.put(config_map())
    bench.api.put(secret())
    bench.manager.register(pod(maps=["app"]))
    assert await bench.value() == "1"
    bench.manager.register(pod(maps=[], secrets=["pull"]))
    with pytest.raises(LookupError):
        await bench.value()
    found = await bench.manager.secret("ns", "pull")
    assert found is not None
    assert found.data == {"key": b"s"}
    await bench.manager.stop()


async def test_changes_are_told_and_stand_in_each_pods_story() -> None:
    bench = Bench()
    bench.manager.register(pod("u1"))
    bench.manager.register(pod("u2"))
    await asyncio.sleep(2)
    bench.api.put(config_map())
    await asyncio.sleep(0.1)
    assert bench.told == [("configmap", "ns", "app", ["u1", "u2"])]
    story = bench.journal.of_pod("u2")
    assert [(entry.what, entry.text) for entry in story] == [("ObjectChanged", "the configmap app changed")]
    await bench.manager.stop()


async def test_a_secrets_value_is_in_no_story() -> None:
    bench = Bench()
    bench.api.put(secret(b"old"))
    bench.manager.register(pod(secrets=["pull"]))
    await asyncio.sleep(2)
    bench.api.put(secret(b"hidden"))
    await asyncio.sleep(0.1)
    assert bench.told[-1][0] == "secret"
    assert "hidden" not in repr(bench.journal.of_pod("u1"))
    await bench.manager.stop()


async def test_containers_see_data_only() -> None:
    bench = Bench()
    objects = ContainerObjects(bench.manager)
    bench.api.put(config_map())
    bench.api.put(secret())
    bench.manager.register(pod(maps=["app", "missing"], secrets=["pull", "gone"]))
    assert await objects.config_map("ns", "app") == {"key": "1"}
    assert await objects.config_map("ns", "missing") is None
    assert await objects.secret("ns", "pull") == {"key": b"s"}
    assert await objects.secret("ns", "gone") is None
    with pytest.raises(LookupError):
        await objects.secret("ns", "other")
    await bench.manager.stop()


async def test_get_asks_each_time_and_needs_no_registered_pod() -> None:
    bench = Bench("Get")
    await bench.manager.start()
    assert await bench.value() is None
    bench.api.put(config_map())
    assert (await bench.value(), await bench.value()) == ("1", "1")
    assert bench.api.asked == {"get ns/configmaps/app": 3}
    bench.api.broken = forbidden("app")
    with pytest.raises(LookupError, match="is forbidden"):
        await bench.value()
    bench.manager.register(pod())
    bench.manager.unregister(pod())
    await bench.manager.stop()


async def test_the_cache_asks_again_after_its_time() -> None:
    bench = Bench("Cache")
    await bench.manager.start()
    bench.api.put(config_map())
    with pytest.raises(LookupError, match="not registered"):
        await bench.value()
    bench.manager.register(pod())
    assert await bench.value() == "1"
    bench.api.put(config_map("2"))
    await asyncio.sleep(59)
    assert await bench.value() == "1"
    await asyncio.sleep(1)
    assert await bench.value() == "2"
    assert bench.api.queries == [{}, {"resourceVersion": "0"}]
    await bench.manager.stop()


async def test_the_node_says_how_long_the_cache_believes() -> None:
    bench = Bench("Cache")
    bench.ttl = 300
    bench.api.put(config_map())
    bench.manager.register(pod())
    await bench.value()
    await asyncio.sleep(299)
    await bench.value()
    assert bench.api.asked.total() == 1
    bench.ttl = 0
    await bench.value()
    await bench.value()
    assert bench.api.asked.total() == 3


async def test_a_new_pod_makes_the_cache_ask_again() -> None:
    bench = Bench("Cache")
    bench.api.put(config_map())
    bench.manager.register(pod("u1"))
    await bench.value()
    bench.api.put(config_map("2"))
    bench.manager.register(pod("u1"))
    assert await bench.value() == "1"
    bench.manager.register(pod("u2"))
    assert await bench.value() == "2"
    assert bench.api.queries == [{}, {}]
    bench.manager.unregister(pod("u1"))
    assert await bench.value() == "2"
    bench.manager.unregister(pod("u2"))
    with pytest.raises(LookupError):
        await bench.value()


async def test_the_cache_asks_each_time_for_what_is_missing() -> None:
    bench = Bench("Cache")
    bench.manager.register(pod())
    assert await bench.value() is None
    bench.api.put(config_map())
    assert await bench.value() == "1"
    bench.api.remove(config_map())
    await asyncio.sleep(61)
    assert await bench.value() is None


@pytest.mark.parametrize("error", [Unreachable("refused"), Refused(500, "InternalError", "oh")])
async def test_the_cache_serves_what_it_has_while_the_server_is_away(error: Exception) -> None:
    bench = Bench("Cache")
    bench.manager.register(pod())
    bench.api.broken = error  # type: ignore[assignment]
    with pytest.raises(LookupError, match=str(error)):
        await bench.value()
    bench.api.broken = None
    bench.api.put(config_map())
    assert await bench.value() == "1"
    bench.api.broken = error  # type: ignore[assignment]
    await asyncio.sleep(100)
    assert await bench.value() == "1"


async def test_the_cache_does_not_go_back_in_time() -> None:
    bench = Bench("Cache")
    bench.manager.register(pod())
    bench.api.version = 200
    bench.api.put(config_map("new"))
    assert await bench.value() == "new"
    bench.api.version = 100
    bench.api.put(config_map("old"))
    await asyncio.sleep(61)
    assert await bench.value() == "new"


async def test_many_who_ask_the_cache_make_one_request() -> None:
    bench = Bench("Cache")
    bench.api.put(config_map())
    bench.manager.register(pod())
    assert await asyncio.gather(*(bench.value() for _ in range(10))) == ["1"] * 10
    assert bench.api.asked.total() == 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0.0), ("300", 300.0), ("-1", -1.0), ("", None), ("1m", None), ("1_0", None), (" 5", None)],
)
def test_the_nodes_annotation(value: str, seconds: float | None) -> None:
    assert object_ttl({"node.alpha.kubernetes.io/ttl": value}) == seconds
    assert object_ttl({}) is None


async def test_hundreds_of_pods_share_one_list_and_one_watch() -> None:
    bench = Bench()
    bench.api.put(config_map())
    pods = [pod(f"u{number}") for number in range(300)]
    for one in pods:
        bench.manager.register(one)
    assert set(await asyncio.gather(*(bench.value() for _ in pods))) == {"1"}
    await asyncio.sleep(2)
    once = {"list ns/configmaps/app": 1, "watch ns/configmaps/app": 1}
    assert (bench.api.asked, bench.api.watching("configmaps", "app")) == (once, 1)
    bench.api.put(config_map("2"))
    await asyncio.sleep(0.1)
    assert bench.told == [("configmap", "ns", "app", sorted(one.metadata.uid for one in pods))]
    assert set(await asyncio.gather(*(bench.value() for _ in pods))) == {"2"}
    for one in pods[:-1]:
        bench.manager.unregister(one)
    await asyncio.sleep(10)
    assert (bench.api.asked, bench.api.watching("configmaps", "app")) == (once, 1)
    assert await bench.value() == "2"
    bench.manager.unregister(pods[-1])
    await asyncio.sleep(0.1)
    assert (bench.api.asked, bench.api.watching("configmaps", "app")) == (once, 0)
    await bench.manager.stop()
