"""All credentials with which a pod's image may be pulled, in the order in which they are tried."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from pykubelet.api.core import Pod
from pykubelet.api.objects import Secret
from pykubelet.api.podinfo import pod_ref
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Events

from ..doors import PullSecrets
from ..image_name import parse_image_name
from .docker_config import config_json, dockercfg
from .keyring import Credential, Keyring, Source
from .node_config import NodeConfig
from .provider import Provider

log = logging.getLogger(__name__)

#: What a secret of each type keeps its logins under, and how they are read.
_TYPES = {
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson", config_json),
    "kubernetes.io/dockercfg": (".dockercfg", dockercfg),
}


def secrets_keyring(secrets: Iterable[Secret]) -> Keyring:
    """The logins of pull secrets; one of another type, or without its key, says nothing.

    :raises ValueError: one cannot be read; the text names it and tells no value.
    """
    keyring = Keyring()
    for secret in secrets:
        key, parse = _TYPES.get(secret.type, ("", config_json))
        data = secret.data.get(key)
        if not data:
            continue
        meta = secret.metadata
        try:
            logins = parse(data)
        except ValueError as error:
            raise ValueError(f"image pull secret {meta.namespace}/{meta.name}: {key}: {error}") from error
        keyring.add(logins, Source("secret", meta.uid, meta.namespace, meta.name))
    return keyring


class Credentials:
    """Finds the credentials: pull secrets first, then the node's own, then what plug-ins say."""

    def __init__(
        self,
        root: Path,
        clock: Clock,
        events: Events,
        secrets: PullSecrets,
        providers: Sequence[Provider] = (),
    ) -> None:
        """*root* is the kubelet's own directory."""
        self._node = NodeConfig(root, clock)
        self._events = events
        self._secrets = secrets
        self._providers = tuple(providers)

    def use(self, providers: Sequence[Provider]) -> None:
        """Ask these plug-ins from now on."""
        self._providers = tuple(providers)

    async def stop(self) -> None:
        """End what plug-ins are being asked."""
        for provider in self._providers:
            await provider.stop()

    async def pull_secrets(self, pod: Pod) -> list[Secret]:
        """The pod's pull secrets, those that can be had; an event tells of the others."""
        names = [reference.name for reference in pod.spec.imagePullSecrets if reference.name]
        found, missing = [], []
        for name in names:
            try:
                secret = await self._secrets.secret(pod.metadata.namespace, name)
            except LookupError as error:
                log.info("the pull secret %s/%s cannot be had: %s", pod.metadata.namespace, name, error)
                secret = None
            if secret is None:
                missing.append(name)
            else:
                found.append(secret)
        if missing:
            self._events.pod_event(
                pod_ref(pod),
                "Warning",
                "FailedToRetrieveImagePullSecret",
                f"Unable to retrieve some image pull secrets ({', '.join(missing)}); "
                "attempting to pull the image may not succeed.",
            )
        return found

    async def lookup(self, pod: Pod, image: str, secrets: Sequence[Secret]) -> list[Credential]:
        """The credentials for *image*, as the pod names it.

        :raises ValueError: it is no image name, or a pull secret cannot be read.
        """
        repository = parse_image_name(image).repository
        found = secrets_keyring(secrets).lookup(repository)
        node = Keyring()
        node.add(await self._node.logins())
        found += node.lookup(repository)
        ref, account = pod_ref(pod), pod.spec.serviceAccountName
        plugins = Keyring()
        for logins, source in await asyncio.gather(
            *(provider.logins(repository, ref, account) for provider in self._providers)
        ):
            plugins.add(logins, source)
        return found + plugins.lookup(repository)
