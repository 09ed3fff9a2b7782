"""Who asks: tokens and client certificates, and the tokens of service accounts."""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web
from tests.apiserver import errors


@dataclass(frozen=True, slots=True)
class Identity:
    """A user as the server knows it."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""


ANONYMOUS = Identity("system:anonymous", ("system:unauthenticated",))


class Users:
    """Knows users by their bearer tokens and client certificates."""

    def __init__(self, now: Callable[[], float] = time.time, *, anonymous: bool = True) -> None:
        #: Seconds since the epoch; a test may let time pass.
        self.now = now
        #: Whether a request without credentials is let in.
        self.anonymous = anonymous
        self._tokens: dict[str, Identity] = {}
        self._key = secrets.token_bytes(32)
        self._revoked: set[str] = set()

    def token(self, name: str, *groups: str) -> str:
        """A token that stands for the user *name*; the same for the same user."""
        identity = Identity(name, (*groups, "system:authenticated"))
        for token, known in self._tokens.items():
            if known == identity:
                return token
        token = f"token-{name.replace(':', '-')}-{secrets.token_hex(8)}"
        self._tokens[token] = identity
        return token

    def revoke(self, token: str) -> None:
        """Answer 401 to *token* from now on."""
        self._revoked.add(token)

    def sign(self, claims: dict[str, Any]) -> str:
        """A JSON web token of *claims*."""
        parts = [_part(msgspec.json.encode(part)) for part in ({"alg": "HS256", "kid": "double"}, claims)]
        signed = ".".join(parts)
        return f"{signed}.{_part(hmac.digest(self._key, signed.encode(), hashlib.sha256))}"

    def claims(self, token: str) -> dict[str, Any] | None:
        """The claims of a token of ours; None for a foreign, forged or expired one."""
        signed, _, signature = token.rpartition(".")
        right = _part(hmac.digest(self._key, signed.encode(), hashlib.sha256))
        if not signed or not hmac.compare_digest(right, signature):
            return None
        payload = signed.partition(".")[2]
        claims: dict[str, Any] = msgspec.json.decode(
            base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        )
        return claims if claims["exp"] > self.now() else None

    def of_token(self, token: str) -> Identity | None:
        """Whom *token* stands for; None when it is not valid."""
        if token in self._revoked:
            return None
        if token in self._tokens:
            return self._tokens[token]
        claims = self.claims(token)
        if claims is None:
            return None
        namespace = claims["kubernetes.io"]["namespace"]
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        return Identity(claims["sub"], groups, claims["kubernetes.io"]["serviceaccount"]["uid"])

    def identify(self, request: web.BaseRequest) -> Identity:
        """Who sent *request*.

        :raises ApiError: 401, its credentials are not valid, or it has none and needs some.
        """
        certificate = request.transport.get_extra_info("peercert") if request.transport else None
        if certificate:
            subject = [pair for part in certificate["subject"] for pair in part]
            name = next(value for key, value in subject if key == "commonName")
            groups = tuple(value for key, value in subject if key == "organizationName")
            return Identity(name, (*groups, "system:authenticated"))
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if not kind and self.anonymous:
            return ANONYMOUS
        identity = self.of_token(token) if kind.lower() == "bearer" else None
        if identity is None:
            raise errors.ApiError(401, "Unauthorized", "Unauthorized")
        return identity


def _part(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
