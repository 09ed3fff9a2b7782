"""Pods, services, runtime classes and the Node, as this node watches them."""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import pytest
from tests.cluster.fake_api import ListWatchApi

from pykubelet.api.core import Pod
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.node import Node
from pykubelet.api.objects import RuntimeClass, Service, ServicePort, ServiceSpec
from pykubelet.base.clock import LoopClock
from pykubelet.base.journal import NullJournal
from pykubelet.base.tasks import TaskOwner
from pykubelet.cluster.errors import Unreachable
from pykubelet.cluster.node_watch import NodeWatch
from pykubelet.cluster.pod_source import PodSource
from pykubelet.cluster.runtime_classes import RuntimeClassLister
from pykubelet.cluster.services import ServiceLister, service_environment

pytestmark = pytest.mark.looptime


def pod(uid: str) -> Pod:
    return Pod(metadata=ObjectMeta(namespace="ns", name=f"pod-{uid}", uid=uid))


class Pods:
    def __init__(self, after: asyncio.Event | None = None) -> None:
        self.api = ListWatchApi()
        self.sets: list[set[str]] = []
        self.failures = 0
        self.gone = 0
        self.source = PodSource(
            self.api, "node1", self._send, LoopClock(), random.Random(1), NullJournal(),  # type: ignore[arg-type]
            on_gone=self._gone, after=after,
        )  # fmt: skip

    def _gone(self) -> None:
        self.gone += 1

    async def _send(self, pods: Sequence[Pod]) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("full")
        self.sets.append({found.metadata.uid for found in pods})


async def test_pods_come_as_complete_sets() -> None:
    pods = Pods()
    await pods.api.put(pod("a"))
    await pods.source.start()
    await pods.source.synced.wait()
    await asyncio.sleep(0.01)
    assert pods.sets == [{"a"}]
    await pods.api.put(pod("b"))
    await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert pods.sets == [{"a"}, {"a", "b"}]
    for uid in "cdefgh":
        await pods.api.put(pod(uid))
    await pods.api.remove("a")
    await asyncio.sleep(0.01)
    assert pods.sets[-1] == set("bcdefgh")
    assert len(pods.sets) <= 4
    assert pods.source.get("b") == pods.api.objects["b"]
    assert pods.source.get("a") is None
    assert pods.api.asked[0][1]["fieldSelector"] == "spec.nodeName=node1"
    await pods.source.stop()


async def test_pods_are_not_asked_for_before_the_node_is_known() -> None:
    known = asyncio.Event()
    pods = Pods(known)
    await pods.api.put(pod("a"))
    await pods.source.start()
    await asyncio.sleep(100)
    assert (pods.api.asked, pods.sets) == ([], [])
    known.set()
    await asyncio.sleep(0.01)
    assert pods.sets == [{"a"}]
    await pods.source.stop()
    unknown = Pods(asyncio.Event())
    await unknown.source.start()
    await unknown.source.stop()
    assert unknown.api.asked == []


async def test_no_pods_is_a_set_too_but_an_absent_server_is_none() -> None:
    pods = Pods()
    pods.api.down = Unreachable("refused")
    await pods.source.start()
    await asyncio.sleep(600)
    assert pods.sets == []
    pods.api.down = None
    await asyncio.sleep(61)
    assert pods.sets == [set()]
    await pods.source.stop()


async def test_a_set_that_could_not_be_sent_is_sent_later(caplog: pytest.LogCaptureFixture) -> None:
    pods = Pods()
    pods.failures = 2
    await pods.api.put(pod("a"))
    await pods.source.start()
    await asyncio.sleep(10)
    assert pods.sets == [{"a"}]
    await pods.source.stop()


async def test_a_pod_that_cannot_be_read_is_held_but_not_sent() -> None:
    pods = Pods()
    await pods.api.put(pod("a"))
    await pods.api.put(pod("b"))
    pods.api.unreadable.add("b")
    await pods.source.start()
    await asyncio.sleep(0.01)
    assert pods.sets == [{"a"}]
    assert [pods.source.holds(uid) for uid in "abc"] == [True, True, False]
    pods.api.unreadable.clear()
    await pods.api.put(pod("b"))
    await asyncio.sleep(0.01)
    assert pods.sets[-1] == {"a", "b"}
    await pods.api.put(pod("c"))
    pods.api.unreadable.add("c")
    await pods.api.remove("c")
    await asyncio.sleep(0.01)
    assert not pods.source.holds("c")
    await pods.source.stop()


