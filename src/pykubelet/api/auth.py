"""Who is who and who may what: TokenRequest, TokenReview, SubjectAccessReview, CertificateSigningRequest."""

from datetime import datetime

import msgspec

from .meta import Obj, ObjectMeta


class BoundObjectReference(Obj):
    """authentication.k8s.io/v1 BoundObjectReference."""

    kind: str = ""
    apiVersion: str = ""
    name: str = ""
    uid: str = ""


class TokenRequestSpec(Obj, omit_defaults=False):
    """authentication.k8s.io/v1 TokenRequestSpec; no audiences (null) means the API server's own."""

    audiences: list[str] | None = None
    expirationSeconds: int | None = None
    boundObjectRef: BoundObjectReference | None = None


class TokenRequestStatus(Obj):
    """authentication.k8s.io/v1 TokenRequestStatus; its repr tells no token."""

    token: str = ""
    expirationTimestamp: datetime | None = None

    def __repr__(self) -> str:
        return f"TokenRequestStatus(until {self.expirationTimestamp})"


class TokenRequest(Obj):
    """authentication.k8s.io/v1 TokenRequest."""

    apiVersion: str = "authentication.k8s.io/v1"
    kind: str = "TokenRequest"
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: TokenRequestSpec = msgspec.field(default_factory=TokenRequestSpec)
    status: TokenRequestStatus = msgspec.field(default_factory=TokenRequestStatus)


class UserInfo(Obj):
    """authentication.k8s.io/v1 UserInfo."""

    username: str = ""
    uid: str = ""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}


class TokenReviewSpec(Obj):
    """authentication.k8s.io/v1 TokenReviewSpec; its repr tells no token."""

    token: str = ""
    audiences: list[str] = []

    def __repr__(self) -> str:
        return "TokenReviewSpec(…)"


class TokenReviewStatus(Obj):
    """authentication.k8s.io/v1 TokenReviewStatus."""

    authenticated: bool = False
    user: UserInfo = msgspec.field(default_factory=UserInfo)
    audiences: list[str] = []
    error: str = ""


class TokenReview(Obj):
    """authentication.k8s.io/v1 TokenReview."""

    apiVersion: str = "authentication.k8s.io/v1"
    kind: str = "TokenReview"
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: TokenReviewSpec = msgspec.field(default_factory=TokenReviewSpec)
    status: TokenReviewStatus = msgspec.field(default_factory=TokenReviewStatus)


class ResourceAttributes(Obj):
    """authorization.k8s.io/v1 ResourceAttributes."""

    namespace: str = ""
    verb: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""


class SubjectAccessReviewSpec(Obj):
    """authorization.k8s.io/v1 SubjectAccessReviewSpec."""

    resourceAttributes: ResourceAttributes | None = None
    user: str = ""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}
    uid: str = ""


class SubjectAccessReviewStatus(Obj):
    """authorization.k8s.io/v1 SubjectAccessReviewStatus."""

    allowed: bool = False
    denied: bool = False
    reason: str = ""
    evaluationError: str = ""


class SubjectAccessReview(Obj):
    """authorization.k8s.io/v1 SubjectAccessReview."""

    apiVersion: str = "authorization.k8s.io/v1"
    kind: str = "SubjectAccessReview"
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: SubjectAccessReviewSpec = msgspec.field(default_factory=SubjectAccessReviewSpec)
    status: SubjectAccessReviewStatus = msgspec.field(default_factory=SubjectAccessReviewStatus)


class CertificateSigningRequestSpec(Obj):
    """certificates.k8s.io/v1 CertificateSigningRequestSpec; *request* is PEM."""

    request: bytes = b""
    signerName: str = ""
    expirationSeconds: int | None = None
    usages: list[str] = []
    username: str = ""


class CertificateSigningRequestCondition(Obj):
    """certificates.k8s.io/v1 CertificateSigningRequestCondition: Approved, Denied or Failed."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""


class CertificateSigningRequestStatus(Obj):
    """certificates.k8s.io/v1 CertificateSigningRequestStatus; *certificate* is PEM."""

    conditions: list[CertificateSigningRequestCondition] = []
    certificate: bytes = b""


class CertificateSigningRequest(Obj):
    """certificates.k8s.io/v1 CertificateSigningRequest."""

    apiVersion: str = "certificates.k8s.io/v1"
    kind: str = "CertificateSigningRequest"
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: CertificateSigningRequestSpec = msgspec.field(default_factory=CertificateSigningRequestSpec)
    status: CertificateSigningRequestStatus = msgspec.field(default_factory=CertificateSigningRequestStatus)
