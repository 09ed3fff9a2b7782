"""What the node's status tells of volumes: those it has in use, and those that were attached to it.

The attach/detach controller attaches what pods need, and detaches nothing that the status lists as in use:
so a volume is looked for only after a status that lists it was written. Source: ``VolumesInUse`` and
``GenerateVerifyControllerAttachedVolumeFunc`` of upstream. Here a volume that comes into use is reported at
once, not with the next status.
"""

from collections.abc import Callable, Collection, Mapping

from pykubelet.api.node import Node
from pykubelet.base.errors import VolumeError

from .door import Api
from .errors import ClusterError
from .paths import nodes


class NodeAttachments:
    """Implements volumes' ``Attachments``; names are upstream's unique names of volumes."""

    def __init__(
        self,
        api: Api,
        node_name: str,
        cached: Callable[[], Node | None],
        *,
        report: Callable[[str], None],
        on_change: Callable[[], None],
    ) -> None:
        """*cached* is the Node as a watch brought it; *report* has the status written now, and is told why.

        *on_change* hears that :meth:`told` or :meth:`device_path` may answer otherwise than before.
        """
        self._api = api
        self._node_name = node_name
        self._cached = cached
        self._report = report
        self._on_change = on_change
        self._wanted: tuple[str, ...] | None = None
        self._told: frozenset[str] = frozenset()
        self._attached: Mapping[str, str] = {}

    # --- what volumes ask -----------------------------------------------------

    def use(self, names: Collection[str]) -> None:
        """See ``Attachments``."""
        wanted = tuple(sorted(set(names)))
        if wanted != self._wanted:
            self._wanted = wanted
            self._report("the volumes in use changed")

    def told(self, name: str) -> bool:
        """See ``Attachments``."""
        return name in self._told

    async def device_path(self, name: str) -> str:
        """See ``Attachments``."""
        cached = self._cached()
        if cached is not None and name not in _attached(cached):
            # The watch tells when it is worth a request.
            raise _unattached(f"volume {name} is not yet in node's status")
        try:
            node = await self._api.get(nodes(self._node_name), Node)
        except ClusterError as error:
            text = "VerifyControllerAttachedVolume failed fetching node from API server"
            raise _unattached(f'{text} for volume "{name}" : {error}') from error
        path = _attached(node).get(name)
        if path is None:
            raise _unattached(f'Volume not attached according to node status for volume "{name}"')
        return path

    # --- what the node's status asks and tells --------------------------------

    def to_write(self) -> tuple[str, ...] | None:
        """What the status is to list, sorted; None: what it does.

        From now on only what is listed counts as told.
        """
        if self._wanted is not None:
            self._told &= frozenset(self._wanted)
        return self._wanted

    def written(self, node: Node | None) -> None:
        """The Node is as the last status that was to be written; None: there is no Node."""
        before = self._told
        self._told = frozenset() if node is None else frozenset(node.status.volumesInUse)
        if self._told - before:
            self._on_change()

    def node_changed(self, node: Node | None) -> None:
        """The watch brought the Node; None: it was deleted."""
        attached = {} if node is None else _attached(node)
        if attached != self._attached:
            self._attached = attached
            self._on_change()


def _attached(node: Node) -> Mapping[str, str]:
    return {volume.name: volume.devicePath for volume in node.status.volumesAttached}


def _unattached(text: str) -> VolumeError:
    return VolumeError(text, left="unchanged")
