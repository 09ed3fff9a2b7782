"""Who asks, and whether that is allowed: client certificates, bearer tokens, anonymous, AlwaysAllow, deny.

Asking the cluster (``webhook.py``) needs one; where there is none, :func:`check_standalone_auth` says
at the start which fields ask for it.
"""

import hashlib
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from pykubelet.config.types import KubeletConfiguration

from .doors import Attributes, TokenAuthenticator, User

log = logging.getLogger(__name__)

ANONYMOUS: Final = User("system:anonymous", ("system:unauthenticated",))
_UNAUTHENTICATED_GROUP: Final = ANONYMOUS.groups[0]
AUTHENTICATED_GROUP: Final = "system:authenticated"
#: The key of a user's extra facts under which reviews are told by which certificate it came.
_CREDENTIAL_ID: Final = "authentication.kubernetes.io/credential-id"


class AlwaysAllow:
    """Implements ``Authorizer``: everybody may do everything."""

    async def allows(self, attributes: Attributes) -> bool:
        """See ``Authorizer``."""
        return True


class AlwaysDeny:
    """Implements ``Authorizer``: nobody may do anything."""

    async def allows(self, attributes: Attributes) -> bool:
        """See ``Authorizer``."""
        return False


def certificate_user(certificate: dict[str, Any] | None, now: float, der: bytes = b"") -> User | None:
    """Who a *verified* client certificate (as ``getpeercert`` gives it, and as DER) is of, or None.

    The common name is the user, organisations are groups. A connection may outlive its
    certificate, so *now* (seconds since the epoch) is checked against it again.
    """
    if not certificate:
        return None
    until = certificate.get("notAfter")
    if until and ssl.cert_time_to_seconds(until) < now:
        return None
    names: list[str] = []
    groups: list[str] = []
    for relative in certificate.get("subject", ()):
        for key, value in relative:
            if key == "commonName":
                names.append(value)
            elif key == "organizationName":
                groups.append(value)
    if not names or not names[-1]:
        return None
    extra = ((_CREDENTIAL_ID, (f"X509SHA256={hashlib.sha256(der).hexdigest()}",)),) if der else ()
    return authenticated(User(names[-1], tuple(groups), extra=extra))


def authenticated(user: User) -> User:
    """*user* as a member of the group of all who are known."""
    if AUTHENTICATED_GROUP in user.groups:
        return user
    return replace(user, groups=(*user.groups, AUTHENTICATED_GROUP))


def is_anonymous(user: User) -> bool:
    """Whether *user* is nobody in particular, however that came about."""
    return user.name == ANONYMOUS.name or _UNAUTHENTICATED_GROUP in user.groups


def bearer_token(authorization: str) -> str:
    """The token of an ``Authorization`` header, empty when it has none."""
    scheme, _, rest = authorization.strip().partition(" ")
    return rest.partition(" ")[0] if scheme.lower() == "bearer" else ""


class Authenticator:
    """Finds out who a connection belongs to."""

    def __init__(
        self,
        *,
        anonymous: bool,
        still_trusted: Callable[[ssl.SSLContext], bool],
        tokens: TokenAuthenticator | None = None,
    ) -> None:
        """*still_trusted* tells whether a connection's context has the client CAs that count now.

        Without *tokens* bearer tokens are not looked at.
        """
        self._anonymous = anonymous
        self._still_trusted = still_trusted
        self._tokens = tokens

    async def user(self, tls: ssl.SSLObject | None, authorization: str = "") -> User | None:
        """The user by certificate, else by the token in *authorization*, or None for ``401 Unauthorized``.

        Who shows something that does not hold is nobody, not anonymous.
        """
        certificate = tls.getpeercert() if tls is not None else None
        if certificate and tls is not None and self._still_trusted(tls.context):
            der = tls.getpeercert(binary_form=True) or b""
            known = certificate_user(certificate, time.time(), der)
            if known is not None:
                return known
        token = bearer_token(authorization)
        if token and self._tokens is not None:
            return await self._by_token(self._tokens, token)
        return ANONYMOUS if self._anonymous and not certificate else None

    async def _by_token(self, tokens: TokenAuthenticator, token: str) -> User | None:
        try:
            found = await tokens.authenticate(token)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody gets in
            # Without a trace, whose source lines and causes nobody has checked for tokens.
            log.error("unable to authenticate the request: %s", error)
            return None
        return None if found is None else authenticated(found)


def check_standalone_auth(config: KubeletConfiguration, kubeconfig: str) -> list[str]:
    """Why this authentication cannot work, one line each naming the field: it needs an API server."""
    if kubeconfig:
        return []
    reasons = []
    if config.authentication.webhook.enabled:
        reasons.append(
            "authentication.webhook.enabled (--authentication-token-webhook): "
            "no client provided, cannot use webhook authentication: it needs --kubeconfig"
        )
    if config.authorization.mode == "Webhook":
        reasons.append(
            "authorization.mode (--authorization-mode): "
            "no client provided, cannot use webhook authorization: it needs --kubeconfig"
        )
    return reasons
