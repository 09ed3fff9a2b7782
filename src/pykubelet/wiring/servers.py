"""The node's servers: what they are made of, and who decides who may ask them."""

from pathlib import Path

from pykubelet.config import Loaded
from pykubelet.node import NodeInfo
from pykubelet.node.system_logs import SystemLogFiles
from pykubelet.server import AdminServer, AlwaysAllow, AlwaysDeny, KubeletServer
from pykubelet.server.doors import Authorizer, Manifests
from pykubelet.wiring.ground import Ground
from pykubelet.wiring.membership import Membership
from pykubelet.wiring.node_api import LocalNodeApi


def kubelet_server(
    ground: Ground, node: NodeInfo, api: LocalNodeApi, cluster: Membership | None, manifests: Manifests | None
) -> KubeletServer:
    """The server of the API server and of other clients; without *cluster* nobody is asked about them."""
    loaded = ground.loaded
    return KubeletServer(
        loaded.config,
        Path(loaded.flags.certDir),
        api,
        authorizer_of(loaded, cluster),
        ground.clock,
        hostname=node.name,
        addresses=node.host_ips,
        metrics=ground.metrics,
        tokens=None if cluster is None else cluster.trust.authenticator,
        serving=None if cluster is None else cluster.trust.serving,
        node_logs=SystemLogFiles(),
        checkpoints=api,
        flags=loaded.command_line,
        manifests=manifests,
    )


def admin_server(ground: Ground, api: LocalNodeApi, manifests: Manifests | None) -> AdminServer:
    """The socket of this machine's administrator."""
    idle = ground.loaded.config.streamingConnectionIdleTimeout.seconds
    return AdminServer(ground.layout.admin_socket, api, ground.clock, idle=idle, manifests=manifests)


def authorizer_of(loaded: Loaded, cluster: Membership | None) -> Authorizer:
    """Who decides what a client may ask: the cluster, if the configuration says so."""
    if cluster is not None and cluster.trust.authorizer is not None:
        return cluster.trust.authorizer
    # Without a cluster to ask, a webhook can only say no.
    return AlwaysAllow() if loaded.config.authorization.mode == "AlwaysAllow" else AlwaysDeny()
