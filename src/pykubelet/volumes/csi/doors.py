"""The doors of CSI: what is asked of the cluster, and what it is told of drivers."""

from collections.abc import Mapping
from typing import Protocol

from pykubelet.api.objects import Secret
from pykubelet.api.storage import CSIDriver, VolumeAttachment
from pykubelet.base.errors import VolumeError

_NO_CLUSTER = "kubernetes.io/csi: failed to get a kubernetes client"


class NodeInfoSink(Protocol):
    """Where it is published which drivers this node has: the CSINode object and the Node's own.

    Calls about one driver come one after the other; those about different drivers may overlap.
    """

    async def install(self, driver: str, node_id: str, max_volumes: int, topology: Mapping[str, str]) -> None:
        """Publish the driver, which calls this node *node_id* (never empty).

        *max_volumes* zero or less means no limit is known; *topology* are the segments
        that the node lies in. Called again when the driver comes back, perhaps with
        other values. After an error the registration fails with its text, and
        :meth:`uninstall` follows.

        :raises VolumeError: the API server refused, or the topology contradicts the node's labels.
        """
        ...

    async def uninstall(self, driver: str) -> None:
        """Take the driver back; one that was never published is fine.

        :raises VolumeError: the API server refused.
        """
        ...


class NoNodeInfoSink:
    """For a node without a cluster: nobody is told."""

    async def install(self, driver: str, node_id: str, max_volumes: int, topology: Mapping[str, str]) -> None:
        """See :class:`NodeInfoSink`."""

    async def uninstall(self, driver: str) -> None:
        """See :class:`NodeInfoSink`."""


class CsiObjects(Protocol):
    """What CSI reads of the cluster."""

    async def driver(self, name: str) -> CSIDriver | None:
        """The CSIDriver object, from a cache that is kept by a watch; None when there is no such one.

        :raises VolumeError: it cannot be known now (``left`` is *unchanged*).
        """
        ...

    def cached_driver(self, name: str) -> CSIDriver | None:
        """The CSIDriver object as the cache has it this moment; None too while that is not filled."""
        ...

    async def attachment(self, name: str) -> VolumeAttachment | None:
        """The VolumeAttachment, asked of the API server; None when there is no such one.

        :raises VolumeError: it cannot be known now (``left`` is *unchanged*).
        """
        ...

    async def secret(self, namespace: str, name: str) -> Secret:
        """The secret, asked of the API server.

        :raises VolumeError: it is missing, or cannot be known now (``left`` is *unchanged*).
        """
        ...


class NoCsiObjects:
    """For a node without a cluster: nothing can be read, so that no volume can be given."""

    async def driver(self, name: str) -> CSIDriver | None:
        """See :class:`CsiObjects`."""
        raise VolumeError(_NO_CLUSTER, left="unchanged")

    def cached_driver(self, name: str) -> CSIDriver | None:
        """See :class:`CsiObjects`."""
        return None

    async def attachment(self, name: str) -> VolumeAttachment | None:
        """See :class:`CsiObjects`."""
        raise VolumeError(_NO_CLUSTER, left="unchanged")

    async def secret(self, namespace: str, name: str) -> Secret:
        """See :class:`CsiObjects`."""
        raise VolumeError(_NO_CLUSTER, left="unchanged")
