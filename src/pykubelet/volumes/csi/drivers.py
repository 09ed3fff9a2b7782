"""The CSI drivers of this node: taken from the plug-in watcher, asked about the node, told to the cluster."""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pykubelet.base.clock import Clock
from pykubelet.base.errors import VolumeError
from pykubelet.base.gotext import go_list, go_quote
from pykubelet.base.journal import Journal
from pykubelet.rpc.channel import socket_path
from pykubelet.rpc.plugins.doors import PluginRefusedError

from .client import CALL_TIMEOUT, CsiClient, CsiMetrics, NodeInfo
from .doors import NodeInfoSink
from .errors import CsiError, DriverNotFoundError
from .versions import Version, highest_supported, less, told

log = logging.getLogger(__name__)

#: The type under which drivers make themselves known.
PLUGIN_TYPE = "CSIPlugin"


@dataclass(frozen=True, slots=True)
class Driver:
    """A registered driver; *node* is None until it told how it sees this node."""

    name: str
    endpoint: str
    version: Version
    node: NodeInfo | None = None


@dataclass(slots=True)
class _Entry:
    driver: Driver
    #: How many sockets announced the driver, by the endpoint that they named.
    sockets: Counter[str] = field(default_factory=Counter)


class Drivers:
    """Implements :class:`~pykubelet.rpc.plugins.PluginHandler` for the type ``CSIPlugin``."""

    def __init__(
        self,
        sink: NodeInfoSink,
        *,
        clock: Clock,
        journal: Journal,
        metrics: CsiMetrics | None = None,
        timeout: float = CALL_TIMEOUT,
    ) -> None:
        """*timeout* is what each call to a driver is given, in seconds."""
        self._sink = sink
        self._clock = clock
        self._journal = journal
        self._metrics = metrics
        self._timeout = timeout
        self._entries: dict[str, _Entry] = {}
        #: Held while the cluster is told: what is true last is told last.
        self._telling = asyncio.Lock()

    @property
    def registered(self) -> Mapping[str, Driver]:
        """The drivers by name."""
        return {name: entry.driver for name, entry in sorted(self._entries.items())}

    def client(self, name: str, *, migrated: bool = False) -> CsiClient:
        """Calls to the driver as it is registered now; make one for each operation.

        *migrated*: for a volume of an in-tree plug-in, which the metric tells apart.

        :raises DriverNotFoundError: there is no such driver now.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise DriverNotFoundError(name)
        return self._client(entry.driver, migrated=migrated)

    def _client(self, driver: Driver, *, migrated: bool = False) -> CsiClient:
        return CsiClient(
            driver.name,
            driver.endpoint,
            clock=self._clock,
            metrics=self._metrics,
            timeout=self._timeout,
            migrated=migrated,
        )

    # What the plug-in watcher calls.

    def validate(self, name: str, endpoint: str, versions: Sequence[str]) -> None:
        """See :class:`~pykubelet.rpc.plugins.PluginHandler`."""
        try:
            self._accept("ValidatePlugin", name, endpoint, versions)
        except PluginRefusedError as error:
            text = f"validation failed for CSI Driver {name} at endpoint {endpoint}: {error}"
            raise PluginRefusedError(text) from None

    def _accept(self, caller: str, name: str, endpoint: str, offered: Sequence[str]) -> Version:
        head = f"kubernetes.io/csi: {caller} for CSI driver {go_quote(name)} failed."
        if not name:
            raise PluginRefusedError(str(DriverNotFoundError(name)))
        try:
            socket_path(endpoint)
        except ValueError as error:
            raise PluginRefusedError(f"{head} {error}") from None
        if not offered:
            raise PluginRefusedError(f"{head} Plugin returned an empty list for supported versions")
        try:
            version = highest_supported(offered)
        except ValueError as error:
            listed = go_list(map(go_quote, offered))
            text = f"{head} None of the versions specified {listed} are supported. err={error}"
            raise PluginRefusedError(text) from None
        entry = self._entries.get(name)
        if entry is not None and not less(entry.driver.version, version):
            held = go_quote(told(entry.driver.version))
            raise PluginRefusedError(
                f"{head} Another driver with the same name is already registered"
                f" with a higher supported version: {held}"
            )
        return version

    async def register(self, name: str, endpoint: str, versions: Sequence[str]) -> None:
        """See :class:`~pykubelet.rpc.plugins.PluginHandler`.

        A driver that was there is replaced by one of a higher version only, and stays
        when the new one cannot be had.
        """
        version = self._accept("RegisterPlugin", name, endpoint, versions)
        before = self._entries.get(name)
        entry = _Entry(Driver(name, endpoint, version), Counter(before.sockets if before else ()))
        entry.sockets[endpoint] += 1
        # Known before it is asked anything: pods may wait for it already.
        self._entries[name] = entry
        try:
            node = await self._ask(entry.driver)
        except CsiError as error:
            await self._roll_back(name, before, installed=False)
            raise PluginRefusedError(str(error)) from None
        try:
            async with self._telling:
                await self._install(name, node)
        except VolumeError as error:
            await self._roll_back(name, before, installed=True)
            raise PluginRefusedError(str(error)) from None
        entry.driver = Driver(name, endpoint, version, node)

    async def _ask(self, driver: Driver) -> NodeInfo:
        return await self._client(driver).node_get_info()

    async def _install(self, name: str, node: NodeInfo) -> None:
        if not node.node_id:
            raise VolumeError("error adding CSI driver node info: driverNodeID must not be empty")
        await self._sink.install(name, node.node_id, node.max_volumes, node.topology)
        self._journal.record(
            "CsiDriver",
            f"driver {name} calls this node {node.node_id}",
            cause="the driver's answer to NodeGetInfo",
            max_volumes=node.max_volumes,
            topology=",".join(f"{key}={value}" for key, value in sorted(node.topology.items())),
        )

    async def _roll_back(self, name: str, before: _Entry | None, *, installed: bool) -> None:
        if before is None:
            del self._entries[name]
            await self._uninstall(name)
            return
        self._entries[name] = before
        if installed and before.driver.node is not None:
            try:
                async with self._telling:
                    await self._install(name, before.driver.node)
            except VolumeError as error:
                log.warning("CSI driver %s: what it was before cannot be published again: %s", name, error)

    async def deregister(self, name: str, endpoint: str) -> None:
        """See :class:`~pykubelet.rpc.plugins.PluginHandler`.

        The driver stays while another socket tells of it at the endpoint in use.
        """
        entry = self._entries.get(name)
        if entry is None:
            return
        # A driver that was let go meanwhile does not know of sockets that told of it before.
        entry.sockets[endpoint] = max(0, entry.sockets[endpoint] - 1)
        if entry.sockets[entry.driver.endpoint] > 0:
            return
        del self._entries[name]
        await self._uninstall(name)
        self._journal.record("CsiDriverGone", f"driver {name} is gone", cause="its socket was removed")

    async def _uninstall(self, name: str) -> None:
        try:
            async with self._telling:
                await self._sink.uninstall(name)
        except VolumeError as error:
            log.error("CSI driver %s is gone, but the cluster could not be told: %s", name, error)

    async def refresh(self, name: str) -> None:
        """Ask the driver about the node again, and tell the cluster.

        For drivers whose limit of volumes changes, and after a volume met that limit.

        :raises VolumeError: the driver is not there, or failed, or the API server refused.
        """
        quoted = go_quote(name)
        entry = self._entries.get(name)
        if entry is None:
            text = f"failed to create CSI client for driver {quoted}: {DriverNotFoundError(name)}"
            raise VolumeError(text, left="unchanged")
        try:
            node = await self._ask(entry.driver)
        except CsiError as error:
            text = f"failed to get NodeGetInfo from driver {quoted}: {error}"
            raise VolumeError(text, left="unchanged") from None
        async with self._telling:
            driver = entry.driver
            if self._entries.get(name) is not entry or driver.node is None or node == driver.node:
                return
            try:
                await self._install(name, node)
            except VolumeError as error:
                text = f"failed to update driver {quoted}: {error}"
                raise VolumeError(text, left="unchanged") from None
            entry.driver = Driver(name, driver.endpoint, driver.version, node)
