"""Service account tokens for pods: asked for at the API server, kept while they are good.

A token is renewed long before it expires, and while that fails the old one serves on.
Tokens never go into a text. (pkg/kubelet/token.)
"""

import asyncio
import logging
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pykubelet.api.auth import BoundObjectReference, TokenRequest
from pykubelet.base.clock import Clock
from pykubelet.base.gotext import go_quote
from pykubelet.base.tasks import TaskOwner

from .door import Api
from .errors import ClusterError, Refused
from .paths import core

log = logging.getLogger(__name__)

#: The age at which every token is renewed.
OLDEST: Final = timedelta(hours=24)
#: Tokens are renewed up to this many seconds early, by chance, so that they do not come all at once.
JITTER: Final = 10
#: Seconds between looks for expired tokens.
CLEAN_UP_PERIOD: Final = 60.0
#: Seconds after which a token is asked for again when the server does not know the pod, or that it is
#: this node's: its admission and authorizer hear of a new pod a little later than we do.
_SOON: Final = (0.02, 0.05, 0.1)


@dataclass(frozen=True, slots=True)
class _Kept:
    token: TokenRequest
    #: When it is to be renewed; None: never (the server told no life time).
    refresh_at: datetime | None


def renewal(token: TokenRequest, jitter: float) -> datetime | None:
    """When an issued token is to be renewed: after 80 % of its life or 24 h, *jitter* seconds early."""
    seconds, expiry = token.spec.expirationSeconds, token.status.expirationTimestamp
    if seconds is None or expiry is None:
        return None
    issued = expiry - timedelta(seconds=seconds)
    early = expiry - timedelta(seconds=seconds * 20 // 100)
    return min(issued + OLDEST, early) - timedelta(seconds=jitter)


def token_key(namespace: str, service_account: str, request: TokenRequest) -> str:
    """What tells tokens apart, as upstream writes it; it holds nothing secret."""
    spec = request.spec
    bound = spec.boundObjectRef or BoundObjectReference()
    audiences = "[]string(nil)"
    if spec.audiences is not None:
        audiences = "[]string{" + ", ".join(map(go_quote, spec.audiences)) + "}"
    reference = (
        f"v1.BoundObjectReference{{Kind:{go_quote(bound.kind)}, APIVersion:{go_quote(bound.apiVersion)}, "
        f"Name:{go_quote(bound.name)}, UID:{go_quote(bound.uid)}}}"
    )
    return "/".join(
        (
            go_quote(service_account),
            go_quote(namespace),
            audiences,
            str(spec.expirationSeconds or 0),
            reference,
            go_quote(request.metadata.uid),
        )
    )


class TokenManager:
    """The tokens of this node's pods."""

    def __init__(self, api: Api, clock: Clock, rng: random.Random) -> None:
        self._api = api
        self._clock = clock
        self._rng = rng
        self._kept: dict[str, _Kept] = {}
        self._asking: dict[str, asyncio.Task[TokenRequest | ClusterError]] = {}
        self._tasks = TaskOwner("tokens")

    async def start(self) -> None:
        """Begin to forget expired tokens."""
        self._tasks.forever("clean-up", self._clean_up_forever, pause=self._clock.sleep)

    async def stop(self) -> None:
        """Forget everything."""
        await self._tasks.close()
        self._kept.clear()

    async def token(self, namespace: str, service_account: str, request: TokenRequest) -> TokenRequest:
        """A valid token as *request* wants it: one that is kept, or a new one.

        *request* with a ``metadata.uid`` is for the service account of that UID only.

        :raises LookupError: none could be had, with upstream's text.
        """
        key = token_key(namespace, service_account, request)
        kept = self._kept.get(key)
        if kept is not None and not self._due(kept):
            return kept.token
        got = await self._ask(key, namespace, service_account, request)
        if isinstance(got, TokenRequest):
            return got
        if kept is None:
            raise LookupError(f"failed to fetch token: {got}")
        if self._expired(kept.token):
            raise LookupError(f"token {key} expired and refresh failed: {got}")
        log.error("the token %s could not be renewed, the old one serves on: %s", key, got)
        return kept.token

    def refresh_at(self, namespace: str, service_account: str, request: TokenRequest) -> datetime | None:
        """When to ask for the token again, as the one that is kept is then to be renewed.

        A time in the past: renewing it failed. None: none is kept, or it needs no renewal.
        """
        kept = self._kept.get(token_key(namespace, service_account, request))
        return kept.refresh_at if kept is not None else None

    def forget_pod(self, uid: str) -> None:
        """The pod needs its tokens no more."""
        self._kept = {key: kept for key, kept in self._kept.items() if _bound_to(kept.token) != uid}

    # --- asking ---------------------------------------------------------------

    async def _ask(
        self, key: str, namespace: str, service_account: str, request: TokenRequest
    ) -> TokenRequest | ClusterError:
        """A new token, or why there is none; all who want the same one wait for one request."""
        task = self._asking.get(key)
        if task is None:
            task = self._tasks.spawn("request", self._request(key, namespace, service_account, request))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        # One who waits no more must not take the answer from the others.
        return await asyncio.shield(task)

    async def _request(
        self, key: str, namespace: str, service_account: str, request: TokenRequest
    ) -> TokenRequest | ClusterError:
        path = core("serviceaccounts", namespace, service_account, "token")
        waits = iter(_SOON)
        while True:
            try:
                token = await self._api.create(path, request, TokenRequest)
                break
            except ClusterError as error:
                wait = next(waits, None)
                unknown = isinstance(error, Refused) and (error.not_found or error.forbidden)
                if wait is None or not unknown:
                    return error
            await self._clock.sleep(wait)
        refresh_at = renewal(token, self._rng.randrange(JITTER))
        if refresh_at is None:
            log.error("the API server told no life time of the token %s, it will not be renewed", key)
        self._kept[key] = _Kept(token, refresh_at)
        return token

    # --- keeping --------------------------------------------------------------

    def _due(self, kept: _Kept) -> bool:
        return kept.refresh_at is not None and self._clock.now() > kept.refresh_at

    def _expired(self, token: TokenRequest) -> bool:
        expiry = token.status.expirationTimestamp
        return expiry is None or self._clock.now() > expiry

    async def _clean_up_forever(self) -> None:
        while True:
            await self._clock.sleep(CLEAN_UP_PERIOD)
            self._kept = {key: kept for key, kept in self._kept.items() if not self._expired(kept.token)}


def _bound_to(token: TokenRequest) -> str:
    bound = token.spec.boundObjectRef
    return bound.uid if bound is not None else ""
