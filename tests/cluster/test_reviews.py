"""Reviews: what is asked, and how often."""

from random import Random
from typing import Any

import pytest

from pykubelet.api.auth import (
    ResourceAttributes,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
    SubjectAccessReviewStatus,
    TokenReview,
    TokenReviewStatus,
    UserInfo,
)
from pykubelet.api.codec import encode
from pykubelet.base.clock import ManualClock
from pykubelet.cluster.errors import ClusterError, Refused, Unreachable
from pykubelet.cluster.reviews import AccessReviews, TokenReviews, worth_another


class ReviewApi:
    """The part of ``Api`` that reviews use."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Any]] = []

    async def create(self, path: str, body: Any, kind: Any, *, timeout: float | None = None) -> Any:
        self.asked.append((path, body))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def make(kind: Any, *answers: Any) -> tuple[Any, ReviewApi, ManualClock]:
    api, clock = ReviewApi(*answers), ManualClock()
    return kind(api, clock, Random(1)), api, clock


async def test_a_token_review() -> None:
    user = UserInfo(username="jane", uid="1", groups=["g"])
    reviews, api, _ = make(TokenReviews, TokenReview(status=TokenReviewStatus(authenticated=True, user=user)))
    assert await reviews.review("secret") == user
    ((path, body),) = api.asked
    assert path == "/apis/authentication.k8s.io/v1/tokenreviews"
    assert b'"spec":{"token":"secret"}' in encode(body)
    assert "secret" not in repr(body)


async def test_unknown_tokens_and_those_that_could_not_be_looked_at() -> None:
    reviews, _, _ = make(
        TokenReviews, TokenReview(), TokenReview(status=TokenReviewStatus(error="[invalid bearer token]"))
    )
    assert await reviews.review("x") is None
    with pytest.raises(ClusterError, match="invalid bearer token"):
        await reviews.review("x")


async def test_an_access_review() -> None:
    spec = SubjectAccessReviewSpec(
        user="jane", resourceAttributes=ResourceAttributes(verb="get", resource="nodes", name="n1")
    )
    status = SubjectAccessReviewStatus(allowed=True, reason="so")
    reviews, api, _ = make(AccessReviews, SubjectAccessReview(status=status))
    assert await reviews.review(spec) == status
    assert api.asked[0][0] == "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    assert api.asked[0][1].spec == spec


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (Unreachable("reset"), True),
        (Refused(500, "InternalError", "x"), True),
        (Refused(504, "Timeout", "x"), True),
        (Refused(429, "TooManyRequests", "x"), True),
        (Refused(503, "ServiceUnavailable", "x"), False),
        (Refused(503, "ServiceUnavailable", "x", retry_after=1), True),
        (Refused(403, "Forbidden", "x"), False),
        (Refused(401, "Unauthorized", "x"), False),
    ],
)
async def test_what_is_asked_again(error: ClusterError, again: bool) -> None:
    assert worth_another(error) is again
    reviews, api, clock = make(AccessReviews, *[error] * 5)
    with pytest.raises(type(error)):
        await reviews.review(SubjectAccessReviewSpec())
    assert len(api.asked) == (5 if again else 1)
    waited = clock.monotonic()
    least = sum(0.5 * 1.5**step for step in range(4))
    assert (least <= waited <= least * 1.2 + 4) if again else waited == 0


async def test_an_outage_that_passes() -> None:
    status = SubjectAccessReviewStatus(allowed=True)
    reviews, _, _ = make(AccessReviews, Unreachable("x"), SubjectAccessReview(status=status))
    assert (await reviews.review(SubjectAccessReviewSpec())).allowed
