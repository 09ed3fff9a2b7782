"""Credentials that a command prints: client-go's exec plug-ins, for an agent without a terminal."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pykubelet.api.codec import InvalidField, decode, encode
from pykubelet.api.meta import Obj
from pykubelet.base.clock import Clock
from pykubelet.base.metrics import Metrics
from pykubelet.base.processes import run

from .access import ExecConfig, Pem
from .errors import Unreachable

log = logging.getLogger(__name__)

#: Seconds that a plug-in may take, and bytes that it may print.
TIMEOUT: Final = 60.0
_OUTPUT_LIMIT: Final = 1 << 20
#: Seconds for which a failure stands for all who ask: no plug-in is started for each of many requests.
_FAILURE_STANDS: Final = 2.0
#: Runs after which a missing plug-in's install hint is told again.
_HINT_EVERY: Final = 100


class _Status(Obj):
    """client.authentication.k8s.io ExecCredentialStatus; its repr tells nothing."""

    expirationTimestamp: datetime | None = None
    token: str = ""
    clientCertificateData: str = ""
    clientKeyData: str = ""

    def __repr__(self) -> str:
        return f"_Status(until {self.expirationTimestamp})"


class _ExecCredential(Obj):
    """client.authentication.k8s.io ExecCredential as the plug-in answers it."""

    apiVersion: str = ""
    kind: str = ""
    status: _Status | None = None


@dataclass(frozen=True, slots=True)
class ExecCredential:
    """What a plug-in printed; its repr tells no secret. Certificate and key are PEM, both or none."""

    expires: datetime | None
    token: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)


class ExecPlugin:
    """Runs the command when its credential has expired or was rejected; otherwise the last one stands."""

    def __init__(
        self,
        config: ExecConfig,
        clock: Clock,
        *,
        environ: Mapping[str, str],
        metrics: Metrics | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        """*environ* is what the plug-in inherits, *timeout* in seconds."""
        self._config = config
        self._clock = clock
        self._environ = environ
        self._timeout = timeout
        self._current: ExecCredential | None = None
        self._failed: tuple[float, Unreachable] | None = None
        self._runs = 0
        self._lock = asyncio.Lock()
        self._calls = (metrics or Metrics()).counter(
            "rest_client_exec_plugin_call_total",
            "Number of calls to an exec plugin, partitioned by the type of event encountered and an "
            "optional exit code.",
            ("code", "call_status"),
        )

    async def credential(self) -> ExecCredential:
        """A credential that has not expired; the same object as long as it stands.

        :raises Unreachable: the plug-in failed.
        """
        current = self._current
        if current is not None and not self._expired(current):
            return current
        async with self._lock:
            current = self._current
            if current is not None and not self._expired(current):
                return current
            if self._failed is not None and self._clock.monotonic() - self._failed[0] < _FAILURE_STANDS:
                raise self._failed[1]
            try:
                self._current = await self._run()
            except Unreachable as error:
                self._failed = (self._clock.monotonic(), error)
                raise
            self._failed = None
            return self._current

    def rejected(self, credential: ExecCredential) -> None:
        """The server did not take *credential*: unless it was replaced since, the plug-in runs again."""
        if self._current is credential:
            self._current = None

    def _expired(self, credential: ExecCredential) -> bool:
        return credential.expires is not None and self._clock.now() > credential.expires

    async def _run(self) -> ExecCredential:
        told = await asyncio.to_thread(_told, self._config)
        environ = {**self._environ, **dict(self._config.env), "KUBERNETES_EXEC_INFO": told}
        self._runs += 1
        try:
            ended = await run(
                (self._config.command, *self._config.args),
                environ,
                timeout=self._timeout,
                limit=_OUTPUT_LIMIT,
            )
        except FileNotFoundError as error:
            self._calls.labels("1", "plugin_not_found_error").inc()
            if self._config.install_hint and self._runs % _HINT_EVERY == 1:
                log.warning("exec plugin %s: %s", self._config.command, self._config.install_hint)
            raise Unreachable(f"exec plugin: executable {self._config.command} not found") from error
        except (OSError, ValueError, TimeoutError) as error:
            self._calls.labels("1", "client_internal_error").inc()
            what = f"took longer than {self._timeout:.0f}s" if isinstance(error, TimeoutError) else str(error)
            raise Unreachable(f"exec plugin {self._config.command}: {what}") from error
        code, output = ended.code, ended.output
        status = "no_error" if code == 0 else "plugin_execution_error"
        self._calls.labels(str(code), status).inc()
        if code != 0:
            raise Unreachable(f"exec plugin: executable {self._config.command} failed with exit code {code}")
        try:
            return _read(output, self._config.api_version)
        except ValueError as error:
            raise Unreachable(f"exec plugin {self._config.command}: {error}") from error


def _told(config: ExecConfig) -> str:
    """The ExecCredential that the plug-in is told in ``KUBERNETES_EXEC_INFO``; blocking."""
    spec: dict[str, Any] = {"interactive": False}
    if config.cluster_info is not None:
        spec["cluster"] = {
            key: value.read() if isinstance(value, Pem) else value
            for key, value in config.cluster_info.items()
        }
    return encode({"kind": "ExecCredential", "apiVersion": config.api_version, "spec": spec}).decode()


def _read(output: bytes, api_version: str) -> ExecCredential:
    """The credential in *output*.

    :raises ValueError: it is none.
    """
    try:
        found = decode(output, _ExecCredential)
    except InvalidField as error:
        raise ValueError(f"its output cannot be read: {error}") from error
    if found.kind != "ExecCredential" or found.apiVersion != api_version:
        raise ValueError(
            f"is configured to use API version {api_version}, it returned {found.apiVersion} {found.kind}"
        )
    status = found.status
    if status is None:
        raise ValueError("didn't return a status field")
    if bool(status.clientCertificateData) != bool(status.clientKeyData):
        raise ValueError("returned only certificate or key, not both")
    if not status.token and not status.clientCertificateData:
        raise ValueError("didn't return a token or cert/key pair")
    expires = status.expirationTimestamp
    if expires is not None and expires.tzinfo is None:
        raise ValueError("status.expirationTimestamp has no time zone")
    return ExecCredential(
        expires, status.token, status.clientCertificateData.encode(), status.clientKeyData.encode()
    )
