"""The double's certificate authority: its own certificate, those of users, and signed requests."""

import base64
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from tests.apiserver import deletion, resources
from tests.apiserver.resources import Object, Resource
from tests.apiserver.store import Store, Stored, copy

Approve = Literal["auto", "manual", "deny"]

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING_SIGNER = "kubernetes.io/kubelet-serving"
_USES = {CLIENT_SIGNER: ExtendedKeyUsageOID.CLIENT_AUTH, SERVING_SIGNER: ExtendedKeyUsageOID.SERVER_AUTH}


class Authority:
    """A certificate authority."""

    def __init__(self) -> None:
        self._ca = trustme.CA(organization_name="api server double")
        self.pem = self._ca.cert_pem.bytes()
        self._certificate = x509.load_pem_x509_certificate(self.pem)
        key = serialization.load_pem_private_key(self._ca.private_key_pem.bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key

    def server_context(self) -> ssl.SSLContext:
        """TLS of the server: clients may show certificates of this authority."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=self.pem.decode())
        self._ca.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def client_pair(self, name: str, *groups: str, lifetime: float = 3600.0) -> tuple[bytes, bytes]:
        """Certificate and key in PEM of the user *name*; *lifetime* in seconds."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, name)])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return self.sign(request, CLIENT_SIGNER, lifetime), pem

    def sign(self, request: x509.CertificateSigningRequest, signer: str, lifetime: float) -> bytes:
        """A certificate in PEM for *request*, of *lifetime* seconds from now."""
        # The real signer back-dates by 5 minutes for clocks that are behind.
        begin = datetime.now(UTC) - timedelta(minutes=5)
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(self._certificate.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + timedelta(minutes=5, seconds=lifetime))
            .add_extension(x509.ExtendedKeyUsage([_USES[signer]]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        for extension in request.extensions:
            if isinstance(extension.value, x509.SubjectAlternativeName):
                builder = builder.add_extension(extension.value, critical=extension.critical)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@dataclass(slots=True)
class Signer:
    """The controllers that approve and sign CertificateSigningRequests."""

    store: Store
    authority: Authority
    approve: Approve = "auto"
    #: Seconds of a certificate whose request asks for none.
    lifetime: float = 3600.0
    #: The names of the requests signed.
    signed: list[str] = field(default_factory=list)

    def written(self, resource: Resource, stored: Stored) -> None:
        """Look at a request that was written."""
        if resource is not resources.CSRS:
            return
        csr = copy(stored.obj)
        status = csr["status"]
        types = {condition["type"] for condition in status.get("conditions") or ()}
        if not types and self.approve != "manual":
            kind = "Approved" if self.approve == "auto" else "Denied"
            self._conclude(csr, kind)
            types = {kind}
        if "Approved" in types and not status.get("certificate") and csr["spec"]["signerName"] in _USES:
            status["certificate"] = base64.b64encode(self._certificate(csr["spec"])).decode()
            self.signed.append(csr["metadata"]["name"])
        if csr != stored.obj:
            self.store.put(resources.CSRS, csr)

    def decide(self, name: str, *, approved: bool) -> None:
        """Approve or deny the request *name* by hand."""
        stored = self.store.get(resources.CSRS, "", name)
        assert stored is not None, name
        csr = copy(stored.obj)
        self._conclude(csr, "Approved" if approved else "Denied")
        self.written(resources.CSRS, self.store.put(resources.CSRS, csr))

    @staticmethod
    def _conclude(csr: Object, kind: str) -> None:
        now = deletion.timestamp(datetime.now(UTC))
        conditions = csr.setdefault("status", {}).setdefault("conditions", [])
        conditions.append(
            {
                "type": kind,
                "status": "True",
                "reason": "Double",
                "message": f"{kind} by the API server double",
                "lastUpdateTime": now,
                "lastTransitionTime": now,
            }
        )

    def _certificate(self, spec: Object) -> bytes:
        request = x509.load_pem_x509_csr(base64.b64decode(spec["request"]))
        return self.authority.sign(
            request, spec["signerName"], spec.get("expirationSeconds") or self.lifetime
        )
