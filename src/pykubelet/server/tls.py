"""TLS of the kubelet's port: versions and suites by Go's names, and files read anew when they change.

A listener has one context for its whole life. Each handshake is moved to the newest context
built from the files, so that a new certificate and, unlike with changing a context in place,
a client CA that was taken away count from the next connection on. While there is no certificate, because
the cluster has not signed one yet, handshakes fail.

What Python cannot do: see :func:`shortcomings`. A client certificate of an unknown authority ends the
handshake, where upstream answers 401; and asyncio closes a failed handshake without sending the alert.
"""

import asyncio
import contextlib
import hashlib
import logging
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pykubelet.base.files import read_limited
from pykubelet.base.tasks import TaskOwner
from pykubelet.config import tlsnames

from .doors import ServingCertificate

log = logging.getLogger(__name__)

#: Seconds between looks at the files.
RELOAD_PERIOD: Final = 5.0
_LIMIT: Final = 4 << 20
_VERSIONS: Final = {
    "VersionTLS10": ssl.TLSVersion.TLSv1,
    "VersionTLS11": ssl.TLSVersion.TLSv1_1,
    "VersionTLS12": ssl.TLSVersion.TLSv1_2,
    "VersionTLS13": ssl.TLSVersion.TLSv1_3,
}


class TlsError(Exception):
    """Certificate, key or client CA cannot be used; the text names the file."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """What the port's TLS is made of; versions and suites by Go's names."""

    certificate: ServingCertificate
    client_ca: Path | None = None
    min_version: str = ""
    cipher_suites: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GivenFiles:
    """Implements ``ServingCertificate`` by two files that are there."""

    certificate: Path
    key: Path

    def files(self) -> tuple[Path, Path]:
        """See ``ServingCertificate``."""
        return self.certificate, self.key


class _Context(ssl.SSLContext):
    """A server's context that remembers which client CAs it trusts."""

    client_ca_digest: str


def openssl_suites(suites: Sequence[str]) -> tuple[list[str], bool]:
    """OpenSSL's names of TLS 1.2 suites, and whether only TLS 1.3 is left to use."""
    known = {**tlsnames.CIPHER_SUITES, **tlsnames.INSECURE_CIPHER_SUITES}
    names = [known[suite] for suite in suites if known.get(suite)]
    older = [name for name in names if not name.startswith("TLS_")]
    return list(dict.fromkeys(older)), bool(suites) and not older


def shortcomings(cipher_suites: Sequence[str], curve_preferences: Sequence[object]) -> list[str]:
    """What of the configuration cannot be had here, one line each naming the field."""
    reasons = []
    newest = {suite for suite, name in tlsnames.CIPHER_SUITES.items() if name and name.startswith("TLS_")}
    named = newest & set(cipher_suites)
    if named and named != newest:
        reasons.append(
            "tlsCipherSuites (--tls-cipher-suites): suites of TLS 1.3 cannot be chosen, all are on"
        )
    if curve_preferences:
        reasons.append("tlsCurvePreferences: curves cannot be chosen, OpenSSL's own order counts")
    return reasons


def build_context(settings: TlsSettings, files: tuple[Path, Path] | None) -> ssl.SSLContext:
    """A context from the files, of which those of certificate and key may be missing; blocking.

    :raises TlsError: a file is missing or no good.
    """
    context = _Context(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.min_version or "VersionTLS12"]
    suites, only_newest = openssl_suites(settings.cipher_suites)
    if only_newest:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    elif suites:
        context.set_ciphers(":".join(suites))
    # A resumed session would bring back what an older context had verified.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    if files is not None:
        try:
            context.load_cert_chain(*files)
        except (OSError, ssl.SSLError) as error:
            raise TlsError(
                f"unable to load the serving certificate {files[0]} and key {files[1]}: {error}"
            ) from error
    context.client_ca_digest = ""
    if settings.client_ca is not None:
        try:
            data = read_limited(settings.client_ca, _LIMIT)
            context.load_verify_locations(cadata=data.decode())
        except (OSError, ValueError, ssl.SSLError) as error:
            raise TlsError(f"unable to load client CA file {settings.client_ca}: {error}") from error
        context.client_ca_digest = hashlib.sha256(data).hexdigest()
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


class ReloadingTls:
    """The listener's context, kept in step with its files."""

    def __init__(self, settings: TlsSettings, *, period: float = RELOAD_PERIOD) -> None:
        self._settings = settings
        self._period = period
        self._current: ssl.SSLContext | None = None
        self._can_serve = False
        self._seen: tuple[object, ...] = ()
        self._hint = asyncio.Event()
        self._tasks = TaskOwner("tls")

    async def start(self) -> ssl.SSLContext:
        """Read the files and keep looking at them; the context to listen with.

        :raises TlsError: a file is missing or no good.
        """
        files = self._settings.certificate.files()
        self._seen = await asyncio.to_thread(_stamps, files, self._settings.client_ca)
        await self._build(files)
        listening = await asyncio.to_thread(build_context, self._settings, files)
        listening.sni_callback = self._switch
        self._tasks.forever("reload", self._watch)
        return listening

    async def _build(self, files: tuple[Path, Path] | None) -> None:
        # Without a certificate it still tells which client CAs count.
        self._current = await asyncio.to_thread(build_context, self._settings, files)
        self._can_serve = files is not None

    def look_again(self) -> None:
        """The files may have changed: look now and not only after the period."""
        self._hint.set()

    async def stop(self) -> None:
        """Look no more."""
        await self._tasks.close()

    def _switch(self, connection: Any, _name: str | None, _context: ssl.SSLContext) -> int | None:
        if not self._can_serve:
            log.info("TLS handshake error: no serving certificate available for the kubelet")
            return ssl.AlertDescription.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self._current
        return None

    def still_trusted(self, context: ssl.SSLContext) -> bool:
        """Whether a connection made with *context* was verified by the client CAs that count now."""
        newest = getattr(self._current, "client_ca_digest", "")
        return bool(newest) and getattr(context, "client_ca_digest", None) == newest

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._period):
                    await self._hint.wait()
            self._hint.clear()
            files = self._settings.certificate.files()
            stamps = await asyncio.to_thread(_stamps, files, self._settings.client_ca)
            if stamps == self._seen:
                continue
            self._seen = stamps
            try:
                await self._build(files)
            except TlsError as error:
                log.warning("changed TLS files are not taken: %s", error)
            else:
                log.info("TLS files were read anew")


def _stamps(files: tuple[Path, Path] | None, client_ca: Path | None) -> tuple[object, ...]:
    """What tells two states of the files apart."""
    found: list[object] = []
    for path in (*(files or (None, None)), client_ca):
        if path is None:
            found.append(None)
            continue
        try:
            status = path.stat()
            found.append((path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError as error:
            found.append((path, error.errno))
    return tuple(found)
