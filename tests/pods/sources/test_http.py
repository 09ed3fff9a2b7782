"""The source at a URL: what it sends, what it keeps, what it tells, on a real server."""

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from tests.pods.model import instance, observed_pod, sandbox
from tests.pods.sources.test_file import Heard, Watched, manifest
from tests.pods.sources.url_server import url_server

from pykubelet.api.core import Container
from pykubelet.base.clock import SystemClock
from pykubelet.pods.sources import PodConfig, UrlSource

POD_LIST = (
    "apiVersion: v1\nkind: PodList\nitems:\n"
    "- metadata: {name: a}\n  spec: {containers: [{name: a, image: 'i:1'}]}\n"
    "- metadata: {name: b, namespace: other}\n  spec: {containers: [{name: a, image: 'i:2'}]}\n"
)


class Told(Heard):
    """Also keeps what decisions say."""

    def record(self, decision, text, **facts):
        self.records.append((decision, text, facts))

    def of(self, decision):
        return [(text, facts) for what, text, facts in self.records if what == decision]


@asynccontextmanager
async def asking(server, **more):
    heard = Told()
    watched = Watched(heard)
    url = more.pop("url", f"{server.url}/m?sig=hidden")
    headers = {"X-Token": ["s3cret"]}
    send = more.pop("send", watched.take)
    source = UrlSource(url, headers, "node1", send, heard, heard, SystemClock(), period=0.1, **more)
    task = asyncio.get_running_loop().create_task(source.run())
    try:
        yield watched
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert "s3cret" not in repr(heard.__dict__)
    assert "hidden" not in repr(heard.__dict__)


async def until(holds):
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


async def more_questions(server, number=2):
    seen = len(server.asked)
    await until(lambda: len(server.asked) >= seen + number)


async def test_pods_come_change_and_go(caplog):
    caplog.set_level(logging.INFO)
    async with url_server() as server:
        server.body = manifest("web").encode()
        async with asking(server) as watched:
            await watched.until({"web-node1": "i:1"})
            uid = watched.uids[-1]["web-node1"]
            assert len(uid) == 32
            await more_questions(server)
            assert len(watched.sets) == 1
            server.body = POD_LIST.encode()
            await watched.until({"a-node1": "i:1", "b-node1": "i:2"})
            server.body = b'{"apiVersion":"v1","kind":"PodList","items":[]}'
            await watched.until({})
            changes = watched.heard.of("ManifestUrlChanged")
            assert [(f["added"], f["removed"]) for _, f in changes] == [
                ("web-node1", ""),
                ("a-node1, b-node1", "web-node1"),
                ("", "a-node1, b-node1"),
            ]
            server.body = manifest("web").encode()
            await watched.until({"web-node1": "i:1"})
            assert watched.uids[-1]["web-node1"] == uid
    assert "s3cret" not in caplog.text
    assert "hidden" not in caplog.text


async def test_a_tag_saves_the_content():
    async with url_server() as server:
        server.body, server.etag = manifest().encode(), '"1"'
        async with asking(server) as watched:
            await watched.until({"web-node1": "i:1"})
            await more_questions(server)
            assert server.asked[-1].headers["If-None-Match"] == '"1"'
            server.body, server.etag = manifest(image="i:2").encode(), '"2"'
            await watched.until({"web-node1": "i:2"})


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"kind: [", 200, "couldn't parse as pod"),
        (manifest("Bad_Name").encode(), 200, "metadata.name"),
        ((manifest("ok") + "---\n" + manifest(image="")).encode(), 200, "spec.containers[0].image"),
        (b"gone", 503, "/m?...: 503 Service Unavailable"),
        (
            manifest(extra=", envFrom: [{secretRef: {name: x}}]").encode(),
            200,
            "static pods may not reference",
        ),
    ],
)
async def test_what_is_no_good_leaves_the_last_set_and_is_told_once(caplog, body, status, says):
    caplog.set_level(logging.INFO)
    async with url_server() as server:
        server.body = manifest().encode()
        async with asking(server) as watched:
            await watched.until({"web-node1": "i:1"})
            good, (server.body, server.status) = server.body, (body, status)
            await more_questions(server, 7)
            assert [text for text, _ in watched.heard.of("ManifestUrlFailed") if says in text]
            assert len(watched.heard.of("ManifestUrlFailed")) == 1
            assert caplog.text.count("Failed to read pods from URL") == 4
            server.body, server.status = good, 200
            await until(lambda: watched.heard.of("ManifestUrlRecovered"))
            assert "Successfully read pods from URL" in caplog.text
            assert watched.sets == [{"web-node1": "i:1"}]


