"""The configuration of credential provider plug-ins (``--image-credential-provider-config``).

CredentialProviderConfig of kubelet.config.k8s.io, v1, v1beta1 or v1alpha1; a file, or a directory of
files that are merged in the order of their names. Read strictly: an unknown field is an error.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from pykubelet.api import codec
from pykubelet.api.fielderrors import FieldErrors
from pykubelet.api.meta import Obj
from pykubelet.api.names import qualified_name
from pykubelet.api.yaml import YamlError, load_all
from pykubelet.base.duration import Duration
from pykubelet.base.files import read_limited

from .matching import parse_location

#: Versions in which plug-ins are spoken to.
API_VERSIONS: Final = tuple(
    f"credentialprovider.kubelet.k8s.io/{version}" for version in ("v1", "v1alpha1", "v1beta1")
)
_CACHE_TYPES: Final = ("ServiceAccount", "Token")
_GROUP: Final = "kubelet.config.k8s.io"
_KIND: Final = "CredentialProviderConfig"
_SUFFIXES: Final = (".json", ".yaml", ".yml")
_LIMIT: Final = 4 << 20


class ProviderConfigError(Exception):
    """The configuration cannot be used; one line that names the file or field."""


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


class _Old(Obj):
    apiVersion: str = ""
    kind: str = ""
    providers: list[CredentialProvider] = []


class _Config(Obj):
    apiVersion: str = ""
    kind: str = ""
    providers: list[CredentialProviderV1] = []


_VERSIONS: Final[dict[str, type[_Old] | type[_Config]]] = {
    f"{_GROUP}/v1": _Config,
    f"{_GROUP}/v1beta1": _Old,
    f"{_GROUP}/v1alpha1": _Old,
}


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """The plug-ins in their order; *digest* tells one configuration from another (a metric shows it)."""

    providers: tuple[CredentialProviderV1, ...]
    digest: str


def read_provider_config(path: str, bin_dir: str, *, tokens: bool) -> ProviderConfig:
    """Read and check everything that is named by the two flags; blocking.

    *tokens* is whether plug-ins may be given service account tokens.

    :raises ProviderConfigError: something is missing or wrong.
    """
    try:
        Path(bin_dir).stat()
    except FileNotFoundError:
        raise ProviderConfigError(f"plugin binary directory {bin_dir} did not exist") from None
    except OSError as error:
        raise ProviderConfigError(f"error inspecting binary directory {bin_dir}: {error.strerror}") from error
    config = _read(path)
    errors = validate(config, tokens=tokens)
    if errors:
        found = "; ".join(map(str, errors))
        raise ProviderConfigError(f"failed to validate credential provider config: {found}")
    for provider in config.providers:
        plugin = Path(bin_dir) / provider.name
        if not plugin.is_file():
            raise ProviderConfigError(f"plugin binary executable {plugin} did not exist")
        if not os.access(plugin, os.X_OK):
            raise ProviderConfigError(f"error inspecting binary executable {plugin}: permission denied")
    return config


def _read(path: str) -> ProviderConfig:
    if not path:
        raise ProviderConfigError("credential provider config path is empty")
    hasher = hashlib.sha256()
    providers: list[CredentialProviderV1] = []
    for file in _files(path):
        try:
            data = read_limited(file, _LIMIT)
        except (OSError, ValueError) as error:
            raise ProviderConfigError(f'unable to read file "{file}": {error}') from error
        # The length first: no two lists of files have the same text.
        hasher.update(len(data).to_bytes(8, "big"))
        hasher.update(data)
        try:
            providers += decode(data)
        except ValueError as error:
            raise ProviderConfigError(f'error decoding config "{file}": {error}') from error
    for name, count in Counter(provider.name for provider in providers).items():
        if count > 1:
            raise ProviderConfigError(f'duplicate provider name "{name}" found in configuration file(s)')
    return ProviderConfig(tuple(providers), f"sha256:{hasher.hexdigest()}")


def _files(path: str) -> list[Path]:
    given = Path(path)
    try:
        given.stat()
        if not given.is_dir():
            return [given]
        files = sorted(entry for entry in given.iterdir() if entry.suffix in _SUFFIXES and not entry.is_dir())
    except OSError as error:
        raise ProviderConfigError(f'unable to access path "{path}": {error.strerror}') from error
    if not files:
        raise ProviderConfigError(f'no configuration files found in directory "{path}"')
    return files


def decode(data: bytes) -> list[CredentialProviderV1]:
    """The plug-ins that one document names.

    :raises ValueError: it is no such document.
    """
    try:
        documents = load_all(data)
    except YamlError as error:
        raise ValueError(str(error)) from error
    tree = documents[0] if documents else None
    if not isinstance(tree, dict):
        raise ValueError("it is not a mapping")  # noqa: TRY004 - the input is wrong, not the caller
    version, kind = tree.get("apiVersion"), tree.get("kind")
    wanted = _VERSIONS.get(version) if isinstance(version, str) else None
    if kind != _KIND or wanted is None:
        raise ValueError(f"apiVersion and kind must be {_GROUP}/v1 and {_KIND}, got {version} and {kind}")
    config = codec.convert(tree, wanted)
    unknown = codec.unknown_fields(tree, wanted)
    if unknown:
        raise ValueError(f'strict decoding error: unknown field "{unknown[0]}"')
    return [_newest(provider) for provider in config.providers]


def _newest(provider: CredentialProvider) -> CredentialProviderV1:
    if isinstance(provider, CredentialProviderV1):
        return provider
    return CredentialProviderV1(**msgspec.structs.asdict(provider))


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
