"""The poster on virtual time: what goes out, what is tried again, what is given up."""

import asyncio
import random
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace

from pykubelet.api.codec import to_builtins
from pykubelet.base.clock import LoopClock
from pykubelet.base.journal import ObjectRef, PodRef
from pykubelet.base.metrics import Metrics
from pykubelet.cluster.door import STRATEGIC_MERGE, Change, Query
from pykubelet.cluster.errors import ClusterError, Refused, Unreachable
from pykubelet.cluster.events import FLUSH_LIMIT, QUEUE_LIMIT, TRIES, TRY_AGAIN, EventPoster, event_name

pytestmark = pytest.mark.looptime
T = TypeVar("T")

POD = PodRef("ns", "web", "u1")


class FakeEvents:
    """Takes events; fails as told."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str, Any]] = []
        self.fail: list[ClusterError | None] = []
        self.always: ClusterError | None = None
        self.hang = False

    def _failure(self) -> None:
        error = self.always or (self.fail.pop(0) if self.fail else None)
        if error is not None:
            raise error

    async def create(self, path: str, body: Any, kind: type[T], *, timeout: float | None = None) -> T:
        self.log.append(("create", path, body))
        if self.hang:
            await asyncio.Event().wait()
        self._failure()
        return replace(body, metadata=replace(body.metadata, resourceVersion="5"))  # type: ignore[no-any-return]

    async def patch(
        self,
        path: str,
        body: Any,
        kind: type[T],
        *,
        content_type: str = STRATEGIC_MERGE,
        timeout: float | None = None,
    ) -> T:
        assert content_type == STRATEGIC_MERGE
        self.log.append(("patch", path, body))
        self._failure()
        first = next(made for verb, _, made in self.log if verb == "create")
        return replace(first, count=body["count"], lastTimestamp=body["lastTimestamp"])  # type: ignore[no-any-return]

    async def get(
        self, path: str, kind: type[T], *, query: Query | None = None, timeout: float | None = None
    ) -> T:
        raise NotImplementedError

    async def list(self, path: str, kind: type[T], *, query: Query | None = None) -> tuple[list[T], str]:
        raise NotImplementedError

    async def update(self, path: str, body: Any, kind: type[T], *, timeout: float | None = None) -> T:
        raise NotImplementedError

    async def delete(self, path: str, *, grace: int | None = None, uid: str = "") -> None:
        raise NotImplementedError

    def watch(
        self, path: str, kind: type[T], *, query: Query | None = None
    ) -> AsyncGenerator[Change[T], None]:
        raise NotImplementedError


class Bench:
    def __init__(self) -> None:
        self.api = FakeEvents()
        self.metrics = Metrics()
        self.poster = EventPoster(
            self.api,
            LoopClock(),
            random.Random(1),
            self.metrics,
            "node-1",
            resource_version=lambda pod: "42" if pod == POD else "",
        )

    def verbs(self) -> list[str]:
        return [verb for verb, _, _ in self.api.log]

    def dropped(self, cause: str) -> bool:
        return f'pykubelet_events_dropped_total{{cause="{cause}"}} 1' in self.metrics.render().decode()


async def test_a_container_event_on_the_wire() -> None:
    bench = Bench()
    await bench.poster.start()
    bench.poster.pod_event(POD, "Warning", "BackOff", "again", field_path="spec.containers{c}")
    await asyncio.sleep(0.1)
    await bench.poster.stop()
    (verb, path, body) = bench.api.log[0]
    assert (verb, path) == ("create", "/api/v1/namespaces/ns/events")
    wire = to_builtins(body)
    assert wire.pop("metadata") == {"name": f"web.{1_700_000_000_000_000_000:x}", "namespace": "ns"}
    assert wire == {
        "involvedObject": {
            "kind": "Pod",
            "namespace": "ns",
            "name": "web",
            "uid": "u1",
            "apiVersion": "v1",
            "resourceVersion": "42",
            "fieldPath": "spec.containers{c}",
        },
        "reason": "BackOff",
        "message": "again",
        "source": {"component": "kubelet", "host": "node-1"},
        "firstTimestamp": "2023-11-14T22:13:20Z",
        "lastTimestamp": "2023-11-14T22:13:20Z",
        "count": 1,
        "type": "Warning",
        "reportingComponent": "kubelet",
        "reportingInstance": "node-1",
    }


async def test_an_event_of_the_node_lies_in_default() -> None:
    bench = Bench()
    await bench.poster.start()
    bench.poster.node_event("Normal", "Starting", "Starting kubelet.")
    await asyncio.sleep(0.1)
    await bench.poster.stop()
    (_, path, body) = bench.api.log[0]
    assert path == "/api/v1/namespaces/default/events"
    about = {"kind": "Node", "name": "node-1", "apiVersion": "v1"}
    assert to_builtins(body.involvedObject) == about


@pytest.mark.parametrize("namespace", ["ns", ""])
async def test_an_event_of_another_object(namespace: str) -> None:
    bench = Bench()
    await bench.poster.start()
    about = ObjectRef("v1", "PersistentVolumeClaim", namespace, "data", "u2", "7")
    bench.poster.object_event(about, "Warning", "FileSystemResizeFailed", "only read")
    await asyncio.sleep(0.1)
    await bench.poster.stop()
    (_, path, body) = bench.api.log[0]
    assert path == f"/api/v1/namespaces/{namespace or 'default'}/events"
    named = {"namespace": namespace} if namespace else {}
    assert to_builtins(body.involvedObject) == {
        "kind": "PersistentVolumeClaim",
        "name": "data",
        "uid": "u2",
        "apiVersion": "v1",
        "resourceVersion": "7",
        **named,
    }


def test_names_of_events() -> None:
    rng = random.Random(1)
    assert event_name("web", 0x17F, rng) == "web.17f"
    for wrong in ("Web", "a" * 250, "web_"):
        made = event_name(wrong, 0x17F, rng)
        assert len(made) == 36
        assert made[14] == "4"


async def test_a_repeat_is_patched_and_its_count_goes_on() -> None:
    bench = Bench()
    await bench.poster.start()
    for _ in range(3):
        bench.poster.pod_event(POD, "Normal", "Pulled", "m")
        await asyncio.sleep(2)
    await bench.poster.stop()
    assert bench.verbs() == ["create", "patch", "patch"]
    name = f"web.{1_700_000_000_000_000_000:x}"
    assert bench.api.log[2][1] == f"/api/v1/namespaces/ns/events/{name}"
    assert to_builtins(bench.api.log[2][2]) == {
        "count": 3,
        "lastTimestamp": "2023-11-14T22:13:24Z",
        "message": "m",
    }


async def test_a_repeat_of_an_event_that_is_gone_is_created_anew() -> None:
    bench = Bench()
    await bench.poster.start()
    bench.poster.pod_event(POD, "Normal", "Pulled", "m")
    await asyncio.sleep(1)
    bench.api.fail = [Refused(404, "NotFound", "gone")]
    bench.poster.pod_event(POD, "Normal", "Pulled", "m")
    await asyncio.sleep(1)
    await bench.poster.stop()
    assert bench.verbs() == ["create", "patch", "create"]
    assert bench.api.log[2][2].count == 2
    assert bench.api.log[2][2].metadata.resourceVersion == ""


@pytest.mark.parametrize(
    "error",
    [
        Refused(403, "Forbidden", "namespace ns is forbidden: because it is being terminated"),
        Refused(409, "AlreadyExists", "already exists"),
        Refused(422, "Invalid", "no"),
        Refused(500, "InternalError", "oh"),
    ],
)
async def test_what_the_server_refuses_is_given_up(error: Refused) -> None:
    bench = Bench()
    await bench.poster.start()
    bench.api.fail = [error]
    bench.poster.pod_event(POD, "Normal", "A", "first")
    bench.poster.pod_event(POD, "Normal", "A", "second")
    await asyncio.sleep(0.1)
    await bench.poster.stop()
    assert [body.message for _, _, body in bench.api.log] == ["first", "second"]
    assert bench.dropped("refused")


async def test_an_unreachable_server_is_tried_every_ten_seconds_and_given_up_at_last() -> None:
    bench = Bench()
    await bench.poster.start()
    bench.api.always = Unreachable("refused")
    bench.poster.pod_event(POD, "Normal", "A", "first")
    await asyncio.sleep(TRY_AGAIN)
    assert len(bench.api.log) == 2
    await asyncio.sleep(TRY_AGAIN * 20)
    assert len(bench.api.log) == TRIES
    assert bench.dropped("unreachable")
    bench.api.always = None
    bench.poster.pod_event(POD, "Normal", "A", "second")
    await asyncio.sleep(0.1)
    assert bench.api.log[-1][2].message == "second"
    await bench.poster.stop()


async def test_order_and_content_survive_an_outage() -> None:
    bench = Bench()
    await bench.poster.start()
    bench.api.always = Unreachable("refused")
    for number in range(5):
        bench.poster.pod_event(POD, "Normal", "A", str(number))
    await asyncio.sleep(25)
    bench.api.always, tried = None, len(bench.api.log)
    await asyncio.sleep(TRY_AGAIN)
    await bench.poster.stop()
    assert [body.message for _, _, body in bench.api.log[tried:]] == ["0", "1", "2", "3", "4"]


async def test_what_is_said_again_while_it_waits_is_posted_once(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    await bench.poster.start()
    bench.api.always = Unreachable("refused")
    bench.poster.pod_event(POD, "Normal", "A", "on its way")
    await asyncio.sleep(0.1)
    for _ in range(2000):
        bench.poster.pod_event(POD, "Warning", "BackOff", "again")
        bench.poster.pod_event(POD, "Normal", "Pulled", "here")
        await asyncio.sleep(0.01)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    bench.api.always, tried = None, len(bench.api.log)
    await asyncio.sleep(TRY_AGAIN)
    assert [(verb, body.message, body.count) for verb, _, body in bench.api.log[tried:]] == [
        ("create", "on its way", 1),
        ("create", "again", 2000),
        ("create", "here", 2000),
    ]
    again = bench.api.log[tried + 1][2]
    assert (again.lastTimestamp - again.firstTimestamp).total_seconds() == pytest.approx(20, abs=1)
    bench.poster.pod_event(POD, "Normal", "A", "on its way")
    await bench.poster.stop()
    assert (bench.api.log[-1][0], bench.api.log[-1][2]["count"]) == ("patch", 2)


async def test_a_full_queue_drops_what_comes_and_nobody_waits() -> None:
    bench = Bench()
    for number in range(QUEUE_LIMIT + 1):
        bench.poster.pod_event(PodRef("ns", f"p{number}", "u"), "Normal", "A", "m")
    assert bench.dropped("queue-full")
    await bench.poster.start()
    await asyncio.sleep(1)
    await bench.poster.stop()
    assert len(bench.api.log) == QUEUE_LIMIT


async def test_spam_is_not_posted() -> None:
    bench = Bench()
    await bench.poster.start()
    for _ in range(26):
        bench.poster.pod_event(POD, "Normal", "A", "m")
        await asyncio.sleep(0.1)
    await bench.poster.stop()
    assert len(bench.api.log) == 25
    assert bench.dropped("spam")


async def test_stopping_posts_what_is_left() -> None:
    bench = Bench()
    await bench.poster.start()
    for number in range(20):
        bench.poster.pod_event(PodRef("ns", f"p{number}", "u"), "Normal", "A", "m")
    await bench.poster.stop()
    assert len(bench.api.log) == 20


async def test_stopping_does_not_wait_for_a_server_that_is_away() -> None:
    bench = Bench()
    await bench.poster.start()
    bench.api.always = Unreachable("refused")
    bench.poster.pod_event(POD, "Normal", "A", "m")
    await asyncio.sleep(30)
    began, tried = asyncio.get_running_loop().time(), len(bench.api.log)
    await bench.poster.stop()
    assert asyncio.get_running_loop().time() - began == pytest.approx(0, abs=0.01)
    # Once more it is tried, as the last chance.
    assert len(bench.api.log) == tried + 1


async def test_stopping_is_bounded_when_the_server_hangs() -> None:
    bench = Bench()
    bench.api.hang = True
    await bench.poster.start()
    bench.poster.pod_event(POD, "Normal", "A", "m")
    await asyncio.sleep(1)
    began = asyncio.get_running_loop().time()
    await bench.poster.stop()
    assert asyncio.get_running_loop().time() - began == pytest.approx(FLUSH_LIMIT, abs=0.01)


async def test_stopping_what_never_began() -> None:
    bench = Bench()
    bench.poster.node_event("Normal", "A", "m")
    await bench.poster.stop()
    assert bench.api.log == []