async def test_an_empty_answer_is_an_empty_set_and_a_failure():
    async with url_server() as server:
        server.body = b""
        async with asking(server) as watched:
            await watched.until({})
            await more_questions(server, 3)
            ((text, _),) = watched.heard.of("ManifestUrlFailed")
            assert text.startswith("zero-length data received from http://127.0.0.1")
            assert watched.sets == [{}]


async def test_the_source_counts_as_ready_only_after_the_first_set():
    heard = Told()
    config = PodConfig(SystemClock(), heard, heard)
    send = config.channel("http")
    async with url_server() as server:
        server.status = 500
        async with asking(server, send=send):
            await more_questions(server)
            assert not config.all_sources_ready()
            server.status, server.body = 200, manifest().encode()
            update = await asyncio.wait_for(config.next_update(), 10)
            assert not config.all_sources_ready()
            config.processed(update)
            assert config.all_sources_ready()
            (pod,) = update.pods
            notes = pod.metadata.annotations
            assert notes["kubernetes.io/config.source"] == "http"
            assert notes["kubernetes.io/config.hash"] == pod.metadata.uid
            assert pod.spec.tolerations == []
            assert (pod.spec.nodeName, pod.metadata.namespace) == ("node1", "default")


async def test_fields_that_nobody_knows_are_warned_of_once():
    async with url_server() as server:
        server.body = manifest(extra=", imagePullPolicie: Always").encode()
        async with asking(server) as watched:
            await watched.event('unknown field "spec.containers[0].imagePullPolicie" in manifest URL')
            server.body += b"\n"
            await more_questions(server)
            assert len(watched.heard.pod_events) == 1


@pytest.mark.parametrize(
    ("headers", "uid"), [({}, ""), ({"Last-Modified": "Thu, 01 Jan 1970 00:00:01 GMT"}, "theirs")]
)
async def test_what_another_kubelet_runs_is_kept_if_the_manifest_is_known_to_be_older(headers, uid):
    notes = {"kubernetes.io/config.hash": "theirs", "kubernetes.io/config.source": "http"}
    box = replace(sandbox(), uid="theirs", name="web-node1", namespace="default", annotations=notes)
    status = instance("a", spec=Container(name="a", image="i:1"))
    runs = replace(observed_pod(status, sandboxes=(box,)), uid="theirs")

    async def running():
        return [runs]

    async with url_server() as server:
        server.body, server.headers = manifest().encode(), headers
        async with asking(server, running=running) as watched:
            await watched.until({"web-node1": "i:1"})
            assert (watched.uids[-1]["web-node1"] == "theirs") is bool(uid)


async def test_a_set_that_could_not_be_handed_over_is_tried_again():
    heard = Told()
    watched = Watched(heard)
    failures = [RuntimeError("no")]

    async def send(pods):
        if failures:
            raise failures.pop()
        await watched.take(pods)

    async with url_server() as server:
        server.body, server.etag = manifest().encode(), '"1"'
        source = UrlSource(server.url, {}, "node1", send, heard, heard, SystemClock(), period=0.1)
        with pytest.raises(RuntimeError):
            await source.run()
        task = asyncio.get_running_loop().create_task(source.run())
        try:
            await watched.until({"web-node1": "i:1"})
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
