"""Objects, tokens and events through the real client and an API server (the tests' double)."""

import asyncio
import random
from collections.abc import Callable

from tests.apiserver import ApiServer, resources
from tests.cluster.served import connected

from pykubelet.api.auth import TokenRequest, TokenRequestSpec
from pykubelet.api.codec import convert
from pykubelet.api.core import Pod
from pykubelet.base.clock import SystemClock
from pykubelet.base.journal import NullJournal, PodRef
from pykubelet.base.metrics import Metrics
from pykubelet.cluster.events import EventPoster
from pykubelet.cluster.objects import ObjectManager
from pykubelet.cluster.tokens import TokenManager

EVENTS = resources.EVENTS


async def until(seen: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not seen():
            await asyncio.sleep(0.01)


def pod_of(*maps: str) -> Pod:
    volumes = [{"name": name, "configMap": {"name": name}} for name in maps]
    return convert(
        {"metadata": {"name": "web", "namespace": "ns", "uid": "u1"}, "spec": {"volumes": volumes}}, Pod
    )


def write(server: ApiServer, value: str) -> None:
    server.patch(resources.CONFIG_MAPS, "ns", "app", lambda obj: obj.update(data={"k": value}))


async def test_changes_reach_the_pod_through_lost_connections_and_lost_history() -> None:
    told: list[str] = []
    async with connected() as (server, client):
        manager = ObjectManager(
            client,
            SystemClock(),
            random.Random(1),
            NullJournal(),
            strategy="Watch",
            sync_period=60,
            on_change=lambda kind, namespace, name, pods: told.append(name),
        )
        await manager.start()
        server.create(resources.CONFIG_MAPS, {"metadata": {"name": "app"}, "data": {"k": "1"}}, "ns")
        manager.register(pod_of("app", "later"))
        found = await manager.config_map("ns", "app")
        assert found is not None
        assert found.data == {"k": "1"}
        assert await manager.config_map("ns", "later") is None

        write(server, "2")
        server.create(resources.CONFIG_MAPS, {"metadata": {"name": "later"}, "data": {}}, "ns")
        await until(lambda: sorted(told) == ["app", "later"])

        await server.drop_connections()
        write(server, "3")
        await until(lambda: told.count("app") == 2)

        await server.drop_connections()
        write(server, "4")
        server.compact()
        await until(lambda: told.count("app") == 3)
        found = await manager.config_map("ns", "app")
        assert found is not None
        assert found.data == {"k": "4"}
        await manager.stop()


async def test_a_token_of_a_service_account() -> None:
    async with connected() as (server, client):
        server.create(resources.SERVICE_ACCOUNTS, {"metadata": {"name": "sa"}}, "ns")
        tokens = TokenManager(client, SystemClock(), random.Random(1))
        request = TokenRequest(spec=TokenRequestSpec(audiences=["vault"], expirationSeconds=3600))
        first = await tokens.token("ns", "sa", request)
        assert first.status.token
        assert await tokens.token("ns", "sa", request) is first
        assert tokens.refresh_at("ns", "sa", request) is not None
        await tokens.stop()


async def test_events_are_counted_on_the_server() -> None:
    async with connected() as (server, client):
        server.create_namespace("ns")
        events = EventPoster(client, SystemClock(), random.Random(1), Metrics(), "node-1")
        await events.start()
        pod = PodRef("ns", "web", "u1")
        for _ in range(3):
            events.pod_event(pod, "Warning", "BackOff", "again", field_path="spec.containers{c}")
        await until(lambda: [kept["count"] for kept in server.list(EVENTS, "ns")] == [3])
        (kept,) = server.list(EVENTS, "ns")
        server.delete(EVENTS, "ns", kept["metadata"]["name"])
        events.pod_event(pod, "Warning", "BackOff", "again", field_path="spec.containers{c}")
        await until(lambda: [kept["count"] for kept in server.list(EVENTS, "ns")] == [4])
        await events.stop()
