"""Pods that do not come from files, on the real runtime: from a URL."""

from tests.integration.killed_node import container
from tests.integration.node import pod, running_node
from tests.pods.sources.url_server import url_server

from pykubelet.api.codec import encode

TALKER = "echo $SAYS; exec sleep 1000"


def said(name, text):
    """The manifest of a pod that says *text*, as a URL serves it."""
    return encode(pod(name, {**container("app", TALKER), "env": [{"name": "SAYS", "value": text}]}))


async def test_pods_of_a_url_run_and_survive_their_server(containerd, tmp_path, no_leaks):
    async with url_server() as server:
        server.body = said("url", "one")
        async with running_node(
            tmp_path,
            containerd,
            "url",
            staticPodURL=f"{server.url}/pods",
            staticPodURLHeader={"X-Key": ["k"]},
            httpCheckFrequency="200ms",
        ) as node:
            await node.until(lambda: node.log("url") == "one" if node.runs("url") else False)
            assert server.asked[-1].headers["X-Key"] == "k"
            first, uid = node.container_id("url"), node.uid("url")
            server.status = 500
            await node.until(
                lambda: any(e.what == "ManifestUrlFailed" for e in node.kubelet.journal.of_node())
            )
            # A daemon that cannot know which pods there should be leaves what runs alone.
            await node.restart()
            seen = len(server.asked)
            await node.until(lambda: len(server.asked) > seen + 3)
            assert not node.kubelet.sources.all_sources_ready()
            assert first in {c.id for c in await node.cri.list_containers()}
            server.status = 200
            await node.until(lambda: node.runs("url"))
            assert (node.container_id("url"), node.uid("url")) == (first, uid)
            server.body = said("url", "two")
            await node.until(lambda: node.pod("url") and node.uid("url") != uid and node.runs("url"))
            await node.until(lambda: node.log("url") == "two")
            server.body = b'{"apiVersion":"v1","kind":"PodList","items":[]}'
            await node.gone("url")
