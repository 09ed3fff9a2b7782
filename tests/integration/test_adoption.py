"""A node that another kubelet ran before: its static pods go on under the UIDs that it gave them."""

import hashlib

from tests.apiserver import ApiServer
from tests.integration.killed_node import container
from tests.integration.node import pod, running_node

from pykubelet.api import codec
from pykubelet.pods.resize.state_file import decode_state
from pykubelet.pods.sources import static


def another_digest(given, origin, node):
    """Another kubelet's UID of a static pod."""
    return hashlib.md5(codec.encode(given) + node.encode(), usedforsecurity=False).hexdigest()


def mirror(server, node, name):
    return server.pod("default", node.full(name)) or {}


def mirror_ready(server, node, name):
    conditions = mirror(server, node, name).get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def recorded(node):
    """The pods (UIDs) of whose containers the next kubelet is told with what they were made."""
    return set(decode_state(node.layout.actuated_state.read_bytes()))


def life(server, node, name):
    """What must not change while the pod changes hands."""
    shown = mirror(server, node, name)
    return (
        node.uid(name),
        node.container_id(name),
        node.restarts(name),
        shown["metadata"]["uid"],
        shown["status"]["startTime"],
        {c["type"]: (c["status"], c["lastTransitionTime"]) for c in shown["status"]["conditions"]},
    )


async def test_static_pods_of_another_kubelet_run_on(short_dir, containerd, no_leaks, monkeypatch):
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    async with ApiServer() as server:
        kubeconfig = short_dir / "kubeconfig"
        server.write_kubeconfig(kubeconfig, "system:node:n1", "system:nodes")
        with monkeypatch.context() as patched:
            patched.setattr(static, "_digest", another_digest)
            async with running_node(short_dir, containerd, "n1", kubeconfig=str(kubeconfig)) as node:
                for name in ("kept", "changed"):
                    node.apply(pod(name, container("app", readinessProbe=probe)))
                    await node.until(lambda name=name: mirror_ready(server, node, name), 20, name)
                before = {name: life(server, node, name) for name in ("kept", "changed")}
                await node.stop()
                patched.undo()
                # What the other kubelet remembered, it remembered elsewhere.
                for file in (node.layout.root / "pod-statuses").iterdir():
                    file.unlink()
                node.apply(pod("changed", container("app", readinessProbe=probe), priority=7))
                await node.start()
                await node.until(lambda: node.ready("kept") and node.ready("changed"))
                assert node.decisions("kept", "StaticPodAdopted")
                assert not node.decisions("changed", "StaticPodAdopted")
                assert life(server, node, "kept") == before["kept"]
                assert node.uid("changed") != before["changed"][0]
                assert node.container_id("changed") != before["changed"][1]
                # The same manifest once more is the same pod, and its end is a whole one.
                node.apply(pod("kept", container("app", readinessProbe=probe)))
                await node.delete("changed")
                await node.until(lambda: recorded(node) == {node.uid("kept")})
                assert life(server, node, "kept") == before["kept"]
                await node.delete("kept")
                await node.until(lambda: not mirror(server, node, "kept"))
