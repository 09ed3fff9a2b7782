"""The TLS contexts with which the API server is spoken to. All functions block."""

import os
import ssl
from dataclasses import dataclass, field
from typing import Final

from .access import Access, Pem

#: What tells two states of a file apart.
Stamp = tuple[int, ...]
_CHUNK: Final = 1 << 16


class TlsMaterialError(Exception):
    """Certificate, key or CA cannot be used; the text names which."""

    def __init__(self, message: str, *, missing_pair: bool = False) -> None:
        """*missing_pair*: the file of the client certificate or its key does not exist."""
        super().__init__(message)
        self.missing_pair = missing_pair


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A client certificate with its key, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


def read_pair(access: Access) -> KeyPair | None:
    """The client certificate that the kubeconfig names; None when it names none.

    :raises TlsMaterialError: a file cannot be read.
    """
    if access.certificate is None or access.key is None:
        return None
    try:
        return KeyPair(_read(access.certificate, "client certificate"), _read(access.key, "client key"))
    except TlsMaterialError as error:
        raise TlsMaterialError(
            str(error), missing_pair=isinstance(error.__cause__, FileNotFoundError)
        ) from error


def build(access: Access, pair: KeyPair | None) -> ssl.SSLContext:
    """A context that trusts what *access* says and shows *pair*.

    :raises TlsMaterialError: something in it is no good.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # As Go: a certificate's common name is no host name, and every given CA is a root.
    context.hostname_checks_common_name = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if access.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif access.ca is not None:
        _trust(context, access.ca)
    else:
        context.load_default_certs()
    if pair is not None:
        _show(context, pair)
    return context


def stamps(access: Access) -> tuple[Stamp, ...]:
    """The state of the files that a context is built from; links are followed."""
    found: list[Stamp] = []
    for pem in (access.ca, access.certificate, access.key):
        if pem is None or pem.path is None:
            continue
        try:
            status = pem.path.stat()
            found.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError as error:
            found.append((error.errno or 0,))
    return tuple(found)


def _read(pem: Pem, what: str) -> bytes:
    try:
        return pem.read()
    except (OSError, ValueError) as error:
        raise TlsMaterialError(f"unable to read the {what}: {error}") from error


def _trust(context: ssl.SSLContext, ca: Pem) -> None:
    data = _read(ca, "certificate authority")
    try:
        context.load_verify_locations(cadata=data.decode("ascii", errors="replace"))
    except (ValueError, ssl.SSLError) as error:
        where = f" {ca.path}" if ca.path is not None else ""
        raise TlsMaterialError(f"unable to load root certificates{where}: {error}") from error


def _show(context: ssl.SSLContext, pair: KeyPair) -> None:
    """Load a pair that is in memory: OpenSSL wants a file, so it gets one that no directory has."""
    descriptor = os.memfd_create("client-pair", os.MFD_CLOEXEC)
    try:
        rest = memoryview(pair.certificate.rstrip() + b"\n" + pair.key)
        while rest:
            rest = rest[os.write(descriptor, rest[:_CHUNK]) :]
        # An encrypted key must fail, not ask at a terminal.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=lambda: "")
    except (OSError, ValueError, ssl.SSLError) as error:
        raise TlsMaterialError(f"unable to load the client certificate and key: {error}") from error
    finally:
        os.close(descriptor)
