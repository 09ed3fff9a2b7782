"""The double's faults: they do what they say, and end when they are switched off."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest
from tests.apiserver import ApiServer, Cut, Expire, HalfOpen, Hang, Malformed, Refuse, Slow, resources
from tests.apiserver.client import Client, Refusal
from tests.apiserver.faults import Faults

PODS = "/api/v1/pods"


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer() as made:
        yield made


@pytest.fixture
async def client(server: ApiServer) -> AsyncIterator[Client]:
    async with server.client() as made:
        yield made


class TestServer:
    async def test_down_and_up_again(self, server: ApiServer, client: Client) -> None:
        server.create_pod("one")
        port = server.port
        async with client.watch(PODS, resourceVersion="0") as events:
            await anext(events)
            await server.down()
            with pytest.raises(aiohttp.ClientError):
                await anext(events)
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.list(PODS)
        await server.up()
        assert server.port == port
        assert len((await client.list(PODS))["items"]) == 1

    async def test_dropped_connections(self, server: ApiServer, client: Client) -> None:
        async with client.watch(PODS) as events:
            await server.drop_connections()
            with pytest.raises(aiohttp.ClientError):
                await anext(events)
        assert (await client.list(PODS))["items"] == []

    async def test_flapping(self, server: ApiServer, client: Client) -> None:
        await server.flap(2, 0.01, 0.01)
        assert (await client.list(PODS))["items"] == []


class TestRequests:
    async def test_hang(self, server: ApiServer, client: Client) -> None:
        with server.faults.during(Hang(), path=PODS):
            asking = asyncio.gather(client.list(PODS))
            await server.wait_for(lambda: server.requests.count(PODS))
            assert (await client.list("/api/v1/nodes"))["items"] == []
            assert not asking.done()
        assert (await asking)[0]["items"] == []

    async def test_slow(self, server: ApiServer, client: Client) -> None:
        server.faults.add(Slow(0.05), times=1)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await client.list(PODS)
        assert loop.time() - began >= 0.05

    async def test_refusals(self, server: ApiServer, client: Client) -> None:
        server.faults.add(Refuse(429, retry_after=7), verb="create", times=1)
        async with client.session.post("/api/v1/namespaces", data=b"{}") as response:
            assert response.status == 429
            assert response.headers["Retry-After"] == "7"
            status = await response.json()
        assert (status["kind"], status["reason"]) == ("Status", "TooManyRequests")
        assert status["details"]["retryAfterSeconds"] == 7
        for code, reason in ((401, "Unauthorized"), (403, "Forbidden"), (500, "InternalError")):
            server.faults.add(Refuse(code), path=PODS, times=1)
            with pytest.raises(Refusal) as refused:
                await client.list(PODS)
            assert (refused.value.code, refused.value.reason) == (code, reason)
        assert (await client.list(PODS))["items"] == []
        assert [request.code for request in server.requests.find(PODS)] == [401, 403, 500, 200]

    async def test_nothing_is_written_when_refused(self, server: ApiServer, client: Client) -> None:
        with server.faults.during(Refuse(503)), pytest.raises(Refusal):
            await client.create("/api/v1/namespaces", {"metadata": {"name": "a"}})
        assert server.get(resources.NAMESPACES, "", "a") is None

    async def test_every_other_one(self, server: ApiServer, client: Client) -> None:
        server.faults.add(Refuse(500), every=2)
        codes = []
        for _ in range(4):
            async with client.session.get(PODS) as response:
                codes.append(response.status)
        assert codes == [200, 500, 200, 500]

    async def test_malformed_json(self, server: ApiServer, client: Client) -> None:
        server.faults.add(Malformed(), times=1)
        async with client.session.get(PODS) as response:
            with pytest.raises(msgspec.DecodeError):
                msgspec.json.decode(await response.read())

    async def test_a_cut_answer(self, server: ApiServer, client: Client) -> None:
        server.faults.add(Cut(), verb="list", times=1)
        with pytest.raises(aiohttp.ClientError):
            await client.list(PODS)


class TestWatches:
    async def test_cut_within_an_event(self, server: ApiServer, client: Client) -> None:
        async with client.watch(PODS) as events:
            server.faults.add(Cut(), verb="watch", times=1)
            server.create_pod("one")
            with pytest.raises((aiohttp.ClientError, msgspec.DecodeError)):
                await anext(events)

    async def test_half_open(self, server: ApiServer, client: Client) -> None:
        async with client.watch(PODS) as events:
            server.create_pod("one")
            await anext(events)
            with server.faults.during(HalfOpen(), path=PODS) as switch:
                server.create_pod("two")
                await server.wait_for(lambda: switch.hits)
            server.create_pod("three")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(events), 0.1)
        assert len((await client.list(PODS))["items"]) == 3

    async def test_malformed(self, server: ApiServer, client: Client) -> None:
        async with client.watch(PODS) as events:
            server.faults.add(Malformed(), times=1)
            server.create_pod("one")
            with pytest.raises(msgspec.DecodeError):
                await anext(events)

    async def test_expired_once(self, server: ApiServer, client: Client) -> None:
        server.faults.add(Expire(), times=1)
        async with client.watch(PODS) as events:
            event = await anext(events)
            assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
            assert [event async for event in events] == []
        server.faults.add(Expire(as_event=False), times=1)
        with pytest.raises(Refusal) as refused:
            async with client.watch(PODS):
                pass
        assert refused.value.code == 410
        server.create_pod("one")
        async with client.watch(PODS, resourceVersion="0") as events:
            assert (await anext(events))["type"] == "ADDED"

    async def test_compaction(self, server: ApiServer, client: Client) -> None:
        server.create_pod("one")
        before = str(server.store.version)
        server.create_pod("two")
        server.compact()
        async with client.watch(PODS, resourceVersion=before) as events:
            event = await anext(events)
        assert (event["type"], event["object"]["reason"]) == ("ERROR", "Expired")

    async def test_the_window(self) -> None:
        async with ApiServer(window=3) as server, server.client() as client:
            before = str(server.store.version)
            for number in range(4):
                server.create_pod(f"pod-{number}")
            async with client.watch(PODS, resourceVersion=before) as events:
                assert (await anext(events))["type"] == "ERROR"


class TestSwitches:
    def test_verbs_and_paths(self) -> None:
        faults = Faults()
        switch = faults.add(Hang(), path="/api/v1/namespaces/*/pods/*", verb="get patch")
        assert faults.strike("patch", "/api/v1/namespaces/a/pods/b/status", (Hang,)) is switch
        assert faults.strike("delete", "/api/v1/namespaces/a/pods/b", (Hang,)) is None
        assert faults.strike("get", "/api/v1/nodes/a", (Hang,)) is None
        assert faults.strike("get", "/api/v1/namespaces/a/pods/b", (Slow,)) is None
        assert switch.hits == 1
        faults.remove(switch)
        assert faults.strike("patch", "/api/v1/namespaces/a/pods/b", (Hang,)) is None
