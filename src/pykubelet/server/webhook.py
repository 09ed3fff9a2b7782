"""Who and what is asked of the cluster, remembered for a while: tokens and access reviews.

Answers are kept under hashes, so no token stays in memory; equal questions that are asked at the same
time share one request, which goes on for the others when one asker is gone.
"""

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from pykubelet.api.auth import (
    ResourceAttributes,
    SubjectAccessReviewSpec,
    SubjectAccessReviewStatus,
    UserInfo,
)
from pykubelet.api.codec import encode
from pykubelet.base.clock import Clock
from pykubelet.base.tasks import TaskOwner

from .doors import AccessReviewer, Attributes, TokenReviewer, User

log = logging.getLogger(__name__)

V = TypeVar("V")
_Outcome = tuple[V] | Exception

#: Seconds that a request that several may wait for gets.
TIME_LIMIT: Final = 30.0
#: Answers kept of each kind.
TOKENS: Final = 4096
REVIEWS: Final = 8192
#: Characters of a question's text beyond which its answer is not worth keeping.
_LONGEST: Final = 10_000


class SharedAnswers(Generic[V]):
    """A bounded cache by least recent use whose misses are filled once for all who ask."""

    def __init__(self, clock: Clock, size: int, name: str) -> None:
        self._clock = clock
        self._size = size
        self._kept: OrderedDict[bytes, tuple[float, V]] = OrderedDict()
        self._asked: dict[bytes, asyncio.Task[_Outcome[V]]] = {}
        self._tasks = TaskOwner(name)

    async def close(self) -> None:
        """End what is under way."""
        await self._tasks.close()

    async def get(self, key: bytes, ask: Callable[[], Awaitable[V]], ttl: Callable[[V], float]) -> V:
        """The answer kept under *key*, or that of *ask*, kept for *ttl* (of it) seconds; 0 keeps nothing.

        Whatever *ask* raises is raised to all who wait, and not kept.

        :raises TimeoutError: *ask* took longer than ``TIME_LIMIT``.
        """
        found = self._kept.get(key)
        if found is not None and self._clock.monotonic() < found[0]:
            self._kept.move_to_end(key)
            return found[1]
        task = self._asked.get(key)
        if task is None:
            task = self._tasks.spawn("ask", self._fill(key, ask, ttl))
            self._asked[key] = task
            task.add_done_callback(lambda _: self._asked.pop(key, None))
        outcome = await asyncio.shield(task)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome[0]

    async def _fill(
        self, key: bytes, ask: Callable[[], Awaitable[V]], ttl: Callable[[V], float]
    ) -> "_Outcome[V]":
        try:
            async with asyncio.timeout(TIME_LIMIT):
                value = await ask()
        except Exception as error:  # noqa: BLE001 - raised where it was asked
            return error
        life = ttl(value)
        if life > 0:
            self._kept[key] = (self._clock.monotonic() + life, value)
            self._kept.move_to_end(key)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return (value,)


class WebhookTokens:
    """Implements ``TokenAuthenticator`` by asking the cluster."""

    def __init__(self, reviewer: TokenReviewer, clock: Clock, *, ttl: float) -> None:
        """Answers, good and bad ones, count for *ttl* seconds (``authentication.webhook.cacheTTL``)."""
        self._reviewer = reviewer
        self._ttl = ttl
        self._answers: SharedAnswers[User | None] = SharedAnswers(clock, TOKENS, "token reviews")
        # A key of our own: nobody can compute which tokens share a place.
        self._secret = secrets.token_bytes(32)

    async def close(self) -> None:
        """End what is under way."""
        await self._answers.close()

    async def authenticate(self, token: str) -> User | None:
        """See ``TokenAuthenticator``."""
        key = hmac.digest(self._secret, token.encode(errors="surrogateescape"), "sha256")

        async def ask() -> User | None:
            found = await self._reviewer.review(token)
            return None if found is None else _user(found)

        return await self._answers.get(key, ask, lambda _: self._ttl)


def _user(info: UserInfo) -> User:
    extra = tuple(sorted((key, tuple(values)) for key, values in info.extra.items()))
    return User(info.username, tuple(info.groups), info.uid, extra)


class WebhookAuthorizer:
    """Implements ``Authorizer`` by asking the cluster; nobody is let in without its word."""

    def __init__(
        self, reviewer: AccessReviewer, clock: Clock, *, allowed_ttl: float, denied_ttl: float
    ) -> None:
        """Allowing answers count for *allowed_ttl* seconds, others for *denied_ttl*."""
        self._reviewer = reviewer
        self._allowed_ttl = allowed_ttl
        self._denied_ttl = denied_ttl
        self._answers: SharedAnswers[SubjectAccessReviewStatus] = SharedAnswers(
            clock, REVIEWS, "access reviews"
        )

    async def close(self) -> None:
        """End what is under way."""
        await self._answers.close()

    async def allows(self, attributes: Attributes) -> bool:
        """See ``Authorizer``."""
        spec = access_question(attributes)
        text = encode(spec, sort=True)

        def life(status: SubjectAccessReviewStatus) -> float:
            if len(text) >= _LONGEST:
                return 0.0
            return self._allowed_ttl if status.allowed else self._denied_ttl

        status = await self._answers.get(
            hashlib.sha256(text).digest(), lambda: self._reviewer.review(spec), life
        )
        if status.allowed and status.denied:
            raise ValueError("the subject access review came back both allowed and denied")
        return status.allowed


def access_question(attributes: Attributes) -> SubjectAccessReviewSpec:
    """What the cluster is asked for *attributes*. Pure."""
    user = attributes.user
    return SubjectAccessReviewSpec(
        resourceAttributes=ResourceAttributes(
            verb=attributes.verb,
            group=attributes.api_group,
            version=attributes.api_version,
            resource=attributes.resource,
            subresource=attributes.subresource,
            name=attributes.node,
        ),
        user=user.name,
        uid=user.uid,
        groups=list(user.groups),
        extra={key: list(values) for key, values in user.extra},
    )
