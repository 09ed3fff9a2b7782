"""What tells the API server of the node, built: the Node's registration, its status, its lease."""

from collections.abc import Awaitable, Callable

from pykubelet.api.node import Node
from pykubelet.cluster.lease import NodeLease
from pykubelet.cluster.node_status import NodeReporter, ReporterDoors, ReporterSettings
from pykubelet.cluster.registration import Registration
from pykubelet.node.object import reconciled
from pykubelet.wiring.connection import Connection
from pykubelet.wiring.ground import Ground
from pykubelet.wiring.node_object import NodeObject


def node_reporter(
    ground: Ground,
    connection: Connection,
    own: NodeObject,
    *,
    cached: Callable[[], Node | None],
    seen: Callable[[Node], None],
    settled: Callable[[], Awaitable[None]],
    written: Callable[[Node | None], None],
) -> NodeReporter:
    """The one who registers the node and reports its status.

    *cached* is the Node as a watch brought it; *seen* hears of the Node as it is, *written* of one that
    was written; *settled* ends when the first status can be told whole.
    """
    config, name, heartbeat = ground.loaded.config, ground.host.node_name, connection.heartbeat
    frequency = config.nodeStatusUpdateFrequency.seconds
    timeout = min(frequency, float(config.nodeLeaseDurationSeconds))
    registration = Registration(
        heartbeat,
        name,
        ground.clock,
        ground.journal,
        ground.events,
        initial=own.initial,
        reconcile=reconciled,
        register=config.registerNode,
        get_when_forbidden=not ground.loaded.gates.enabled("KubeletRegistrationGetOnExistsOnly"),
        timeout=timeout,
    )
    return NodeReporter(
        heartbeat,
        name,
        ground.clock,
        ground.rng,
        ground.journal,
        ground.events,
        registration,
        ReporterDoors(
            update=own.updated,
            cached=cached,
            outlook=own.outlook,
            seen=seen,
            reset=heartbeat.close_connections,
            settled=settled,
            written=written,
        ),
        ReporterSettings(frequency, config.nodeStatusReportFrequency.seconds, timeout),
    )


def node_lease(ground: Ground, connection: Connection) -> NodeLease:
    """The one who renews the node's lease."""
    return NodeLease(
        connection.lease,
        ground.host.node_name,
        ground.clock,
        ground.rng,
        ground.journal,
        duration=ground.loaded.config.nodeLeaseDurationSeconds,
        reset=connection.lease.close_connections,
    )
