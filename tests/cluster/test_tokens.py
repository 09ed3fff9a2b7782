"""Tokens on virtual time: when one is renewed, who shares a request, what serves on."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pykubelet.api.auth import BoundObjectReference, TokenRequest, TokenRequestSpec, TokenRequestStatus
from pykubelet.api.meta import ObjectMeta
from pykubelet.base.clock import LoopClock
from pykubelet.base.tasks import TaskOwner
from pykubelet.cluster.door import Change, Query
from pykubelet.cluster.errors import ClusterError, Refused, Unreachable
from pykubelet.cluster.tokens import JITTER, TokenManager, renewal, token_key

pytestmark = pytest.mark.looptime
T = TypeVar("T")


class FakeTokens:
    """Issues tokens that are numbered."""

    def __init__(self, clock: LoopClock) -> None:
        self.clock = clock
        self.paths: list[str] = []
        self.bodies: list[TokenRequest] = []
        self.broken: ClusterError | None = None
        self.slow = 0.0
        self.told_life = True

    async def create(self, path: str, body: Any, kind: type[T], *, timeout: float | None = None) -> T:
        self.paths.append(path)
        self.bodies.append(body)
        number = len(self.paths)
        await asyncio.sleep(self.slow)
        if self.broken is not None:
            raise self.broken
        seconds = body.spec.expirationSeconds or 3600
        spec = replace(body.spec, expirationSeconds=seconds if self.told_life else None)
        status = TokenRequestStatus(
            token=f"secret-{number}", expirationTimestamp=self.clock.now() + timedelta(seconds=seconds)
        )
        return replace(body, spec=spec, status=status)  # type: ignore[no-any-return]

    async def get(
        self, path: str, kind: type[T], *, query: Query | None = None, timeout: float | None = None
    ) -> T:
        raise NotImplementedError

    async def list(
        self, path: str, kind: type[T], *, query: Query | None = None, last_known: Any = None
    ) -> tuple[list[T], str]:
        raise NotImplementedError

    async def update(self, path: str, body: Any, kind: type[T], *, timeout: float | None = None) -> T:
        raise NotImplementedError

    async def patch(
        self, path: str, body: Any, kind: type[T], *, content_type: str = "", timeout: float | None = None
    ) -> T:
        raise NotImplementedError

    async def delete(self, path: str, *, grace: int | None = None, uid: str = "") -> None:
        raise NotImplementedError

    def watch(
        self, path: str, kind: type[T], *, query: Query | None = None, last_known: Any = None
    ) -> AsyncGenerator[Change[T], None]:
        raise NotImplementedError


def request(
    *, uid: str = "u1", seconds: int | None = 3600, audiences: list[str] | None = None
) -> TokenRequest:
    return TokenRequest(
        spec=TokenRequestSpec(
            audiences=audiences,
            expirationSeconds=seconds,
            boundObjectRef=BoundObjectReference(kind="Pod", apiVersion="v1", name="web", uid=uid),
        )
    )


class Bench:
    def __init__(self) -> None:
        self.clock = LoopClock()
        self.api = FakeTokens(self.clock)
        self.tokens = TokenManager(self.api, self.clock, random.Random(1))

    async def ask(self, wanted: TokenRequest | None = None) -> str:
        return (await self.tokens.token("ns", "sa", wanted or request())).status.token


async def test_a_token_is_kept_until_its_last_fifth() -> None:
    bench = Bench()
    assert await bench.ask() == "secret-1"
    assert bench.api.paths == ["/api/v1/namespaces/ns/serviceaccounts/sa/token"]
    await asyncio.sleep(2880 - JITTER)
    assert await bench.ask() == "secret-1"
    await asyncio.sleep(JITTER + 1)
    assert await bench.ask() == "secret-2"


async def test_a_server_that_does_not_know_the_pod_yet_is_asked_again_at_once() -> None:
    bench = Bench()
    bench.api.broken = Refused(404, "NotFound", 'pod "web" not found')

    async def learn() -> None:
        await asyncio.sleep(0.03)
        bench.api.broken = None

    owner = TaskOwner("server")
    owner.spawn("learn", learn())
    began = bench.clock.monotonic()
    assert await bench.ask() == "secret-3"
    assert bench.clock.monotonic() - began == pytest.approx(0.07)
    await owner.close()


async def test_a_token_for_long_is_renewed_each_day() -> None:
    bench = Bench()
    long = request(seconds=7 * 86400)
    await bench.ask(long)
    await asyncio.sleep(86400 - JITTER - 1)
    assert await bench.ask(long) == "secret-1"
    await asyncio.sleep(JITTER + 2)
    assert await bench.ask(long) == "secret-2"


async def test_who_asks_at_the_told_time_gets_a_new_one() -> None:
    bench = Bench()
    assert bench.tokens.refresh_at("ns", "sa", request()) is None
    await bench.ask()
    at = bench.tokens.refresh_at("ns", "sa", request())
    assert at is not None
    await asyncio.sleep((at - bench.clock.now()).total_seconds() - 0.5)
    assert await bench.ask() == "secret-1"
    await asyncio.sleep(1)
    assert await bench.ask() == "secret-2"


@pytest.mark.parametrize(
    ("seconds", "jitter", "expected"),
    [(3600, 0, 2880), (3600, 9, 2871), (3607, 0, 2886), (601, 3, 478), (86400 * 2, 5, 86395)],
)
def test_renewal(seconds: int, jitter: int, expected: int) -> None:
    issued = datetime(2026, 1, 1, tzinfo=UTC)
    status = TokenRequestStatus(token="t", expirationTimestamp=issued + timedelta(seconds=seconds))
    at = renewal(replace(request(seconds=seconds), status=status), jitter)
    assert at == issued + timedelta(seconds=expected)


@given(st.integers(600, 2**32), st.integers(0, JITTER - 1))
def test_a_token_is_renewed_within_its_life_and_within_a_day(seconds: int, jitter: int) -> None:
    issued = datetime(2026, 1, 1, tzinfo=UTC)
    status = TokenRequestStatus(token="t", expirationTimestamp=issued + timedelta(seconds=seconds))
    at = renewal(replace(request(seconds=seconds), status=status), jitter)
    assert at is not None
    assert issued < at <= issued + timedelta(seconds=min(seconds, 86400))


async def test_all_who_want_the_same_share_one_request() -> None:
    bench = Bench()
    bench.api.slow = 1
    owner = TaskOwner("askers")
    first = owner.spawn("first", bench.ask())
    others = [owner.spawn("other", bench.ask()) for _ in range(5)]
    await asyncio.sleep(0.1)
    first.cancel()
    assert set(await asyncio.gather(*others)) == {"secret-1"}
    assert len(bench.api.paths) == 1
    await bench.tokens.stop()


@pytest.mark.parametrize(
    "other",
    [
        request(uid="u2"),
        request(seconds=7200),
        request(seconds=None),
        request(audiences=["vault"]),
        request(audiences=[]),
        replace(request(), metadata=ObjectMeta(uid="service-account")),
    ],
)
async def test_other_requests_get_other_tokens(other: TokenRequest) -> None:
    bench = Bench()
    await bench.ask()
    assert await bench.ask(other) == "secret-2"
    assert await bench.ask() == "secret-1"
    assert (await bench.tokens.token("ns2", "sa", request())).status.token == "secret-3"


async def test_the_old_token_serves_on_while_renewing_fails(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    await bench.ask()
    await asyncio.sleep(3000)
    bench.api.broken = Unreachable("refused")
    with caplog.at_level(logging.DEBUG):
        assert await bench.ask() == "secret-1"
    assert "could not be renewed" in caplog.text
    assert "secret-" not in caplog.text
    await asyncio.sleep(700)
    with pytest.raises(LookupError) as caught:
        await bench.ask()
    assert str(caught.value) == (
        f"token {token_key('ns', 'sa', request())} expired and refresh failed: refused"
    )


async def test_no_token_at_all() -> None:
    bench = Bench()
    bench.api.broken = Refused(422, "Invalid", "may not specify a duration less than 10 minutes")
    with pytest.raises(LookupError, match=r"^failed to fetch token: may not specify a duration"):
        await bench.ask(request(seconds=60))
    bench.api.broken = None
    assert await bench.ask(request(seconds=600)) == "secret-2"


async def test_expired_tokens_are_forgotten_each_minute() -> None:
    bench = Bench()
    await bench.tokens.start()
    await bench.ask(request(seconds=600))
    await bench.ask(request(seconds=6000))
    await asyncio.sleep(700)
    assert bench.tokens.refresh_at("ns", "sa", request(seconds=600)) is None
    assert bench.tokens.refresh_at("ns", "sa", request(seconds=6000)) is not None
    await bench.tokens.stop()


async def test_a_pod_that_ended_leaves_no_tokens() -> None:
    bench = Bench()
    await bench.ask(request(uid="u1"))
    await bench.ask(request(uid="u2"))
    unbound = TokenRequest(spec=TokenRequestSpec(expirationSeconds=3600))
    await bench.ask(unbound)
    bench.tokens.forget_pod("u1")
    assert await bench.ask(request(uid="u2")) == "secret-2"
    assert await bench.ask(unbound) == "secret-3"
    assert await bench.ask(request(uid="u1")) == "secret-4"


async def test_a_token_without_a_told_life_is_kept_and_never_renewed() -> None:
    bench = Bench()
    bench.api.told_life = False
    await bench.ask()
    await asyncio.sleep(3500)
    assert await bench.ask() == "secret-1"
    assert bench.tokens.refresh_at("ns", "sa", request()) is None


def test_the_key_is_upstreams_and_holds_no_secret() -> None:
    assert token_key("ns", "sa", request(audiences=["a", "b"])) == (
        '"sa"/"ns"/[]string{"a", "b"}/3600/'
        'v1.BoundObjectReference{Kind:"Pod", APIVersion:"v1", Name:"web", UID:"u1"}/""'
    )
    assert token_key("ns", "sa", TokenRequest()) == (
        '"sa"/"ns"/[]string(nil)/0/v1.BoundObjectReference{Kind:"", APIVersion:"", Name:"", UID:""}/""'
    )
