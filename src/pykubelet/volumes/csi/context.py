"""What drivers are told beside the volume itself: about the pod, its tokens, secrets' values. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from pykubelet.api.auth import (
    BoundObjectReference,
    TokenRequest,
    TokenRequestSpec,
    TokenRequestStatus,
)
from pykubelet.api.core import Pod
from pykubelet.api.objects import Secret
from pykubelet.api.storage import CSIDriver
from pykubelet.base.errors import VolumeError
from pykubelet.base.gotext import go_json, rfc3339

_PREFIX: Final = "csi.storage.k8s.io"
TOKENS: Final = f"{_PREFIX}/serviceAccount.tokens"


def wants_pod_info(driver: CSIDriver | None) -> bool:
    """Whether the driver is told about the pod."""
    return driver is not None and driver.spec.podInfoOnMount is True


def pod_info(pod: Pod, *, ephemeral: bool) -> dict[str, str]:
    """What a driver is told about the pod."""
    return {
        f"{_PREFIX}/pod.name": pod.metadata.name,
        f"{_PREFIX}/pod.namespace": pod.metadata.namespace,
        f"{_PREFIX}/pod.uid": pod.metadata.uid,
        f"{_PREFIX}/serviceAccount.name": pod.spec.serviceAccountName,
        f"{_PREFIX}/ephemeral": "true" if ephemeral else "false",
    }


def token_requests(driver: CSIDriver | None, pod: Pod) -> Mapping[str, TokenRequest]:
    """The tokens of the pod's service account that the driver wants, by audience."""
    wanted = driver.spec.tokenRequests if driver is not None else []
    bound = BoundObjectReference(kind="Pod", apiVersion="v1", name=pod.metadata.name, uid=pod.metadata.uid)
    return {
        request.audience: TokenRequest(
            spec=TokenRequestSpec(
                audiences=[request.audience] if request.audience else [],
                expirationSeconds=request.expirationSeconds,
                boundObjectRef=bound,
            )
        )
        for request in wanted
    }


def tokens_text(tokens: Mapping[str, TokenRequestStatus]) -> str:
    """The tokens by audience as drivers read them: JSON."""
    return go_json(
        {
            audience: {
                "token": status.token,
                "expirationTimestamp": (
                    rfc3339(status.expirationTimestamp) if status.expirationTimestamp is not None else None
                ),
            }
            for audience, status in sorted(tokens.items())
        }
    )


def tokens_in_secrets(driver: CSIDriver | None) -> bool:
    """Whether the driver gets tokens among the secrets, which nobody logs, not in the volume's context."""
    return driver is not None and driver.spec.serviceAccountTokenInSecrets is True


def credentials(secret: Secret) -> dict[str, str]:
    """A secret's values as they go over the wire.

    :raises VolumeError: a value is no text; the error names its key.
    """
    values = {}
    for key, value in secret.data.items():
        try:
            values[key] = value.decode()
        except UnicodeDecodeError:
            where = f"{secret.metadata.namespace}/{secret.metadata.name}"
            raise VolumeError(f"secret {where}: data[{key}]: not UTF-8", left="unchanged") from None
    return values


def access_mode(modes: Sequence[str]) -> str:
    """The access mode that drivers are told of a volume with *modes*: the first."""
    return modes[0] if modes else "ReadWriteOnce"
