"""A certificate of one's own for where none is given. All calls block."""

import os
import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pykubelet.base.files import read_limited, write_atomic

#: How long a self-signed certificate is good for.
LIFETIME = timedelta(days=365)
_LIMIT = 1 << 20


def ensure_self_signed(directory: Path, hostname: str, addresses: Sequence[str]) -> tuple[Path, Path]:
    """``kubelet.crt`` and ``kubelet.key`` in *directory*; made if they are not there or no good.

    :raises OSError: they cannot be written.
    """
    certificate, key = directory / "kubelet.crt", directory / "kubelet.key"
    if not _usable(certificate, key):
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        certificate_pem, key_pem = self_signed(hostname, addresses)
        # The key first: a pair that was cut in half does not match and is made again.
        write_atomic(key, key_pem)
        write_atomic(certificate, certificate_pem, mode=0o600)
    return certificate, key


def _usable(certificate: Path, key: Path) -> bool:
    """Whether both are there, belong together and are valid now."""
    try:
        found = x509.load_pem_x509_certificate(read_limited(certificate, _LIMIT))
        private = serialization.load_pem_private_key(read_limited(key, _LIMIT), None)
    except (OSError, ValueError, TypeError):
        return False
    same = _public(found.public_key()) == _public(private.public_key())
    return same and found.not_valid_before_utc <= datetime.now(UTC) < found.not_valid_after_utc


def _public(key: object) -> bytes:
    raw: bytes = key.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return raw


def self_signed(hostname: str, addresses: Sequence[str]) -> tuple[bytes, bytes]:
    """Certificate and ECDSA P-256 key, both as PEM, for *hostname* and the IP *addresses*."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{hostname}@{int(now.timestamp())}"[-64:])])
    names: list[x509.GeneralName] = [x509.DNSName(hostname)] if hostname else []
    names += [x509.IPAddress(ip_address(address)) for address in dict.fromkeys(addresses)]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, key_encipherment=False, key_cert_sign=True, crl_sign=False,
                content_commitment=False, data_encipherment=False, key_agreement=False,
                encipher_only=False, decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ),
    )


def host_name() -> str:
    """The machine's name, lower-cased."""
    return socket.gethostname().strip().lower() or os.uname().nodename.lower()
