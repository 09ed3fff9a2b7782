"""What is wrong with a configuration of credential provider plug-ins, in upstream's words. Pure."""

from collections.abc import Iterator
from typing import Final

from pykubelet.api.fielderrors import FieldErrors
from pykubelet.api.names import qualified_name

from .matching import parse_location
from .provider_types import CredentialProvider, ProviderConfig, ServiceAccountTokenAttributes

#: Versions in which plug-ins are spoken to.
API_VERSIONS: Final = tuple(
    f"credentialprovider.kubelet.k8s.io/{version}" for version in ("v1", "v1alpha1", "v1beta1")
)
_CACHE_TYPES: Final = ("ServiceAccount", "Token")


def validate(config: ProviderConfig, *, tokens: bool) -> FieldErrors:
    """What is wrong with the configuration; nothing if it is fine."""
    errors = FieldErrors()
    if not config.providers:
        errors.required("providers", "at least 1 item in plugins is required")
    for provider in config.providers:
        _validate(provider, errors)
        if provider.tokenAttributes is not None:
            _validate_tokens(provider, provider.tokenAttributes, errors, tokens=tokens)
    return errors


def _validate(provider: CredentialProvider, errors: FieldErrors) -> None:
    name = provider.name
    if not name:
        errors.required("providers.name")
    if "/" in name:
        errors.invalid("providers.name", name, "provider name cannot contain '/'")
    if " " in name:
        errors.invalid("providers.name", name, "provider name cannot contain spaces")
    if name in (".", ".."):
        errors.invalid("providers.name", name, f"provider name cannot be '{name}'")
    if not provider.apiVersion:
        errors.required("providers.apiVersion")
    else:
        errors.one_of("providers.apiVersion", provider.apiVersion, API_VERSIONS)
    if not provider.matchImages:
        errors.required("providers.matchImages", "at least 1 item in matchImages is required")
    for entry in provider.matchImages:
        try:
            parse_location(entry)
        except ValueError as error:
            errors.invalid("providers.matchImages", entry, f"match image is invalid: {error}")
    if provider.defaultCacheDuration is None:
        errors.required("providers.defaultCacheDuration")
    elif provider.defaultCacheDuration < 0:
        shown = str(provider.defaultCacheDuration)
        errors.invalid("providers.defaultCacheDuration", shown, "must be greater than or equal to 0")


def _validate_tokens(
    provider: CredentialProvider, wanted: ServiceAccountTokenAttributes, errors: FieldErrors, *, tokens: bool
) -> None:
    at = "providers.tokenAttributes"
    required, optional = (
        wanted.requiredServiceAccountAnnotationKeys,
        wanted.optionalServiceAccountAnnotationKeys,
    )
    if not tokens:
        errors.forbidden(
            at,
            "tokenAttributes is not supported when KubeletServiceAccountTokenForCredentialProviders "
            "feature gate is disabled",
        )
    if not wanted.serviceAccountTokenAudience:
        errors.required(f"{at}.serviceAccountTokenAudience")
    if wanted.requireServiceAccount is None:
        errors.required(f"{at}.requireServiceAccount")
    if provider.apiVersion != API_VERSIONS[0]:
        errors.forbidden(at, f"tokenAttributes is only supported for {API_VERSIONS[0]} API version")
    if wanted.requireServiceAccount is False and required:
        errors.forbidden(
            f"{at}.requiredServiceAccountAnnotationKeys",
            "requireServiceAccount cannot be false when requiredServiceAccountAnnotationKeys is set",
        )
    _validate_keys(f"{at}.requiredServiceAccountAnnotationKeys", required, errors)
    _validate_keys(f"{at}.optionalServiceAccountAnnotationKeys", optional, errors)
    both = sorted(set(required) & set(optional))
    if both:
        errors.invalid(at, both, "annotation keys cannot be both required and optional")
    if not wanted.cacheType:
        errors.required(
            f"{at}.cacheType",
            "cacheType is required to be set when tokenAttributes is specified. "
            f"Supported values are: {', '.join(_CACHE_TYPES)}",
        )
    else:
        errors.one_of(f"{at}.cacheType", wanted.cacheType, _CACHE_TYPES)


def _validate_keys(at: str, keys: list[str], errors: FieldErrors) -> None:
    for key in keys:
        errors.invalid(at, key, *qualified_name(key.lower()))
    for key in _repeated(keys):
        errors.duplicate(at, key)


def _repeated(keys: list[str]) -> Iterator[str]:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            yield key
        seen.add(key)
