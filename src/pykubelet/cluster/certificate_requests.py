"""CertificateSigningRequests: making one, handing it in, waiting until it is signed or refused."""

import asyncio
import base64
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from pykubelet.api.auth import CertificateSigningRequest, CertificateSigningRequestSpec
from pykubelet.api.meta import ObjectMeta
from pykubelet.base.clock import Clock

from . import paths
from .door import Api, Query
from .errors import ClusterError, Refused
from .rotation import Template

log = logging.getLogger(__name__)

_PATH: Final = paths.group("certificates.k8s.io/v1", "certificatesigningrequests")
#: Seconds between looks at a request whose watch or list failed.
_AGAIN: Final = 1.0
#: Seconds after which the server ends one watch.
_WATCH: Final = 300

_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


class NotIssued(Exception):
    """The request came to nothing: denied, failed, gone, not answered in time, or another's."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a certificate is for: who signs it and which usage it needs beside signatures."""

    name: str
    signer: str
    usage: str


CLIENT: Final = Purpose("client", "kubernetes.io/kube-apiserver-client-kubelet", "client auth")
SERVING: Final = Purpose("server", "kubernetes.io/kubelet-serving", "server auth")


@dataclass(frozen=True, slots=True)
class Submitted:
    """A request that the API server has."""

    name: str
    uid: str


