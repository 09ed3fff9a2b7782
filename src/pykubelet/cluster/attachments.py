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
        by_controller: bool = True,
    ) -> None:
        """*by_controller* is ``enableControllerAttachDetach``.

        *cached* is the Node as a watch brought it; *report* has the status written now, and is told why.

        *on_change* hears that :meth:`told` or :meth:`seen` may answer otherwise than before.
        """
        self.by_controller = by_controller
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
        if wanted == self._wanted:
            return
        self._wanted = wanted
        # One that comes back is told anew: the controller may have seen the list without it.
        self._told &= frozenset(wanted)
        self._report("the volumes in use changed")

    def told(self, name: str) -> bool:
        """See ``Attachments``."""
        return name in self._told

    def seen(self, name: str) -> bool | None:
        """See ``Attachments``."""
        cached = self._cached()
        return None if cached is None else any(each.name == name for each in cached.status.volumesAttached)

    async def attached(self) -> Mapping[str, str]:
        """See ``Attachments``."""
        try:
            return _attached(await self._api.get(nodes(self._node_name), Node))
        except ClusterError as error:
            raise VolumeError(str(error), left="unchanged") from error

    # --- what the node's status asks and tells --------------------------------

    def to_write(self) -> tuple[str, ...] | None:
        """What the status is to list, sorted; None: what it does.

        Without a controller, too: what one attached before is detached only when it is in use no more.
        """
        return self._wanted

    def written(self, node: Node | None) -> None:
        """The Node is as the last status that was to be written; None: there is no Node."""
        before, listed = self._told, frozenset() if node is None else frozenset(node.status.volumesInUse)
        self._told = listed if self._wanted is None else listed & frozenset(self._wanted)
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
