"""Reading the configuration of credential provider plug-ins (``--image-credential-provider-config``).

CredentialProviderConfig of kubelet.config.k8s.io, v1, v1beta1 or v1alpha1; a file, or a directory of
files that are merged in the order of their names. Read strictly: an unknown field is an error.
"""

import hashlib
import os
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec

from pykubelet.api import codec
from pykubelet.api.meta import Obj
from pykubelet.api.yaml import YamlError, load_all
from pykubelet.base.files import read_limited

from .provider_types import CredentialProvider, CredentialProviderV1, ProviderConfig
from .provider_validation import validate

_GROUP: Final = "kubelet.config.k8s.io"
_KIND: Final = "CredentialProviderConfig"
_SUFFIXES: Final = (".json", ".yaml", ".yml")
_LIMIT: Final = 4 << 20


class ProviderConfigError(Exception):
    """The configuration cannot be used; one line that names the file or field."""


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
