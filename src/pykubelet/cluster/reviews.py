"""Asking the API server who a token belongs to and what a user may do: TokenReview, SubjectAccessReview."""

import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, TypeVar

from pykubelet.api.auth import (
    SubjectAccessReview,
    SubjectAccessReviewSpec,
    SubjectAccessReviewStatus,
    TokenReview,
    TokenReviewSpec,
    UserInfo,
)
from pykubelet.base.clock import Clock

from . import paths
from .door import Api
from .errors import ClusterError, Refused, Unreachable

log = logging.getLogger(__name__)

T = TypeVar("T")

_TOKENS: Final = paths.group("authentication.k8s.io/v1", "tokenreviews")
_ACCESS: Final = paths.group("authorization.k8s.io/v1", "subjectaccessreviews")
#: Questions in all, and seconds of waiting between them: first, factor, share of jitter.
_STEPS: Final = 5
_FIRST, _FACTOR, _JITTER = 0.5, 1.5, 0.2
#: The longest wait in seconds that an answer's Retry-After gets: somebody waits for us.
_PATIENCE: Final = 5.0


def worth_another(error: ClusterError) -> bool:
    """Whether the same question may be answered soon. Pure."""
    if isinstance(error, Refused):
        return error.code in (429, 500, 504) or error.retry_after is not None
    return isinstance(error, Unreachable)


class _Asker:
    def __init__(self, api: Api, clock: Clock, random: Random) -> None:
        self._api = api
        self._clock = clock
        self._random = random

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        wait = _FIRST
        for step in range(1, _STEPS + 1):
            try:
                return await question()
            except ClusterError as error:
                if step == _STEPS or not worth_another(error):
                    raise
                told = error.retry_after if isinstance(error, Refused) else None
                log.debug("review failed, step %d: %s", step, error)
            pause = wait * (1 + _JITTER * self._random.random())
            await self._clock.sleep(max(pause, min(told or 0.0, _PATIENCE)))
            wait *= _FACTOR
        raise AssertionError("not reached")


class TokenReviews(_Asker):
    """Asks who a bearer token belongs to; implements the server's ``TokenReviewer``."""

    async def review(self, token: str) -> UserInfo | None:
        """The token's user; None when the API server does not know it.

        :raises ClusterError: there is no answer.
        """
        body = TokenReview(spec=TokenReviewSpec(token=token))
        status = (await self._ask(lambda: self._api.create(_TOKENS, body, TokenReview))).status
        if not status.authenticated and status.error:
            raise Unreachable(f"the token could not be looked at: {status.error}")
        return status.user if status.authenticated else None


class AccessReviews(_Asker):
    """Asks what a user may do; implements the server's ``AccessReviewer``."""

    async def review(self, spec: SubjectAccessReviewSpec) -> SubjectAccessReviewStatus:
        """The API server's answer.

        :raises ClusterError: there is none.
        """
        body = SubjectAccessReview(spec=spec)
        return (await self._ask(lambda: self._api.create(_ACCESS, body, SubjectAccessReview))).status
