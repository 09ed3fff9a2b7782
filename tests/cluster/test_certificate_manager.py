"""A certificate that is kept fresh, in virtual time."""

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography import x509
from tests.cluster.csr_api import CsrApi, immediate_threads

from pykubelet.base.clock import LoopClock
from pykubelet.base.journal import NullJournal
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner
from pykubelet.cluster.certificate_manager import WAIT, CertificateManager
from pykubelet.cluster.certificate_requests import CLIENT, SERVING, new_key, signing_request
from pykubelet.cluster.certificate_store import CertificateStore, KeyPair
from pykubelet.cluster.certificate_watch import ClientCertificateWatch, must_end
from pykubelet.cluster.errors import Refused, Unreachable
from pykubelet.cluster.rotation import Template, client_template

__all__ = ["immediate_threads"]
pytestmark = [pytest.mark.looptime, pytest.mark.usefixtures("immediate_threads")]


class World:
    """A manager and all around it."""

    def __init__(self, directory: Path) -> None:
        self.clock = LoopClock()
        self.api = CsrApi(self.clock)
        self.store = CertificateStore("kubelet-client", directory)
        self.metrics = Metrics()
        self.template: Template | None = client_template("n1")
        self.asked_with: list[KeyPair | None] = []
        self.rotated: list[KeyPair] = []
        self.manager: CertificateManager | None = None

    def make(self, purpose: Any = CLIENT, **options: Any) -> CertificateManager:
        def api(pair: KeyPair | None) -> CsrApi:
            self.asked_with.append(pair)
            return self.api

        self.manager = CertificateManager(
            purpose, self.store, lambda: self.template, api,
            clock=self.clock, random=Random(1), metrics=self.metrics, journal=NullJournal(),
            on_rotated=self.rotated.append, **options,
        )  # fmt: skip
        return self.manager

    async def until(self, true: Callable[[], object], limit: float = 5000) -> None:
        async with asyncio.timeout(limit):
            while not true():
                await asyncio.sleep(0.5)

    def metric(self, name: str) -> float:
        lines = self.metrics.render().decode().splitlines()
        return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "pki")
    yield made
    if made.manager is not None:
        await made.manager.stop()


async def test_the_first_certificate_and_its_rotations(world: World) -> None:
    manager = world.make()
    assert world.metric("kubelet_certificate_manager_client_ttl_seconds") == math.inf
    await manager.start()
    await world.until(lambda: world.rotated)
    csr = world.api.made[0]
    assert csr.metadata.generateName == "csr-"
    assert csr.spec.signerName == "kubernetes.io/kube-apiserver-client-kubelet"
    assert csr.spec.usages == ["digital signature", "client auth"]
    assert csr.spec.expirationSeconds is None
    subject = x509.load_pem_x509_csr(csr.spec.request).subject
    assert subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"
    assert manager.current == world.rotated[0] == await asyncio.to_thread(world.store.current)
    assert manager.server_healthy
    assert 3590 <= world.metric("kubelet_certificate_manager_client_ttl_seconds") <= 3600

    begin = world.clock.monotonic()
    await world.until(lambda: len(world.rotated) == 2)
    assert 0.69 * 3600 <= world.clock.monotonic() - begin <= 0.91 * 3600
    # The first was asked for with other credentials, the second with the first.
    assert world.asked_with == [None, world.rotated[0]]
    assert world.rotated[1].key != world.rotated[0].key


async def test_a_stored_certificate_is_used_until_its_time(world: World) -> None:
    first = world.make()
    await first.start()
    await world.until(lambda: world.rotated)
    await first.stop()
    world.metrics = Metrics()
    second = world.make()
    await second.start()
    assert second.current == world.rotated[0]
    await asyncio.sleep(1000)
    assert len(world.api.made) == 1


async def test_an_expired_or_broken_one_is_replaced(world: World) -> None:
    manager = world.make()
    await manager.start()
    await world.until(lambda: world.rotated)
    await manager.stop()
    await asyncio.sleep(3601)
    assert manager.current is None
    world.metrics = Metrics()
    again = world.make()
    await again.start()
    await world.until(lambda: len(world.rotated) == 2)
    assert world.asked_with == [None, None]
    await again.stop()
    await asyncio.to_thread(world.store.current_path.resolve().write_text, "broken")
    world.metrics = Metrics()
    await world.make().start()
    await world.until(lambda: len(world.rotated) == 3)


