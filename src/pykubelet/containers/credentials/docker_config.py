"""Docker's configuration files, ``config.json`` and the older ``.dockercfg``: who logs in where. Pure.

They are read as Go's decoder reads them: names of fields in any case, unknown ones skipped.
(pkg/credentialprovider.)
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

#: Who logs in, by the registry's entry as it is written.
Logins = Mapping[str, "Login"]


@dataclass(frozen=True, slots=True)
class Login:
    """What one entry says; the password is not shown."""

    username: str
    password: str = field(default="", repr=False)
    email: str = ""


def config_json(data: bytes) -> Logins:
    """The logins of a ``config.json``.

    :raises ValueError: it cannot be read; the text tells no secret.
    """
    auths = _field(_object(_parse(data), "the document"), "auths")
    return _logins(_object(auths, "auths"))


def dockercfg(data: bytes) -> Logins:
    """The logins of a ``.dockercfg``.

    :raises ValueError: it cannot be read; the text tells no secret.
    """
    return _logins(_object(_parse(data), "the document"))


def _parse(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The parser's own words may quote the text.
        raise ValueError("it is not valid JSON") from None


def _object(value: Any, what: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{what} is not an object")  # noqa: TRY004 - the input is wrong, not the caller
    return value


def _field(found: Mapping[str, Any], name: str) -> Any:
    if name in found:
        return found[name]
    return next((value for key, value in found.items() if key.lower() == name), None)


def _logins(entries: Mapping[str, Any]) -> Logins:
    return {registry: _login(registry, value) for registry, value in entries.items()}


def _login(registry: str, value: Any) -> Login:
    entry = _object(value, f'the entry of "{registry}"')
    texts = {}
    for name in ("username", "password", "email", "auth"):
        text = _field(entry, name)
        if not isinstance(text, str | None):
            raise ValueError(f'{name} of "{registry}" is not a text')  # noqa: TRY004 - as above
        texts[name] = text or ""
    if not texts["auth"]:
        return Login(texts["username"], texts["password"], texts["email"])
    try:
        username, password = _decoded(texts["auth"])
    except ValueError as error:
        raise ValueError(f'auth of "{registry}": {error}') from None
    return Login(username, password, texts["email"])


def _decoded(auth: str) -> tuple[str, str]:
    """User and password of an ``auth`` field: base64, padded or not, of ``USER:PASSWORD``."""
    text = auth.replace("\r", "").replace("\n", "")
    if not auth.strip().endswith("="):
        text += "=" * (-len(text) % 4)
    try:
        decoded = base64.b64decode(text, validate=True).decode(errors="replace")
    except (binascii.Error, ValueError):
        raise ValueError("illegal base64 data") from None
    username, colon, password = decoded.partition(":")
    if not colon:
        raise ValueError("unable to parse auth field, must be formatted as base64(username:password)")
    return username, password
