"""The API client on real connections: retries, watches, broken answers."""

import asyncio
import gzip
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from tests.cluster.client_kit import AGENT, OBJECT, PATH, client_of, serving

from pykubelet.api.meta import ObjectMeta
from pykubelet.api.objects import ConfigMap
from pykubelet.base.metrics import Metrics
from pykubelet.cluster.access import Access
from pykubelet.cluster.connections import make_socket
from pykubelet.cluster.errors import NotAsked, Refused, Unreachable


async def test_an_object_and_what_is_sent() -> None:
    seen: list[web.BaseRequest] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        body = gzip.compress(b'{"metadata":{"name":"a"},"data":{"k":"v"}}')
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    metrics = Metrics()
    async with serving(handler) as url, client_of(Access(url + "/base"), metrics=metrics) as (client, _):
        found = await client.get(PATH + "/a%2Fb", ConfigMap, query={"x": "a=b,c"})
        assert found.data == {"k": "v"}
    assert seen[0].raw_path == "/base" + PATH + "/a%2Fb?x=a%3Db%2Cc"
    assert seen[0].headers["User-Agent"] == AGENT
    assert seen[0].headers["Accept-Encoding"] == "gzip"
    host = url.removeprefix("http://")
    told = metrics.render().decode()
    assert f'rest_client_requests_total{{code="200",host="{host}",method="GET"}} 1' in told
    assert f'rest_client_request_duration_seconds_count{{host="{host}",verb="GET"}} 1' in told


async def test_pages_and_a_page_that_has_gone_stale() -> None:
    asked: list[dict[str, str]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        asked.append(query)
        if query.get("continue") == "stale":
            return web.json_response({"code": 410, "reason": "Expired"}, status=410)
        if query["limit"] == "0":
            return web.json_response({"metadata": {"resourceVersion": "9"}, "items": [OBJECT, OBJECT]})
        return web.json_response(
            {"metadata": {"continue": "stale", "resourceVersion": "5"}, "items": [OBJECT]}
        )

    async with serving(handler) as url, client_of(Access(url)) as (client, _):
        items, version = await client.list(PATH, ConfigMap, query={"resourceVersion": "4"})
    assert len(items) == 2
    assert version == "9"
    assert "resourceVersion" not in asked[1]


async def test_retry_after_is_respected_and_bounded() -> None:
    codes = [429, 503, 500, 200]

    async def handler(request: web.Request) -> web.StreamResponse:
        code = codes.pop(0)
        if code == 200:
            return web.json_response(OBJECT)
        return web.json_response({"code": code, "message": "wait"}, status=code, headers={"Retry-After": "0"})

    async with serving(handler) as url, client_of(Access(url)) as (client, _):
        assert (await client.get(PATH, ConfigMap)).data == {"k": "v"}
        codes[:] = [503] * 30
        with pytest.raises(Refused) as refused:
            await client.get(PATH, ConfigMap)
        assert refused.value.code == 503
        assert len(codes) == 30 - 11


async def test_an_error_without_retry_after_or_with_too_long_a_one_is_raised_at_once() -> None:
    headers: dict[str, str] = {}
    count = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        return web.Response(status=503, text="down", headers=headers)

    async with serving(handler) as url, client_of(Access(url)) as (client, _):
        with pytest.raises(Refused, match="down"):
            await client.get(PATH, ConfigMap)
        headers["Retry-After"] = "60"
        with pytest.raises(Refused) as refused:
            await client.get(PATH, ConfigMap, timeout=5)
    assert refused.value.retry_after == 60
    assert count == 2


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b"[]", b'{"metadata": 7}', b"\xff\xfe"])
async def test_an_answer_that_is_none(body: bytes) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body)

    async with serving(handler) as url, client_of(Access(url)) as (client, _):
        with pytest.raises(Unreachable):
            await client.get(PATH, ConfigMap)


async def test_nobody_there_and_nobody_answering() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        raise AssertionError

    async with serving(handler) as url, client_of(Access(url)) as (client, _):
        with pytest.raises(Unreachable) as silent:
            await client.get(PATH, ConfigMap, timeout=0.1)
        under_way = asyncio.get_running_loop().create_task(client.get(PATH, ConfigMap))
        await asyncio.sleep(0.1)
        await client.close_connections()
        with pytest.raises(Unreachable) as cut:
            await under_way
        # Both may have been done.
        assert not isinstance(silent.value, NotAsked)
        assert not isinstance(cut.value, NotAsked)
        cancelled = asyncio.get_running_loop().create_task(client.get(PATH, ConfigMap))
        await asyncio.sleep(0.05)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
    async with client_of(Access("http://127.0.0.1:1")) as (client, _):
        with pytest.raises(NotAsked):
            await client.get(PATH, ConfigMap)
        await client.close()
        with pytest.raises(Unreachable, match="closed"):
            await client.get(PATH, ConfigMap)


