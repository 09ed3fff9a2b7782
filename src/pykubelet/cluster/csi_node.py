"""Publishes which CSI drivers this node has; until its CSINode object is there, the node is not ready.

Source: upstream's ``nodeinfomanager`` and ``initializeCSINode``. Two things are done differently on purpose:
a daemon that cannot make the object goes on trying instead of ending, and when the Node is made anew,
what was published is published again.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final

from pykubelet.api.node import Node
from pykubelet.api.storage import CSINode
from pykubelet.base.clock import Clock
from pykubelet.base.errors import VolumeError
from pykubelet.base.gotext import aggregate
from pykubelet.base.journal import Journal
from pykubelet.base.tasks import TaskOwner

from . import csi_node_object as objects
from .csi_node_object import DriverInfo
from .door import Api
from .errors import ClusterError, Refused, Unreachable
from .node_due import node_patch
from .paths import group, nodes

log = logging.getLogger(__name__)

#: Seconds between the tries of one change; each is longer by up to a part of itself.
_WAITS: Final = (0.01, 0.05, 0.25)
_JITTER: Final = 0.1
#: Seconds until the next attempt to make the object: the first, the longest, and how they grow.
_FIRST, _LONGEST, _GROWTH = 0.03, 15.0, 8.0
#: Seconds that a driver's publication waits for the Node to be known.
_NODE_WAIT: Final = 30.0
_NOT_YET: Final = "CSINode is not yet initialized"


class CsiNodePublisher:
    """Implements volumes' ``NodeInfoSink``."""

    def __init__(
        self,
        api: Api,
        node_name: str,
        clock: Clock,
        rng: random.Random,
        journal: Journal,
        *,
        on_change: Callable[[str], None],
    ) -> None:
        """*on_change* hears, with a text that says why, that :meth:`errors` has another answer."""
        self._api = api
        self._name = node_name
        self._clock = clock
        self._rng = rng
        self._journal = journal
        self._on_change = on_change
        self._tasks = TaskOwner("csi-node")
        self._lock = asyncio.Lock()
        self._uid = ""
        #: Set while the Node's UID is known, and when it is another one than that of the object.
        self._known = asyncio.Event()
        self._stale = asyncio.Event()
        self._tried_once = asyncio.Event()
        self._error = _NOT_YET
        #: What was published, by driver.
        self._published: dict[str, DriverInfo] = {}

    async def start(self) -> None:
        """Begin to see to it that the object is there."""
        self._tasks.forever("initialize", self._run, pause=self._clock.sleep)

    async def stop(self) -> None:
        """Publish no more; the object stays."""
        await self._tasks.close()

    def errors(self) -> tuple[str, ...]:
        """Why the node is not ready for CSI volumes; empty when it is."""
        return (self._error,) if self._error else ()

    async def settled(self) -> None:
        """Return when the first attempt to make the object is over; at once while no Node is known.

        The Node of a daemon that starts anew must not be told to be not ready meanwhile.
        """
        if self._uid:
            await self._tried_once.wait()

    def node_seen(self, node: Node) -> None:
        """The Node as the API server has it: its UID owns the object."""
        if node.metadata.uid == self._uid:
            return
        if self._uid:
            self._set_error(_NOT_YET)
        self._uid = node.metadata.uid
        self._known.set()
        self._stale.set()

    # --- the object -----------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._stale.wait()
            self._stale.clear()
            wait = _FIRST
            while (error := await self._initialize()) is not None:
                self._tried_once.set()
                if not isinstance(error, Unreachable):
                    self._set_error(f"failed to initialize CSINode: {error}")
                await self._clock.sleep(wait)
                wait = min(wait * _GROWTH, _LONGEST)
            left = await self._publish_again(tuple(self._published))
            if not self._stale.is_set():
                self._set_error("")
            self._tried_once.set()
            self._journal.record("CsiNodeInitialized", "the CSINode object is there", uid=self._uid)
            # A driver that cannot be told does not make the whole node unready.
            while left and not self._stale.is_set():
                await self._clock.sleep(_LONGEST)
                left = await self._publish_again(left)

    async def _initialize(self) -> Exception | None:
        try:
            await self._tried("error updating CSINode annotation", self._annotate)
        except (ClusterError, VolumeError) as error:
            log.warning("the CSINode object cannot be made, and is tried again: %s", error)
            return error
        return None

    async def _publish_again(self, drivers: Collection[str]) -> Collection[str]:
        """Tell a Node that was made anew of its *drivers*; those of which it could not be told."""
        left: list[str] = []
        for driver in drivers:
            info = self._published.get(driver)
            try:
                if info is not None:
                    await self._publish(info)
            except (ClusterError, VolumeError) as error:
                log.warning("CSI driver %s cannot be published, and is tried again: %s", driver, error)
                left.append(driver)
        return left

    def _set_error(self, error: str) -> None:
        """Let the node be not ready for *error*; empty: be ready."""
        if error != self._error:
            self._error = error
            self._on_change(error or "CSINode is initialized")

    async def _annotate(self) -> None:
        await self._put(objects.annotated)

    async def _put(self, change: Callable[[CSINode], CSINode]) -> None:
        """Let *change* be true of the object, which is this Node's own afterwards."""
        try:
            found = await self._api.get(_csi_nodes(self._name), CSINode)
        except Refused as error:
            if not error.not_found:
                raise
            found = await self._make()
        if not objects.owned(found, self._name, self._uid):
            log.info("the CSINode object is that of an earlier Node and is made anew")
            await self._api.delete(_csi_nodes(self._name), uid=found.metadata.uid)
            found = await self._make()
        wanted = change(found)
        if wanted != found:
            await self._api.update(_csi_nodes(self._name), wanted, CSINode)

    async def _make(self) -> CSINode:
        return await self._api.create(_csi_nodes(), objects.bare(self._name, self._uid), CSINode)

    # --- drivers --------------------------------------------------------------

    async def install(self, driver: str, node_id: str, max_volumes: int, topology: Mapping[str, str]) -> None:
        """See ``NodeInfoSink``; repeated, it only writes what changed."""
        if not node_id:
            raise _refused("error adding CSI driver node info: driverNodeID must not be empty")
        try:
            async with asyncio.timeout(_NODE_WAIT):
                await self._known.wait()
        except TimeoutError:
            raise _refused(f"error updating Node object with CSI driver node info: {_NOT_YET}") from None
        info = DriverInfo(driver, node_id, max_volumes, dict(topology))
        changed = self._published.get(driver) != info
        await self._publish(info)
        self._published[driver] = info
        if changed:
            self._journal.record(
                "CsiDriverPublished",
                f"CSI driver {driver} was published",
                node_id=node_id,
                max_volumes=max_volumes,
                topology=" ".join(f"{key}={value}" for key, value in sorted(topology.items())),
            )

    async def uninstall(self, driver: str) -> None:
        """See ``NodeInfoSink``."""
        self._published.pop(driver, None)

        async def withdraw() -> None:
            try:
                found = await self._api.get(_csi_nodes(self._name), CSINode)
            except Refused as error:
                if error.not_found:
                    return
                raise
            wanted = objects.without_driver(found, driver)
            if wanted != found:
                await self._api.update(_csi_nodes(self._name), wanted, CSINode)

        await self._told(
            "error uninstalling CSI driver from CSINode object", "error updating CSINode", withdraw
        )
        await self._told(
            "error removing CSI driver node info from Node object",
            "error updating node",
            lambda: self._change_node(lambda node: objects.node_without(node, driver)),
        )
        self._journal.record("CsiDriverWithdrawn", f"CSI driver {driver} is published no more")

    async def _publish(self, info: DriverInfo) -> None:
        await self._told(
            "error updating Node object with CSI driver node info:",
            "error updating node",
            lambda: self._change_node(lambda node: objects.node_with(node, info)),
        )
        await self._told(
            "error updating CSINode object with CSI driver node info:",
            "error updating CSINode",
            lambda: self._put(lambda found: objects.with_driver(found, info)),
        )

    async def _change_node(self, change: Callable[[Node], Node]) -> None:
        node = await self._api.get(nodes(self._name), Node)
        patch = node_patch(node, change(node))
        if patch is not None:
            # Labels and annotations too: a node may write them with its status only.
            await self._api.patch(nodes(self._name, "status"), patch, Node)

    # --- trying ---------------------------------------------------------------

    async def _told(self, outer: str, inner: str, attempt: Callable[[], Awaitable[None]]) -> None:
        """:raises VolumeError: what the tries failed with, in upstream's words."""
        try:
            await self._tried(inner, attempt)
        except (ClusterError, VolumeError) as error:
            raise _refused(f"{outer} {error}") from error

    async def _tried(self, what: str, attempt: Callable[[], Awaitable[None]]) -> None:
        """Try some times: others write the same objects.

        :raises Unreachable: the API server is away.
        :raises VolumeError: it failed each time, or cannot be done.
        """
        failures: list[Exception] = []
        for wait in (*_WAITS, None):
            try:
                async with self._lock:
                    await attempt()
                return
            except Unreachable:
                raise
            except ClusterError as error:
                failures.append(error)
            except ValueError as error:
                failures = [error]
                break
            if wait is not None:
                await self._clock.sleep(wait * (1 + self._rng.random() * _JITTER))
        why = f"timed out waiting for the condition; caused by: {aggregate(failures)}"
        raise _refused(f"{what}: {why}")


def _csi_nodes(name: str = "") -> str:
    return group("storage.k8s.io/v1", "csinodes", "", name)


def _refused(text: str) -> VolumeError:
    return VolumeError(text, left="unchanged")
