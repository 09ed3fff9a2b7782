"""The config maps and secrets that this node's pods need, kept as fresh as the configuration wants.

Pods are registered while they live; only what they name can be asked for.
(pkg/kubelet/configmap, pkg/kubelet/secret.)
"""

import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from pykubelet.api.core import Pod, PodSpec
from pykubelet.api.objects import ConfigMap, Secret
from pykubelet.api.podinfo import pod_ref
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Journal, PodRef

from .door import Api
from .object_cache import CacheStore, GetStore
from .object_kinds import CONFIG_MAPS, SECRETS, KindName, ObjectKind, ObjectStore, T
from .object_watch import WatchStore
from .references import References, references

#: ``configMapAndSecretChangeDetectionStrategy``.
Strategy = Literal["Watch", "Cache", "Get"]

#: Told of an object whose contents changed: kind, namespace, name, the UIDs of the pods that need it.
OnChange = Callable[[KindName, str, str, Collection[str]], None]

_NONE = References()


@dataclass(frozen=True, slots=True)
class _Registered:
    ref: PodRef
    spec: PodSpec
    needs: References


class ObjectManager:
    """The objects of all pods of this node."""

    def __init__(
        self,
        api: Api,
        clock: Clock,
        rng: random.Random,
        journal: Journal,
        *,
        strategy: Strategy,
        sync_period: float,
        ttl: Callable[[], float | None] = lambda: None,
        on_change: OnChange = lambda kind, namespace, name, pods: None,
    ) -> None:
        """*sync_period* is the kubelet's syncFrequency in seconds.

        *ttl* tells what the node's annotation asks for (``object_ttl``), for the strategy Cache.
        *on_change* is called with the strategy Watch only, from the event loop; it must not block.
        """
        self._journal = journal
        self._on_change = on_change
        self._pods: dict[str, _Registered] = {}

        def store(kind: ObjectKind[T]) -> ObjectStore[T]:
            if strategy == "Get":
                return GetStore(api, kind)
            if strategy == "Cache":
                return CacheStore(api, clock, kind, ttl=ttl)
            changed = partial(self._changed, kind.name)
            return WatchStore(api, clock, rng, kind, idle_after=5 * sync_period, on_change=changed)

        self._maps: ObjectStore[ConfigMap] = store(CONFIG_MAPS)
        self._secrets: ObjectStore[Secret] = store(SECRETS)

    async def start(self) -> None:
        """Begin to keep house; pods may be registered before."""
        await self._maps.start()
        await self._secrets.start()

    async def stop(self) -> None:
        """End all watches."""
        await self._maps.stop()
        await self._secrets.stop()
        self._pods.clear()

    # --- pods -----------------------------------------------------------------

    def register(self, pod: Pod) -> None:
        """The pod lives and needs what its spec names; said again when its spec changed. Never waits."""
        uid = pod.metadata.uid
        before = self._pods.get(uid)
        # Said at each sync of the pod: mostly nothing changed.
        if before is not None and before.spec is pod.spec:
            return
        needs = references(pod)
        self._pods[uid] = _Registered(pod_ref(pod), pod.spec, needs)
        self._count(pod.metadata.namespace, uid, before.needs if before is not None else _NONE, needs)

    def unregister(self, pod: Pod) -> None:
        """The pod has ended: what no other one needs is dropped. Never waits."""
        before = self._pods.pop(pod.metadata.uid, None)
        if before is not None:
            self._count(before.ref.namespace, before.ref.uid, before.needs, _NONE)

    def _count(self, namespace: str, uid: str, before: References, now: References) -> None:
        if before == now:
            return
        for name in now.config_maps:
            self._maps.add(namespace, name, uid, mounted=name in now.mounted_config_maps)
        for name in now.secrets:
            self._secrets.add(namespace, name, uid, mounted=name in now.mounted_secrets)
        for name in before.config_maps - now.config_maps:
            self._maps.drop(namespace, name, uid)
        for name in before.secrets - now.secrets:
            self._secrets.drop(namespace, name, uid)

    # --- objects --------------------------------------------------------------

    async def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        """The config map; None when there is none.

        :raises LookupError: it cannot be known now, or no registered pod needs it; with upstream's text.
        """
        return await self._maps.get(namespace, name)

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """The secret; None when there is none.

        :raises LookupError: it cannot be known now, or no registered pod needs it; with upstream's text.
        """
        return await self._secrets.get(namespace, name)

    def _changed(self, kind: KindName, namespace: str, name: str, pods: Collection[str]) -> None:
        for uid in pods:
            registered = self._pods.get(uid)
            if registered is not None:
                self._journal.record(
                    "ObjectChanged",
                    f"the {kind} {name} changed",
                    pod=registered.ref,
                    cause="watch",
                    kind=kind,
                    object=name,
                )
        self._on_change(kind, namespace, name, pods)


class ContainerObjects:
    """The same for containers' environments: only the data."""

    def __init__(self, manager: ObjectManager) -> None:
        self._manager = manager

    async def config_map(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """Its data; None when there is no such config map.

        :raises LookupError: it cannot be known now.
        """
        found = await self._manager.config_map(namespace, name)
        return None if found is None else found.data

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """Its data; None when there is no such secret.

        :raises LookupError: it cannot be known now.
        """
        found = await self._manager.secret(namespace, name)
        return None if found is None else found.data
