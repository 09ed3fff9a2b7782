"""From a command line and the files it names to the configuration of this run.

Precedence: explicit flags, then drop-ins of ``--config-dir`` in lexical order, then the file of
``--config``, then defaults. Without ``--config`` the flags' older defaults are the base (anonymous
requests allowed, port 10255 open, no eviction thresholds); with it the API's are.
"""

import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from . import effects
from .decode import decode, read_document
from .defaults import DEFAULT_EVICTION_HARD, complete, legacy
from .flags import Flag, Parsed, parse, set_path
from .flagtable import all_flags
from .gates import FeatureGates
from .jsonform import as_v1beta1_json
from .types import API_VERSION, KIND, ConfigError, KubeletConfiguration, KubeletFlags
from .validation import validate, validate_flags

_DROP_IN = ".conf"
_MAX_BYTES = 4 << 20
#: How the names of flags end whose values are nobody's business.
_SECRET = ("password", "-url-header")

#: Paths in a file that are meant relative to that file.
_PATHS = (
    "staticPodPath",
    "authentication.x509.clientCAFile",
    "tlsCertFile",
    "tlsPrivateKeyFile",
    "resolvConf",
    "volumePluginDir",
    "podLogsDir",
)


class Files(Protocol):
    """What loading needs of a file system."""

    def read(self, path: str) -> bytes:
        """A file's bytes; raises OSError."""
        ...

    def is_dir(self, path: str) -> bool:
        """Whether *path* is a directory."""
        ...

    def walk(self, path: str) -> Iterator[str]:
        """Files below a directory, in lexical order of each directory; raises OSError."""
        ...


class OsFiles:
    """The real file system."""

    def read(self, path: str) -> bytes:
        """Read at most what a configuration may be long."""
        with Path(path).open("rb") as file:
            return file.read(_MAX_BYTES + 1)

    def is_dir(self, path: str) -> bool:
        """Whether *path* is a directory."""
        return Path(path).is_dir()

    def walk(self, path: str) -> Iterator[str]:
        """Files below *path*; directories stand among the files by name."""
        for entry in sorted(os.scandir(path), key=lambda entry: os.fsencode(entry.name)):
            if entry.is_dir(follow_symlinks=False):
                yield from self.walk(entry.path)
            else:
                yield entry.path


@dataclass(frozen=True, slots=True)
class Loaded:
    """All that was configured. *warnings* are for the log, one line each.

    *unknown* are those of them that name unknown or duplicate fields: ``pykubelet check`` fails on these.
    """

    flags: KubeletFlags
    config: KubeletConfiguration
    gates: FeatureGates
    warnings: list[str]
    unknown: list[str]
    #: The flags of the command line by name, as they were written; those that hold secrets are left out.
    command_line: Mapping[str, str] = field(default_factory=dict)

    @property
    def seccomp_default(self) -> bool:
        """Whether pods without a seccomp profile get RuntimeDefault: the flag or the field."""
        return self.flags.seccompDefault or self.config.seccompDefault


def load(argv: Sequence[str], *, files: Files | None = None, cwd: str | None = None) -> Loaded:
    """Read the configuration; ``--help`` and ``--version`` are left to the caller (``Loaded.flags``).

    With either of these two nothing but the command line is read.

    :param argv: the command line without the program's name.
    :raises ConfigError: anything wrong; one line that names the field or flag and the reason.
    """
    return _Loading(argv, files or OsFiles(), cwd or str(Path.cwd())).run()


