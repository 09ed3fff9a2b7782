"""What the double has beyond the contract: TLS, tokens, certificates, its log, and its speed-ups."""

import asyncio
import base64
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.apiserver import ApiServer, kubeconfig, resources
from tests.apiserver.client import Client, Refusal
from tests.apiserver.resources import Object, parse

PODS = "/api/v1/pods"


async def come_in(path: Path) -> Object:
    """List pods with the credentials of a kubeconfig."""
    credentials = kubeconfig.read(path)
    context = credentials.context()
    async with Client(credentials.server, token=credentials.token, context=context) as client:
        return await client.list(PODS)


class TestCredentials:
    async def test_a_token_over_plain_http(self, tmp_path: Path) -> None:
        async with ApiServer(anonymous=False) as server:
            path = server.write_kubeconfig(tmp_path / "config", "system:node:n", "system:nodes")
            assert path.stat().st_mode & 0o777 == 0o600
            await come_in(path)
            assert server.requests[-1].user == "system:node:n"

    @pytest.mark.parametrize("by", ["token", "certificate"])
    async def test_tls(self, tmp_path: Path, by: Any) -> None:
        async with ApiServer(tls=True, anonymous=False) as server:
            path = server.write_kubeconfig(tmp_path / "config", "system:node:n", "system:nodes", by=by)
            await come_in(path)
            assert server.requests[-1].user == "system:node:n"

    async def test_nobody(self) -> None:
        async with ApiServer(anonymous=False) as server, aiohttp.ClientSession(server.url) as session:
            async with session.get(PODS) as response:
                assert response.status == 401
            token = server.users.token("someone")
            headers = {"Authorization": f"Bearer {token}"}
            async with session.get(PODS, headers=headers) as response:
                assert response.status == 200
            server.users.revoke(token)
            async with session.get(PODS, headers=headers) as response:
                assert response.status == 401

    async def test_a_service_account_s_token_ends(self) -> None:
        async with ApiServer() as server, server.client() as client:
            path = "/api/v1/namespaces/default/serviceaccounts/default/token"
            answer = await client.create(path, {"spec": {"expirationSeconds": 600}})
            token = answer["status"]["token"]
            identity = server.users.of_token(token)
            assert identity is not None
            assert identity.name == "system:serviceaccount:default:default"
            assert [request[:2] for request in server.reviews.token_requests] == [("default", "default")]
            server.users.now = lambda: time.time() + 601
            assert server.users.of_token(token) is None
            assert server.users.of_token(token[:-4] + "AAAA") is None


def csr(signer: str) -> Object:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "system:node:n")])
    names = x509.SubjectAlternativeName([x509.DNSName("n")])
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = base64.b64encode(request.public_bytes(serialization.Encoding.PEM)).decode()
    spec = {"request": pem, "signerName": signer, "usages": ["server auth"], "expirationSeconds": 600}
    return {"metadata": {"generateName": "csr-"}, "spec": spec}


class TestCertificates:
    ROOT = "/apis/certificates.k8s.io/v1/certificatesigningrequests"

    async def test_approved_at_once(self) -> None:
        async with ApiServer() as server, server.client() as client:
            made = await client.create(self.ROOT, csr("kubernetes.io/kubelet-serving"))
            signed = await client.get(f"{self.ROOT}/{made['metadata']['name']}")
            pem = base64.b64decode(signed["status"]["certificate"])
            certificate = x509.load_pem_x509_certificate(pem)
            issuer = x509.load_pem_x509_certificate(server.authority.pem)
            certificate.verify_directly_issued_by(issuer)
            left = certificate.not_valid_after_utc - datetime.now(UTC)
            assert timedelta(seconds=500) < left <= timedelta(seconds=600)
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert names.get_values_for_type(x509.DNSName) == ["n"]

    async def test_denied_at_once(self) -> None:
        async with ApiServer(approve="deny") as server, server.client() as client:
            made = await client.create(self.ROOT, csr("kubernetes.io/kubelet-serving"))
            denied = await client.get(f"{self.ROOT}/{made['metadata']['name']}")
            assert [condition["type"] for condition in denied["status"]["conditions"]] == ["Denied"]
            assert "certificate" not in denied["status"]

    async def test_by_hand(self) -> None:
        async with ApiServer(approve="manual") as server, server.client() as client:
            made = await client.create(self.ROOT, csr("kubernetes.io/kubelet-serving"))
            name = made["metadata"]["name"]
            assert made["status"] == {}
            server.signer.decide(name, approved=True)
            assert server.signer.signed == [name]
            assert (await client.get(f"{self.ROOT}/{name}"))["status"]["certificate"]


class TestWatches:
    async def test_bookmarks(self) -> None:
        async with ApiServer(bookmark_period=0.02) as server, server.client() as client:
            async with client.watch(PODS, allowWatchBookmarks="true") as events:
                server.create_node("n")
                event = await anext(events)
                while event["object"]["metadata"]["resourceVersion"] != str(server.store.version):
                    event = await anext(events)
            assert event["type"] == "BOOKMARK"
            assert "annotations" not in event["object"]["metadata"]

    async def test_servers_without_watch_lists(self) -> None:
        query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        async with ApiServer(watch_list="refused") as server, server.client() as client:
            with pytest.raises(Refusal) as refused:
                async with client.watch(PODS, **query):
                    pass
            assert (refused.value.code, refused.value.reason) == (422, "Invalid")
        async with ApiServer(watch_list="error") as server, server.client() as client:
            async with client.watch(PODS, **query) as events:
                event = await anext(events)
            assert (event["type"], event["object"]["code"]) == ("ERROR", 500)


