"""Pods that do not come from files, on the real runtime: from a URL, and pushed over the port."""

import asyncio
import json
import ssl

import trustme
from tests.integration.killed_node import container
from tests.integration.node import pod, running_node
from tests.pods.sources.url_server import url_server
from tests.server.conftest import http

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
                lambda: any(e.what == "ManifestUrlFailed" for e in node.kubelet.ground.journal.of_node())
            )
            # A daemon that cannot know which pods there should be leaves what runs alone.
            await node.restart()
            seen = len(server.asked)
            await node.until(lambda: len(server.asked) > seen + 3)
            assert not node.kubelet.intake.sources.all_sources_ready()
            assert first in {c.id for c in await node.cri.list_containers()}
            server.status = 200
            await node.until(lambda: node.runs("url"))
            assert (node.container_id("url"), node.uid("url")) == (first, uid)
            server.body = said("url", "two")
            await node.until(lambda: node.pod("url") and node.uid("url") != uid and node.runs("url"))
            await node.until(lambda: node.log("url") == "two")
            server.body = b'{"apiVersion":"v1","kind":"PodList","items":[]}'
            await node.gone("url")


async def test_pushed_pods_run_are_replaced_kept_and_end(containerd, tmp_path, no_leaks):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    admin = ssl.create_default_context()
    # The daemon signs for itself here; who asks is what counts.
    admin.check_hostname, admin.verify_mode = False, ssl.CERT_NONE
    authority.issue_cert("x@example.org", common_name="admin").configure_cert(admin)
    anonymous = ssl.create_default_context()
    anonymous.check_hostname, anonymous.verify_mode = False, ssl.CERT_NONE
    async with running_node(
        tmp_path,
        containerd,
        "push",
        flags=["--enable-manifest-push"],
        enableServer=True,
        address="127.0.0.1",
        port=0,
        authentication={
            "anonymous": {"enabled": True},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(tmp_path / "ca.pem")},
        },
    ) as node:

        async def ask(tls, method, name, body=b""):
            await node.until(lambda: "admin socket" in node.kubelet.stages.started)
            port = node.kubelet.server.listener("kubelet").port
            connection = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
            return await http(*connection, method, f"/manifests/{name}", body)

        assert (await ask(anonymous, "PUT", "web", said("pushed", "one"))).status == 401
        made = await ask(admin, "PUT", "web", said("pushed", "one"))
        assert made.status == 201, made
        await node.until(lambda: node.log("pushed") == "one" if node.runs("pushed") else False)
        uid = node.uid("pushed")
        assert uid == json.loads(made.body)["pods"][0]["uid"]
        assert (await ask(admin, "PUT", "web", said("pushed", "two"))).status == 200
        await node.until(lambda: node.pod("pushed") and node.uid("pushed") != uid and node.runs("pushed"))
        first = node.container_id("pushed")
        (node.layout.pushed_manifests / "torn.yaml").write_text("kind: [")
        await node.restart()
        await node.until(lambda: node.runs("pushed"))
        assert (node.container_id("pushed"), node.log("pushed")) == (first, "two")
        assert any("torn" in event.text for event in node.node_events("FailedValidation"))
        assert (await ask(admin, "DELETE", "web")).status == 200
        await node.gone("pushed")