async def test_a_watch_whose_events_come_in_pieces() -> None:
    text = b"".join(
        b'{"type":"%s","object":{"metadata":{"name":"a","resourceVersion":"%d"%s}}}\n' % (kind, number, more)
        for number, (kind, more) in enumerate(
            [
                (b"ADDED", b""),
                (b"MODIFIED", b""),
                (b"DELETED", b""),
                (b"BOOKMARK", b',"annotations":{"k8s.io/initial-events-end":"true"}'),
            ]
        )
    )

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.query["watch"] == "true"
        answer = web.StreamResponse()
        await answer.prepare(request)
        for start in range(0, len(text), 50):
            await answer.write(text[start : start + 50])
            await asyncio.sleep(0)
        # An object that does not fit is left out, an error is raised.
        await answer.write(b'{"type":"ADDED","object":{"data":[1]}}\n')
        await answer.write(b'{"type":"ERROR","object":{"code":410,"reason":"Expired","message":"old"}}\n')
        return answer

    seen = []
    async with serving(handler) as url, client_of(Access(url)) as (client, _):
        with pytest.raises(Refused) as refused:
            async for change in client.watch(PATH, ConfigMap):
                seen += [(change.kind, change.resource_version, change.initial_events_end)]
    assert refused.value.expired
    assert seen == [
        ("ADDED", "0", False),
        ("MODIFIED", "1", False),
        ("DELETED", "2", False),
        ("BOOKMARK", "3", True),
    ]


BROKEN = b'{"metadata":{"name":"b","namespace":"ns","uid":"ub","resourceVersion":"9"},"data":[1]}'


def _known(*names: str) -> Callable[[Any], ConfigMap | None]:
    """What is known of the objects of these names."""
    known = {name: ConfigMap(metadata=ObjectMeta(name=name), data={"last": "known"}) for name in names}
    return lambda named: known.get(named.metadata.name)


@pytest.mark.parametrize("names", [(), ("b",)])
async def test_what_cannot_be_decoded_in_a_list(names: tuple[str, ...], caplog: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        good = b'{"metadata":{"name":"a"},"data":{"k":"v"}}'
        items = [good, BROKEN, b'{"metadata":[]}', b'"b"']
        return web.Response(body=b'{"metadata":{"resourceVersion":"9"},"items":[%s]}' % b",".join(items))

    async with serving(handler) as url, client_of(Access(url)) as (client, _):
        items, version = await client.list(PATH, ConfigMap, last_known=_known(*names))
    assert version == "9"
    assert [(item.metadata.name, item.data) for item in items] == [
        ("a", {"k": "v"}),
        *((name, {"last": "known"}) for name in names),
    ]
    lines = [message for message in caplog.messages if "ns/b" in message]
    done = "stays as it is on this node" if names else "is left out"
    assert lines == [f"ConfigMap ns/b cannot be read and {done}: data: Expected `object`, got `array`"]


@pytest.mark.parametrize("kind", ["ADDED", "MODIFIED", "DELETED"])
@pytest.mark.parametrize("names", [(), ("b",)])
async def test_what_cannot_be_decoded_in_a_watch(kind: str, names: tuple[str, ...]) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b'{"type":"%s","object":%s}\n' % (kind.encode(), BROKEN))

    async with serving(handler) as url, client_of(Access(url)) as (client, _):
        changes = [change async for change in client.watch(PATH, ConfigMap, last_known=_known(*names))]
    assert [(c.kind, c.object.data, c.resource_version) for c in changes] == [
        (kind, {"last": "known"}, "9") for _ in names
    ]


@pytest.mark.parametrize("event", [b"nonsense\n", b'{"type":"HELLO","object":{}}\n', b'{"type":'])
async def test_a_watch_that_brings_nonsense(event: bytes) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(event)
        if request.transport is not None and not event.endswith(b"\n"):
            request.transport.abort()
        return answer

    async with serving(handler) as url, client_of(Access(url)) as (client, _):
        with pytest.raises(Unreachable):
            async for _change in client.watch(PATH, ConfigMap):
                pass


def test_sockets_notice_a_dead_peer() -> None:
    import socket

    made = make_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1)))
    with made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000


async def test_writes_say_what_they_are() -> None:
    seen: list[Any] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, request.headers["Content-Type"], await request.json()))
        return web.json_response(OBJECT)

    made = ConfigMap(metadata=ObjectMeta(name="a"))
    async with serving(handler) as url, client_of(Access(url)) as (client, _):
        await client.create(PATH, made, ConfigMap)
        await client.update(PATH + "/a", made, ConfigMap)
        await client.patch(PATH + "/a", {"data": {}}, ConfigMap)
        await client.delete(PATH + "/a", grace=0, uid="u")
    assert [(method, kind) for method, kind, _ in seen] == [
        ("POST", "application/json"),
        ("PUT", "application/json"),
        ("PATCH", "application/strategic-merge-patch+json"),
        ("DELETE", "application/json"),
    ]
    assert seen[3][2]["preconditions"] == {"uid": "u"}