class TestConveniences:
    async def test_pods(self) -> None:
        async with ApiServer() as server:
            server.create_pod("one", namespace="made-on-the-way", hostNetwork=True)
            server.bind("made-on-the-way", "one", "n")
            pod = server.pod("made-on-the-way", "one")
            assert pod is not None
            assert (pod["spec"]["nodeName"], pod["spec"]["hostNetwork"]) == ("n", True)
            pod["spec"]["nodeName"] = "changed"
            assert server.list(resources.PODS)[0]["spec"]["nodeName"] == "n"
            assert server.delete(resources.PODS, "made-on-the-way", "one") is False
            assert server.delete(resources.PODS, "made-on-the-way", "one", grace=0) is True
            assert server.pod("made-on-the-way", "one") is None

    async def test_change_and_wait(self) -> None:
        async with ApiServer() as server:
            server.create_node("n")

            def labels() -> Object | None:
                found = server.node("n")
                return found["metadata"].get("labels") if found else None

            waiting = asyncio.gather(server.wait_for(labels))
            await asyncio.sleep(0)
            server.patch(resources.NODES, "", "n", lambda node: node["metadata"].update(labels={"a": "b"}))
            assert (await waiting)[0] == {"a": "b"}
            with pytest.raises(TimeoutError):
                await server.wait_for(lambda: server.node("other"), timeout=0.03)

    async def test_the_log_of_requests(self) -> None:
        async with ApiServer() as server, server.client() as client:
            server.create_pod("one", node="n")
            await client.patch("/api/v1/namespaces/default/pods/one/status", {"status": {"phase": "Running"}})
            async with client.watch(PODS, fieldSelector="spec.nodeName=n"):
                await server.wait_for(lambda: server.requests.find(verb="watch", code=200))
            with pytest.raises(Refusal):
                await client.get("/api/v1/nodes/none")
            [patched] = server.requests.find("*/pods/one/status", "patch")
            assert (patched.code, patched.user, patched.user_agent) == (
                200,
                "kubernetes-admin",
                "apiserver-tests",
            )
            assert patched.body == {"status": {"phase": "Running"}}
            assert patched.content_type == "application/strategic-merge-patch+json"
            [watched] = server.requests.find(verb="watch")
            assert watched.query["fieldSelector"] == "spec.nodeName=n"
            assert server.requests.count(code=404) == 1
            server.requests.clear()
            assert len(server.requests) == 0

    async def test_access(self) -> None:
        async with ApiServer() as server, server.client() as client:
            server.reviews.authorize = lambda spec: spec["user"] == "good"
            for user, allowed in (("good", True), ("bad", False)):
                review = await client.create(
                    "/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": {"user": user}}
                )
                assert review["status"]["allowed"] is allowed

    async def test_many_pods_at_once(self) -> None:
        async with ApiServer() as server, server.client() as client:
            for number in range(60):
                server.create_pod(f"pod-{number}", node="n")
            async with client.watch(PODS, resourceVersion=str(server.store.version)) as events:
                paths = [f"/api/v1/namespaces/default/pods/pod-{number}/status" for number in range(60)]
                body = {"status": {"phase": "Running"}}
                await asyncio.gather(*(client.patch(path, body) for path in paths))
                seen = {(await anext(events))["object"]["metadata"]["name"] for _ in paths}
            assert len(seen) == 60


@pytest.mark.parametrize(
    ("path", "meaning"),
    [
        ("/api/v1/pods", ("pods", "", "", "")),
        ("/api/v1/namespaces/a/pods", ("pods", "a", "", "")),
        ("/api/v1/namespaces/a/pods/b", ("pods", "a", "b", "")),
        ("/api/v1/namespaces/a/pods/b/status", ("pods", "a", "b", "status")),
        ("/api/v1/namespaces/a", ("namespaces", "", "a", "")),
        ("/api/v1/namespaces/a/status", ("namespaces", "", "a", "status")),
        ("/apis/coordination.k8s.io/v1/namespaces/a/leases/b", ("leases", "a", "b", "")),
        ("/api/v1/nodes/a/status", ("nodes", "", "a", "status")),
    ],
)
def test_what_a_path_means(path: str, meaning: tuple[str, ...]) -> None:
    target = parse(path)
    assert target is not None
    assert (target.resource.plural, target.namespace, target.name, target.subresource) == meaning


@pytest.mark.parametrize(
    "path",
    ["/", "/api/v1", "/api/v1/pods/a", "/api/v1/namespaces/a/nodes", "/api/v1/nodes/a/log", "/apis/x/v1/y"],
)
def test_paths_that_mean_nothing(path: str) -> None:
    assert parse(path) is None
