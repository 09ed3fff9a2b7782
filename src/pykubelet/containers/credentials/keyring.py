"""A set of registry credentials, and those of them that may open an image's registry. Pure.

(pkg/credentialprovider.)
"""

import hashlib
import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from pykubelet.base.gotext import go_json
from pykubelet.rpc import cri_v1

from .docker_config import Login, Logins
from .matching import Location, matches, parse_location

log = logging.getLogger(__name__)

_DEFAULT_REGISTRY = "index.docker.io"


@dataclass(frozen=True, slots=True)
class Source:
    """The object of the API server that a credential belongs to."""

    kind: Literal["secret", "serviceaccount"]
    uid: str
    namespace: str
    name: str


@dataclass(frozen=True)
class Credential:
    """A login and whose it is; a *source* of None means that every pod of the node may use it."""

    login: Login
    source: Source | None = None

    @cached_property
    def digest(self) -> str:
        """What tells logins apart in records on disk, as upstream computes it."""
        login = self.login
        fields = {"username": login.username, "password": login.password, "email": login.email}
        text = go_json({name: value for name, value in fields.items() if value})
        return hashlib.sha256(text.encode(errors="replace")).hexdigest()

    def message(self) -> cri_v1.AuthConfig:
        """As CRI takes it."""
        return cri_v1.AuthConfig(username=self.login.username, password=self.login.password)


def registry_key(entry: str) -> str:
    """An entry without its scheme, and without the legacy ``/v1`` or ``/v2`` before a path.

    :raises ValueError: it is no URL.
    """
    for scheme in ("https://", "http://"):
        if entry.startswith(scheme):
            entry = entry[len(scheme) :]
            break
    found = parse_location(entry)
    path = found.path[3:] if found.path.startswith(("/v1/", "/v2/")) else found.path
    return found.host if path in ("", "/") else found.host + path


def _is_default_registry(image: str) -> bool:
    first, slash, _ = image.partition("/")
    if not first:
        return False
    if not slash or first in ("docker.io", _DEFAULT_REGISTRY):
        return True
    return "." not in first and ":" not in first


class Keyring:
    """Credentials by registry entry; what is more specific is tried first."""

    def __init__(self) -> None:
        self._entries: dict[str, list[Credential]] = {}

    def add(self, logins: Logins, source: Source | None = None) -> None:
        """Add what one document says; entries that are no URLs are left out, with a line in the log."""
        for entry, login in logins.items():
            try:
                key = registry_key(entry)
            except ValueError as error:
                log.error("entry %r of a registry configuration is ignored: %s", entry, error)
                continue
            self._entries.setdefault(key, []).append(Credential(login, source))

    def lookup(self, image: str) -> list[Credential]:
        """All that may open the registry of *image* (a name without tag and digest), best match first."""
        found: list[Credential] = []
        try:
            target = parse_location(image)
        except ValueError:
            target = None
        if target is not None:
            # Reversed order: of two entries with a common beginning the longer one comes first.
            for key in sorted(self._entries, reverse=True):
                if _entry_matches(key, target):
                    found += self._entries[key]
        if not found and _is_default_registry(image):
            found += self._entries.get(_DEFAULT_REGISTRY, ())
        return found


def _entry_matches(key: str, target: Location) -> bool:
    try:
        return matches(parse_location(key), target)
    except ValueError:
        return False
