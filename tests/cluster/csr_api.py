"""An ``Api`` that knows CertificateSigningRequests only, and signs them as a test says."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
import pytest
from blockbuster import BlockBuster
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pykubelet.api.auth import (
    CertificateSigningRequest,
    CertificateSigningRequestCondition,
    CertificateSigningRequestStatus,
)
from pykubelet.base.clock import Clock
from pykubelet.cluster.door import Change, Query
from pykubelet.cluster.errors import ClusterError, Refused

T = TypeVar("T")
Csr = CertificateSigningRequest


class Authority:
    """Signs."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])

    def sign(self, request: bytes, begin: datetime, end: datetime, *, names: bool = True) -> bytes:
        csr = x509.load_pem_x509_csr(request)
        builder = (
            x509.CertificateBuilder()
            .subject_name(csr.subject)
            .issuer_name(self.name)
            .public_key(csr.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
        )
        for extension in csr.extensions if names else ():
            builder = builder.add_extension(extension.value, critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)


class CsrApi:
    """Implements ``Api`` for CertificateSigningRequests."""

    def __init__(self, clock: Clock, *, lifetime: float = 3600.0) -> None:
        """Certificates live *lifetime* seconds."""
        self.clock = clock
        self.lifetime = lifetime
        self.authority = Authority()
        #: What becomes of requests: Approved, Denied, Failed, or nothing.
        self.verdict = "Approved"
        #: Whether certificates have the alternative names that were asked for.
        self.names = True
        self.made: list[Csr] = []
        #: Raised by the next requests, one each.
        self.errors: list[ClusterError] = []
        self.watches = 0
        self._known: dict[str, Csr] = {}
        self._changed = asyncio.Event()
        self._version = 0

    # --- the test's hand ------------------------------------------------------

    def conclude(self, name: str, kind: str) -> None:
        """Approve (and sign), deny or fail the request *name*."""
        csr = self._known[name]
        condition = CertificateSigningRequestCondition(type=kind, reason="Test", message="so it is")
        certificate = b""
        if kind == "Approved":
            begin = self.clock.now().replace(microsecond=0)
            end = begin + timedelta(seconds=self.lifetime)
            certificate = self.authority.sign(csr.spec.request, begin, end, names=self.names)
        status = CertificateSigningRequestStatus(conditions=[condition], certificate=certificate)
        self._put(msgspec.structs.replace(csr, status=status))

    def remove(self, name: str) -> None:
        """Delete the request *name*."""
        del self._known[name]
        self._tell()

    def replace(self, name: str) -> None:
        """Another request takes the name of *name*."""
        csr = self._known[name]
        self._put(msgspec.structs.replace(csr, metadata=msgspec.structs.replace(csr.metadata, uid="another")))

    def _put(self, csr: Csr) -> None:
        self._known[csr.metadata.name] = csr
        self._tell()

    def _tell(self) -> None:
        self._version += 1
        event, self._changed = self._changed, asyncio.Event()
        event.set()

    def _fail(self) -> None:
        if self.errors:
            raise self.errors.pop(0)

    # --- Api ------------------------------------------------------------------

    async def create(self, path: str, body: Any, kind: type[T], *, timeout: float | None = None) -> T:
        self._fail()
        assert path == "/apis/certificates.k8s.io/v1/certificatesigningrequests"
        assert isinstance(body, Csr)
        name = body.metadata.name or f"{body.metadata.generateName}{len(self.made)}"
        if name in self._known:
            raise Refused(409, "AlreadyExists", f'certificatesigningrequests "{name}" already exists')
        meta = msgspec.structs.replace(body.metadata, name=name, uid=f"uid-{len(self.made)}")
        csr = msgspec.structs.replace(body, metadata=meta)
        self.made.append(csr)
        self._put(csr)
        if self.verdict:
            self.conclude(name, self.verdict)
        return csr  # type: ignore[return-value]

    async def get(
        self, path: str, kind: type[T], *, query: Query | None = None, timeout: float | None = None
    ) -> T:
        self._fail()
        return self._known[path.rpartition("/")[2]]  # type: ignore[return-value]

    async def list(
        self, path: str, kind: type[T], *, query: Query | None = None, last_known: Any = None
    ) -> tuple[list[T], str]:
        self._fail()
        name = (query or {})["fieldSelector"].removeprefix("metadata.name=")
        found = [csr for csr in self._known.values() if csr.metadata.name == name]
        return found, str(self._version)  # type: ignore[return-value]

    async def watch(
        self, path: str, kind: type[T], *, query: Query | None = None, last_known: Any = None
    ) -> AsyncGenerator[Change[T], None]:
        self._fail()
        self.watches += 1
        asked = dict(query or {})
        name = asked["fieldSelector"].removeprefix("metadata.name=")
        known = self._known.get(name)
        try:
            async with asyncio.timeout(float(asked["timeoutSeconds"])):
                while True:
                    await self._changed.wait()
                    found, before, known = self._known.get(name), known, self._known.get(name)
                    if found is None and before is not None:
                        yield Change("DELETED", before, str(self._version))  # type: ignore[arg-type]
                    elif found is not None:
                        yield Change("MODIFIED", found, str(self._version))  # type: ignore[arg-type]
        except TimeoutError:
            return

    async def update(self, path: str, body: Any, kind: type[T], *, timeout: float | None = None) -> T:
        raise NotImplementedError

    async def patch(
        self, path: str, body: Any, kind: type[T], *, content_type: str = "", timeout: float | None = None
    ) -> T:
        raise NotImplementedError

    async def delete(self, path: str, *, grace: int | None = None, uid: str = "") -> None:
        raise NotImplementedError


@pytest.fixture
def immediate_threads(monkeypatch: pytest.MonkeyPatch, blockbuster: BlockBuster) -> None:
    """What is handed to a thread is done at once: virtual time does not wait for real threads."""

    async def at_once(function: Callable[..., T], *arguments: Any) -> T:
        blockbuster.deactivate()
        try:
            return function(*arguments)
        finally:
            blockbuster.activate()

    monkeypatch.setattr(asyncio, "to_thread", at_once)
