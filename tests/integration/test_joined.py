"""A node of a cluster: pods come from the API server, and their statuses go there."""

from tests.apiserver import ApiServer, resources
from tests.integration.node import running_node

from pykubelet.cli.up.images import PAUSE


def _ready(server, name):
    pod = server.pod("default", name)
    conditions = (pod or {}).get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


async def test_a_pod_from_the_api_server_runs_and_is_deleted(short_dir, containerd, no_leaks):
    async with ApiServer() as server:
        kubeconfig = short_dir / "kubeconfig"
        server.write_kubeconfig(kubeconfig, "system:node:n1", "system:nodes")
        async with running_node(short_dir, containerd, "n1", kubeconfig=str(kubeconfig)) as node:
            await server.wait_for(lambda: server.node("n1") is not None, 10)
            server.create_pod("web", namespace="default", node="n1", image=PAUSE)
            await node.until(lambda: _ready(server, "web"), 20)
            server.delete(resources.PODS, "default", "web", 1)
            await node.until(lambda: server.pod("default", "web") is None, 20)
