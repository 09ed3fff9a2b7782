"""The watch store on virtual time: requests made, what is told, what is dropped."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.cluster.fake_objects import FakeObjects, forbidden

from pykubelet.api.meta import ObjectMeta
from pykubelet.api.objects import ConfigMap
from pykubelet.base.clock import LoopClock
from pykubelet.cluster.door import Change
from pykubelet.cluster.errors import Refused, Unreachable
from pykubelet.cluster.object_kinds import CONFIG_MAPS
from pykubelet.cluster.object_watch import WATCH_TIME, WatchStore

pytestmark = pytest.mark.looptime

KEY = ("ns/configmaps", "app")


def config_map(value: str = "1", *, name: str = "app", immutable: bool | None = None) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(namespace="ns", name=name), data={"key": value}, immutable=immutable)


class Bench:
    def __init__(self) -> None:
        self.api = FakeObjects()
        self.told: list[tuple[str, tuple[str, ...]]] = []
        self.store: WatchStore[ConfigMap] = WatchStore(
            self.api,
            LoopClock(),
            random.Random(1),
            CONFIG_MAPS,
            idle_after=300,
            on_change=lambda namespace, name, pods: self.told.append((name, tuple(pods))),
        )

    async def value(self) -> str | None:
        found = await self.store.get("ns", "app")
        return None if found is None else found.data["key"]


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    # Started by the tests that need it: virtual time begins with the test itself.
    made = Bench()
    yield made
    await made.store.stop()


async def test_a_start_costs_one_list_and_the_watch_follows(bench: Bench) -> None:
    bench.api.put(config_map())
    bench.store.add("ns", "app", "u1", mounted=True)
    bench.store.add("ns", "app", "u2", mounted=True)
    assert await bench.value() == "1"
    assert bench.api.asked == {"list ns/configmaps/app": 1}
    await asyncio.sleep(2)
    assert bench.api.watching("configmaps", "app") == 1
    query = bench.api.queries[0]
    assert query["resourceVersion"] == "101"
    assert query["allowWatchBookmarks"] == "true"
    assert WATCH_TIME <= int(query["timeoutSeconds"]) < 2 * WATCH_TIME


async def test_what_nobody_registered_is_not_known(bench: Bench) -> None:
    with pytest.raises(LookupError, match=r'^object "ns"/"app" not registered$'):
        await bench.store.get("ns", "app")


async def test_a_change_is_told_to_all_its_pods_and_metadata_is_no_change(bench: Bench) -> None:
    bench.api.put(config_map())
    bench.store.add("ns", "app", "u1", mounted=True)
    bench.store.add("ns", "app", "u2", mounted=False)
    await asyncio.sleep(2)
    assert bench.told == []
    bench.api.put(config_map())
    bench.api.tell(KEY, Change("BOOKMARK", config_map("none"), "900"))
    await asyncio.sleep(0.1)
    assert bench.told == []
    bench.api.put(config_map("2"))
    await asyncio.sleep(0.1)
    assert bench.told == [("app", ("u1", "u2"))]
    assert await bench.value() == "2"


async def test_a_change_between_list_and_watch_is_not_lost(bench: Bench) -> None:
    bench.api.put(config_map())
    bench.store.add("ns", "app", "u1", mounted=True)
    assert await bench.value() == "1"
    bench.api.put(config_map("2"))
    await asyncio.sleep(2)
    assert (await bench.value(), bench.told) == ("2", [("app", ("u1",))])


async def test_an_object_that_appears_and_vanishes_is_noticed(bench: Bench) -> None:
    bench.store.add("ns", "app", "u1", mounted=True)
    assert await bench.value() is None
    await asyncio.sleep(2)
    bench.api.put(config_map())
    await asyncio.sleep(0.1)
    assert (await bench.value(), len(bench.told)) == ("1", 1)
    bench.api.remove(config_map())
    await asyncio.sleep(0.1)
    assert (await bench.value(), len(bench.told)) == (None, 2)


async def test_a_slow_first_list_fails_the_question_and_is_told_when_it_came(bench: Bench) -> None:
    bench.api.put(config_map())
    bench.api.slow = 3
    bench.store.add("ns", "app", "u1", mounted=True)
    began = asyncio.get_running_loop().time()
    text = "^failed to sync configmap cache: timed out waiting for the condition$"
    with pytest.raises(LookupError, match=text):
        await bench.value()
    assert asyncio.get_running_loop().time() - began == pytest.approx(1)
    await asyncio.sleep(3)
    assert bench.told == [("app", ("u1",))]
    assert await bench.value() == "1"


async def test_the_reason_of_a_failed_list_is_in_the_text_and_it_is_tried_again(bench: Bench) -> None:
    bench.api.put(config_map())
    bench.api.broken = forbidden("app")
    bench.store.add("ns", "app", "u1", mounted=True)
    with pytest.raises(LookupError, match=r'condition \(configmaps "app" is forbidden'):
        await bench.value()
    bench.api.broken = None
    await asyncio.sleep(3)
    assert await bench.value() == "1"


async def test_a_server_that_learns_late_of_the_pod_delays_its_start_a_little_only(bench: Bench) -> None:
    bench.api.put(config_map())
    bench.api.broken = forbidden("app")
    bench.store.add("ns", "app", "u1", mounted=True)
    await asyncio.sleep(0.05)
    bench.api.broken = None
    assert await bench.value() == "1"


@pytest.mark.parametrize(
    ("end", "lists"),
    [
        (None, 1),
        (Unreachable("connection reset"), 1),
        (Refused(503, "ServiceUnavailable", "shutting down"), 1),
        (Refused(410, "Expired", "too old resource version"), 2),
        (Refused(403, "Forbidden", "no"), 1),
        (Refused(400, "BadRequest", "no"), 2),
    ],
)
async def test_a_watch_that_ends_goes_on_where_it_stopped(
    bench: Bench, end: Refused | Unreachable | None, lists: int
) -> None:
    bench.api.put(config_map())
    bench.store.add("ns", "app", "u1", mounted=True)
    await asyncio.sleep(10)
    bench.api.tell(KEY, Change("BOOKMARK", config_map(), "555"))
    bench.api.tell(KEY, end)
    await asyncio.sleep(5)
    assert bench.api.asked == {"list ns/configmaps/app": lists, "watch ns/configmaps/app": 2}
    if lists == 1:
        assert bench.api.queries[-1]["resourceVersion"] == "555"
    assert await bench.value() == "1"


async def test_a_server_that_ends_watches_at_once_is_not_stormed(bench: Bench) -> None:
    bench.store.add("ns", "app", "u1", mounted=True)
    await asyncio.sleep(2)
    for _ in range(600):
        bench.api.tell(KEY, None)
        await asyncio.sleep(0.1)
    assert bench.api.asked["watch ns/configmaps/app"] < 12


async def test_an_outage_is_waited_out_and_the_old_state_serves(bench: Bench) -> None:
    bench.api.put(config_map())
    bench.store.add("ns", "app", "u1", mounted=True)
    await asyncio.sleep(2)
    bench.api.broken = Unreachable("connection refused")
    bench.api.tell(KEY, Unreachable("connection reset"))
    await asyncio.sleep(600)
    assert await bench.value() == "1"
    assert bench.api.asked["watch ns/configmaps/app"] < 30
    bench.api.broken = None
    bench.api.put(config_map("2"))
    await asyncio.sleep(61)
    assert await bench.value() == "2"


async def test_what_is_immutable_is_watched_no_more(bench: Bench) -> None:
    bench.api.put(config_map())
    bench.store.add("ns", "app", "u1", mounted=True)
    await asyncio.sleep(2)
    bench.api.put(config_map(immutable=True))
    await asyncio.sleep(0.1)
    assert (bench.api.watching("configmaps", "app"), bench.store.watched) == (0, 0)
    assert await bench.value() == "1"
    bench.store.add("ns", "app", "u2", mounted=True)
    await asyncio.sleep(10)
    assert bench.api.asked == {"list ns/configmaps/app": 1, "watch ns/configmaps/app": 1}


async def test_what_is_immutable_from_the_start_is_never_watched(bench: Bench) -> None:
    bench.api.put(config_map(immutable=True))
    bench.store.add("ns", "app", "u1", mounted=True)
    await asyncio.sleep(10)
    assert (await bench.value(), bench.api.asked) == ("1", {"list ns/configmaps/app": 1})


async def test_what_no_pod_needs_is_dropped(bench: Bench) -> None:
    bench.store.add("ns", "app", "u1", mounted=True)
    bench.store.add("ns", "app", "u2", mounted=True)
    await asyncio.sleep(2)
    bench.store.drop("ns", "app", "u1")
    bench.store.drop("ns", "app", "u1")
    await asyncio.sleep(0.1)
    assert bench.api.watching("configmaps", "app") == 1
    bench.store.drop("ns", "app", "u2")
    await asyncio.sleep(0.1)
    assert (bench.api.watching("configmaps", "app"), bench.store.watched) == (0, 0)
    with pytest.raises(LookupError):
        await bench.value()


async def test_a_watch_that_no_volume_needs_ends_unused_and_comes_back(bench: Bench) -> None:
    await bench.store.start()
    bench.api.put(config_map())
    bench.store.add("ns", "app", "u1", mounted=False)
    await asyncio.sleep(200)
    assert await bench.value() == "1"
    await asyncio.sleep(250)
    assert bench.api.watching("configmaps", "app") == 1
    await asyncio.sleep(200)
    assert bench.api.watching("configmaps", "app") == 0
    bench.api.put(config_map("2"))
    bench.store.add("ns", "app", "u1", mounted=False)
    assert await bench.value() == "2"
    await asyncio.sleep(2)
    assert bench.api.watching("configmaps", "app") == 1


async def test_what_a_volume_shows_is_watched_as_long_as_the_pod_lives(bench: Bench) -> None:
    await bench.store.start()
    bench.api.put(config_map())
    bench.store.add("ns", "app", "u1", mounted=True)
    await asyncio.sleep(7200)
    assert bench.api.watching("configmaps", "app") == 1


async def test_many_watches_do_not_begin_at_once(bench: Bench) -> None:
    for number in range(100):
        bench.store.add("ns", f"app-{number}", "u1", mounted=True)
    await asyncio.sleep(0.4)
    begun = sum(verb.startswith("watch") for verb in bench.api.asked)
    assert 5 < begun < 60
    await asyncio.sleep(2)
    assert bench.store.watched == 100


async def test_a_failing_listener_ends_no_watch() -> None:
    bench = Bench()
    told: list[str] = []

    def listener(namespace: str, name: str, pods: object) -> None:
        told.append(name)
        raise RuntimeError("listener")

    bench.store = WatchStore(
        bench.api, LoopClock(), random.Random(1), CONFIG_MAPS, idle_after=300, on_change=listener
    )
    bench.store.add("ns", "app", "u1", mounted=True)
    await asyncio.sleep(2)
    bench.api.put(config_map())
    await asyncio.sleep(0.1)
    bench.api.put(config_map("2"))
    await asyncio.sleep(0.1)
    assert (await bench.value(), told) == ("2", ["app", "app"])
    await bench.store.stop()


async def test_stopping_ends_all(bench: Bench) -> None:
    bench.store.add("ns", "app", "u1", mounted=True)
    await asyncio.sleep(2)
    await bench.store.stop()
    assert bench.api.watching("configmaps", "app") == 0
    bench.store.add("ns", "app", "u1", mounted=True)
    assert bench.store.watched == 0
