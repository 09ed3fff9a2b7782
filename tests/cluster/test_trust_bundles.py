"""ClusterTrustBundles on virtual time, with an API in memory."""

import asyncio
import base64
import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from pykubelet.api.meta import LabelSelector, LabelSelectorRequirement, ObjectMeta
from pykubelet.api.objects import APIResource, APIResourceList, ClusterTrustBundle, ClusterTrustBundleSpec
from pykubelet.api.volumes import ClusterTrustBundleProjection
from pykubelet.base.clock import LoopClock
from pykubelet.cluster.door import Change, Query
from pykubelet.cluster.errors import ClusterError, Refused, Unreachable
from pykubelet.cluster.trust_bundles import TrustBundles, anchors_of, pem_of

pytestmark = pytest.mark.looptime


def pem(*anchors: bytes, kind: str = "CERTIFICATE") -> str:
    blocks = (base64.encodebytes(anchor).decode() for anchor in anchors)
    return "".join(f"-----BEGIN {kind}-----\n{block}-----END {kind}-----\n" for block in blocks)


def bundle(name: str, text: str, *, signer: str = "", **labels: str) -> ClusterTrustBundle:
    return ClusterTrustBundle(
        metadata=ObjectMeta(name=name, labels=labels),
        spec=ClusterTrustBundleSpec(signerName=signer, trustBundle=text),
    )


class Api:
    """Only discovery, list and watch of the bundles."""

    def __init__(self) -> None:
        self.served = ["certificates.k8s.io/v1beta1"]
        self.bundles: list[ClusterTrustBundle] = []
        self.asked: Counter[str] = Counter()
        self.broken: ClusterError | None = None
        self.changes: asyncio.Queue[Change[Any]] = asyncio.Queue()

    async def get(
        self, path: str, kind: type[Any], *, query: Query | None = None, timeout: float | None = None
    ) -> Any:
        self.asked[f"get {path}"] += 1
        if self.broken is not None:
            raise self.broken
        if path.removeprefix("/apis/") not in self.served:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        return APIResourceList(
            resources=[APIResource("podcertificaterequests"), APIResource("clustertrustbundles")]
        )

    async def list(
        self, path: str, kind: type[Any], *, query: Query | None = None, last_known: Any = None
    ) -> tuple[list[Any], str]:
        self.asked[f"list {path}"] += 1
        if self.broken is not None:
            raise self.broken
        return list(self.bundles), "5"

    async def watch(
        self, path: str, kind: type[Any], *, query: Query | None = None, last_known: Any = None
    ) -> AsyncGenerator[Change[Any], None]:
        if "sendInitialEvents" in (query or {}):
            raise Refused(422, "Invalid", "no watch-list")
        self.asked[f"watch {path}"] += 1
        while True:
            yield await self.changes.get()


class Bench:
    def __init__(self) -> None:
        self.api = Api()
        self.bundles = TrustBundles(self.api, LoopClock(), random.Random(1), cache_size=2)  # type: ignore[arg-type]

    async def of(self, **source: Any) -> frozenset[bytes]:
        found = await self.bundles.anchors(ClusterTrustBundleProjection(path="ca", **source))
        return anchors_of([found.decode()])


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.bundles.stop()


def test_certificates_are_taken_once_and_in_an_order_of_this_life() -> None:
    anchors = [bytes([number]) * 100 for number in range(20)]
    garbage = "# a comment\n-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n"
    headed = pem(b"h").replace("-----\n", "-----\nName: value\n\n", 1)
    found = anchors_of([pem(*anchors), garbage + pem(*anchors[:3]), headed, pem(b"x").replace("\n", "\r\n")])
    assert found == {*anchors, b"h", b"x"}
    one, same, other = pem_of(found, b"1"), pem_of(sorted(found), b"1"), pem_of(found, b"2")
    assert one == same != other
    assert anchors_of([one.decode()]) == anchors_of([other.decode()]) == found
    assert max(len(line) for line in one.splitlines()) == 64
    assert pem_of([], b"1") == b""


async def test_nobody_is_asked_before_a_pod_asks(bench: Bench) -> None:
    await asyncio.sleep(100)
    assert not bench.api.asked


