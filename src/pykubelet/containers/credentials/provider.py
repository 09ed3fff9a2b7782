"""A credential provider plug-in: a program that is asked for an image's logins, and what it said before.

(pkg/credentialprovider/plugin.)
"""

import asyncio
import hashlib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pykubelet.api.auth import BoundObjectReference, TokenRequest, TokenRequestSpec
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.objects import ServiceAccount
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Journal, PodRef
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner

from ..doors import ServiceAccounts
from .docker_config import Login, Logins
from .keyring import Source
from .matching import texts_match
from .provider_exec import PluginError, Response, ask
from .provider_types import CredentialProviderV1, ServiceAccountTokenAttributes

log = logging.getLogger(__name__)

#: Stands for "whatever image" among what was said before.
_GLOBAL: Final = "<global>"
#: Answers kept for one plug-in at most; the ones that expire first are dropped.
_KEPT: Final = 4096


@dataclass(frozen=True, slots=True)
class _Account:
    """The service account for which the plug-in is asked; its repr tells no token."""

    source: Source
    annotations: tuple[tuple[str, str], ...]
    token: str = field(repr=False)

    @property
    def token_hash(self) -> str:
        return hashlib.sha256(self.token.encode()).hexdigest()

    def key(self, cache_type: str) -> tuple[object, ...]:
        """For whom an answer holds: all pods of the account, or this token alone."""
        who = (self.source, self.annotations)
        return (*who, self.token_hash) if cache_type == "Token" else who


@dataclass(frozen=True, slots=True)
class _Kept:
    logins: Logins
    until: float


_Key = tuple[str, tuple[object, ...]]