async def test_it_is_told_that_the_server_may_have_fewer_pods() -> None:
    pods = Pods()
    await pods.api.put(pod("a"))
    await pods.source.start()
    await asyncio.sleep(0.01)
    told = pods.gone
    await pods.api.put(pod("b"))
    await asyncio.sleep(0.01)
    assert pods.gone == told
    await pods.api.remove("a")
    await asyncio.sleep(0.01)
    await pods.source.stop()
    assert pods.gone == told + 1


@pytest.mark.parametrize("namesake", [False, True])
async def test_a_forced_deletion_is_told_with_its_grace(namesake: bool) -> None:
    pods = Pods()
    told: list[list[tuple[str, int | None]]] = []

    async def send(found: Sequence[Pod]) -> None:
        told.append([(one.metadata.uid, one.metadata.deletionGracePeriodSeconds) for one in found])

    pods._send = send  # type: ignore[method-assign]
    pods.source = PodSource(
        pods.api, "node1", send, LoopClock(), random.Random(1), NullJournal()  # type: ignore[arg-type]
    )  # fmt: skip
    await pods.api.put(pod("a"))
    await pods.source.start()
    await asyncio.sleep(0.01)
    deleted = msgspec.structs.replace(
        pod("a").metadata, deletionTimestamp=datetime(2026, 1, 1, tzinfo=UTC), deletionGracePeriodSeconds=0
    )
    await pods.api.put(Pod(metadata=deleted))
    await pods.api.remove("a")
    if namesake:
        await pods.api.put(Pod(metadata=msgspec.structs.replace(pod("a").metadata, uid="b")))
    await asyncio.sleep(0.01)
    await pods.source.stop()
    assert told[0] == [("a", None)]
    assert told[-1] == ([("b", None)] if namesake else [])
    assert ([("a", 0)] in told) is not namesake


def service(namespace: str, name: str, ip: str, *ports: ServicePort) -> Service:
    return Service(
        metadata=ObjectMeta(namespace=namespace, name=name), spec=ServiceSpec(clusterIP=ip, ports=list(ports))
    )


MASTER = service("default", "kubernetes", "10.0.0.1", ServicePort(name="https", protocol="TCP", port=443))
MASTER_VARIABLES = {
    "KUBERNETES_SERVICE_HOST": "10.0.0.1",
    "KUBERNETES_SERVICE_PORT": "443",
    "KUBERNETES_SERVICE_PORT_HTTPS": "443",
    "KUBERNETES_PORT": "tcp://10.0.0.1:443",
    "KUBERNETES_PORT_443_TCP": "tcp://10.0.0.1:443",
    "KUBERNETES_PORT_443_TCP_PROTO": "tcp",
    "KUBERNETES_PORT_443_TCP_PORT": "443",
    "KUBERNETES_PORT_443_TCP_ADDR": "10.0.0.1",
}


def test_the_variables_of_services() -> None:
    dns = service(
        "ns", "my-dns", "fd00::a", ServicePort(name="dns-udp", protocol="UDP", port=53), ServicePort(port=80)
    )
    headless = service("ns", "headless", "None", ServicePort(port=1))
    outside = service("ns", "outside", "")
    other = service("other", "other", "10.0.0.9", ServicePort(port=1))
    everything = [dns, headless, outside, other, MASTER]
    assert service_environment(everything, "ns", links=False) == MASTER_VARIABLES
    assert service_environment(everything, "ns", links=True) == {
        **MASTER_VARIABLES,
        "MY_DNS_SERVICE_HOST": "fd00::a",
        "MY_DNS_SERVICE_PORT": "53",
        "MY_DNS_SERVICE_PORT_DNS_UDP": "53",
        "MY_DNS_PORT": "udp://[fd00::a]:53",
        "MY_DNS_PORT_53_UDP": "udp://[fd00::a]:53",
        "MY_DNS_PORT_53_UDP_PROTO": "udp",
        "MY_DNS_PORT_53_UDP_PORT": "53",
        "MY_DNS_PORT_53_UDP_ADDR": "fd00::a",
        "MY_DNS_PORT_80_TCP": "tcp://[fd00::a]:80",
        "MY_DNS_PORT_80_TCP_PROTO": "tcp",
        "MY_DNS_PORT_80_TCP_PORT": "80",
        "MY_DNS_PORT_80_TCP_ADDR": "fd00::a",
    }


