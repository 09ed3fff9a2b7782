"""What is configured of credential provider plug-ins: CredentialProviderConfig of kubelet.config.k8s.io."""

from dataclasses import dataclass

from pykubelet.api.meta import Obj
from pykubelet.base.duration import Duration


class ExecEnvVar(Obj):
    """A variable of the plug-in's environment."""

    name: str = ""
    value: str = ""


class ServiceAccountTokenAttributes(Obj):
    """What a plug-in wants to know of the pod's service account."""

    serviceAccountTokenAudience: str = ""
    #: ``Token`` or ``ServiceAccount``.
    cacheType: str = ""
    requireServiceAccount: bool | None = None
    requiredServiceAccountAnnotationKeys: list[str] = []
    optionalServiceAccountAnnotationKeys: list[str] = []


class CredentialProvider(Obj):
    """One plug-in, as versions before v1 know it."""

    name: str = ""
    matchImages: list[str] = []
    defaultCacheDuration: Duration | None = None
    apiVersion: str = ""
    args: list[str] = []
    env: list[ExecEnvVar] = []


class CredentialProviderV1(CredentialProvider):
    """One plug-in."""

    tokenAttributes: ServiceAccountTokenAttributes | None = None


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """The plug-ins in their order; *digest* tells one configuration from another (a metric shows it)."""

    providers: tuple[CredentialProviderV1, ...]
    digest: str
