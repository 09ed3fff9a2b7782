"""The reflector against a server that drops, forgets, refuses and is away."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.cluster.fake_api import ListWatchApi

from pykubelet.api.meta import ObjectMeta
from pykubelet.api.objects import ConfigMap
from pykubelet.base.clock import LoopClock
from pykubelet.cluster.door import Change
from pykubelet.cluster.errors import Refused, Unreachable
from pykubelet.cluster.reflector import Reflector

pytestmark = pytest.mark.looptime


def thing(uid: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=uid, uid=uid))


class Told:
    def __init__(self) -> None:
        self.changes: list[tuple[str, str]] = []
        self.syncs: list[set[str]] = []

    def change(self, change: Change[ConfigMap]) -> None:
        self.changes.append((change.kind, change.object.metadata.uid))

    def sync(self, items: Any) -> None:
        self.syncs.append(set(items))


@asynccontextmanager
async def running(
    api: ListWatchApi, told: Told | None = None, **more: Any
) -> AsyncGenerator[Reflector[ConfigMap], None]:
    told = told or Told()
    reflector = Reflector(
        api, "/api/v1/configmaps", ConfigMap, LoopClock(), random.Random(1),  # type: ignore[arg-type]
        on_change=told.change, on_sync=told.sync, **more,
    )  # fmt: skip
    await reflector.start()
    try:
        yield reflector
    finally:
        await reflector.stop()


@pytest.mark.parametrize("watch_list", [True, False])
async def test_what_changes_on_the_server_is_seen(watch_list: bool) -> None:
    api, told = ListWatchApi(), Told()
    await api.put(thing("a"))
    async with running(api, told, watch_list=watch_list, query={"fieldSelector": "x=y"}) as reflector:
        await reflector.synced.wait()
        await api.put(thing("b"))
        await api.put(thing("a"))
        await api.remove("b")
        await asyncio.sleep(0.1)
        assert set(reflector.items) == {"a"}
        assert reflector.get("a") == api.objects["a"]
    assert told.changes == [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]
    assert told.syncs == [{"a"}]
    assert all(query["fieldSelector"] == "x=y" for _, query in api.asked)
    if not watch_list:
        assert api.asked[0][1]["resourceVersion"] == "0"
        assert api.asked[1][1]["allowWatchBookmarks"] == "true"
        assert 300 <= int(api.asked[1][1]["timeoutSeconds"]) <= 600


async def test_a_server_without_watch_list_is_listed_and_not_asked_again() -> None:
    api = ListWatchApi()
    api.watch_lists = False
    async with running(api) as reflector:
        await asyncio.wait_for(reflector.synced.wait(), 0.5)
        api.forget_history()
        await api.put(thing("a"))
        api.oldest = api.version
        await api.cut(Refused(410, "Expired", "too old"))
        await asyncio.sleep(5)
        assert set(reflector.items) == {"a"}
    assert api.count("watch-list") == 1
    assert api.count("list") == 2


@pytest.mark.parametrize("watch_list", [True, False])
async def test_what_cannot_be_decoded_in_a_new_list_stays_as_it_was(watch_list: bool) -> None:
    api, told = ListWatchApi(), Told()
    before = await api.put(thing("a"))
    async with running(api, told, watch_list=watch_list) as reflector:
        await reflector.synced.wait()
        api.unreadable |= {"a", "b"}
        await api.cut()
        await api.put(thing("a"))
        await api.put(thing("b"))
        api.forget_history()
        await asyncio.sleep(60)
        assert dict(reflector.items) == {"a": before}
        api.unreadable.clear()
        after = await api.put(thing("a"))
        await asyncio.sleep(60)
        assert reflector.get("a") == after
        await api.remove("a")
        await asyncio.sleep(1)
        assert reflector.get("a") is None
    assert len(told.syncs) == 2
    assert told.changes[-1] == ("DELETED", "a")
    assert ("DELETED", "a") not in told.changes[:-1]


async def test_a_server_that_does_not_understand_watch_list_is_listed() -> None:
    class Old(ListWatchApi):
        def watch(self, path: str, kind: Any, *, query: Any = None, last_known: Any = None) -> Any:
            plain = {key: value for key, value in query.items() if key != "sendInitialEvents"}
            return super().watch(
                path,
                kind,
                query={**plain, "resourceVersion": query["resourceVersion"] or "0"},
                last_known=last_known,
            )

    api = Old()
    async with running(api) as reflector:
        await asyncio.wait_for(reflector.synced.wait(), 40)


@pytest.mark.parametrize("error", [None, Unreachable("reset"), Refused(500, "InternalError", "oops")])
async def test_a_watch_goes_on_where_it_ended(error: Any) -> None:
    api, told = ListWatchApi(), Told()
    await api.put(thing("a"))
    async with running(api, told) as reflector:
        await reflector.synced.wait()
        await asyncio.sleep(10)
        await api.put(thing("b"))
        await asyncio.sleep(10)
        await api.cut(error)
        await api.put(thing("c"))
        await api.remove("a")
        await asyncio.sleep(3)
        assert set(reflector.items) == {"b", "c"}
    assert api.count("watch-list") == 1
    assert api.count("list") == 0
    assert api.asked[1][1]["resourceVersion"] == "12"
    assert told.changes[-2:] == [("ADDED", "c"), ("DELETED", "a")]


async def test_bookmarks_carry_it_over_a_forgotten_history() -> None:
    api = ListWatchApi()
    async with running(api) as reflector:
        await reflector.synced.wait()
        api.version = 500
        await api.bookmark(ConfigMap)
        await asyncio.sleep(1)
        api.forget_history()
        await api.cut()
        await asyncio.sleep(5)
        await api.put(thing("a"))
        await asyncio.sleep(0.1)
        assert set(reflector.items) == {"a"}
    assert api.count("watch-list") == 1


async def test_a_forgotten_version_is_listed_anew_and_deletions_found() -> None:
    api, told = ListWatchApi(), Told()
    await api.put(thing("a"))
    await api.put(thing("b"))
    async with running(api, told, watch_list=False) as reflector:
        await reflector.synced.wait()
        await asyncio.sleep(5)
        await api.cut(Unreachable("away"))
        await api.remove("a")
        await api.put(thing("c"))
        api.forget_history()
        await asyncio.sleep(10)
        assert set(reflector.items) == {"b", "c"}
    assert ("DELETED", "a") in told.changes
    assert told.syncs == [{"a", "b"}, {"b", "c"}]
    lists = [query for kind, query in api.asked if kind == "list"]
    assert [query["resourceVersion"] for query in lists] == ["0", "12"]


async def test_nothing_is_deleted_while_the_server_is_away_and_it_is_not_stormed() -> None:
    api, told = ListWatchApi(), Told()
    await api.put(thing("a"))
    async with running(api, told) as reflector:
        await reflector.synced.wait()
        api.down = Unreachable("connection refused")
        await api.cut(api.down)
        before = len(api.asked)
        await asyncio.sleep(3600)
        assert set(reflector.items) == {"a"}
        assert 3600 / 60 <= len(api.asked) - before <= 3600 / 30 + 10
        api.down = None
        await asyncio.sleep(61)
        await api.put(thing("b"))
        await asyncio.sleep(0.1)
        assert set(reflector.items) == {"a", "b"}
    assert told.changes == [("ADDED", "a"), ("ADDED", "b")]


async def test_a_server_that_forgets_all_at_once_is_not_stormed() -> None:
    api = ListWatchApi()
    api.oldest = 10**9
    async with running(api, watch_list=False) as reflector:
        await reflector.synced.wait()
        await asyncio.sleep(600)
    assert len(api.asked) < 80


async def test_too_many_requests_is_waited_out() -> None:
    api = ListWatchApi()
    api.failures = [Refused(429, "TooManyRequests", "slow down", retry_after=50)]
    async with running(api) as reflector:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reflector.synced.wait(), 49)
        await asyncio.wait_for(reflector.synced.wait(), 2)


async def test_a_version_that_the_server_has_not_reached() -> None:
    api = ListWatchApi()
    api.failures = [Refused(504, "Timeout", "Too large resource version: 99, current: 3")]
    async with running(api, watch_list=False) as reflector:
        await reflector.synced.wait()
    assert [query.get("resourceVersion") for kind, query in api.asked[:2]] == ["0", None]


async def test_a_listener_that_fails_does_not_stop_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    api = ListWatchApi()

    class Bad(Told):
        def change(self, change: Change[ConfigMap]) -> None:
            raise RuntimeError("no")

    async with running(api, Bad()) as reflector:
        await reflector.synced.wait()
        await api.put(thing("a"))
        await api.put(thing("b"))
        await asyncio.sleep(0.1)
        assert set(reflector.items) == {"a", "b"}
    assert "a listener of /api/v1/configmaps failed" in caplog.text