@pytest.mark.parametrize("own_first", [True, False])
def test_a_namespaces_own_service_of_that_name_wins(own_first: bool) -> None:
    own = service("ns", "kubernetes", "10.0.0.7", ServicePort(port=1))
    both = [own, MASTER] if own_first else [MASTER, own]
    assert service_environment(both, "ns", links=True)["KUBERNETES_SERVICE_HOST"] == "10.0.0.7"


async def test_services_are_unknown_until_they_were_read() -> None:
    api = ListWatchApi()
    api.failures = [Unreachable("away")]
    services = ServiceLister(api, LoopClock(), random.Random(1))  # type: ignore[arg-type]
    await services.start()
    await asyncio.sleep(0)
    assert services.environment("ns", links=True) is None
    await services.synced.wait()
    assert services.environment("ns", links=True) == {}
    await api.put(MASTER)
    await asyncio.sleep(0.01)
    assert services.environment("ns", links=False) == MASTER_VARIABLES
    await services.stop()


async def test_runtime_classes_by_name() -> None:
    api = ListWatchApi()
    classes = RuntimeClassLister(api, LoopClock(), random.Random(1))  # type: ignore[arg-type]
    assert classes.handler(None) == ""
    with pytest.raises(LookupError, match="have not been read yet"):
        classes.handler("gvisor")
    await api.put(RuntimeClass(metadata=ObjectMeta(name="gvisor", uid="1"), handler="runsc"))
    await classes.start()
    await classes.synced.wait()
    assert classes.handler("gvisor") == "runsc"
    with pytest.raises(LookupError, match='"kata" not found'):
        classes.handler("kata")
    await classes.stop()


async def test_the_node_is_followed_through_deletion() -> None:
    api = ListWatchApi()
    told: list[str | None] = []
    watch = NodeWatch(
        api, "node1", LoopClock(), random.Random(1),  # type: ignore[arg-type]
        on_change=lambda node: told.append(node.metadata.uid if node is not None else None),
    )  # fmt: skip
    await watch.start()
    await watch.synced.wait()
    assert watch.node() is None
    await api.put(Node(metadata=ObjectMeta(name="node1", uid="1")))
    await asyncio.sleep(0.01)
    assert watch.node() == api.objects["1"]
    await api.remove("1")
    await asyncio.sleep(0.01)
    await api.put(Node(metadata=ObjectMeta(name="node1", uid="2")))
    await asyncio.sleep(0.01)
    assert told == ["1", None, "2"]
    assert api.asked[0][1]["fieldSelector"] == "metadata.name=node1"
    await watch.stop()


class Looks:
    """A watch of a Node; the labels that were told."""

    def __init__(self) -> None:
        self.api = ListWatchApi()
        self.told: list[dict[str, str]] = []
        self.watch = NodeWatch(
            self.api, "node1", LoopClock(), random.Random(1),  # type: ignore[arg-type]
            on_change=lambda node: self.told.append(dict(node.metadata.labels) if node is not None else {}),
        )  # fmt: skip

    async def label(self, **labels: str) -> None:
        await self.api.put(Node(metadata=ObjectMeta(name="node1", uid="1", labels=labels)))


async def test_a_look_at_the_node_asks_the_server_itself() -> None:
    looks = Looks()
    await looks.label(zone="a")
    await asyncio.gather(looks.watch.look(), looks.watch.look())
    assert looks.told == [{"zone": "a"}] * 2
    assert looks.api.count("get") == 1
    await looks.watch.stop()


async def test_a_look_ends_only_when_something_is_known_of_the_node() -> None:
    looks = Looks()
    looks.api.down = Unreachable("away")
    task = TaskOwner("test").spawn("look", looks.watch.look())
    await asyncio.sleep(300)
    assert not task.done()
    assert 5 <= looks.api.count("get") <= 20
    looks.api.down = None
    await looks.label(zone="a")
    await task
    assert looks.told == [{"zone": "a"}]
    # What the watch brought will do while the server is away.
    await looks.watch.start()
    await looks.watch.synced.wait()
    looks.api.down = Unreachable("away")
    await asyncio.wait_for(looks.watch.look(), 0.1)
    await looks.watch.stop()


async def test_where_there_is_no_node_there_are_no_other_labels() -> None:
    looks = Looks()
    await asyncio.wait_for(looks.watch.look(), 0.1)
    assert looks.told == []
    await looks.watch.stop()
