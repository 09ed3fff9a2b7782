"""Who may what, and tokens of service accounts: the questions that a kubelet asks the server."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from tests.apiserver import deletion, errors, resources
from tests.apiserver.identity import Identity, Users
from tests.apiserver.resources import Object, Resource
from tests.apiserver.store import Store

#: Decides over the spec of a SubjectAccessReview: whether it is allowed.
Authorize = Callable[[Object], bool]

ISSUER = "https://kubernetes.default.svc.cluster.local"
_BINDABLE = {resource.kind: resource for resource in (resources.PODS, resources.SECRETS, resources.NODES)}
#: Seconds of the shortest token.
SHORTEST = 600


def _masters(spec: Object) -> bool:
    return "system:masters" in (spec.get("groups") or ())


@dataclass(slots=True)
class Reviews:
    """TokenReview, SubjectAccessReview, TokenRequest."""

    users: Users
    store: Store
    now: Callable[[], float] = time.time
    #: What SubjectAccessReviews are answered, by default yes to admins only; a test puts its own here.
    authorize: Authorize = field(default=_masters)
    #: The TokenRequests so far: namespace, account and spec.
    token_requests: list[tuple[str, str, Object]] = field(default_factory=list)

    def answer(self, kind: str, body: Object) -> Object:
        """The review with its status."""
        spec = body.get("spec") or {}
        status = self._token_status(spec) if kind == "TokenReview" else self._access_status(spec)
        return {
            **body,
            "metadata": {**(body.get("metadata") or {}), "creationTimestamp": None},
            "status": status,
        }

    def _token_status(self, spec: Object) -> Object:
        identity = self.users.of_token(spec.get("token", ""))
        if identity is None:
            return {"user": {}, "error": "invalid bearer token"}
        user: Object = {"username": identity.name, "groups": list(identity.groups)}
        if identity.uid:
            user["uid"] = identity.uid
        audiences = spec.get("audiences") or [ISSUER]
        claims = self.users.claims(spec["token"])
        if claims is not None:
            audiences = [audience for audience in audiences if audience in claims["aud"]]
            if not audiences:
                return {"user": {}, "error": "[invalid bearer token, token audiences do not match]"}
        return {"authenticated": True, "user": user, "audiences": audiences}

    def _access_status(self, spec: Object) -> Object:
        return (
            {"allowed": True}
            if self.authorize(spec)
            else {"allowed": False, "reason": "denied by the double"}
        )

    def own(self, resource: Resource, body: Object, identity: Identity) -> Object:
        """*body* with what only the server knows: who asks for a certificate."""
        if resource is not resources.CSRS or not isinstance(body.get("spec"), dict):
            return body
        spec = {**body["spec"], "username": identity.name, "groups": list(identity.groups)}
        return {**body, "spec": spec}

    def _check_bound(self, namespace: str, reference: Object) -> None:
        resource = _BINDABLE.get(reference.get("kind", ""))
        if resource is None:
            return
        name, uid = reference.get("name", ""), reference.get("uid", "")
        found = self.store.get(resource, namespace if resource.namespaced else "", name)
        if found is None:
            raise errors.not_found(resource.plural, resource.group, name)
        if uid and uid != found.obj["metadata"]["uid"]:
            why = (
                f"the UID in the bound object reference ({uid}) does not match the UID in record. "
                "The object might have been deleted and then recreated"
            )
            raise errors.conflict(resource.kind, resource.group, name, why)

    def token(self, account: Object, body: Object) -> Object:
        """A TokenRequest with its token.

        :raises ApiError: the life asked for is too short, or the object that it is bound to is not there.
        """
        spec = {"audiences": [], **(body.get("spec") or {})}
        # Given as null it is not given.
        spec["expirationSeconds"] = spec.get("expirationSeconds") or 3600
        metadata = account["metadata"]
        if spec["expirationSeconds"] < SHORTEST:
            problem = (
                f"Invalid value: {spec['expirationSeconds']}: may not specify a duration less than 10 minutes"
            )
            raise errors.invalid(
                "TokenRequest", "authentication.k8s.io", "", "spec.expirationSeconds", problem
            )
        self._check_bound(metadata["namespace"], spec.get("boundObjectRef") or {})
        spec["audiences"] = spec["audiences"] or [ISSUER]
        self.token_requests.append((metadata["namespace"], metadata["name"], spec))
        begins = int(self.now())
        ends = begins + spec["expirationSeconds"]
        bound: Object = {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        }
        reference = spec.get("boundObjectRef") or {}
        if reference:
            bound[reference["kind"].lower()] = {"name": reference["name"], "uid": reference.get("uid", "")}
        claims: dict[str, Any] = {
            "iss": ISSUER,
            "aud": spec["audiences"],
            "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
            "iat": begins,
            "nbf": begins,
            "exp": ends,
            "jti": str(uuid4()),
            "kubernetes.io": bound,
        }
        until = deletion.timestamp(datetime.fromtimestamp(ends, UTC))
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "creationTimestamp": deletion.timestamp(datetime.fromtimestamp(begins, UTC)),
            },
            "spec": spec,
            "status": {"token": self.users.sign(claims), "expirationTimestamp": until},
        }
