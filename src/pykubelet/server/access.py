"""Who asks, and whether that is allowed: client certificates, anonymous, AlwaysAllow, deny.

Asking the cluster (TokenReview, SubjectAccessReview) needs one; where there is none,
:func:`check_standalone_auth` says at the start which fields ask for it.
"""

import ssl
import time
from collections.abc import Callable
from typing import Any, Final

from pykubelet.config.types import KubeletConfiguration

from .doors import Attributes, User

ANONYMOUS: Final = User("system:anonymous", ("system:unauthenticated",))
AUTHENTICATED_GROUP: Final = "system:authenticated"


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


def certificate_user(certificate: dict[str, Any] | None, now: float) -> User | None:
    """Who a *verified* client certificate (as ``getpeercert`` gives it) is of; None if of nobody.

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
    return User(names[-1], (*groups, AUTHENTICATED_GROUP))


class Authenticator:
    """Finds out who a connection belongs to."""

    def __init__(self, *, anonymous: bool, still_trusted: Callable[[ssl.SSLContext], bool]) -> None:
        """*still_trusted* tells whether a connection's context has the client CAs that count now."""
        self._anonymous = anonymous
        self._still_trusted = still_trusted

    def user(self, tls: ssl.SSLObject | None) -> User | None:
        """The user, or None for ``401 Unauthorized``."""
        certificate = tls.getpeercert() if tls is not None else None
        if certificate and tls is not None:
            if not self._still_trusted(tls.context):
                return None
            return certificate_user(certificate, time.time())
        return ANONYMOUS if self._anonymous else None


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
