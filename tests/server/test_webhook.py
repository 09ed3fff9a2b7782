"""Asking the cluster who and what, with answers that are remembered."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.conftest import Answer, http

from pykubelet.api.auth import SubjectAccessReviewSpec, SubjectAccessReviewStatus, UserInfo
from pykubelet.base.clock import LoopClock, ManualClock
from pykubelet.base.tasks import TaskOwner
from pykubelet.config import KubeletConfiguration
from pykubelet.server import webhook
from pykubelet.server.access import bearer_token
from pykubelet.server.doors import Attributes, User
from pykubelet.server.webhook import SharedAnswers, WebhookAuthorizer, WebhookTokens, access_question

ATTRIBUTES = Attributes(User("jane", ("g",)), "get", "node1", "pods", "/pods")


class Tokens:
    """Knows one token; counts the questions."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.held: asyncio.Event | None = None

    async def review(self, token: str) -> UserInfo | None:
        self.asked.append(token)
        if self.held is not None:
            await self.held.wait()
        if self.error is not None:
            raise self.error
        if token != "good":
            return None
        return UserInfo(username="jane", uid="u1", groups=["dev"], extra={"b": ["2"], "a": ["1", "x"]})


class Access:
    """Answers what the test says."""

    def __init__(self, *answers: SubjectAccessReviewStatus | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[SubjectAccessReviewSpec] = []

    async def review(self, spec: SubjectAccessReviewSpec) -> SubjectAccessReviewStatus:
        self.asked.append(spec)
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


ALLOWED = SubjectAccessReviewStatus(allowed=True)
DENIED = SubjectAccessReviewStatus(denied=True)
NO_OPINION = SubjectAccessReviewStatus()


async def test_a_token_gives_user_groups_uid_and_extra_and_is_asked_for_once() -> None:
    reviewer, clock = Tokens(), ManualClock()
    tokens = WebhookTokens(reviewer, clock, ttl=120)
    expected = User("jane", ("dev",), "u1", (("a", ("1", "x")), ("b", ("2",))))
    for _ in range(3):
        assert await tokens.authenticate("good") == expected
    clock.advance(119)
    await tokens.authenticate("good")
    assert reviewer.asked == ["good"]
    clock.advance(2)
    await tokens.authenticate("good")
    assert reviewer.asked == ["good", "good"]
    await tokens.close()


async def test_unknown_tokens_are_remembered_and_outages_are_not() -> None:
    reviewer, clock = Tokens(), ManualClock()
    tokens = WebhookTokens(reviewer, clock, ttl=120)
    assert await tokens.authenticate("bad") is None
    assert await tokens.authenticate("bad") is None
    assert len(reviewer.asked) == 1
    reviewer.error = ConnectionError("away")
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await tokens.authenticate("good")
    assert len(reviewer.asked) == 3
    await tokens.close()


async def test_no_token_is_kept() -> None:
    tokens = WebhookTokens(Tokens(), ManualClock(), ttl=120)
    await tokens.authenticate("very-secret")
    answers = tokens._answers
    assert answers._kept
    assert "very-secret" not in repr(answers._kept)
    await tokens.close()


async def test_equal_questions_share_one_request_that_outlives_its_first_asker() -> None:
    reviewer = Tokens()
    reviewer.held = asyncio.Event()
    tokens = WebhookTokens(reviewer, ManualClock(), ttl=120)
    owner = TaskOwner("test")
    first, second = (owner.spawn("ask", tokens.authenticate("good")) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    reviewer.held.set()
    assert (await second) is not None
    assert reviewer.asked == ["good"]
    await tokens.close()


@pytest.mark.looptime
async def test_a_question_without_an_answer_ends() -> None:
    reviewer = Tokens()
    reviewer.held = asyncio.Event()
    tokens = WebhookTokens(reviewer, LoopClock(), ttl=120)
    with pytest.raises(TimeoutError):
        await tokens.authenticate("good")
    assert asyncio.get_running_loop().time() == pytest.approx(webhook.TIME_LIMIT)
    await tokens.close()


async def test_the_cache_is_bounded_and_keeps_what_is_used() -> None:
    answers: SharedAnswers[int] = SharedAnswers(ManualClock(), 2, "test")
    asked: list[int] = []

    async def get(number: int) -> int:
        async def ask() -> int:
            asked.append(number)
            return number

        return await answers.get(b"%d" % number, ask, lambda _: 60.0)

    for number in (1, 2, 1, 3, 1, 2):
        assert await get(number) == number
    assert asked == [1, 2, 3, 2]
    assert len(answers._kept) == 2
    await answers.close()


@pytest.mark.parametrize(
    ("status", "life", "allowed"), [(ALLOWED, 300, True), (DENIED, 30, False), (NO_OPINION, 30, False)]
)
async def test_access_answers_live_as_long_as_configured(
    status: SubjectAccessReviewStatus, life: float, allowed: bool
) -> None:
    reviewer, clock = Access(status), ManualClock()
    authorizer = WebhookAuthorizer(reviewer, clock, allowed_ttl=300, denied_ttl=30)
    assert await authorizer.allows(ATTRIBUTES) is allowed
    clock.advance(life - 1)
    assert await authorizer.allows(ATTRIBUTES) is allowed
    assert len(reviewer.asked) == 1
    clock.advance(2)
    await authorizer.allows(ATTRIBUTES)
    assert len(reviewer.asked) == 2
    await authorizer.close()


async def test_contradictions_and_outages_let_nobody_in() -> None:
    both = SubjectAccessReviewStatus(allowed=True, denied=True)
    authorizer = WebhookAuthorizer(
        Access(ConnectionError("away"), both), ManualClock(), allowed_ttl=300, denied_ttl=30
    )
    with pytest.raises(ConnectionError):
        await authorizer.allows(ATTRIBUTES)
    for _ in range(2):
        with pytest.raises(ValueError, match="both allowed and denied"):
            await authorizer.allows(ATTRIBUTES)
    await authorizer.close()


async def test_a_huge_question_is_asked_but_not_kept() -> None:
    reviewer = Access(ALLOWED)
    authorizer = WebhookAuthorizer(reviewer, ManualClock(), allowed_ttl=300, denied_ttl=30)
    huge = Attributes(User("x" * 10_000), "get", "node1", "pods", "/pods")
    for _ in range(2):
        assert await authorizer.allows(huge)
    assert len(reviewer.asked) == 2
    await authorizer.close()


def test_the_question() -> None:
    user = User("jane", ("system:masters", "g"), "u1", (("k", ("v",)),))
    spec = access_question(Attributes(user, "create", "node1", "proxy", "/exec/a/b/c"))
    assert spec.resourceAttributes is not None
    asked = spec.resourceAttributes
    assert (asked.verb, asked.group, asked.version, asked.resource, asked.subresource, asked.name) == (
        "create", "", "v1", "nodes", "proxy", "node1",
    )  # fmt: skip
    assert (spec.user, spec.uid, spec.groups, spec.extra) == (
        "jane", "u1", ["system:masters", "g"], {"k": ["v"]},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("  bearer abc ", "abc"),
        ("BEARER a b", "a"),
        ("Bearer  abc", ""),
        ("Bearer", ""),
        ("Basic abc", ""),
        ("", ""),
    ],
)
def test_bearer_token(header: str, token: str) -> None:
    assert bearer_token(header) == token


@given(st.text())
def test_bearer_token_of_anything(header: str) -> None:
    assert " " not in bearer_token(header)


# --- on the port --------------------------------------------------------------


async def ask(server: Any, tls: ssl.SSLContext, token: str = "") -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.listener("kubelet").port, ssl=tls)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return await http(reader, writer, "GET", "/pods", **headers)