class _Loading:
    def __init__(self, argv: Sequence[str], files: Files, cwd: str) -> None:
        self._files = files
        self._cwd = cwd
        self._table: tuple[Flag, ...] = all_flags()
        self._line: Parsed = parse(argv, self._table)
        self._warnings = list(self._line.warnings)
        self._unknown: list[str] = []

    def run(self) -> Loaded:
        flags = KubeletFlags()
        gates = FeatureGates(self._line.values.get("feature-gates"))
        config = legacy(gates)
        self._line.apply(config, flags)
        if flags.help or flags.version != "false":
            return Loaded(flags, config, gates, self._warnings, self._unknown)
        validate_flags(flags)
        if flags.config or flags.configDir:
            config = self._from_files(flags, config)
            self._line.apply(config, flags)
        gates = FeatureGates(config.featureGates)
        self._warnings += self._unknown + gates.warnings()
        try:
            validate(config, gates)
        except ConfigError as error:
            raise ConfigError(f"failed to validate kubelet configuration, error: {error}") from None
        idle = effects.idle(flags, config)
        if idle:
            self._warnings.append(f"set, but without effect yet: {', '.join(idle)}")
        shown = {name: text for name, text in self._line.texts.items() if not name.endswith(_SECRET)}
        return Loaded(flags, config, gates, self._warnings, self._unknown, shown)

    def _from_files(self, flags: KubeletFlags, config: KubeletConfiguration) -> KubeletConfiguration:
        if flags.config:
            path = posixpath.join(self._cwd, flags.config)
            if self._files.is_dir(path):
                raise ConfigError(
                    f"--config {flags.config} is a directory: --config takes a KubeletConfiguration file; "
                    "for a directory of static pods use --pod-manifest-path"
                )
            try:
                config = self._file(posixpath.normpath(path))
            except ConfigError as error:
                raise ConfigError(
                    f"failed to load kubelet config file, path: {flags.config}, error: {error}"
                ) from None
        if flags.configDir:
            config = self._drop_ins(posixpath.join(self._cwd, flags.configDir), config)
        return config

    def _read(self, path: str) -> dict[str, Any]:
        try:
            data = self._files.read(path)
        except OSError as error:
            raise ConfigError(f"failed to read: {error.strerror or error}") from error
        if not data:
            raise ConfigError("the file is empty")
        if len(data) > _MAX_BYTES:
            raise ConfigError(f"the file is larger than {_MAX_BYTES} bytes")
        raw, doubled = read_document(data)
        self._unknown += [f'{path}: duplicate field "{name}", the last one counts' for name in doubled]
        version, kind = raw.pop("apiVersion", None), raw.pop("kind", None)
        if (version, kind) != (API_VERSION, KIND):
            raise ConfigError(
                f"apiVersion and kind must be {API_VERSION} and {KIND}, "
                f"got {version or '-'} and {kind or '-'}"
            )
        return raw

    def _decode(self, path: str, raw: Mapping[str, Any]) -> KubeletConfiguration:
        config, unknown = decode(raw, KubeletConfiguration)
        self._unknown += [f'{path}: unknown field "{name}" is ignored' for name in unknown]
        complete(config, raw, self._gates_with(config.featureGates))
        return config

    def _gates_with(self, featureGates: Mapping[str, bool]) -> FeatureGates:
        return FeatureGates({**featureGates, **self._line.values.get("feature-gates", {})})

    def _file(self, path: str) -> KubeletConfiguration:
        raw = self._read(path)
        config = self._decode(path, raw)
        resolve_paths(config, posixpath.dirname(path))
        if raw.get("evictionHard") is None:
            config.evictionHard = dict(DEFAULT_EVICTION_HARD)
        elif config.mergeDefaultEvictionSettings:
            config.evictionHard = {**DEFAULT_EVICTION_HARD, **config.evictionHard}
        return config

    def _drop_ins(self, directory: str, config: KubeletConfiguration) -> KubeletConfiguration:
        merged = as_v1beta1_json(config)
        try:
            paths = [path for path in self._files.walk(directory) if path.endswith(_DROP_IN)]
        except OSError as error:
            raise ConfigError(
                f"failed to walk through kubelet dropin directory {directory}: {error.strerror or error}"
            ) from error
        try:
            for path in paths:
                patch = self._read(path)
                _, unknown = decode(_without_nulls(patch), KubeletConfiguration)
                self._unknown += [f'{path}: unknown field "{name}" is ignored' for name in unknown]
                merged = merge_patch(merged, patch)
        except ConfigError as error:
            raise ConfigError(f"failed to load kubelet dropin file, path: {path}, error: {error}") from None
        merged.pop("apiVersion", None)
        merged.pop("kind", None)
        config, _ = decode(merged, KubeletConfiguration)
        complete(config, merged, self._gates_with(config.featureGates))
        return config


def resolve_paths(config: KubeletConfiguration, directory: str) -> None:
    """Make the file's relative paths absolute, in place; empty ones stay empty."""
    for path in _PATHS:
        value: Any = config
        for part in path.split("."):
            value = getattr(value, part)
        if value and not value.startswith("/"):
            set_path(config, path, posixpath.normpath(posixpath.join(directory, value)))


def merge_patch(target: Any, patch: Any) -> Any:
    """JSON merge patch: objects merge by key, null deletes, anything else replaces. Source: RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    out = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merge_patch(out.get(key), value)
    return out


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value
