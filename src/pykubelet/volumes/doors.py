"""The doors of this room: where the contents of configMap, secret and projected volumes come from."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pykubelet.api.auth import TokenRequest
from pykubelet.api.core import Pod, ResourceList
from pykubelet.api.objects import ConfigMap, Secret
from pykubelet.api.volumes import ClusterTrustBundleProjection, Volume
from pykubelet.base.errors import VolumeError

from .expansion import Expansion
from .spec import VolumeSpec

#: What upstream tells of objects and tokens on a node without a cluster.
_ALONE = "not supported due to running kubelet in standalone mode"
_NO_TOKENS = "cannot use TokenManager when kubelet is in standalone mode"


class Objects(Protocol):
    """Secrets and config maps, as the cluster has them."""

    async def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        """The config map; None when there is no such one.

        :raises LookupError: it cannot be known now; the text goes into the pod's event.
        """
        ...

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """The secret; None when there is no such one.

        :raises LookupError: it cannot be known now; the text goes into the pod's event.
        """
        ...


class Tokens(Protocol):
    """Service account tokens, bound to a pod and kept until they should be renewed."""

    async def token(self, namespace: str, service_account: str, request: TokenRequest) -> TokenRequest:
        """The answer to *request*, from the cache while that is good.

        :raises LookupError: none can be had; the text goes into the pod's event.
        """
        ...

    def refresh_at(self, namespace: str, service_account: str, request: TokenRequest) -> datetime | None:
        """When to ask for that token again; in the past: renewing it failed; None: never."""
        ...

    def forget_pod(self, uid: str) -> None:
        """The pod needs its tokens no more."""
        ...


class TrustBundles(Protocol):
    """Certificates of authorities, as the cluster has them."""

    async def anchors(self, source: ClusterTrustBundleProjection) -> bytes:
        """PEM of the certificates that *source* names; empty where they may be missing.

        :raises LookupError: they cannot be had now; the text goes into the pod's event.
        """
        ...


class NodeFacts(Protocol):
    """What downward API files tell of the node."""

    @property
    def allocatable(self) -> ResourceList:
        """What pods may use altogether: the limit of a container that has none."""
        ...


class Claims(Protocol):
    """What pods' claims are bound to, asked of the API server each time."""

    async def resolve(self, pod: Pod, volume: Volume) -> VolumeSpec:
        """The persistent volume behind a ``persistentVolumeClaim`` or ``ephemeral`` source.

        :raises VolumeError: the claim or its volume is missing, not bound, or not this pod's.
        """
        ...

    async def expanding(self, spec: VolumeSpec) -> Expansion:
        """What the node has to do now about the claim's size, by the claim as it is now.

        When that is to expand the volume, the claim was told that it begins.

        :raises VolumeError: the claim cannot be had or told; nothing is expanded then.
        """
        ...

    async def expanded(self, expansion: Expansion, error: VolumeError | None) -> None:
        """The node expanded the volume, or failed with *error*: the claim is told so.

        :raises VolumeError: it could not be told of the success: expand again, that does no harm.
        """
        ...


class Attachments(Protocol):
    """What the attach/detach controller is asked for, and what it did, by the node's status."""

    @property
    def by_controller(self) -> bool:
        """Whether it attaches volumes to this node at all (``enableControllerAttachDetach``)."""
        ...

    def use(self, names: Collection[str]) -> None:
        """Let ``status.volumesInUse`` be these unique names; never told: it stays as it is."""
        ...

    def told(self, name: str) -> bool:
        """Whether a status that lists *name* was written since :meth:`use` began to name it."""
        ...

    def seen(self, name: str) -> bool | None:
        """Whether ``status.volumesAttached`` of the last watched Node lists *name*; None: none was seen."""
        ...

    async def attached(self) -> Mapping[str, str]:
        """``status.volumesAttached`` now, asked of the API server: device paths by unique name.

        :raises VolumeError: it cannot be known now (``left`` is *unchanged*).
        """
        ...


class NoObjects:
    """The answer where there is no cluster."""

    async def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        """See :class:`Objects`."""
        raise LookupError(_ALONE)

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """See :class:`Objects`."""
        raise LookupError(_ALONE)


class NoTokens:
    """The answer where there is no cluster."""

    async def token(self, namespace: str, service_account: str, request: TokenRequest) -> TokenRequest:
        """See :class:`Tokens`."""
        raise LookupError(_NO_TOKENS)

    def refresh_at(self, namespace: str, service_account: str, request: TokenRequest) -> datetime | None:
        """See :class:`Tokens`."""
        return None

    def forget_pod(self, uid: str) -> None:
        """See :class:`Tokens`."""


class NoClaims:
    """The answer where there is no cluster."""

    async def resolve(self, pod: Pod, volume: Volume) -> VolumeSpec:
        """See :class:`Claims`."""
        raise VolumeError(_ALONE, left="unchanged")

    async def expanding(self, spec: VolumeSpec) -> Expansion:
        """See :class:`Claims`."""
        raise VolumeError(_ALONE, left="unchanged")

    async def expanded(self, expansion: Expansion, error: VolumeError | None) -> None:
        """See :class:`Claims`."""


class NoAttachments:
    """The answer where there is no cluster."""

    by_controller = True

    def use(self, names: Collection[str]) -> None:
        """See :class:`Attachments`."""

    def told(self, name: str) -> bool:
        """See :class:`Attachments`."""
        return False

    def seen(self, name: str) -> bool | None:
        """See :class:`Attachments`."""
        return False

    async def attached(self) -> Mapping[str, str]:
        """See :class:`Attachments`."""
        return {}


@dataclass(frozen=True, slots=True)
class NoNode:
    """A node of which nothing is told."""

    allocatable: ResourceList = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Feeds:
    """All that contents are made of, beside the pod itself."""

    objects: Objects = field(default_factory=NoObjects)
    tokens: Tokens = field(default_factory=NoTokens)
    node: NodeFacts = field(default_factory=NoNode)
    #: None: the feature is off, or there is no cluster.
    bundles: TrustBundles | None = None


class Onlooker(Protocol):
    """Looks at volumes that are there, whatever for."""

    def changed(self, uid: str) -> None:
        """A volume of the pod came, or grew."""
        ...

    async def leave(self, uid: str) -> None:
        """One of the pod's volumes is about to be unmounted: be out of it, and do not go in again.

        Bounded, and never fails.
        """
        ...


class NoOnlooker:
    """Nobody looks."""

    def changed(self, uid: str) -> None:
        """See :class:`Onlooker`."""

    async def leave(self, uid: str) -> None:
        """See :class:`Onlooker`."""