class Recorder:
    def __init__(self) -> None:
        self.users: list[User] = []

    async def allows(self, attributes: Attributes) -> bool:
        self.users.append(attributes.user)
        return True


def anonymous() -> Any:
    authentication = KubeletConfiguration().authentication
    authentication.anonymous.enabled = True
    return authentication


async def test_tokens_on_the_port(
    start_server: Any, client_tls: Callable[..., ssl.SSLContext], caplog: pytest.LogCaptureFixture
) -> None:
    reviewer, recorder = Tokens(), Recorder()
    tokens = WebhookTokens(reviewer, ManualClock(), ttl=120)
    server = await start_server(recorder, tokens=tokens)
    assert (await ask(server, client_tls())).status == 401
    assert (await ask(server, client_tls(), "good")).status == 200
    assert recorder.users[-1].groups == ("dev", "system:authenticated")
    bad = await ask(server, client_tls(), "bad")
    assert (bad.status, bad.text) == (401, "Unauthorized")
    reviewer.error = RuntimeError("the cluster is away")
    assert (await ask(server, client_tls(), "other-secret")).status == 401
    assert "away" in caplog.text
    assert "other-secret" not in caplog.text
    # A certificate comes first; its fingerprint goes along.
    assert (await ask(server, client_tls("kube-apiserver"), "bad")).status == 200
    user = recorder.users[-1]
    assert user.name == "kube-apiserver"
    ((key, (value,)),) = user.extra
    assert key == "authentication.kubernetes.io/credential-id"
    assert value.startswith("X509SHA256=")
    assert len(value) == 11 + 64
    await tokens.close()


async def test_a_bad_token_is_not_anonymous(
    start_server: Any, client_tls: Callable[..., ssl.SSLContext]
) -> None:
    recorder = Recorder()
    tokens = WebhookTokens(Tokens(), ManualClock(), ttl=120)
    server = await start_server(recorder, tokens=tokens, authentication=anonymous())
    assert (await ask(server, client_tls(), "bad")).status == 401
    assert (await ask(server, client_tls())).status == 200
    assert recorder.users[-1].name == "system:anonymous"
    await tokens.close()


async def test_without_a_webhook_tokens_are_not_looked_at(
    start_server: Any, client_tls: Callable[..., ssl.SSLContext]
) -> None:
    recorder = Recorder()
    server = await start_server(recorder, authentication=anonymous())
    assert (await ask(server, client_tls(), "bad")).status == 200
    assert recorder.users[-1].name == "system:anonymous"