async def test_one_by_name(bench: Bench) -> None:
    bench.api.bundles = [bundle("a", pem(b"1", b"2", b"1")), bundle("b", pem(b"3"))]
    assert await bench.of(name="a") == {b"1", b"2"}
    with pytest.raises(LookupError, match=r'clustertrustbundle.certificates.k8s.io "c" not found$'):
        await bench.of(name="c")
    assert await bench.of(name="c", optional=True) == frozenset()
    path = "/apis/certificates.k8s.io/v1beta1"
    assert bench.api.asked[f"get {path}"] == bench.api.asked[f"list {path}/clustertrustbundles"] == 1


async def test_all_of_a_signer_that_a_selector_matches(bench: Bench) -> None:
    bench.api.bundles = [
        bundle("a", pem(b"1"), signer="s", live="yes"),
        bundle("b", pem(b"1", b"2"), signer="s", live="no"),
        bundle("c", pem(b"3"), signer="other", live="yes"),
    ]
    assert await bench.of(signerName="s", labelSelector=LabelSelector()) == {b"1", b"2"}
    assert await bench.of(signerName="s", labelSelector=LabelSelector({"live": "yes"})) == {b"1"}
    zero = "^combination of signerName and labelSelector matched zero ClusterTrustBundles$"
    for selector in (None, LabelSelector({"live": "maybe"})):
        with pytest.raises(LookupError, match=zero):
            await bench.of(signerName="s", labelSelector=selector)
        assert await bench.of(signerName="s", labelSelector=selector, optional=True) == frozenset()
    wrong = LabelSelector(matchExpressions=[LabelSelectorRequirement("live", "Like", ["y"])])
    with pytest.raises(LookupError, match="not a valid label selector operator"):
        await bench.of(signerName="s", labelSelector=wrong)
    with pytest.raises(LookupError, match=r"^label selector length \(\d+\) is larger than 102400$"):
        await bench.of(signerName="s", labelSelector=LabelSelector({"k": "v" * 102400}))


async def test_a_change_is_seen_at_the_next_question(bench: Bench) -> None:
    bench.api.bundles = [bundle("a", pem(b"1"))]
    first = await bench.bundles.anchors(ClusterTrustBundleProjection(name="a"))
    assert await bench.bundles.anchors(ClusterTrustBundleProjection(name="a")) is first
    bench.api.changes.put_nowait(Change("MODIFIED", bundle("a", pem(b"2")), "6"))
    await asyncio.sleep(1)
    assert await bench.of(name="a") == {b"2"}
    bench.api.changes.put_nowait(Change("DELETED", bundle("a", pem(b"2")), "7"))
    await asyncio.sleep(1)
    assert await bench.of(name="a", optional=True) == frozenset()


async def test_an_older_server_and_one_without(bench: Bench) -> None:
    bench.api.served = []
    with pytest.raises(LookupError, match=r"^the API server has no ClusterTrustBundles$"):
        await bench.of(name="a", optional=True)
    bench.api.served = ["certificates.k8s.io/v1alpha1"]
    bench.api.bundles = [bundle("a", pem(b"1"))]
    assert await bench.of(name="a") == {b"1"}
    assert bench.api.asked["list /apis/certificates.k8s.io/v1alpha1/clustertrustbundles"] == 1


async def test_a_server_that_is_away(bench: Bench) -> None:
    bench.api.broken = Unreachable("connection refused")
    with pytest.raises(LookupError, match=r"is not known: connection refused$"):
        await bench.of(name="a")
    bench.api.broken = None
    bench.api.bundles = [bundle("a", pem(b"1"))]
    assert await bench.of(name="a") == {b"1"}
    bench.api.broken = Unreachable("connection refused")
    assert await bench.of(name="a") == {b"1"}


async def test_the_first_list_is_waited_for_only_so_long(bench: Bench) -> None:
    bench.api.bundles = [bundle("a", pem(b"1"))]
    real = bench.api.list

    async def slow(*arguments: Any, **options: Any) -> Any:
        await asyncio.sleep(15)
        return await real(*arguments, **options)

    bench.api.list = slow  # type: ignore[method-assign]
    with pytest.raises(LookupError, match=r"^ClusterTrustBundle informer has not yet synced$"):
        await bench.of(name="a")
    assert await bench.of(name="a") == {b"1"}


async def test_only_so_many_answers_are_kept(bench: Bench) -> None:
    bench.api.bundles = [bundle(name, pem(name.encode())) for name in "abcd"]
    for name in "abcdab":
        assert await bench.of(name=name) == {name.encode()}
    assert len(bench.bundles._answers) == 2