def new_key() -> bytes:
    """A fresh ECDSA P-256 key as PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def load_key(pem: bytes) -> _Key:
    """The private key in *pem*.

    :raises ValueError: there is none, or one that cannot sign requests.
    """
    try:
        key = serialization.load_pem_private_key(pem, None)
    except TypeError as error:
        raise ValueError("the private key is encrypted") from error
    if not isinstance(key, _Key):
        raise ValueError("the private key is of an unknown kind")  # noqa: TRY004 - one error for the caller
    return key


def usages(purpose: Purpose, key: bytes) -> list[str]:
    """The usages to ask for, in the order that :func:`digested_name` needs; RSA keys encipher keys too.

    :raises ValueError: *key* is no private key.
    """
    enciphers = ["key encipherment"] if isinstance(load_key(key), rsa.RSAPrivateKey) else []
    return ["digital signature", purpose.usage, *enciphers]


def signing_request(key: bytes, template: Template) -> bytes:
    """The PKCS #10 request for *template*, signed with *key*, as PEM.

    :raises ValueError: *key* is no private key.
    """
    # Upstream sets no limit on a name's length, X.509 sets one: long node names must get through.
    common = x509.NameAttribute(NameOID.COMMON_NAME, template.common_name, _validate=False)
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, one) for one in template.organizations]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([*groups, common]))
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in template.dns_names]
    names += [x509.IPAddress(ip_address(address)) for address in template.addresses]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    private = load_key(key)
    digest = None if isinstance(private, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(private, digest).public_bytes(serialization.Encoding.PEM)


def digested_name(key: bytes, template: Template, wanted: Sequence[str]) -> str:
    """The name that the same key, subject and usages always give, so that a restart finds its request.

    :raises ValueError: *key* is no private key.
    """
    public = load_key(key).public_key()
    spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.Hash(hashes.SHA512_256())
    for part in (spki, *(text.encode() for text in _digested(template, wanted))):
        digest.update(_base64url(part) + b"|")
    return f"node-csr-{_base64url(digest.finalize()).decode()}"


def _digested(template: Template, wanted: Sequence[str]) -> tuple[str, ...]:
    return (template.common_name, *template.organizations, *wanted)


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


async def submit(
    api: Api,
    request: bytes,
    signer: str,
    wanted: Sequence[str],
    *,
    name: str = "",
    now: datetime | None = None,
) -> Submitted:
    """Hand *request* in, under *name* or a generated one. One of that name that fits is taken up again.

    :raises ClusterError: the API server did not take it.
    :raises NotIssued: there is one of that name that does not fit.
    """
    body = CertificateSigningRequest(
        metadata=ObjectMeta(name=name) if name else ObjectMeta(generateName="csr-"),
        spec=CertificateSigningRequestSpec(request=request, signerName=signer, usages=list(wanted)),
    )
    try:
        made = await api.create(_PATH, body, CertificateSigningRequest)
    except Refused as error:
        if not (name and error.already_exists):
            raise
        made = await api.get(f"{_PATH}/{name}", CertificateSigningRequest)
        problem = incompatible(made, request, signer, now)
        if problem:
            raise NotIssued(f"certificate signing request {name} is there, but {problem}") from error
        log.info("certificate signing request %s is there already and is taken up again", name)
    return Submitted(made.metadata.name, made.metadata.uid)


def incompatible(found: CertificateSigningRequest, request: bytes, signer: str, now: datetime | None) -> str:
    """Why *found* is not the same as *request* would be, in words; empty when it is. Pure."""
    if found.spec.signerName and found.spec.signerName != signer:
        return f"its signer is {found.spec.signerName}"
    try:
        theirs = x509.load_pem_x509_csr(found.spec.request)
        ours = x509.load_pem_x509_csr(request)
        issued = found.status.certificate
        certificates = x509.load_pem_x509_certificates(issued) if issued else []
    except ValueError:
        return "it cannot be read"
    if theirs.subject != ours.subject:
        return "its subject is another"
    spki = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if theirs.public_key().public_bytes(*spki) != ours.public_key().public_bytes(*spki):
        return "it was made with another key"
    if now is not None and any(one.not_valid_after_utc < now for one in certificates):
        return "its certificate has expired"
    return ""


def issued(request: CertificateSigningRequest, uid: str) -> bytes | None:
    """The certificate of *request*, None while it waits. Pure.

    :raises NotIssued: it was refused, or is another request of that name.
    """
    if request.metadata.uid != uid:
        raise NotIssued(f"certificate signing request {request.metadata.name} was replaced by another")
    approved = False
    for condition in request.status.conditions:
        if condition.type in ("Denied", "Failed"):
            raise NotIssued(
                f"certificate signing request {request.metadata.name} "
                f"{'is denied' if condition.type == 'Denied' else 'failed'}, "
                f"reason: {condition.reason}, message: {condition.message}"
            )
        approved = approved or condition.type == "Approved"
    return (request.status.certificate or None) if approved else None


async def wait_issued(api: Api, submitted: Submitted, clock: Clock, timeout: float) -> bytes:
    """The signed certificate as PEM, waited for at most *timeout* seconds.

    :raises NotIssued: refused, deleted, or not signed in time.
    """
    try:
        async with asyncio.timeout(timeout):
            while True:
                try:
                    found = await _follow(api, submitted)
                except ClusterError as error:
                    log.info("looking at certificate signing request %s: %s", submitted.name, error)
                else:
                    if found is not None:
                        return found
                await clock.sleep(_AGAIN)
    except TimeoutError as error:
        raise NotIssued(
            f"certificate signing request {submitted.name} was not signed within {timeout:.0f} s"
        ) from error


async def _follow(api: Api, submitted: Submitted) -> bytes | None:
    """List, then watch until it is issued; None when the watch ends before."""
    only: Query = {"fieldSelector": f"metadata.name={submitted.name}"}
    items, version = await api.list(_PATH, CertificateSigningRequest, query=only)
    mine = [one for one in items if one.metadata.name == submitted.name]
    if not mine:
        raise NotIssued(f"certificate signing request {submitted.name} was deleted")
    found = issued(mine[0], submitted.uid)
    if found is not None:
        return found
    query = {**only, "resourceVersion": version, "timeoutSeconds": str(_WATCH)}
    changes = api.watch(_PATH, CertificateSigningRequest, query=query)
    async with contextlib.aclosing(changes):
        async for change in changes:
            if change.kind == "BOOKMARK" or change.object.metadata.name != submitted.name:
                continue
            if change.kind == "DELETED":
                raise NotIssued(f"certificate signing request {submitted.name} was deleted")
            found = issued(change.object, submitted.uid)
            if found is not None:
                return found
    return None
