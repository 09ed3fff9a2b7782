"""Certificates and their keys on disk, in upstream's files: a node keeps its identity when it changes hands.

A pair lies in ``PREFIX-YYYY-MM-DD-hh-mm-ss.pem``; the link ``PREFIX-current.pem`` names the one that
counts. A crash at any instant leaves the link at the old or the new pair. All calls block.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from pykubelet.base.files import read_limited, write_atomic

_LIMIT: Final = 1 << 20


class StoreError(Exception):
    """A stored pair cannot be used or written; the text names the file and tells no key."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a certificate says: of whom, where, and for how long."""

    common_name: str
    organizations: frozenset[str]
    dns_names: frozenset[str]
    addresses: frozenset[str]
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate chain with its key, both PEM, and the files that they were read from."""

    chain: bytes
    key: bytes = field(repr=False)
    leaf: Leaf
    files: tuple[Path, Path]

    def valid_at(self, now: datetime) -> bool:
        """Whether the certificate has not expired yet."""
        return now <= self.leaf.not_after


def leaf_of(certificate: x509.Certificate) -> Leaf:
    """The facts of *certificate*."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    common = _subject(certificate, NameOID.COMMON_NAME)
    return Leaf(
        common[-1] if common else "",
        frozenset(_subject(certificate, NameOID.ORGANIZATION_NAME)),
        frozenset(names.get_values_for_type(x509.DNSName)),
        frozenset(str(address) for address in names.get_values_for_type(x509.IPAddress)),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def _subject(certificate: x509.Certificate, kind: x509.ObjectIdentifier) -> list[str]:
    return [str(one.value) for one in certificate.subject.get_attributes_for_oid(kind)]


def parse_pair(chain: bytes, key: bytes, files: tuple[Path, Path]) -> KeyPair:
    """The pair in *chain* and *key*, of which the chain's first certificate is the leaf.

    Each may hold other PEM blocks too: in upstream's files both are one.

    :raises StoreError: no certificate, no key, or they do not belong together.
    """
    shown = " and ".join(dict.fromkeys(str(file) for file in files))
    try:
        certificates = x509.load_pem_x509_certificates(chain)
        private = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError) as error:
        raise StoreError(f"{shown} cannot be read as certificate and key") from error
    spki = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if certificates[0].public_key().public_bytes(*spki) != private.public_key().public_bytes(*spki):
        raise StoreError(f"{shown}: the key does not belong to the certificate")
    return KeyPair(_pem(certificates), _first_key(key), leaf_of(certificates[0]), files)


def _pem(certificates: Iterable[x509.Certificate]) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def _first_key(data: bytes) -> bytes:
    """The PEM block of the private key in *data*."""
    lines: list[bytes] = []
    for line in data.splitlines():
        if lines or (line.startswith(b"-----BEGIN ") and b"PRIVATE KEY-----" in line):
            lines.append(line.rstrip())
            if line.startswith(b"-----END "):
                break
    return b"\n".join(lines) + b"\n"


class CertificateStore:
    """The pairs of one prefix (``kubelet-client``, ``kubelet-server``) in the certificate directory."""

    def __init__(self, prefix: str, directory: Path, *, fallback: tuple[Path, Path] | None = None) -> None:
        """*fallback* are certificate and key files to begin with, as the configuration names them."""
        self._prefix = prefix
        self._directory = directory
        plain = (directory / f"{prefix}.crt", directory / f"{prefix}.key")
        self._fallbacks = (*((fallback,) if fallback else ()), plain)

    @property
    def current_path(self) -> Path:
        """The link to the pair that counts."""
        return self._named("current")

    def _named(self, qualifier: str) -> Path:
        return self._directory / f"{self._prefix}-{qualifier}.pem"

    def current(self) -> KeyPair | None:
        """The pair that counts, or None when there is none; a switch that a crash cut is finished first.

        :raises StoreError: there is one, but it cannot be used.
        """
        try:
            self._recover()
            for files in ((self.current_path, self.current_path), *self._fallbacks):
                if all(file.exists() for file in files):
                    chain, key = (read_limited(file, _LIMIT) for file in files)
                    return parse_pair(chain, key, files)
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.current_path}: {error}") from error
        return None

    def _recover(self) -> None:
        updated = self._named("updated")
        if not self.current_path.exists() and updated.is_symlink():
            updated.rename(self.current_path)

    def update(self, chain: bytes, key: bytes, now: datetime) -> KeyPair:
        """Keep *chain* and *key* and make them the pair that counts. Older files stay, as upstream's do.

        *now* names the file.

        :raises StoreError: they do not belong together, or cannot be written.
        """
        stamp = now.astimezone().strftime("%Y-%m-%d-%H-%M-%S")
        path = self._named(stamp)
        pair = parse_pair(chain, key, (self.current_path, self.current_path))
        try:
            self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            write_atomic(path, pair.chain + pair.key, mode=0o600)
            self._switch(path)
        except OSError as error:
            raise StoreError(f"{path} cannot be made the current certificate: {error}") from error
        return pair

    def _switch(self, path: Path) -> None:
        updated = self._named("updated")
        for link in (self.current_path, updated):
            if os.path.lexists(link) and not link.is_symlink():
                raise StoreError(f"expected {link} to be a symlink but it is a file")
        updated.unlink(missing_ok=True)
        updated.symlink_to(path.absolute())
        updated.replace(self.current_path)