async def test_retries_as_upstream_and_health(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.api.errors = [
        Unreachable("no route"), Refused(401, "Unauthorized", "who?"), Unreachable("no route"),
        Refused(403, "Forbidden", "no"), Unreachable("x"), Unreachable("x"),
    ]  # fmt: skip
    manager = world.make()
    times: list[float] = []
    healths: list[bool] = []

    async def look() -> None:
        left = len(world.api.errors)
        while True:
            if len(world.api.errors) != left:
                left = len(world.api.errors)
                times.append(world.clock.monotonic())
                healths.append(manager.server_healthy)
            await asyncio.sleep(0.05)

    looking = TaskOwner("test").spawn("look", look())
    await manager.start()
    await world.until(lambda: world.rotated)
    looking.cancel()
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    for gap, wait in zip(gaps, (2, 4, 8, 16, 32), strict=True):
        assert wait - 0.1 <= gap <= wait * 1.1 + 0.2
    assert healths == [False, True, False, True, False, False]
    assert world.metric("kubelet_certificate_manager_client_expiration_renew_errors") == 6
    assert "no route" in caplog.text


async def test_retry_after_is_respected(world: World) -> None:
    world.api.errors = [Refused(429, "TooManyRequests", "slow", retry_after=60)]
    begin = world.clock.monotonic()
    await world.make().start()
    await world.until(lambda: world.rotated)
    assert world.clock.monotonic() - begin >= 60


@pytest.mark.parametrize(
    ("verdict", "text"), [("Denied", "is denied, reason: Test"), ("Failed", "failed, reason: Test")]
)
async def test_a_refused_request_is_made_anew(
    world: World, verdict: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.api.verdict = verdict
    await world.make().start()
    await world.until(lambda: len(world.api.made) == 2)
    world.api.verdict = "Approved"
    await world.until(lambda: world.rotated)
    assert f"csr-0 {text}, message: so it is" in caplog.text


async def test_approval_that_takes_its_time(world: World) -> None:
    world.api.verdict = ""
    manager = world.make()
    await manager.start()
    await asyncio.sleep(WAIT - 10)
    assert len(world.api.made) == 1
    assert world.api.watches == 3
    world.api.conclude("csr-0", "Approved")
    await world.until(lambda: world.rotated, 5)


async def test_an_attempt_ends_after_a_quarter_of_an_hour(world: World) -> None:
    world.api.verdict = ""
    await world.make().start()
    await asyncio.sleep(WAIT + 5)
    assert len(world.api.made) == 2


@pytest.mark.parametrize("what", ["remove", "replace"])
async def test_a_request_that_is_gone_is_made_anew(world: World, what: str) -> None:
    world.api.verdict = ""
    await world.make().start()
    await asyncio.sleep(1)
    getattr(world.api, what)("csr-0")
    await asyncio.sleep(5)
    assert len(world.api.made) == 2


async def test_watch_failures_do_not_end_the_wait(world: World) -> None:
    world.api.verdict = ""
    await world.make().start()
    await world.until(lambda: world.api.watches == 1)
    world.api.errors = [Unreachable("cut")] * 3
    await asyncio.sleep(310)
    world.api.conclude("csr-0", "Approved")
    await world.until(lambda: world.rotated, 10)
    assert len(world.api.made) == 1


async def test_serving_certificates_follow_the_addresses(world: World) -> None:
    world.template = None
    manager = world.make(SERVING)
    await manager.start()
    await asyncio.sleep(100)
    assert world.api.made == []
    assert manager.files() is None
    world.template = Template("system:node:n1", dns_names=("n1",), addresses=("10.0.0.1",))
    await world.until(lambda: world.rotated, 5)
    csr = world.api.made[0]
    assert (csr.spec.signerName, csr.spec.usages) == (
        "kubernetes.io/kubelet-serving",
        ["digital signature", "server auth"],
    )
    assert manager.files() == (world.store.current_path, world.store.current_path)
    world.template = Template("system:node:n1", dns_names=("n1",), addresses=("10.0.0.1", "10.0.0.2"))
    await world.until(lambda: len(world.rotated) == 2, 5)
    assert world.rotated[1].leaf.addresses == {"10.0.0.1", "10.0.0.2"}
    assert world.metric("kubelet_certificate_manager_server_rotation_seconds_count") == 1
    assert world.metric("kubelet_server_expiration_renew_errors") == 0
    # Fewer addresses are no reason.
    world.template = Template("system:node:n1", addresses=("10.0.0.1",))
    await asyncio.sleep(60)
    assert len(world.rotated) == 2


async def test_a_request_for_old_addresses_is_not_waited_for(world: World) -> None:
    world.api.verdict = ""
    world.template = Template("system:node:n1", addresses=("10.0.0.1",))
    await world.make(SERVING).start()
    await asyncio.sleep(5)
    world.template = Template("system:node:n1", addresses=("10.0.0.2",))
    world.api.verdict = "Approved"
    await world.until(lambda: world.rotated, 5)
    assert world.rotated[0].leaf.addresses == {"10.0.0.2"}


async def test_a_signer_that_leaves_names_out_causes_no_storm(world: World) -> None:
    world.api.names = False
    world.template = Template("system:node:n1", addresses=("10.0.0.1",))
    await world.make(SERVING).start()
    await asyncio.sleep(600)
    assert len(world.api.made) == 1


async def test_certificates_that_are_due_as_they_come_cause_no_storm(world: World) -> None:
    world.api.lifetime = 0
    await world.make().start()
    await asyncio.sleep(60)
    assert 20 <= len(world.api.made) <= 61


async def test_a_first_pair_is_replaced_at_once(world: World) -> None:
    key = new_key()
    request = signing_request(key, Template("kubernetes-admin", ("system:masters",)))
    now = world.clock.now().replace(microsecond=0)
    chain = world.api.authority.sign(request, now, now.replace(year=now.year + 1))
    world.api.verdict = ""
    manager = world.make(initial=(chain, key))
    await manager.start()
    assert manager.current is not None
    assert manager.current.leaf.common_name == "kubernetes-admin"
    await asyncio.sleep(1)
    world.api.conclude("csr-0", "Approved")
    await world.until(lambda: world.rotated, 5)
    assert world.asked_with[0] is not None
    assert manager.current.leaf.common_name == "system:node:n1"


@pytest.mark.parametrize(
    ("without", "healthy", "end"), [(299, True, False), (301, True, True), (1e9, False, False)]
)
def test_when_to_end(without: float, healthy: bool, end: bool) -> None:
    assert must_end(without, healthy) is end


async def test_the_node_ends_without_a_certificate_only_when_the_server_answers(world: World) -> None:
    world.api.errors = [Unreachable("x")] * 12 + [Refused(401, "Unauthorized", "no")] * 99
    manager = world.make()
    reasons: list[str] = []
    watch = ClientCertificateWatch(manager, world.clock, NullJournal(), reasons.append)
    await manager.start()
    await watch.start()
    await asyncio.sleep(299)
    assert reasons == []
    await asyncio.sleep(300)
    assert len(reasons) == 1
    await watch.stop()
