"""Whether a pod may use an image that is on the node, or must show at the registry that it may. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

import msgspec

from ..credentials.keyring import Credential
from ..image_name import without_tag
from .formats import PullCredentials, PulledRecord, PullSecret, PullServiceAccount

#: A record with so many secrets gets no more while it is only looked at.
_MOST_SECRETS: Final = 100


@dataclass(frozen=True, slots=True)
class Policy:
    """``imagePullCredentialsVerificationPolicy``, and for which images it makes an exception."""

    name: str
    allowlist: Sequence[str] = ()

    def verifies(self, image: str, *, pulled_by_kubelet: bool) -> bool:
        """Whether a pod must have credentials for *image*, which is on the node."""
        if self.name == "NeverVerify":
            return False
        if self.name == "NeverVerifyPreloadedImages":
            return pulled_by_kubelet
        if self.name == "NeverVerifyAllowlistedImages":
            return not self._allowlisted(image)
        return True

    def _allowlisted(self, image: str) -> bool:
        try:
            name = without_tag(image)
        except ValueError:
            name = image
        return any(
            name.startswith(pattern[:-1]) if pattern.endswith("/*") else name == pattern
            for pattern in self.allowlist
        )


class Verdict(Enum):
    """How it was decided; the values are the metric's."""

    ALLOWED_BY_POLICY = "credentialPolicyAllowed"
    KNOWN = "credentialRecordFound"
    MUST_AUTHENTICATE = "mustAuthenticate"
    ERROR = "error"


def settled(credentials: PullCredentials | None) -> Verdict | None:
    """What the record says whoever asks; None when it depends on the pod's credentials."""
    if credentials is None:
        return Verdict.MUST_AUTHENTICATE
    if credentials.nodePodsAccessible:
        return Verdict.KNOWN
    if not credentials.kubernetesSecrets and not credentials.kubernetesServiceAccounts:
        return Verdict.MUST_AUTHENTICATE
    return None


def judge(known: PullCredentials, pod: Sequence[Credential]) -> tuple[Verdict, PullCredentials | None]:
    """Whether one of the *pod*'s credentials is *known*, and what is to be added to the record then."""
    room = len(known.kubernetesSecrets) < _MOST_SECRETS
    for secret in pod_secrets(pod):
        for kept in known.kubernetesSecrets:
            same_login = bool(kept.credentialHash) and kept.credentialHash == secret.credentialHash
            same_secret = kept.place == secret.place
            if same_login and same_secret:
                return Verdict.KNOWN, None
            if same_login or same_secret:
                # The secret counts from now on, under its new name or with its new login.
                return Verdict.KNOWN, PullCredentials(kubernetesSecrets=(secret,)) if room else None
    account = pod_service_account(pod)
    if account is not None and account in known.kubernetesServiceAccounts:
        return Verdict.KNOWN, None
    return Verdict.MUST_AUTHENTICATE, None


def pod_secrets(pod: Sequence[Credential]) -> list[PullSecret]:
    """The secrets among the pod's credentials."""
    return [
        PullSecret(each.source.uid, each.source.namespace, each.source.name, each.digest)
        for each in pod
        if each.source is not None and each.source.kind == "secret"
    ]


def pod_service_account(pod: Sequence[Credential]) -> PullServiceAccount | None:
    """The service account among the pod's credentials; a pod has one."""
    for each in pod:
        if each.source is not None and each.source.kind == "serviceaccount":
            return PullServiceAccount(each.source.uid, each.source.namespace, each.source.name)
    return None


def credentials_used(used: Credential | None) -> PullCredentials:
    """Who may use an image that was pulled with that credential: with none, everyone on this node."""
    if used is None or used.source is None:
        return PullCredentials(nodePodsAccessible=True)
    if used.source.kind == "secret":
        return PullCredentials(kubernetesSecrets=tuple(pod_secrets([used])))
    account = pod_service_account([used])
    return PullCredentials(kubernetesServiceAccounts=() if account is None else (account,))


def merged(
    record: PulledRecord | None, ref: str, image: str, added: PullCredentials | None, now: datetime
) -> PulledRecord | None:
    """The record with what was *added* for *image* (a name without tag); None when nothing changes.

    With *added* None only that this kubelet pulled it is noted: nobody may use it unasked.
    """
    if record is None:
        mapping = {} if added is None else {image: added}
        return PulledRecord(imageRef=ref, credentialMapping=mapping, lastUpdatedTime=now)
    if added is None or added == PullCredentials():
        return None
    known = record.credentialMapping.get(image)
    changed = added if known is None else _joined(known, added)
    if changed == known:
        return None
    mapping = {**record.credentialMapping, image: changed}
    return msgspec.structs.replace(record, credentialMapping=mapping, lastUpdatedTime=now)


def _joined(known: PullCredentials, added: PullCredentials) -> PullCredentials:
    if known.nodePodsAccessible:
        return known
    if added.nodePodsAccessible:
        return PullCredentials(nodePodsAccessible=True)
    secrets = {secret.place: secret for secret in known.kubernetesSecrets}
    news = {secret.place: secret for secret in added.kubernetesSecrets}
    accounts = set(known.kubernetesServiceAccounts)
    more = set(added.kubernetesServiceAccounts)
    return PullCredentials(
        kubernetesSecrets=known.kubernetesSecrets
        if all(secrets.get(place) == secret for place, secret in news.items())
        else tuple(secret for _, secret in sorted((secrets | news).items())),
        kubernetesServiceAccounts=known.kubernetesServiceAccounts
        if more <= accounts
        else tuple(sorted(accounts | more, key=lambda each: (each.namespace, each.name, each.uid))),
    )
