"""CSI on one node, put together: its drivers, the plug-in for their volumes, what follows their limits.

What the composition needs of CSI is this and the doors.
"""

from collections.abc import Callable, Sequence
from typing import Final

from pykubelet.base.apart import Apart
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Events, Journal
from pykubelet.base.layout import Layout
from pykubelet.base.metrics import Metrics

from ..doors import Tokens
from ..usage import durations
from .client import CsiMetrics
from .doors import CsiObjects, NodeInfoSink
from .drivers import PLUGIN_TYPE, Drivers
from .means import Means
from .paths import CsiPaths
from .plugin import CsiPlugin
from .refresher import Refresher
from .stats import DriverStats


class CsiVolumes:
    """Implements the door ``PluginHandler`` for drivers.

    :attr:`plugin` makes their volumes, :attr:`stats` tells how full those are.
    """

    #: What drivers' registrars call themselves.
    plugin_type: Final = PLUGIN_TYPE

    def __init__(
        self,
        layout: Layout,
        node_name: str,
        clock: Clock,
        journal: Journal,
        events: Events,
        metrics: Metrics,
        *,
        sink: NodeInfoSink,
        objects: CsiObjects,
        tokens: Tokens,
        labels: bool = False,
        on_found: Callable[[frozenset[str]], None],
        health: bool = False,
    ) -> None:
        """*sink* is told of the drivers; *objects* and *tokens* are the cluster's; *labels*: SELinux is on.

        *on_found* hears the UIDs of pods whose volumes failed for want of a driver that is there now (an
        empty one stands for devices that no pod has any more). With *health* drivers are asked how well
        volumes are, too.
        """
        self._on_found = on_found
        self._drivers = Drivers(sink, clock=clock, journal=journal, metrics=CsiMetrics(metrics))
        self._refresher = Refresher(self._drivers, objects, clock, journal)
        means = Means(
            paths=CsiPaths(layout),
            node=node_name,
            clients=self._drivers,
            objects=objects,
            tokens=tokens,
            events=events,
            clock=clock,
            apart=Apart("csi"),
            labels=labels,
        )
        self.plugin = CsiPlugin(means)
        self.stats = DriverStats(means, durations(metrics), health=health)

    async def stop(self) -> None:
        """Ask drivers no more about their limits."""
        await self._refresher.stop()

    def driver_changed(self, name: str) -> None:
        """The CSIDriver object of that name came, changed or went."""
        self._refresher.look(name)

    def validate(self, name: str, endpoint: str, versions: Sequence[str]) -> None:
        """See ``PluginHandler``."""
        self._drivers.validate(name, endpoint, versions)

    async def register(self, name: str, endpoint: str, versions: Sequence[str]) -> None:
        """See ``PluginHandler``."""
        try:
            await self._drivers.register(name, endpoint, versions)
        finally:
            # One that could not be had may have been there a while.
            self._refresher.look(name)
        missed = self.plugin.registered(name)
        if missed:
            self._on_found(missed)

    async def deregister(self, name: str, endpoint: str) -> None:
        """See ``PluginHandler``."""
        await self._drivers.deregister(name, endpoint)
        self._refresher.look(name)