class Provider:
    """One plug-in."""

    def __init__(
        self,
        config: CredentialProviderV1,
        bin_dir: str,
        clock: Clock,
        journal: Journal,
        metrics: Metrics,
        accounts: ServiceAccounts,
    ) -> None:
        self.name = config.name
        self._config = config
        self._command = (str(Path(bin_dir) / config.name), *config.args)
        self._clock = clock
        self._journal = journal
        self._metrics = metrics
        self._accounts = accounts
        self._wants = config.tokenAttributes
        self._kept: dict[_Key, _Kept] = {}
        self._asking: dict[tuple[object, ...], asyncio.Task[Response | PluginError]] = {}
        self._tasks = TaskOwner(f"credential provider {config.name}")

    async def stop(self) -> None:
        """End what is being asked."""
        await self._tasks.close()

    async def logins(self, image: str, pod: PodRef, service_account: str) -> tuple[Logins, Source | None]:
        """What the plug-in says for *image* (a name without tag), and for whose service account.

        Nothing when it is not meant for the image or fails: a failure is told in log and journal.
        """
        if not any(texts_match(entry, image) for entry in self._config.matchImages):
            return {}, None
        try:
            account = await self._account(pod, service_account)
            if account is None and self._wants is not None and self._wants.requireServiceAccount:
                return {}, None
            return await self._logins(image, account), account.source if account is not None else None
        except (PluginError, LookupError) as error:
            text = str(error.args[0]) if error.args else repr(error)
            log.error("credential provider %s has no login for %s: %s", self.name, image, text)
            self._journal.record(
                "CredentialProviderFailed",
                f"the credential provider {self.name} gave no login for {image}",
                pod=pod,
                cause=text,
                provider=self.name,
            )
            return {}, None

    # --- the service account --------------------------------------------------

    async def _account(self, pod: PodRef, name: str) -> _Account | None:
        """The pod's service account; None when none is wanted, there is none, or it does not opt in.

        :raises LookupError: it cannot be read, or no token can be had.
        """
        wants = self._wants
        if wants is None or not name:
            return None
        try:
            found = await self._accounts.service_account(pod.namespace, name)
        except LookupError as error:
            raise LookupError(f"failed to get service account: {error.args[0]}") from error
        annotations = _annotations(found, wants)
        if annotations is None:
            return None
        request = TokenRequest(
            metadata=ObjectMeta(uid=found.metadata.uid),
            spec=TokenRequestSpec(
                audiences=[wants.serviceAccountTokenAudience],
                boundObjectRef=BoundObjectReference(kind="Pod", apiVersion="v1", name=pod.name, uid=pod.uid),
            ),
        )
        try:
            token = await self._accounts.token(pod.namespace, name, request)
        except LookupError as error:
            raise LookupError(f"failed to get service account token: {error.args[0]}") from error
        source = Source("serviceaccount", found.metadata.uid, pod.namespace, name)
        return _Account(source, annotations, token.status.token)

    # --- asking ---------------------------------------------------------------

    async def _logins(self, image: str, account: _Account | None) -> Logins:
        cache_type = self._wants.cacheType if self._wants is not None else ""
        who = account.key(cache_type) if account is not None else ()
        registry = image.partition("/")[0]
        now = self._clock.monotonic()
        for base in (image, registry, _GLOBAL):
            kept = self._kept.get((base, who))
            if kept is not None and now <= kept.until:
                return kept.logins
        response = await self._once(image, account)
        if account is not None and cache_type != "Token":
            _refuse_echo(response, account.token)
        bases = {"Image": image, "Registry": registry, "Global": _GLOBAL}
        if response.cacheKeyType not in bases:
            raise PluginError(
                f"credential provider plugin did not return a valid cacheKeyType: {response.cacheKeyType}"
            )
        logins = {entry: Login(auth.username, auth.password) for entry, auth in response.auth.items()}
        self._keep((bases[response.cacheKeyType], who), logins, response)
        return logins

    def _keep(self, key: _Key, logins: Logins, response: Response) -> None:
        lifetime = response.cacheDuration
        if lifetime is None:
            lifetime = self._config.defaultCacheDuration
        if not lifetime:
            return
        now = self._clock.monotonic()
        self._kept = {each: kept for each, kept in self._kept.items() if now <= kept.until}
        if len(self._kept) >= _KEPT:
            del self._kept[min(self._kept, key=lambda each: self._kept[each].until)]
        self._kept[key] = _Kept(logins, now + lifetime.seconds)

    async def _once(self, image: str, account: _Account | None) -> Response:
        """The plug-in's answer; all who ask the same at the same time wait for one run of it."""
        key: tuple[object, ...] = (image,)
        if account is not None:
            key = (image, account.token_hash, account.annotations)
        task = self._asking.get(key)
        if task is None:
            task = self._tasks.spawn(image, self._ask(image, account))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        # One who waits no more must not take the answer from the others.
        answer = await asyncio.shield(task)
        if isinstance(answer, PluginError):
            raise PluginError(
                f"failed to get credential from external registry credential provider: {answer}"
            )
        return answer

    async def _ask(self, image: str, account: _Account | None) -> Response | PluginError:
        environ = {**os.environ, **{each.name: each.value for each in self._config.env}}
        began = self._clock.monotonic()
        try:
            return await ask(
                self._command,
                environ,
                self._config.apiVersion,
                image,
                token=account.token if account is not None else "",
                annotations=dict(account.annotations) if account is not None else {},
            )
        except PluginError as error:
            if error.run:
                self._metrics.counter(
                    "kubelet_credential_provider_plugin_errors_total",
                    "Number of errors from credential provider plugin",
                    ("plugin_name",),
                ).labels(self.name).inc()
            return error
        finally:
            self._metrics.histogram(
                "kubelet_credential_provider_plugin_duration",
                "Duration of execution in seconds for credential provider plugin",
                ("plugin_name",),
                buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            ).labels(self.name).observe(self._clock.monotonic() - began)


def _annotations(
    found: ServiceAccount, wants: ServiceAccountTokenAttributes
) -> tuple[tuple[str, str], ...] | None:
    """The annotations that the plug-in is told; None when one that it needs is missing."""
    there: Mapping[str, str] = found.metadata.annotations
    required = wants.requiredServiceAccountAnnotationKeys
    if any(key not in there for key in required):
        return None
    told = (*required, *wants.optionalServiceAccountAnnotationKeys)
    return tuple(sorted((key, there[key]) for key in told if key in there))


def _refuse_echo(response: Response, token: str) -> None:
    if token and any(auth.password == token for auth in response.auth.values()):
        raise PluginError(
            "credential provider plugin returned the service account token as the password which is not "
            "allowed when service account cache type is not set to 'Token'"
        )
