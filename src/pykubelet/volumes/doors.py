"""The doors of this room: where the contents of configMap, secret and projected volumes come from."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from pykubelet.api.auth import TokenRequest
from pykubelet.api.core import ResourceList
from pykubelet.api.objects import ConfigMap, Secret

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


class NodeFacts(Protocol):
    """What downward API files tell of the node."""

    @property
    def allocatable(self) -> ResourceList:
        """What pods may use altogether: the limit of a container that has none."""
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
